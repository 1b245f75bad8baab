"""Training features by gradients: the items of many starts, sizes and places together, in one pass a step.

Rows of a pass belong to different items. Each item has its own rows, parameters and loss, so that it is trained as it would be by
itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.alignments.judging import judged, of_items
from commute.alignments.method import At, Trained, sites_of
from commute.alignments.objectives import Losses
from commute.alignments.stacked import passes, values_of_items
from commute.alignments.starts import CHECKS, Block, Start, based, begin, blocks_of, split
from commute.alignments.training import Features, Place, TrainingPairs, at_least_single, named, scores
from commute.errors import AlignmentError
from commute.models.hooks import undisturbed

CHECKED = 512  # pairs of each set of variables that it looks at, at most
_LEAST = 64  # and at least
_DECIDING = 2048  # those by which the best of an item's starts is chosen
_TOGETHER = 0.9  # of the steps, after which only the best of an item's starts goes on
_BACKWARD = 3  # module-FLOPs of a pass with gradients, against one without


@dataclass(frozen=True, eq=False)
class Result:
    """What was trained: features, the loss of each step, and the module-FLOPs that it took."""

    features: Features
    losses: tuple[float, ...]
    flops: float


Ready = Mapping[Place, Sequence[TrainingPairs]]  # one set of variables an item
Sites = dict[Place, Sequence[At]]
OfPlaces = Mapping[Place, TrainingPairs]  # of one set of variables


def train(starts: Sequence[Start], variables: Sequence[str], train_on: Ready, select_by: Ready) -> list[Result | AlignmentError]:
    """Train items side by side, each until it does not improve any more on the selection pairs or is out of steps.

    Args:
        starts: of methods with equal steps and batch.
        variables: in the order of their parameters.
        train_on: pairs at each place.
        select_by: likewise; the parameters with the lowest loss on these are kept.

    Returns:
        What came of each item, or why nothing did.
    """
    here = next(iter(train_on.values()))[0]
    places: Sites = {s.place: sites_of(train_on[s.place], variables) for s in starts}
    items = [split(s) for s in starts]
    with undisturbed(here.network.module), torch.enable_grad():
        for item in items:
            places[item[0].place] = based(item, places[item[0].place])
            for s in item:
                begin(s, places[s.place], len(train_on[s.place][0]))
        _loop([[s for s in item if not s.problem] for item in items], places, train_on, select_by)
    return [_result(item, places[item[0].place]) for item in items]


def _loop(items: Sequence[Sequence[Start]], places: Sites, train_on: Ready, select_by: Ready) -> None:
    blocks = blocks_of(list(chain(*items)))
    if not blocks:
        return
    method, first = blocks[0].method, next(iter(train_on.values()))
    optimizer, schedule = _optimizer(blocks)
    losses = Losses.of(getattr(method, "objective", "cross-entropy"), first[0])
    steps, few = method.steps, _rows_of_check(method, len(first))
    for step in range(steps):
        alive = [(block, block.training()) for block in blocks]
        if not any(some for _, some in alive):
            break
        pairs = {p: of_sets[step % len(first)] for p, of_sets in train_on.items()}
        for taken in _passes(alive, first[0].at_once):
            _step(taken, places, pairs, step, losses)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step + 1 == min(ceil(_TOGETHER * steps), steps - 1) and max(map(len, items)) > 1:
            _check(blocks, places, select_by, losses, _DECIDING)
            _thin_out(items)
        elif step + 1 == steps:
            _check(blocks, places, select_by, losses, few)
        elif (step + 1) % max(1, steps // CHECKS) == 0:
            _check(blocks, places, select_by, losses, few, alone=True)


def _rows_of_check(method: Trained, sets: int) -> int:
    """Pairs of each set of variables in a check, so that all checks take about a quarter of the time of training at most."""
    return min(CHECKED, max(_LEAST, int(method.steps * method.batch * _BACKWARD / (4 * CHECKS * sets))))


def _thin_out(items: Sequence[Sequence[Start]]) -> None:
    """Of the starts of each item only the best goes on."""
    for item in items:
        best = min(item, key=lambda s: s.lowest, default=None)
        for s in item:
            s.beaten, s.alone, s.lowest = s is not best, True, np.inf


def _optimizer(blocks: Sequence[Block]) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.CosineAnnealingLR]:
    groups: Any = [
        {"params": [x for site in block.parameters for x in site.values() if x.requires_grad], "lr": _rate(block.method)}
        for block in blocks
    ]
    optimizer = torch.optim.Adam(groups, fused=True)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, blocks[0].method.steps)


def _rate(method: Trained) -> float:
    if not isinstance(method.learning_rate, (int, float)):
        raise AlignmentError(f"learning rates {method.learning_rate} are tried by a search; a single fit needs one")
    return method.learning_rate


_Part = tuple[Block, Sequence[int], slice]  # a block, the places of some of its starts, and which rows of their batch


def _passes(alive: Sequence[tuple[Block, Sequence[int]]], room: int) -> Iterator[list[_Part]]:
    """Blocks, or parts of their starts and rows, that are run in one pass."""
    going = [(block, some) for block, some in alive if some]
    for taken in passes([(len(some), block.method.batch) for block, some in going], room):
        yield [(going[n][0], going[n][1][items], rows) for n, items, rows in taken]


def _step(taken: Sequence[_Part], places: Sites, pairs: OfPlaces, step: int, objective: Losses) -> None:
    """Gradients of the losses of items, by one pass."""
    progress = step / taken[0][0].method.steps
    parts, stacks = [], []
    for block, some, rows in taken:
        sites, here = places[block.place], pairs[block.place]
        stacks.append(block.of(some))
        drawn = torch.stack([block.starts[i].rows[step, rows] for i in some])
        parts.append((here, drawn.flatten().numpy(), values_of_items(block.method, stacks[-1], sites, here, drawn, progress)))
    losses: list[Tensor] = []
    for (block, some, rows), stack, (here, drawn_rows, _), found in zip(taken, stacks, parts, scores(parts), strict=True):
        method, sites = block.method, places[block.place]
        choices = here.choices[torch.from_numpy(drawn_rows)].to(found.device)
        loss = objective.at(progress)(at_least_single(found), choices).reshape(len(some), -1).mean(1)
        penalty = sum(method.penalty(x, at, progress) for x, at in zip(stack, sites, strict=True))
        losses.append((loss + penalty) * ((rows.stop - rows.start) / method.batch))
    graded = [loss.sum() for loss in losses if loss.requires_grad]
    if graded:
        torch.stack(graded).sum().backward()  # type: ignore[no-untyped-call]
    for (block, some, rows), loss, (here, _, _) in zip(taken, losses, parts, strict=True):
        for i, x in zip(some, loss.tolist(), strict=True):
            start = block.starts[i]
            _note(start, x, step, first=rows.start == 0)
            start.flops += _BACKWARD * here.flops * (rows.stop - rows.start)
            if not loss.requires_grad:
                start.problem = (
                    f"the network's answer does not depend on {named(start.place)} by a gradient, so nothing can be trained "
                    "there; use a method without gradients, such as Selection"
                )


def _note(start: Start, loss: float, step: int, *, first: bool) -> None:
    """Keep the loss of a step, which the parts of its rows add up to."""
    if first:
        start.losses.append(0.0)
    start.losses[-1] += loss
    if not np.isfinite(loss):
        start.problem = f"the loss at {named(start.place)} is {loss} in step {step}; try a smaller learning_rate"


def _check(blocks: Sequence[Block], places: Sites, select_by: Ready, loss: Losses, most: int, *, alone: bool = False) -> None:
    """Keep the parameters of those that train which are better than before on the selection pairs."""
    looked_at = [(block, some) for block in blocks if (some := block.training(alone=alone))]
    penalties, stacks = [], []
    with torch.no_grad():
        for block, some in looked_at:
            method, sites, free = block.method, places[block.place], block.of(some)
            penalties.append(sum(method.penalty(x, at, 1.0) for x, at in zip(free, sites, strict=True)))
            stacks.append([method.hardened(x, at) for x, at in zip(free, sites, strict=True)])
    trials = [
        of_items(block.method, stack, places[block.place], select_by[block.place][i], most)
        for i in range(len(next(iter(select_by.values()))))
        for (block, _), stack in zip(looked_at, stacks, strict=True)
    ]
    found = judged(trials, loss.at(1.0))
    for n, ((block, some), stack, penalty) in enumerate(zip(looked_at, stacks, penalties, strict=True)):
        here, of_sets = select_by[block.place], found[n :: len(looked_at)]
        means = np.mean([x.loss.mean(1) for x in of_sets], axis=0) + torch.as_tensor(penalty).cpu().numpy()
        for place, i in enumerate(some):
            start = block.starts[i]
            start.flops += sum(pairs.flops * min(len(pairs), most) for pairs in here)
            start.consider(means[place], stack, place)


def _result(item: Sequence[Start], sites: Sequence[At]) -> Result | AlignmentError:
    """What came of an item: of the best of its starts, at the cost of all."""
    best = min(item, key=lambda s: s.lowest)
    if not best.best:
        return AlignmentError(best.problem)
    features: dict[str, list[Any]] = {v: [] for v in sites[0].variables}
    for parameters, at in zip(best.best, sites, strict=True):
        for v, feature in best.method.features(parameters, at).items():
            features[v].append(feature)
    return Result(features, tuple(best.losses), sum(s.flops for s in item))
