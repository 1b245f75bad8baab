"""Assignments of a place's coordinates to variables, judged by interchanges."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import numpy as np
import torch
from torch import Tensor

from commute.alignments.binary_mask import BinaryMask
from commute.alignments.judging import judged, of_items
from commute.alignments.masked import HARD, dims_of, one_hot
from commute.alignments.method import At
from commute.causal.batches import Column

JUDGED = 256  # pairs of each set of variables that assignments are judged on, at most
_LEAST = -100.0  # log-probability below which it does not matter how small one is


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What comes of interchanges under several assignments, for the first pairs of each set of variables.

    Attributes:
        right: whether the answer is the algorithm's, of each set [items, pairs].
        certain: the log-probability of the right answer, likewise.
        changed: whether the interchange should change the output, of each set [pairs].
    """

    right: Sequence[Column]
    certain: Sequence[Column]
    changed: Sequence[Column]

    def keys(self) -> Column:
        """How good assignments are, by three numbers, [items, 3], the larger the better.

        They are the IIA of the worst slice, the changed or the unchanged pairs of some set; the mean over sets of the lower of
        the two, which rises as soon as a step helps some variable; and the mean log-probability of the right answers, which also
        sees what does not yet change an answer.
        """
        lower = [
            np.min([right[:, kind].mean(1) for kind in (changed, ~changed) if kind.any()], axis=0)
            for right, changed in zip(self.right, self.changed, strict=True)
        ]
        certain = np.mean([x.mean(1) for x in self.certain], axis=0).round(5)
        return np.stack([np.min(lower, axis=0), np.mean(lower, axis=0).round(9), certain], 1)

    def effects(self) -> Column:
        """How much each assignment moves the log-probabilities, from where they are under the first, [items]."""
        moved: Column = np.sum([np.abs(x - x[:1]).mean(1) for x in self.certain], axis=0)
        return moved


@dataclass(frozen=True, eq=False)
class Assignments:
    """Ways to give units to variables.

    Units are equal parts of each site's coordinates, those of one site after those of another. An assignment is the owner of each
    unit, [units] of int64: its variable's place in the order of variables, or the number of variables where it has none.

    Attributes:
        method: what interchanges coordinates by masks.
        sites: where.
        units: at each of the sites.
        coordinates: at each of the sites.
    """

    method: BinaryMask
    sites: Sequence[At]
    units: Sequence[int]
    coordinates: Sequence[int]

    @property
    def none(self) -> int:
        """The owner that stands for no variable."""
        return len(self.sites[0].variables)

    def outcomes(self, owners: Tensor) -> Outcomes:
        """What comes of assignments, [items, units]."""
        train, stack = self.sites[0].train, [{HARD: masks} for masks in self._masks(owners)]
        found = judged([of_items(self.method, stack, self.sites, here, JUDGED) for here in train])
        changed = [here.pairs.changed[:JUDGED] for here in train]
        return Outcomes([x.right for x in found], [_certainty(x.loss) for x in found], changed)

    def owned(self, owners: Tensor) -> list[dict[str, tuple[int, ...]]]:
        """At each site the coordinates of each variable in one assignment, [units]."""
        return [dims_of(masks[0], at.variables) for at, masks in zip(self.sites, self._masks(owners[None]), strict=True)]

    def _masks(self, owners: Tensor) -> list[Tensor]:
        """At each site the masks [items, variables, coordinates] of assignments."""
        device = next(iter(self.sites[0].train[0].vectors.values()))[0].device
        ends = np.cumsum(self.units).tolist()
        parts = [owners[:, end - n : end].to(device) for n, end in zip(self.units, ends, strict=True)]
        each = [n // units for n, units in zip(self.coordinates, self.units, strict=True)]
        return [one_hot(part, self.none).repeat_interleave(n, -1) for part, n in zip(parts, each, strict=True)]


def _certainty(losses: Column) -> Column:
    """Log-probabilities of right answers; those of scores that are not finite are the least."""
    certain: Column = np.nan_to_num(-losses, nan=_LEAST).clip(min=_LEAST)
    return certain


def best_of(keys: Column) -> int:
    """The place of the best of keys [items, numbers], of which the first numbers count before others; the first of equals."""
    return max(range(len(keys)), key=keys.tolist().__getitem__)


def assignments(units: int, sizes: Sequence[int]) -> Tensor:
    """Every assignment of so many units to each variable, [items, units], in a fixed order."""

    def ways(left: tuple[int, ...], variable: int) -> Iterator[list[int]]:
        if variable == len(sizes):
            yield [variable] * units
            return
        for chosen in combinations(left, sizes[variable]):
            for owners in ways(tuple(u for u in left if u not in chosen), variable + 1):
                for u in chosen:
                    owners[u] = variable
                yield owners

    return torch.tensor(list(ways(tuple(range(units)), 0)))


def ways_to_assign(units: int, sizes: Sequence[int]) -> int:
    """How many assignments there are."""
    return prod(comb(units - sum(sizes[:i]), size) for i, size in enumerate(sizes))
