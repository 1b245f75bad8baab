"""Evaluating programs in exact arithmetic, and in balls that hold the exact value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from torch import Tensor

from commute.causal.batches import Column
from commute.errors import NetworkError
from commute.proofs.programs.program import Affine, Elementwise, Function, Program

_RATIONAL = ("relu", "abs", "square")
_BITS = (64, 128, 256, 512, 1024)


def rational(program: Program) -> bool:
    """Whether a program gives fractions for fractions."""
    return not _irrational(program)


def _irrational(program: Program) -> list[Function]:
    """Functions that give no fractions, or other ones for each row, whose common denominator would be long."""
    steps = [s for s in program.steps if isinstance(s, Elementwise) and s.function not in _RATIONAL]
    return [s.function for s in steps if s.function != "reciprocal" or s.input not in program.constants]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Fractions [rows, width]: Python's whole numbers, over a denominator that they share."""

    numbers: Column
    over: int

    def to(self, over: int) -> Column:
        """The numbers over a multiple of the denominator."""
        factor = over // self.over
        return self.numbers if factor == 1 else self.numbers * factor


def exact_rows(program: Program, inputs: Sequence[Sequence[Sequence[Fraction]] | Tensor]) -> list[list[Fraction]]:
    """The outputs of a program for rows of inputs, in exact arithmetic.

    Args:
        program: of affine steps, products, relu, abs, square and reciprocals of constants alone.
        inputs: of each of its inputs [rows, width], fractions or a tensor, whose numbers are taken as they are.

    Raises:
        NetworkError: for other functions, which give no fractions.
    """
    other = _irrational(program)
    if other:
        raise NetworkError(f"{other[0]} gives no fractions for fractions; use balls, or a network of relu alone")
    made = [_rows(x) for x in inputs]
    for step in program.steps:
        if isinstance(step, Affine):
            made.append(_affine(step, made))
        elif isinstance(step, Elementwise):
            made.append(_applied(step.function, made[step.input]))
        else:
            one, two = (made[v] for v in step.inputs)
            made.append(_Rows(one.numbers * two.numbers, one.over * two.over))
    last = made[-1]
    return [[Fraction(x, last.over) for x in row] for row in last.numbers.tolist()]


def _applied(function: Function, x: _Rows) -> _Rows:
    if function == "reciprocal":
        one = _rows([[1 / Fraction(v, x.over) for v in x.numbers[0].tolist()]])  # of constants, the same for all rows
        return _Rows(np.repeat(one.numbers, len(x.numbers), axis=0), one.over)
    if function == "square":
        return _Rows(x.numbers * x.numbers, x.over**2)
    size = abs(x.numbers)
    return _Rows(size if function == "abs" else (x.numbers + size) // 2, x.over)


def exact(program: Program, inputs: Sequence[Sequence[Fraction]]) -> list[Fraction]:
    """The output of a program for one row of each input, in exact arithmetic; see `exact_rows`."""
    return exact_rows(program, [[x] for x in inputs])[0]


def fractions(x: Tensor) -> list[Fraction]:
    """A vector's numbers as they are."""
    return [Fraction(v) for v in x.tolist()]


def _rows(x: Sequence[Sequence[Fraction]] | Tensor) -> _Rows:
    listed = x.tolist() if isinstance(x, Tensor) else x
    values = [[Fraction(v) for v in row] for row in listed]
    over = lcm(*(v.denominator for row in values for v in row))
    return _Rows(_objects([[v.numerator * (over // v.denominator) for v in row] for row in values], len(values)), over)


def _affine(step: Affine, made: Sequence[_Rows]) -> _Rows:
    """Σ Wx + b: each row of a matrix by the columns where it is not 0."""
    bias = _rows(step.bias.unsqueeze(0))
    weights = [_Weights.of(w) for w in step.weights]
    over = lcm(bias.over, *(made[v].over * w.over for v, w in zip(step.inputs, weights, strict=True)))
    total = np.repeat(bias.to(over), len(made[0].numbers), axis=0)
    for v, w in zip(step.inputs, weights, strict=True):
        w.add(total, made[v].numbers, over // (made[v].over * w.over))
    return _Rows(total, over)


@dataclass(frozen=True, eq=False)
class _Weights:
    """A matrix of fractions that share a denominator, by the rows that have columns."""

    rows: list[tuple[int, Column, Column]]
    over: int

    @classmethod
    def of(cls, weights: Tensor) -> "_Weights":
        sparse = (weights if weights.is_sparse else weights.to_sparse()).coalesce()
        (rows, columns), values = sparse.indices().tolist(), [Fraction(x) for x in sparse.values().tolist()]
        over = lcm(*(x.denominator for x in values))
        by_row: dict[int, tuple[list[int], list[int]]] = {}
        for i, j, x in zip(rows, columns, values, strict=True):
            found = by_row.setdefault(i, ([], []))
            found[0].append(j)
            found[1].append(x.numerator * (over // x.denominator))
        return cls([(i, np.array(c), _objects([w], 1)[0]) for i, (c, w) in by_row.items()], over)

    def add(self, total: Column, x: Column, factor: int) -> None:
        """Add factor·Wx to rows of sums."""
        for i, columns, weights in self.rows:
            total[:, i] += x[:, columns] @ (weights * factor)


def _objects(rows: Sequence[Sequence[int]], count: int) -> Column:
    made = np.empty((count, len(rows[0]) if rows else 0), dtype=object)
    made[:] = rows
    return made


def ball(program: Program, inputs: Sequence[Sequence[Fraction]], *, bits: int) -> list[Any]:
    """The output of a program for one row of each input, in balls (`flint.arb`) that hold the exact values.

    Args:
        program: any program.
        inputs: a row of each of its inputs.
        bits: of precision.

    Raises:
        NetworkError: when python-flint is not there.
    """
    flint = _flint()
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        return _balls(flint, program, inputs)
    finally:
        flint.ctx.prec = before


def _flint() -> Any:
    try:
        import flint
    except ImportError as error:
        raise NetworkError("exact values of this network need python-flint; pip install python-flint") from error
    return flint


def _balls(flint: Any, program: Program, inputs: Sequence[Sequence[Fraction]]) -> list[Any]:
    functions = _functions(flint)
    made = [[_arb(flint, Fraction(x)) for x in row] for row in inputs]
    for step in program.steps:
        if isinstance(step, Affine):
            found = [flint.arb(b) for b in step.bias.tolist()]
            for v, weights in zip(step.inputs, step.weights, strict=True):
                sparse = (weights if weights.is_sparse else weights.to_sparse()).coalesce()
                for i, j, w in zip(*sparse.indices().tolist(), sparse.values().tolist(), strict=True):
                    found[i] += made[v][j] * w
            made.append(found)
        elif isinstance(step, Elementwise):
            made.append([functions[step.function](x) for x in made[step.input]])
        else:
            one, two = step.inputs
            made.append([x * y for x, y in zip(made[one], made[two], strict=True)])
    return made[-1]


def _arb(flint: Any, x: Fraction) -> Any:
    return flint.arb(flint.fmpq(x.numerator, x.denominator))


def _functions(flint: Any) -> dict[str, Callable[[Any], Any]]:
    arb = flint.arb

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + (-x).exp())

    def gelu_tanh(x: Any) -> Any:
        inner = (2 / arb.pi()).sqrt() * (x + arb(flint.fmpq(44715, 1_000_000)) * x**3)
        return x * (1 + inner.tanh()) / 2

    return {
        "relu": lambda x: (x + abs(x)) / 2,
        "abs": abs,
        "square": lambda x: x * x,
        "reciprocal": lambda x: 1 / x,
        "sqrt": lambda x: x.sqrt(),
        "rsqrt": lambda x: x.rsqrt(),
        "exp": lambda x: x.exp(),
        "tanh": lambda x: x.tanh(),
        "sigmoid": sigmoid,
        "silu": lambda x: x * sigmoid(x),
        "gelu": lambda x: x * (1 + (x / arb(2).sqrt()).erf()) / 2,
        "gelu_tanh": gelu_tanh,
    }


def decided(program: Program, inputs: Sequence[Sequence[Fraction]], choice: int) -> int | None:
    """Whether a choice's score is above every other.

    Returns:
        1 where it is, -1 where one of the others is above it, 0 where neither is: others are equal to it. None where balls of
        many bits do not tell.
    """
    if rational(program):
        scores = exact(program, inputs)
        margin = min((scores[choice] - x for i, x in enumerate(scores) if i != choice), default=Fraction(1))
        return (margin > 0) - (margin < 0)
    for bits in _BITS:
        balls = ball(program, inputs, bits=bits)
        apart = [balls[choice] - x for i, x in enumerate(balls) if i != choice]
        if all(x > 0 for x in apart):
            return 1
        if any(x < 0 for x in apart):
            return -1
    return None
