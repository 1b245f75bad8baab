"""Programs: what a network computes from its numbers to its scores, in steps of three kinds.

A program is a function over the real numbers, given by the stored weights. What floating-point arithmetic may add to each step,
in any order of summation and with fused operations or without, is stated beside it (`roundings`), so that a bound can hold for
both: for the function itself and for every way in which a machine may round it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from torch import Tensor

Function = Literal[
    "relu",
    "abs",
    "square",
    "reciprocal",
    "sqrt",
    "rsqrt",
    "exp",
    "tanh",
    "sigmoid",
    "silu",
    "gelu",
    "gelu_tanh",
]
FUNCTIONS: tuple[Function, ...] = get_args(Function)

_OF_OUTPUT: Mapping[str, int] = {
    "relu": 0,
    "abs": 0,
    "square": 1,
    "reciprocal": 1,
    "sqrt": 2,
    "rsqrt": 4,
    "exp": 4,
    "tanh": 4,
    "sigmoid": 8,
}
_OF_INPUT: Mapping[str, int] = {"silu": 12, "gelu": 12, "gelu_tanh": 24}


@dataclass(frozen=True, eq=False)
class Affine:
    """y = Σ Wᵢxᵢ + b.

    In floating point |fl(y) - y| ≤ γₙ(Σ|Wᵢ||xᵢ| + |b|) + n·tiny, with n `roundings` and γₙ = nu/(1 - nu).

    Attributes:
        inputs: the values that it takes.
        weights: of each of these, [out, in], float64, dense or sparse (COO).
        bias: [out], float64.
        roundings: on the way of a summand, at most; 0 where numbers are only moved.
    """

    inputs: tuple[int, ...]
    weights: tuple[Tensor, ...]
    bias: Tensor
    roundings: int


@dataclass(frozen=True)
class Elementwise:
    """y = f(x), each number by itself.

    In floating point |fl(y) - y| ≤ k·u·m + tiny, where k and whether m is |y| or |x| go with the function (`roundings_of`).

    Attributes:
        input: the value that it takes.
        function: f; `gelu` is x·Φ(x), `gelu_tanh` its approximation with tanh, `silu` x·sigmoid(x).
    """

    input: int
    function: Function


@dataclass(frozen=True)
class Product:
    """y = x₁·x₂, number by number. In floating point |fl(y) - y| ≤ u|y| + tiny."""

    inputs: tuple[int, int]


Step = Affine | Elementwise | Product


@dataclass(frozen=True, eq=False)
class Program:
    """Inputs, and steps that each make one more value, a vector, from earlier ones; the last is the output.

    Attributes:
        inputs: the width of each input. The inputs are the first values, and each step makes the next.
        steps: in order.
        unit: u, the unit roundoff of the network's arithmetic: 2⁻²⁴ for float32.
        tiny: the smallest normal number of that arithmetic.
    """

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    unit: float
    tiny: float

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of every value, inputs first."""
        widths = list(self.inputs)
        for step in self.steps:
            if isinstance(step, Affine):
                widths.append(len(step.bias))
            else:
                widths.append(widths[step.input if isinstance(step, Elementwise) else step.inputs[0]])
        return tuple(widths)

    @cached_property
    def constants(self) -> frozenset[int]:
        """The values that depend on no input."""
        found: set[int] = set()
        for v, step in enumerate(self.steps, len(self.inputs)):
            weights = step.weights if isinstance(step, Affine) else [None] * len(taken(step))
            if all(x in found or (w is not None and not _any(w)) for x, w in zip(taken(step), weights, strict=True)):
                found.add(v)
        return frozenset(found)

    @property
    def output(self) -> int:
        """The last value."""
        return len(self.inputs) + len(self.steps) - 1


def _any(weights: Tensor) -> bool:
    """Whether one is not 0."""
    return bool((weights.coalesce().values() if weights.is_sparse else weights).any())


def taken(step: Step) -> tuple[int, ...]:
    """The values that a step takes."""
    return (step.input,) if isinstance(step, Elementwise) else step.inputs


def roundings_of(function: Function) -> tuple[int, bool]:
    """K of an elementwise function, and whether the error is relative to its output (else to its input)."""
    return (_OF_OUTPUT[function], True) if function in _OF_OUTPUT else (_OF_INPUT[function], False)
