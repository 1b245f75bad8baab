"""Splitting a program: what depends on one input alone, and what depends on several.

Up to where several inputs meet in a step that is not affine, a program is a sum of functions of one input each. They are computed
once for each input; the rest once for each combination.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.interval import intervals
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import EXACT
from commute.proofs.programs.dividing import Number, Parts, beyond_narrowest, met_by, with_constants
from commute.proofs.programs.program import Affine, Elementwise, Product, Program, Step, taken
from commute.proofs.programs.pruning import matrix, no_weights, places_of, pruned

_ROWS = 3  # on which parts are compared with their program


@dataclass(frozen=True, eq=False)
class Split:
    """A program of several inputs as `joint(Σ side(input))`.

    In exact arithmetic the two are the same function. What rounding may add to an affine step that several inputs meet in is
    divided among the sides: to each what goes with its own numbers, to the first what goes with the bias.

    Attributes:
        sides: for each input a program of it alone, which gives its part of z, [d].
        joint: from z, [d], to the program's output.
    """

    sides: tuple[Program, ...]
    joint: Program


def split(program: Program, *, narrow: bool = True) -> Split:
    """The program as a function of a sum of functions of one input each.

    Args:
        program: the program.
        narrow: whether z is to be as narrow as it can be, so that affine steps which make many numbers of few, such as those
            before a layer norm, are left to the joint program; else it leaves none to it that can be made for each input alone.
    """
    parts = Parts.of(pruned(program))
    program = parts.program
    first = len(program.inputs)
    inside = {v for v in range(first, program.output + 1) if not parts.apart[v]}
    if narrow:
        inside |= beyond_narrowest(parts, inside)
    inside = with_constants(parts, inside)
    met = met_by(parts, inside)
    origins = {(v, i): parts.origin((v, i)) for v in sorted(met) for i in sorted(met[v])}
    numbers = list(dict.fromkeys(x for x in origins.values() if isinstance(x, tuple)))
    numbers = numbers or [next(iter(origins))]
    sides = tuple(_side(parts, i, numbers) for i in range(first))
    made = Split(sides, _joint(parts, inside, origins, {x: i for i, x in enumerate(numbers)}))
    _check(program, made)
    return made


@torch.no_grad()
def _check(program: Program, parts: Split) -> None:
    """Compare enclosures of what both make of a few numbers, which overlap where both are the same function."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(_ROWS, width, generator=generator, dtype=torch.float64) for width in program.inputs]
    points = [Box(x, torch.zeros_like(x)) for x in rows]
    z = reduce(Interval.plus, (intervals(p, [x], EXACT)[-1] for p, x in zip(parts.sides, points, strict=True)))
    one, other = intervals(program, points, EXACT)[-1], intervals(parts.joint, [Box(*z.ball())], EXACT)[-1]
    widths = {one.lower.shape[-1], other.lower.shape[-1]}  # of what is the same for all inputs there is one row
    if len(widths) > 1 or bool(((one.lower > other.upper) | (other.lower > one.upper)).any()):
        raise RuntimeError("a program was divided into parts that are another function; please report this, with the network")


def _joint(parts: Parts, inside: set[int], origins: Mapping[Number, Number | float], z: Mapping[Number, int]) -> Program:
    """The steps that several inputs meet in, after those that put z back in the places of the values that they begin with."""
    program = parts.program
    made, met = _Steps([len(z)]), met_by(parts, inside)
    for v in sorted(met):
        bias = torch.zeros(program.widths[v], dtype=torch.float64)
        rows, columns = [], []
        for i in sorted(met[v]):
            origin = origins[v, i]
            if isinstance(origin, tuple):
                rows.append(i)
                columns.append(z[origin])
            else:
                bias[i] = origin
        if rows == columns == list(range(len(z))) and len(bias) == len(z):
            made.new[v] = 0
        else:
            made.add(v, Affine((0,), (_moves(rows, columns, (len(bias), len(z))),), bias, 0))
    for v in sorted(inside):
        made.add(v, _renamed(parts.step(v), made.new, len(z)))
    if not made.steps or made.new[program.output] == 0:
        same = _moves(range(len(z)), range(len(z)), (len(z), len(z)))
        made.add(program.output, Affine((0,), (same,), torch.zeros(len(z), dtype=torch.float64), 0))
    return pruned(Program((len(z),), tuple(made.steps), program.unit, program.tiny))


def _side(parts: Parts, side: int, numbers: list[Number]) -> Program:
    """What one input adds to numbers."""
    program = parts.program
    made = _Steps([program.inputs[side]], {side: 0})
    alone = frozenset({side})
    for v in range(len(program.inputs), program.output + 1):
        step = parts.step(v)
        if parts.on[v] <= alone:
            made.add(v, _renamed(step, made.new, program.inputs[side]))
        elif not parts.apart[v]:
            continue
        elif isinstance(step, Product):
            if all(x in made.new for x in step.inputs):
                made.add(v, _renamed(step, made.new, program.inputs[side]))
        elif len(parts.on[v]) > 1 and isinstance(step, Affine):
            own = {x: made.new[x] for x in step.inputs if x in made.new and (parts.on[x] or side == 0)}
            if own or side == 0:
                bias = step.bias if side == 0 else torch.zeros_like(step.bias)
                step = Affine(step.inputs, step.weights, bias, step.roundings)
                made.add(v, _renamed(step, own, program.inputs[side]))
    moves: dict[int, tuple[list[int], list[int]]] = {}
    for row, (v, place) in enumerate(numbers):
        if v in made.new and (parts.on[v] or side == 0):
            rows, columns = moves.setdefault(made.new[v], ([], []))
            rows.append(row)
            columns.append(place)
    moves = moves or {0: ([], [])}
    weights = tuple(_moves(rows, columns, (len(numbers), made.widths[x])) for x, (rows, columns) in moves.items())
    last = Affine(tuple(moves), weights, torch.zeros(len(numbers), dtype=torch.float64), 0)
    return pruned(Program((program.inputs[side],), (*made.steps, last), program.unit, program.tiny))


@dataclass(eq=False)
class _Steps:
    """Steps after one input, and the new places of a program's values among them."""

    widths: list[int]
    new: dict[int, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def add(self, value: int, step: Step) -> None:
        """Add a step that makes a value."""
        self.widths.append(len(step.bias) if isinstance(step, Affine) else self.widths[taken(step)[0]])
        self.steps.append(step)
        self.new[value] = len(self.steps)


def _renamed(step: Step, new: Mapping[int, int], width: int) -> Step:
    """A step of another program, whose input has this width; what is not among the new values is left out."""
    if isinstance(step, Elementwise):
        return Elementwise(new[step.input], step.function)
    if isinstance(step, Product):
        return Product((new[step.inputs[0]], new[step.inputs[1]]))
    used = [(new[v], w) for v, w in zip(step.inputs, step.weights, strict=True) if v in new and len(places_of(w)[0])]
    inputs, weights = zip(*used, strict=True) if used else ((0,), (no_weights(len(step.bias), width),))
    return Affine(tuple(inputs), tuple(weights), step.bias, step.roundings)


def _moves(rows: list[int] | range, columns: list[int] | range, shape: tuple[int, int]) -> Tensor:
    """The matrix that moves columns to rows."""
    ones = torch.ones(len(rows), dtype=torch.float64)
    return matrix(torch.tensor(list(rows), dtype=torch.int64), torch.tensor(list(columns), dtype=torch.int64), ones, shape)
