"""Pairs made ready for fitting alignments: bases and sources are run once, for all places, and what is needed of them kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from commute.alignments.feature import Feature
from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError
from commute.models.decoding import Readout
from commute.models.flops import Flops
from commute.models.hooks import evaluating
from commute.models.network import Network
from commute.models.passes import FEW
from commute.models.prepared import Prepared, prepared, together
from commute.models.sites import Site

if TYPE_CHECKING:
    from commute.models.patches import Change, FeatureLike

Place = tuple[Site, ...]  # where variables are, together: one site, or several of which each holds a part or a copy of them
Features = Mapping[str, Sequence[Feature]]  # the features of each variable, at one or more sites
Values = Mapping["FeatureLike", "Tensor | Change"]

_EPOCHS = 10  # how often a pair is patched at a place, about: in training and in choosing among restarts


def named(place: Place) -> str:
    """A place in words."""
    return " + ".join(map(str, place))


@dataclass
class Meter:
    """Module-FLOPs that were spent; a tally, the one thing here that changes."""

    flops: float = 0.0


@dataclass(frozen=True, eq=False)
class Drawn:
    """Pairs of a set of variables, and each variable's value in its source, [pairs]: a code, or a number of an interval."""

    pairs: Pairs
    values: Batch


@dataclass(frozen=True, eq=False)
class TrainingPairs:
    """Pairs made ready for interchanges at one place.

    Attributes:
        network: the network.
        readout: the decision that its decode makes.
        place: the sites.
        pairs: the pairs.
        values: the value of each variable in its source, [pairs]: a code, or a number of an interval.
        vectors: of each variable's source at each of the sites, [pairs, width].
        choices: the choice that is right, [pairs].
        ready: the bases, of which only what comes after the place is run; None where that is no gain.
        flops: that a row takes in a pass.
        meter: of what passes took.
    """

    network: Network
    readout: Readout
    place: Place
    pairs: Pairs
    values: Batch
    vectors: Mapping[str, tuple[Tensor, ...]]
    choices: Tensor
    ready: Prepared | None
    flops: float
    meter: Meter = field(default_factory=Meter)

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def at_once(self) -> int:
        """Rows that there is room for in one pass."""
        if self.ready is not None:
            return self.ready.at_once
        block = next(iter(self.network.blocks(self.pairs.base)))
        return int(block.stop - block.start)


def at_least_single(x: Tensor) -> Tensor:
    """The same in single precision, or the higher one that it has; half precision is too coarse to train in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def scores(parts: Sequence[tuple[TrainingPairs, Column, Values]]) -> list[Tensor]:
    """The scores of all choices after interchanges, [rows, choices] of each part, with gradients.

    Args:
        parts: pairs, which of their rows, and what is set there. Where all have the same bases they share one pass.
    """
    for pairs, rows, _ in parts:
        pairs.meter.flops += pairs.flops * len(rows)
    ready = [(i, pairs.ready) for i, (pairs, _, _) in enumerate(parts) if pairs.ready is not None]
    ready.sort(key=lambda found: found[1].time)
    output = together([(bases, *parts[i][1:]) for i, bases in ready]) if ready else None
    found: dict[int, Tensor] = {}
    if output is not None:
        sizes = [len(parts[i][1]) for i, _ in ready]
        together_found = torch.split(parts[0][0].readout.scores(output, sum(sizes)), sizes)
        found = {i: x for (i, _), x in zip(ready, together_found, strict=True)}
    return [found[i] if i in found else _in_full(*part) for i, part in enumerate(parts)]


def _in_full(pairs: TrainingPairs, rows: Column, values: Values) -> Tensor:
    output = pairs.network.call(take(pairs.pairs.base, rows), values, rows=rows)
    return pairs.readout.scores(output, len(rows))


def read_decisions(network: Network, pairs: Pairs) -> Readout:
    """The decision that the network's decode makes, read off the first bases of `pairs`.

    Raises:
        NetworkError: when decode makes none that can be trained on.
    """
    batch = take(pairs.base, slice(network.batch_size or FEW))
    with evaluating(network.module), torch.no_grad():
        return Readout.of(network.decode, network.call(batch), rows_of(batch))


def prepare(network: Network, places: Sequence[Place], readout: Readout, drawn: Drawn) -> Mapping[Place, TrainingPairs]:
    """Run the bases and the sources of pairs once for all places."""
    pairs = drawn.pairs
    if len(pairs.expected) != 1:
        raise AlignmentError(f"training needs an algorithm with one output; this one has {', '.join(pairs.expected)}")
    sites = list(dict.fromkeys(site for place in places for site in place))
    vectors = {v: network.activations(source, sites) for v, source in pairs.sources.items()}
    choices = readout.choices(next(iter(pairs.expected.values())))
    with evaluating(network.module):
        ready = prepared(network, pairs.base, places, patches=_EPOCHS)
    whole = 0.0 if all(ready) else _flops_of_a_row(network, pairs)
    return {
        place: TrainingPairs(
            network,
            readout,
            place,
            pairs,
            drawn.values,
            {v: tuple(x[site] for site in place) for v, x in vectors.items()},
            choices,
            bases,
            bases.flops if bases else whole,
        )
        for place, bases in zip(places, ready, strict=True)
    }


def _flops_of_a_row(network: Network, pairs: Pairs) -> float:
    with evaluating(network.module), torch.no_grad(), Flops() as counter:
        network.call(take(pairs.base, slice(1)))
    return float(counter.total)
