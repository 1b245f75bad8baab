"""All pairs of classes in tiles: some classes of one side times some combinations of the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.proving.statement import Statement

_LARGE = 512  # classes of a group


@dataclass(frozen=True, eq=False)
class _Classes:
    """Classes of one side, or combinations of several.

    Attributes:
        numbers: of the classes, [classes, sides].
        brought: what they bring together, [width, classes].
        count: inputs, or combinations of them, that each stands for.
    """

    numbers: Column
    brought: Tensor
    count: Column


@dataclass(frozen=True, eq=False)
class Tile:
    """Combinations of some sides times classes of the inner one.

    Attributes:
        outer: the combinations.
        inner: the classes; pairs go with these fastest.
        side: the inner side.
        expected: the right choice of all pairs, or of each, [pairs] of int64.
    """

    outer: _Classes
    inner: _Classes
    side: int
    expected: int | Tensor

    @property
    def size(self) -> int:
        """Pairs of classes."""
        return len(self.outer.count) * len(self.inner.count)

    @property
    def pairs(self) -> int:
        """Pairs of inputs."""
        return int(self.outer.count.sum()) * int(self.inner.count.sum())

    def fill(self, out: Tensor) -> None:
        """Write what each pair brings together into [width, pairs]."""
        outer, inner = self.outer.brought, self.inner.brought
        shape = (len(outer), outer.shape[1], inner.shape[1])
        torch.add(inner.unsqueeze(1), outer.unsqueeze(2), out=out.view(shape))

    def classes(self, places: Column) -> Column:
        """The classes of some pairs, [places, sides]."""
        outer, inner = np.divmod(places, len(self.inner.count))
        return np.insert(self.outer.numbers[outer], self.side, self.inner.numbers[inner, 0], axis=1)

    def expected_of(self, places: Column) -> Column:
        """The right choice of some pairs, [places]."""
        if isinstance(self.expected, int):
            return np.full(len(places), self.expected)
        chosen: Column = self.expected.numpy()[places]
        return chosen


def tiles(statement: Statement, rows: tuple[Tensor, ...], points: int) -> Iterator[Tile]:
    """All pairs of classes of a statement.

    The inner side is the one with the most classes a group, so that most tiles have one answer throughout.

    Args:
        statement: whose classes they are.
        rows: what each class of each side brings, [classes, width].
        points: pairs of classes of a tile, at most.
    """
    sides = statement.sides
    order = [np.argsort(side.group, kind="stable") for side in sides]
    inner = max(range(len(sides)), key=lambda i: len(sides[i].group) / len(np.unique(sides[i].group)))
    others = [i for i in range(len(sides)) if i != inner]

    def some(which: list[int], numbers: list[Column]) -> _Classes:
        brought = reduce(torch.add, [rows[i][torch.from_numpy(x)] for i, x in zip(which, numbers, strict=True)])
        count = np.multiply.reduce([sides[i].count[x] for i, x in zip(which, numbers, strict=True)])
        return _Classes(np.stack(numbers, 1), brought.t().contiguous(), count)

    shape = tuple(len(order[i]) for i in others)
    table = np.moveaxis(statement.expected, inner, -1)
    for own in _chunks(order[inner], sides[inner].group, points):
        chunk, groups = some([inner], [own]), sides[inner].group[own]
        step = max(1, points // len(own))
        for start in range(0, prod(shape), step):
            index = np.unravel_index(np.arange(start, min(start + step, prod(shape))), shape)
            numbers = [order[i][x] for i, x in zip(others, index, strict=True)]
            expected = table[tuple(sides[i].group[x] for i, x in zip(others, numbers, strict=True))]
            yield Tile(some(others, numbers), chunk, inner, _one_or_each(expected, groups))


def _chunks(order: Column, group: Column, size: int) -> list[Column]:
    """Classes in their order, so many at once at most; those of a large group by themselves."""
    ends = np.flatnonzero(np.diff(group[order])) + 1
    large = len(order) >= _LARGE * (len(ends) + 1)
    parts = np.split(order, ends) if large else [order]
    return [part[i : i + size] for part in parts for i in range(0, len(part), size)]


def _one_or_each(expected: Column, groups: Column) -> int | Tensor:
    """The one choice expected of all pairs, or that of each: from [outer, groups] and the inner classes' groups, in order."""
    here = expected[:, groups[0] : groups[-1] + 1]
    if (here == here[0, 0]).all():
        return int(here[0, 0])
    return torch.from_numpy(expected[:, groups].reshape(-1))
