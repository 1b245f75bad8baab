"""Cells: some bases times some sources, after whose interchange the algorithm gives one answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from commute.causal.batches import Column
from commute.proofs.proving.statement import Side, Statement


@dataclass(frozen=True, eq=False)
class Cell:
    """Classes of each side, the base first.

    Attributes:
        path: the number of its root, and which half it is of each cell above it; it orders cells.
        sides: the classes, [size] of int64 each.
        choice: the right answer's place among the scores.
        pairs: pairs of inputs that it stands for.
    """

    path: tuple[int, ...]
    sides: tuple[Column, ...]
    choice: int
    pairs: int

    @property
    def size(self) -> int:
        """Pairs of classes."""
        return prod(len(x) for x in self.sides)

    @property
    def points(self) -> int:
        """Classes of all sides."""
        return sum(len(x) for x in self.sides)

    def split(self, side: int, halves: tuple[Column, Column], counts: Sequence[Column]) -> "tuple[Cell, Cell]":
        """The cell's halves along one side; `counts` are the inputs in each class of each side."""
        one, other = (
            Cell(
                (*self.path, i),
                (*self.sides[:side], half, *self.sides[side + 1 :]),
                self.choice,
                self.pairs // int(counts[side][self.sides[side]].sum()) * int(counts[side][half].sum()),
            )
            for i, half in enumerate(halves)
        )
        return one, other


def roots(statement: Statement) -> Iterator[Cell]:
    """The cells that all others are parts of: each combination of a group of every side."""
    by_group = [
        [np.flatnonzero(side.group == g) for g in range(size)]
        for side, size in zip(statement.sides, statement.expected.shape, strict=True)
    ]
    for i, groups in enumerate(np.ndindex(statement.expected.shape)):
        sides = tuple(own[g] for own, g in zip(by_group, groups, strict=True))
        yield Cell((i,), sides, int(statement.expected[groups]), pairs_of(sides, statement.sides))


def pairs_of(classes: Sequence[Column], sides: Sequence[Side]) -> int:
    """Pairs of inputs in some classes of each side."""
    return prod(int(side.count[own].sum()) for own, side in zip(classes, sides, strict=True))
