"""Judging many ways of setting features at once: their rows share passes through the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from commute.alignments.method import At, Trained
from commute.alignments.objectives import Loss, entropy
from commute.alignments.rotations import Parameters
from commute.alignments.stacked import Block, passes, values_of_items
from commute.alignments.training import Features, TrainingPairs, Values, at_least_single, scores
from commute.causal.batches import Column
from commute.models.hooks import evaluating


@dataclass(frozen=True, eq=False)
class Trial:
    """Items that set features in the first rows of some pairs.

    Attributes:
        here: the pairs.
        items: how many.
        rows: of the pairs, from the first.
        values: what some of the items set, in rows [items, rows] of the pairs.
    """

    here: TrainingPairs
    items: int
    rows: int
    values: Callable[[slice, Tensor], Values]


@dataclass(frozen=True, eq=False)
class Judged:
    """Whether answers are the algorithm's, and their loss, [items, rows] each."""

    right: Column
    loss: Column


def of_features(features: Features, here: TrainingPairs, rows: int | None = None) -> Trial:
    """One item: features of variables, in all rows of the pairs by default."""

    def values(_: slice, rows: Tensor) -> Values:
        read = [(f, x[here.place.index(f.site)]) for v, x in here.vectors.items() for f in features[v]]
        return {f: f.read(x[rows.flatten()]) for f, x in read}

    return Trial(here, 1, min(len(here), rows or len(here)), values)


def of_items(method: Trained, stack: Sequence[Parameters], sites: Sequence[At], here: TrainingPairs, rows: int) -> Trial:
    """Items of a method, whose hardened parameters are stacked for each site."""

    def values(items: slice, rows: Tensor) -> Values:
        some = [{k: x[items] for k, x in site.items()} for site in stack]
        return values_of_items(method, some, sites, here, rows, 1.0)

    return Trial(here, len(next(iter(stack[0].values()))), min(len(here), rows), values)


def judged(trials: Sequence[Trial], loss: Loss = entropy) -> list[Judged]:
    """Judge trials in as few passes as there is room for; those of the same pairs share passes where they stand together."""
    found = [Judged(np.empty((t.items, t.rows), dtype=bool), np.empty((t.items, t.rows))) for t in trials]
    for _, same in groupby(range(len(trials)), key=lambda i: id(trials[i].here.pairs)):
        some = slice((of_pairs := list(same))[0], of_pairs[-1] + 1)
        here = trials[of_pairs[0]].here
        with evaluating(here.network.module), torch.no_grad():
            for blocks in passes([(t.items, t.rows) for t in trials[some]], here.at_once):
                _judge(trials[some], blocks, found[some], loss)
    return found


def _judge(trials: Sequence[Trial], blocks: Sequence[Block], found: Sequence[Judged], loss: Loss) -> None:
    parts = []
    for place, items, rows in blocks:
        trial, each = trials[place], torch.arange(rows.start, rows.stop).expand(items.stop - items.start, -1)
        parts.append((trial.here, each.flatten().numpy(), trial.values(items, each)))
    for (place, items, rows), (here, of_pairs, _), x in zip(blocks, parts, scores(parts), strict=True):
        told, choices = at_least_single(x).cpu(), here.choices[torch.from_numpy(of_pairs)]
        shape = items.stop - items.start, rows.stop - rows.start
        found[place].right[items, rows] = (told.argmax(-1) == choices).reshape(shape)
        found[place].loss[items, rows] = loss(told, choices).reshape(shape)
