"""Trees: how the pairs of a statement were divided into cells, and what was found of each.

A tree is written in preorder: a cell that is divided stands before its two halves. Several trees stand after one another, one for
each root.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commute.causal.batches import Column

RIGHT, WRONG, OPEN, COUNTED, SPLIT = range(5)


@dataclass(frozen=True, eq=False)
class Members:
    """Sets of inputs of one side.

    Attributes:
        members: places of inputs in the domain's order, one set after another, of int32.
        offsets: where each set begins, and the end of the last, [sets + 1] of int64.
    """

    members: Column
    offsets: Column

    @classmethod
    def of(cls, sets: Sequence[Column]) -> "Members":
        """Some sets."""
        ends = np.cumsum([0, *map(len, sets)], dtype=np.int64)
        return cls(np.concatenate([np.zeros(0, np.int32), *sets]).astype(np.int32), ends)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> Column:
        return self.members[self.offsets[place] : self.offsets[place + 1]]


@dataclass(frozen=True, eq=False)
class Tree:
    """Cells of a finite statement. Its roots are all combinations of a group of every side (`Answers.groups`), in any order.

    Attributes:
        nodes: of each side, the base first, the sets of inputs that cells are made of.
        cells: [cells, 1 + sides] of int32: the kind, and the set of each side. RIGHT: every pair is right, WRONG: every pair is
            wrong, for every way of rounding; COUNTED: pairs were decided one by one; OPEN: nothing is known; SPLIT + side: the
            next two trees are its halves along that side.
        counts: [cells, 3] of int64: pairs right, pairs wrong, and pairs that rounding may change; zero where divided or open.
    """

    nodes: tuple[Members, ...]
    cells: Column
    counts: Column


@dataclass(frozen=True, eq=False)
class BoxTree:
    """Cells of a statement about boxes. Its roots are all combinations of inputs, base first, the last fastest.

    Attributes:
        cells: [cells, 2] of int32: RIGHT, WRONG, OPEN, or SPLIT and the coordinate, among the entries of the base and then of
            each source, whose interval is halved; the lower half comes first.
    """

    cells: Column
