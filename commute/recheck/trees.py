"""Trees in preorder: which cells are roots, and the halves of each that is divided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from commute.recheck.reading import Array, demand, same

RIGHT, WRONG, OPEN, COUNTED, SPLIT = range(5)
NAMES = ("right", "wrong", "open", "counted")


@dataclass
class Work:
    """What it took.

    Attributes:
        cells: of trees.
        bounds: that were computed.
        evaluated: combinations of different inputs that were evaluated one by one.
        divided: how often a cell had to be divided further, since one bound did not show its claim.
    """

    cells: int = 0
    bounds: int = 0
    evaluated: int = 0
    divided: int = 0


def halves_of(kinds: Array) -> tuple[list[int], dict[int, tuple[int, int]]]:
    """The roots of trees in preorder, and the two halves of every cell that is divided."""
    waiting: list[int] = []  # trees that begin further on, the nearest last
    halves = {}
    for i in range(len(kinds) - 1, -1, -1):
        demand(kinds[i] >= 0, f"a cell has the kind {kinds[i]}")
        if kinds[i] >= SPLIT:
            demand(len(waiting) > 1, f"the cell {i} is divided, and its halves are missing")
            halves[i] = waiting.pop(), waiting.pop()
        waiting.append(i)
    return waiting[::-1], halves


@dataclass(frozen=True)
class Tree:
    """Cells of a finite statement: the kind and the set of each side, and the pairs right, wrong and within rounding."""

    nodes: list[list[Array]]
    cells: Array
    counts: Array

    @classmethod
    def of(cls, record: Mapping[str, Any], tensors: Mapping[str, Array], sides: int, inputs: int) -> "Tree":
        """The tree of a record, checked as far as it can be by itself."""
        cells, counts = tensors[record["cells"]], tensors[record["counts"]]
        same("the type and shape of a tree's cells", (cells.dtype.str, cells.shape), ("<i4", (len(counts), 1 + sides)))
        same("the type and shape of a tree's counts", (counts.dtype.str, counts.shape), ("<i8", (len(cells), 3)))
        same("the number of a tree's sides", len(record["nodes"]), sides)
        nodes = [_sets(tensors[n["members"]], tensors[n["offsets"]], inputs) for n in record["nodes"]]
        for j, own in enumerate(nodes, 1):
            demand(((cells[:, j] >= 0) & (cells[:, j] < len(own))).all(), f"a cell is of a set that side {j - 1} has not")
        demand((cells[:, 0] < SPLIT + sides).all(), f"a cell has the kind {cells[:, 0].max()}")
        return cls(nodes, cells, counts)

    def sets(self, cell: int) -> list[Array]:
        """The inputs of each side, in order."""
        return [own[n] for own, n in zip(self.nodes, self.cells[cell, 1:], strict=True)]

    def check(self, groups: Sequence[Array], combinations: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """The groups of each leaf, once each combination of groups has one tree, and every half is one of its cell."""
        roots, halves = halves_of(self.cells[:, 0])
        found = {}
        for root in roots:
            found[root] = tuple(int(g[s[0]]) for g, s in zip(groups, self.sets(root), strict=True))
            for j, (g, s) in enumerate(zip(groups, self.sets(root), strict=True)):
                demand(np.array_equal(s, np.flatnonzero(g == g[s[0]])), f"the root {root} is not a group of inputs on side {j}")
        wanted = list(np.ndindex(*combinations))
        demand(sorted(found.values()) == wanted, f"there are {len(found)} roots, not one for each of {len(wanted)} combinations")
        for i in sorted(halves):
            self._halved(i, halves[i])
            found[halves[i][0]] = found[halves[i][1]] = found.pop(i)
        return found

    def _halved(self, cell: int, halves: tuple[int, int]) -> None:
        along = self.cells[cell, 0] - SPLIT
        for j, (whole, one, other) in enumerate(zip(self.sets(cell), *map(self.sets, halves), strict=True)):
            if j == along:
                demand(
                    np.array_equal(np.sort(np.concatenate([one, other])), whole),
                    f"the halves of the cell {cell} are not all of it",
                )
            else:
                demand(
                    np.array_equal(one, whole) and np.array_equal(other, whole), f"a half of the cell {cell} has another side {j}"
                )


def _sets(members: Array, offsets: Array, inputs: int) -> list[Array]:
    """Sets of inputs, each in order."""
    fits = members.dtype == np.int32 and offsets.dtype == np.int64 and members.ndim == offsets.ndim == 1 and len(offsets)
    demand(
        fits and offsets[0] == 0 and offsets[-1] == len(members) and (np.diff(offsets) > 0).all(),
        "offsets do not fit their members",
    )
    demand(((members >= 0) & (members < inputs)).all(), f"a member is none of the {inputs} inputs")
    found = [np.sort(members[a:b]) for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    demand(all((np.diff(s) > 0).all() for s in found), "an input is in a set twice")
    return found
