"""Chunks of items, which are fitted together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from typing import Any

import numpy as np
import torch

from commute.alignments.alignment import Alignment
from commute.alignments.binomial import count
from commute.alignments.items import Counts, Fitted, Item, options_of
from commute.alignments.judging import judged, of_features
from commute.alignments.method import Trained
from commute.alignments.starts import Start
from commute.alignments.trainer import train
from commute.alignments.training import Drawn, Place, TrainingPairs, named, prepare, read_decisions
from commute.errors import AlignmentError, NetworkError, check
from commute.models.network import Network
from commute.runs.seeds import stream

_TOGETHER = 2048  # pairs a step above which a program is not made larger
_CHUNKS = 6  # that a search is cut into at least, where it has so many places
_TRAIN_CHECKED = 256  # pairs to train on of which the IIA is told


@dataclass(frozen=True, eq=False)
class Chunk:
    """Items that are fitted together, and all that is needed for it besides the network.

    Attributes:
        items: of one method and, with gradients, of one number of steps.
        variables: in order.
        train: pairs to train on, for each set of variables.
        select: pairs to select by, likewise.
        seed: of all that is random.
        path: of the random streams.
    """

    items: Sequence[Item]
    variables: tuple[str, ...]
    train: Sequence[Drawn]
    select: Sequence[Drawn]
    seed: int
    path: tuple[str, ...]

    def generator(self, item: Item) -> np.random.Generator:
        """An item's own stream."""
        method: Any = item.method
        same: Any = replace(method, steps=1) if hasattr(method, "steps") else method  # the rungs of halving begin alike
        return stream(self.seed, *self.path, str(item), options_of(same))


def chunked(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items cut into those that are fitted together: all at a place, and neighbouring places while the program stays small.

    There are several chunks, so that several workers have something to do. The cut depends on the items alone, so that numbers do
    not depend on where, and in which order, they are fitted.
    """
    room = min(_TOGETHER, ceil(sum(map(_pairs, items)) / _CHUNKS))
    together: list[Item] = []
    for _, same in groupby(items, key=lambda item: item.place):
        here = list(same)
        if together and sum(map(_pairs, (*together, *here))) > room:
            yield together
            together = []
        together = together + here
    if together:
        yield together


def _pairs(item: Item) -> int:
    """Pairs a step; of methods without steps as many as make eight items a chunk."""
    trained = isinstance(item.method, Trained)
    return item.method.batch * getattr(item.method, "starts", 1) if trained else _TOGETHER // 8  # type: ignore[union-attr]


def fit_chunk(network: Network, chunk: Chunk) -> list[Fitted]:
    """Fit the items of a chunk, and count their right answers."""
    places = list(dict.fromkeys(item.place for item in chunk.items))
    readout = read_decisions(network, chunk.train[0].pairs)
    on, by = (_at_places(places, [prepare(network, places, readout, d) for d in part]) for part in (chunk.train, chunk.select))
    method = chunk.items[0].method
    found = _trained(chunk, on, by) if isinstance(method, Trained) else [_direct(chunk, item, on, by) for item in chunk.items]
    checked = [_checked(x, chunk.variables, on[item.place]) for item, x in zip(chunk.items, found, strict=True)]
    return _counted(checked, chunk.items, on, by)


Ready = Mapping[Place, Sequence[TrainingPairs]]


def _at_places(places: Sequence[Place], sets: Sequence[Mapping[Place, TrainingPairs]]) -> Ready:
    return {place: [of_set[place] for of_set in sets] for place in places}


def _trained(chunk: Chunk, on: Ready, by: Ready) -> list[Fitted]:
    starts = [Start(item.method, item.place, chunk.generator(item), item.restart) for item in chunk.items]  # type: ignore[arg-type]
    return [
        Fitted(problem=str(x)) if isinstance(x, AlignmentError) else Fitted(x.features, losses=x.losses, flops=x.flops)
        for x in train(starts, chunk.variables, on, by)
    ]


def _direct(chunk: Chunk, item: Item, on: Ready, by: Ready) -> Fitted:
    train_on, select_by = on[item.place], by[item.place]
    method: Any = item.method
    before = _spent(train_on, select_by)
    try:
        features = method.fit(train_on, select_by, chunk.generator(item))
    except (AlignmentError, NetworkError) as error:  # this place is of no use; others may be
        return Fitted(problem=str(error))
    if features is None:
        return Fitted(problem=f"{type(method).__name__} found no features; fit must return a mapping from variable to features")
    return Fitted(features, flops=_spent(train_on, select_by) - before)


def _spent(*ready: Sequence[TrainingPairs]) -> float:
    return sum(pairs.meter.flops for part in ready for pairs in part)


def _checked(found: Fitted, variables: Sequence[str], here: Sequence[TrainingPairs]) -> Fitted:
    """The same with features that can be interchanged at the place, or with the reason why they cannot."""
    if found.features is None:
        return found
    if not isinstance(found.features, Mapping):
        return Fitted(problem=f"a method's fit must return a mapping from variable to features; given {found.features!r}")
    try:
        alignment = Alignment(found.features)
        features = {v: alignment.parts(v) for v in variables}
        strangers = [str(f.site) for parts in features.values() for f in parts if f.site not in here[0].place]
        check([f"{site} is not one of its sites" for site in strangers], AlignmentError, f"features at {named(here[0].place)}")
        with torch.no_grad():
            for f in (f for parts in features.values() for f in parts):
                few = next(iter(here[0].vectors.values()))[here[0].place.index(f.site)][:1]
                f.write(few, f.read(few))
    except (AlignmentError, NetworkError) as error:  # of a method of the user's own
        return Fitted(problem=str(error))
    return replace(found, features=features)


def _counted(found: Sequence[Fitted], items: Sequence[Item], on: Ready, by: Ready) -> list[Fitted]:
    """What was fitted, with the counts of right answers."""
    fine = [(i, x.features, item.place) for i, (x, item) in enumerate(zip(found, items, strict=True)) if x.features is not None]
    counts: list[list[dict[tuple[str, ...], Counts]]] = []
    for ready, most in ((on, _TRAIN_CHECKED), (by, None)):
        sets = range(len(next(iter(ready.values()))))
        trials = [of_features(features, ready[place][s], most) for s in sets for _, features, place in fine]
        of_items: list[dict[tuple[str, ...], Counts]] = [{} for _ in found]
        for n, (trial, x) in enumerate(zip(trials, judged(trials), strict=True)):
            changed = trial.here.pairs.changed[: trial.rows]
            of_items[fine[n % len(fine)][0]][trial.here.pairs.variables] = count(x.right[0, changed]), count(x.right[0, ~changed])
        counts.append(of_items)
    return [x if x.features is None else replace(x, train=counts[0][i], selection=counts[1][i]) for i, x in enumerate(found)]
