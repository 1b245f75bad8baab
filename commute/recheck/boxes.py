"""Statements about boxes: all numbers within ε of those of each input."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, prod
from typing import Any

import numpy as np

from commute.recheck.algorithm import Algorithm
from commute.recheck.balls import arb, arb_mat, fmpq, is_matrix
from commute.recheck.pairs import concluded
from commute.recheck.programs import Program
from commute.recheck.reading import Array, demand, same
from commute.recheck.relaxing import Relaxed, margins
from commute.recheck.trees import NAMES, OPEN, RIGHT, SPLIT, WRONG, Work, halves_of

_DEEPEST = 12  # halvings of a box by the checker itself
_MOST = 2**22  # roots

Box = tuple[tuple[Fraction, Fraction], ...]


@dataclass(frozen=True)
class Boxes:
    """A statement about the boxes around every base and source.

    Attributes:
        record: of the statement.
        cells: the kind of each, and the coordinate along which it is divided.
        groups: of each side the group of every input.
        expected: the right choice of each combination of groups.
        joint: from the numbers of the base and of each source to the scores.
        entries: the numbers of every input.
        work: what it took.
    """

    record: Mapping[str, Any]
    cells: Array
    groups: list[Array]
    expected: Array
    joint: Program
    entries: list[list[float]]
    work: Work

    @classmethod
    def of(cls, record: Mapping[str, Any], tensors: Mapping[str, Array], algorithm: Algorithm, work: Work) -> "Boxes":
        """The statement of a record, and its program and answers checked."""
        entries, cells, epsilon = tensors[record["entries"]], tensors[record["tree"]["cells"]], record["epsilon"]
        fits = is_matrix(entries) and len(entries) == algorithm.size and np.isfinite(entries).all()
        demand(fits, f"there are no finite entries for each of {algorithm.size} inputs")
        demand(type(epsilon) is float and isfinite(epsilon) and epsilon >= 0, f"epsilon is {epsilon}")
        same("the type and shape of a tree's cells", (cells.dtype.str, cells.shape), ("<i4", (len(cells), 2)))
        same("the kinds and programs of sides of boxes", [record["kinds"], record["sides"]], [[], []])
        groups, expected = algorithm.answers(record["variables"], record["labels"])
        joint = Program.of(record["joint"], tensors, [entries.shape[1]] * len(groups), record)
        demand(joint.steps[-1].width == len(record["labels"]) > 1, f"there are {joint.steps[-1].width} scores of the choices")
        return cls(record, cells, groups, expected, joint, entries.tolist(), work)

    def check(self, on_progress: Callable[[str, int, int], None]) -> tuple[Fraction, Fraction, str]:
        """Bounds on IIA by volume and the level, once every claim is shown."""
        roots, halves = halves_of(self.cells[:, 0])
        shape = (len(self.entries),) * len(self.groups)
        demand(prod(shape) <= _MOST, f"{prod(shape)} roots are too many to be rechecked")
        same("the number of a tree's roots", len(roots), prod(shape))
        right, wrong, first = Fraction(), Fraction(), None
        for done, (root, places) in enumerate(zip(roots, np.ndindex(*shape), strict=True), 1):
            choice = int(self.expected[tuple(int(g[i]) for g, i in zip(self.groups, places, strict=True))])
            found = self._tree(root, halves, self._box(places), choice)
            right, wrong = right + found[0] / len(roots), wrong + found[1] / len(roots)
            first = places if first is None and found[1] else first
            on_progress(" + ".join(self.record["variables"]), done, len(roots))
        self.work.cells += len(self.cells)
        shown = _volume(right), _volume(wrong), 0
        return concluded(self.record, shown, 1, first)

    def _box(self, places: tuple[int, ...]) -> Box:
        epsilon = Fraction(self.record["epsilon"])
        return tuple((Fraction(x) - epsilon, Fraction(x) + epsilon) for i in places for x in self.entries[i])

    def _tree(self, root: int, halves: Mapping[int, tuple[int, int]], whole: Box, choice: int) -> tuple[Fraction, Fraction]:
        """The shares of a box that its tree shows right, and wrong."""
        shares = {RIGHT: Fraction(), WRONG: Fraction(), OPEN: Fraction()}
        waiting = [(root, whole, Fraction(1))]
        while waiting:
            cell, box, share = waiting.pop()
            kind, along = self.cells[cell].tolist()
            if kind == SPLIT:
                demand(0 <= along < len(box), f"the cell {cell} is divided along {along} of {len(box)} numbers")
                waiting += [(h, b, share / 2) for h, b in zip(halves[cell], _halved(box, along), strict=True)]
            else:
                demand(kind in shares, f"the cell {cell} of a box has the kind {kind}")
                demand(kind == OPEN or self._holds(box, choice, kind, _DEEPEST), f"the cell {cell} is not shown {NAMES[kind]}")
                shares[kind] += share
        return shares[RIGHT], shares[WRONG]

    def _holds(self, box: Box, choice: int, claim: int, depth: int) -> bool:
        """Whether all of a box is right, or all of it wrong; the box is divided where a bound does not show it."""
        width = self.joint.inputs[0]
        balls = [arb(_exact(low)).union(arb(_exact(high))) for low, high in box]
        sets = [[arb_mat(width, 1, balls[i : i + width])] for i in range(0, len(balls), width)]
        rows = margins(choice, len(self.record["labels"]), -1 if claim == WRONG else 1)
        lower, forms = Relaxed(self.joint, sets).least(self.joint.output, rows)
        self.work.bounds += 1
        shown = [bool(x > 0) for x in lower]
        if any(shown) if claim == WRONG else all(shown):
            return True
        if depth == 0:
            return False
        self.work.divided += 1
        row = (max if claim == WRONG else min)(range(len(lower)), key=lambda r: float(lower[r]))
        slopes = [a for form in forms for a in ([arb(0)] * width if form is None else form.tolist()[row])]
        along = max(range(len(box)), key=lambda i: abs(float(slopes[i].mid())) * float(box[i][1] - box[i][0]))
        return all(self._holds(half, choice, claim, depth - 1) for half in _halved(box, along))


def _halved(box: Box, along: int) -> tuple[Box, Box]:
    low, high = box[along]
    middle = (low + high) / 2
    return (*box[:along], (low, middle), *box[along + 1 :]), (*box[:along], (middle, high), *box[along + 1 :])


def _exact(x: Fraction) -> Any:
    return fmpq(x.numerator, x.denominator)


def _volume(x: Fraction) -> str:
    return f"{x.numerator}/{x.denominator}"
