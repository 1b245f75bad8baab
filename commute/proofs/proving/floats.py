"""Margins in plain floating point, and how large one must be to prove its sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import EXACT, TINY, UNIT, Arithmetic, stored
from commute.proofs.programs.evaluate import values
from commute.proofs.programs.program import Affine, Program, Step
from commute.proofs.programs.split import Split
from commute.proofs.proving.columns import Columns
from commute.proofs.proving.hoisting import hoisted
from commute.proofs.proving.roundoff import off
from commute.proofs.proving.statement import Statement

_TWO = 2  # choices, of which one number tells which is ahead
_AT_ONCE = 2**12  # rows
_UP = 1 + 2.0**-20
_FLOAT64 = Arithmetic(UNIT, TINY)


@dataclass(frozen=True, eq=False)
class Floats:
    """Evaluates pairs in floating point.

    Attributes:
        columns: the joint program, and where there are two choices the difference of their scores.
        choices: how many there are.
        rows: what each class of each side brings, [classes, width].
        exact: a computed margin of any two choices beyond this has the sign of the exact one; infinite where it is not known.
        every: beyond this it is the sign for every way to round the network as well.
    """

    columns: Columns
    choices: int
    rows: tuple[Tensor, ...]
    exact: float
    every: float

    @classmethod
    def of(cls, statement: Statement, dtype: torch.dtype, exactly: Sequence[Box]) -> "Floats":
        """Prepared for a statement, in an arithmetic.

        Args:
            statement: what is claimed.
            dtype: of the arithmetic.
            exactly: of each side where the exact values of its classes are.
        """
        choices = statement.joint.widths[-1]
        parts = hoisted(statement.joint, len(statement.sides))
        program = _difference(parts.joint) if choices == _TWO else parts.joint
        rows = tuple(_rows(own, box.center) for own, box in zip(parts.sides, exactly, strict=True))
        bounds = _bounds(statement, Split(parts.sides, program), exactly, rows, dtype)
        return cls(Columns.of(program, dtype), choices, tuple(x.to(dtype) for x in rows), *bounds)

    def margins(self, room: list[Tensor], expected: int | Tensor) -> tuple[Tensor, Tensor]:
        """From a room whose first value was filled the margins of the expected choice over every other, and the scores.

        Args:
            room: of `columns`, of some points.
            expected: one choice for all points, or one each, [points] of int64.

        Returns:
            [points], and [choices, points] where there are more than two (else the difference).
        """
        scores = self.columns.run(room)
        if self.choices == 1:
            return torch.full_like(scores[0], inf), scores
        if self.choices == _TWO:
            if isinstance(expected, int):
                return (scores[0] if expected else scores[0].neg()), scores
            return torch.where(expected == 1, scores[0], -scores[0]), scores
        if isinstance(expected, int):
            others = [part.amax(0) for part in (scores[:expected], scores[expected + 1 :]) if len(part)]
            return scores[expected] - reduce(torch.maximum, others), scores
        index = expected.unsqueeze(0)
        own = scores.gather(0, index)[0]
        scores.scatter_(0, index, -inf)
        return own - scores.amax(0), scores

    def margins_of(self, classes: Column, expected: Column) -> tuple[Tensor, Tensor]:
        """As `margins`, of some pairs: a class of each side, [pairs, sides], and the choice expected, [pairs]."""
        room = self.columns.room(len(classes))
        total = reduce(torch.add, [x[torch.from_numpy(c)] for x, c in zip(self.rows, classes.T, strict=True)])
        room[0].copy_(total.t())
        return self.margins(room, torch.from_numpy(expected))

    def answered(self, scores: Tensor, places: Tensor, expected: Column) -> Column:
        """The choice whose score is above every other at some of the points of scores, [places] of int64.

        The expected one is known to be below another. -1 where it is not known which choice is the best.
        """
        if self.choices == _TWO:
            return 1 - expected
        others = scores.index_select(1, places).scatter_(0, torch.from_numpy(expected).unsqueeze(0), -inf)
        found: Column = others.numpy().argmax(0)  # several times faster than torch's
        index = torch.from_numpy(found).unsqueeze(0)
        best = others.gather(0, index)[0]
        lead = best - others.scatter_(0, index, -inf).amax(0)
        return np.where((lead > self.exact).numpy(), found, -1)


def expected_of(statement: Statement, classes: Column) -> Column:
    """The right choice of some pairs, given by a class of each side, [pairs, sides]."""
    groups = tuple(side.group[own] for side, own in zip(statement.sides, classes.T, strict=True))
    expected: Column = statement.expected[groups]
    return expected


def _difference(joint: Program) -> Program:
    """The second score less the first."""
    last = joint.steps[-1]
    steps: tuple[Step, ...] = joint.steps
    if isinstance(last, Affine):
        dense = [w.to_dense() if w.is_sparse else w for w in last.weights]
        rows, bias = tuple(w[1:] - w[:1] for w in dense), last.bias[1:] - last.bias[:1]
        steps = (*steps[:-1], Affine(last.inputs, rows, bias, last.roundings))
    else:
        rows = (torch.tensor([[-1.0, 1.0]], dtype=torch.float64),)
        steps = (*steps, Affine((joint.output,), rows, torch.zeros(1, dtype=torch.float64), 1))
    return Program(joint.inputs, steps, joint.unit, joint.tiny)


def _rows(program: Program, center: Tensor) -> Tensor:
    """What classes bring to the hoisted program."""
    return torch.cat([values(program, [x])[-1] for x in torch.split(center, _AT_ONCE)])


def _bounds(
    statement: Statement, parts: Split, exactly: Sequence[Box], rows: Sequence[Tensor], dtype: torch.dtype
) -> tuple[float, float]:
    """What a computed margin may be off the exact one, and off the network's, at most."""
    info = torch.finfo(dtype)
    own = Arithmetic(info.eps / 2, info.tiny)
    if not _fits(parts.joint, own) or (dtype == torch.float32 and _shortened()):
        return inf, inf
    # All is compared with the scores of the sum of the boxes' centers. From these rows are made in float64, cast and added up.
    made = [
        off(_evaluated(program), _hull([box.center]), torch.zeros(program.inputs[0], dtype=torch.float64), _FLOAT64)
        for program, box in zip(parts.sides, exactly, strict=True)
    ]
    size = torch.stack([x.abs().amax(0) for x in rows]).sum(0)
    start = (torch.stack(made).sum(0) + size * (len(rows) + 3) * own.unit + (len(rows) + 3) * own.tiny) * _UP
    hull = _hull(rows)
    computed = off(_evaluated(parts.joint), Box(hull.center, hull.radius + start * _UP), start, own)
    spread = torch.stack([box.radius.amax(0) for box in exactly]).sum(0) * _UP
    reach = [(s.center - box.center).abs() + s.radius for s, box in zip(statement.sides, exactly, strict=True)]
    hull = _hull([box.center for box in exactly])
    exact = off(statement.joint, hull, spread, EXACT)
    every = off(statement.joint, hull, torch.stack([x.amax(0) for x in reach]).sum(0) * _UP, stored(statement.joint))
    # The network compares two scores; so does the evaluation, unless it has their difference. That a difference is rounded makes
    # it larger by less than _UP does.
    two = len(every) == _TWO
    beyond = [computed.sum() + x.sum() if two else 2 * (computed.max() + x.max()) for x in (exact, every)]
    return float((beyond[0] + own.tiny) * _UP), float((beyond[1] + own.tiny) * _UP)


def _hull(parts: Sequence[Tensor]) -> Box:
    """A box that holds the sum of a row of each part."""
    found = [Interval(*(x.unsqueeze(0) for x in torch.aminmax(part, dim=0))) for part in parts]
    return Box(*reduce(Interval.plus, found).ball())


def _evaluated(program: Program) -> Program:
    """The program with as many roundings in each affine step as an evaluation has, its weights cast among them."""

    def roundings(step: Affine) -> int:
        return sum(_most(w) for w in step.weights) + len(step.weights) + 4

    steps = tuple(Affine(s.inputs, s.weights, s.bias, roundings(s)) if isinstance(s, Affine) else s for s in program.steps)
    return Program(program.inputs, steps, program.unit, program.tiny)


def _most(weights: Tensor) -> int:
    """Numbers of a row that are not 0, at most."""
    dense = weights.coalesce() if weights.is_sparse else weights.to_sparse()
    rows = dense.indices()[0]
    return int(rows.bincount().max()) if len(rows) else 0


def _shortened() -> bool:
    """Whether torch has been told that it may make products of float32 from fewer bits."""
    mkldnn = torch.backends.mkldnn
    places = (torch.backends, mkldnn, getattr(mkldnn, "matmul", None))  # as later versions of torch have it
    if not any(hasattr(place, "fp32_precision") for place in places):
        return torch.get_float32_matmul_precision() != "highest"
    return not {getattr(place, "fp32_precision", "none") for place in places} <= {"none", "ieee"}


def _fits(program: Program, own: Arithmetic) -> bool:
    """Whether weights are numbers of an arithmetic, up to its unit."""
    numbers = [
        (x.coalesce().values() if x.is_sparse else x).abs()
        for step in program.steps
        if isinstance(step, Affine)
        for x in (*step.weights, step.bias)
    ]
    return all(bool(((x == 0) | ((x >= own.tiny) & (x <= own.largest))).all()) for x in numbers)
