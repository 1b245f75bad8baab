"""Relaxing: linear bounds of a program's output, taken backward to its inputs (1811.00866)."""

from collections.abc import Sequence
from functools import reduce
from itertools import starmap
from operator import add
from typing import Any

from commute.recheck.balls import Matrix, arb, arb_mat
from commute.recheck.functions import lines
from commute.recheck.programs import Program, Step

Sets = Sequence[Sequence[Matrix]]  # for each input the sets that it is a sum of: vectors of balls as columns, [width, vectors]

_MOST = 2**26  # products of numbers for inner bounds, beyond which sets are taken as boxes


def margins(right: int, choices: int, sign: int) -> Matrix:
    """The right choice's score less that of every other, or with -1 the reverse, as rows [others, choices]."""
    others = [c for c in range(choices) if c != right]
    return arb_mat(len(others), choices, [sign * ((c == right) - (c == o)) for o in others for c in range(choices)])


def hull(points: Matrix) -> Matrix:
    """The box around vectors, a row."""
    return arb_mat(1, points.nrows(), [reduce(arb.union, row) for row in points.tolist()])


class Relaxed:
    """A program over sets of inputs, with bounds of every value, rounding included, and lines around what every step makes.

    Where it is to be tight, values that go into functions are bounded backward too.

    Attributes:
        program: the program.
        hulls: the box around each set of each input.
    """

    def __init__(self, program: Program, sets: Sets, *, tight: bool = True) -> None:
        self.program = program
        self._sets = sets
        self.hulls = [[hull(s) for s in each] for each in sets]
        self._ranges = [reduce(add, each) for each in self.hulls]
        self._errors: list[Matrix] = []
        self._lines: list[list[tuple[Any, ...]]] = []
        bent = {v for step in program.steps if not step.weights for v in step.inputs}
        for v, step in enumerate(program.steps, len(sets)):
            y = step.image(self._ranges)
            self._errors.append(step.error(self._ranges, y, program.unit, program.tiny))
            self._ranges.append(y + self._errors[-1])
            self._lines.append([] if step.weights else self._around(step))
            if tight and step.weights and not step.moves and v in bent:
                self._ranges[v] = self._tighter(v)

    def _around(self, step: Step) -> list[tuple[Any, ...]]:
        """Of each number that a step makes the slopes in what it takes, and the offset, of a line below and of one above."""
        taken = [self._ranges[v].entries() for v in step.inputs]
        if step.function is not None:
            return [((s,), o, (t,), p) for s, o, t, p in (lines(step.function, x) for x in taken[0])]
        return list(starmap(_planes, zip(*taken, strict=True)))

    def _tighter(self, value: int) -> Matrix:
        """The range of a value, bounded backward from it."""
        width = self._ranges[value].ncols()
        both = arb_mat(2 * width, width, [sign * (i == j) for sign in (1, -1) for i in range(width) for j in range(width)])
        numbers = sum(s.nrows() * s.ncols() for each in self._sets for s in each)
        boxes = [[h.transpose() for h in each] for each in self.hulls]
        low, _ = self.least(value, both, self._sets if 2 * width * numbers <= _MOST else boxes)
        found = zip(self._ranges[value].entries(), low[:width], low[width:], strict=True)
        return arb_mat(1, width, [x.intersection(a.union(-b)) if (a + b).is_finite() else x for x, a, b in found])

    def least(self, value: int, rows: Matrix, sets: Sets | None = None) -> tuple[list[Any], list[Matrix | None]]:
        """Lower bounds of linear functions of a value, [rows, width], and which functions of the inputs they are bounded by."""
        first = len(self.program.inputs)
        forms, total = {value: rows}, arb_mat(rows.nrows(), 1)
        for v in range(value, first - 1, -1):
            if v not in forms:
                continue
            form, step = forms.pop(v), self.program.steps[v - first]
            if step.weights:
                passed, constant = [form * w for w in step.weights], form * step.bias.transpose()
            else:
                passed, constant = self._through(v, form)
            total += constant + form * self._errors[v - first].transpose()
            for w, more in zip(step.inputs, passed, strict=True):
                forms[w] = forms[w] + more if w in forms else more
        for v, form in forms.items():
            for points in (sets or self._sets)[v]:
                total += arb_mat(rows.nrows(), 1, [reduce(arb.min, row) for row in (form * points).tolist()])
        return [x.lower() for x in total.entries()], [forms.get(v) for v in range(first)]

    def _through(self, value: int, form: Matrix) -> tuple[list[Matrix], Matrix]:
        """Below a linear function of what a step makes: functions of what it takes, and constants."""
        place = value - len(self.program.inputs)
        own, around = self._ranges[value].entries(), self._lines[place]
        slopes: list[list[Any]] = [[] for _ in self.program.steps[place].inputs]
        constants = []
        for row in form.tolist():
            constant = arb(0)
            for a, y, line in zip(row, own, around, strict=True):
                if a >= 0 or a <= 0:
                    chosen, offset = line[:2] if a >= 0 else line[2:]
                    constant += a * offset
                else:  # the sign is not known
                    chosen = (0,) * len(slopes)
                    constant += a * y
                for s, one in zip(slopes, chosen, strict=True):
                    s.append(a * one)
            constants.append(constant)
        return [arb_mat(form.nrows(), len(own), s) for s in slopes], arb_mat(len(constants), 1, constants)


def _planes(x: Any, y: Any) -> tuple[Any, ...]:
    """Around x·y, which is m·y + n·x - m·n + (x - m)(y - n)."""
    m, n = x.mid(), y.mid()
    offset = (x - m) * (y - n) - m * n
    return (n, m), offset.lower(), (n, m), offset.upper()
