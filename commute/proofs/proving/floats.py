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
from commute.proofs.enclosures.rounding import TINY, UNIT, Arithmetic, stored
from commute.proofs.programs.evaluate import values
from commute.proofs.programs.program import Affine, Program, Step
from commute.proofs.programs.split import Split
from commute.proofs.proving.columns import Columns
from commute.proofs.proving.hoisting import hoisted
from commute.proofs.proving.roundoff import off
from commute.proofs.proving.statement import Statement
from commute.runs.seeds import stream

_TWO = 2  # choices, of which one number tells which is ahead
_DRAWN = 2**12  # pairs on which an arithmetic is tried
_LEFT = 1 / 16  # of them that may be left undecided by the faster one
_AT_ONCE = 2**12  # rows
_UP = 1 + 2.0**-20
_FLOAT64 = Arithmetic(UNIT, TINY)


@dataclass(frozen=True, eq=False)
class Floats:
    """Evaluates pairs in floating point.

    Where a computed margin is beyond `least`, its sign is that of the exact margin, and of every way to round the network: `least`
    holds what the evaluation may be off and what the network's own arithmetic may be off, the sides' radii among it.

    Attributes:
        columns: the joint program, and where there are two choices the difference of their scores.
        choices: how many there are.
        rows: what each class of each side brings, [classes, width].
        least: the margin; infinite where nothing is known.
    """

    columns: Columns
    choices: int
    rows: tuple[Tensor, ...]
    least: float

    @classmethod
    def of(cls, statement: Statement, dtype: torch.dtype) -> "Floats":
        """Prepared for a statement."""
        choices = statement.joint.widths[-1]
        parts = hoisted(statement.joint, len(statement.sides))
        program = _difference(parts.joint) if choices == _TWO else parts.joint
        rows = tuple(_rows(own, side.center) for own, side in zip(parts.sides, statement.sides, strict=True))
        least = _least(statement, Split(parts.sides, program), rows, dtype)
        return cls(Columns.of(program, dtype), choices, tuple(x.to(dtype) for x in rows), least)

    @classmethod
    def chosen(cls, statement: Statement) -> "Floats":
        """In the faster arithmetic that decides nearly all pairs, or else in the one that decides more of those drawn."""
        drawn = stream(0, "proofs", "proving", "floats")
        classes = np.stack([drawn.integers(len(side.count), size=_DRAWN) for side in statement.sides], 1)
        expected = expected_of(statement, classes)
        tried: list[tuple[float, Floats]] = []
        for dtype in (torch.float32, torch.float64):
            made = cls.of(statement, dtype)
            left = float((made.margins_of(classes, expected)[0].abs() > made.least).logical_not().double().mean())
            if left <= _LEFT:
                return made
            tried.append((left, made))
        return min(tried, key=lambda one: one[0])[1]

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

    def answered(self, scores: Tensor, places: Tensor, expected: Tensor) -> Column:
        """The best of the choices other than the expected one at some points, [places] of int64."""
        if self.choices == _TWO:
            return (1 - expected).numpy()
        others = scores.index_select(1, places)
        found: Column = others.scatter_(0, expected.unsqueeze(0), -inf).argmax(0).numpy()
        return found


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
    return torch.cat([values(program, [x])[-1] for x in center.split(_AT_ONCE)])


def _least(statement: Statement, parts: Split, rows: Sequence[Tensor], dtype: torch.dtype) -> float:
    """What a computed margin may be off, and the network's, at most together."""
    info = torch.finfo(dtype)
    own = Arithmetic(info.eps / 2, info.tiny)
    if not _fits(parts.joint, own):
        return inf
    # Rows are made in float64, cast and added up.
    made = [
        off(_evaluated(program), _hull([side.center]), torch.zeros(program.inputs[0], dtype=torch.float64), _FLOAT64)
        for program, side in zip(parts.sides, statement.sides, strict=True)
    ]
    size = torch.stack([x.abs().amax(0) for x in rows]).sum(0)
    start = (torch.stack(made).sum(0) + size * (len(rows) + 3) * own.unit + (len(rows) + 3) * own.tiny) * _UP
    box = _hull(rows)
    computed = off(_evaluated(parts.joint), Box(box.center, box.radius + start * _UP), start, own)
    radius = torch.stack([side.radius.amax(0) for side in statement.sides]).sum(0) * _UP
    network = off(statement.joint, _hull([side.center for side in statement.sides]), radius, stored(statement.joint))
    # The network compares two scores; so does the evaluation, unless it has their difference. That a difference is rounded makes
    # it larger by less than _UP does.
    together = network.sum() + computed.sum() if len(network) == _TWO else 2 * (network.max() + computed.max())
    return float((together + own.tiny) * _UP)


def _hull(parts: Sequence[Tensor]) -> Box:
    """A box that holds the sum of a row of each part."""
    found = [Interval(*(x.unsqueeze(0) for x in torch.aminmax(part, dim=0))) for part in parts]
    return Box(*reduce(Interval.plus, found).ball())


def _evaluated(program: Program) -> Program:
    """The program with as many roundings in each affine step as an evaluation has, its weights cast among them."""

    def roundings(step: Affine) -> int:
        return sum(_most(w) for w in step.weights) + len(step.weights) + 4

    steps = tuple(
        Affine(s.inputs, s.weights, s.bias, roundings(s)) if isinstance(s, Affine) else s for s in program.steps
    )
    return Program(program.inputs, steps, program.unit, program.tiny)


def _most(weights: Tensor) -> int:
    """Numbers of a row that are not 0, at most."""
    dense = weights.coalesce() if weights.is_sparse else weights.to_sparse()
    rows = dense.indices()[0]
    return int(rows.bincount().max()) if len(rows) else 0


def _fits(program: Program, own: Arithmetic) -> bool:
    """Whether weights are numbers of an arithmetic, up to its unit."""
    numbers = [
        (x.coalesce().values() if x.is_sparse else x).abs()
        for step in program.steps
        if isinstance(step, Affine)
        for x in (*step.weights, step.bias)
    ]
    return all(bool(((x == 0) | ((x >= own.tiny) & (x <= own.largest))).all()) for x in numbers)
