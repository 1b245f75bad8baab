"""How far an evaluation of a program may be from its exact value, at most, wherever in a box it begins."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.functions import image
from commute.proofs.enclosures.interval import intervals
from commute.proofs.enclosures.linear import absolute, applied
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import EXACT, Arithmetic, affine_error, ceiled, function_error, product_error
from commute.proofs.programs.program import Affine, Elementwise, Function, Product, Program, Step

_UP = 1 + 2.0**-20  # more than the rounding of sums of 2³⁰ numbers that are not negative
_STEEPEST = {"relu": 1.0, "abs": 1.0, "tanh": 1.0, "sigmoid": 0.25, "silu": 1.2, "gelu": 1.2, "gelu_tanh": 1.2}


@torch.no_grad()
def off(program: Program, box: Box, start: Tensor, arithmetic: Arithmetic) -> Tensor:
    """How far an evaluation may be off, in any order of summation (forward error analysis, step by step).

    Args:
        program: of one input.
        box: one cell, in which the exact evaluation begins.
        start: how far from there the other may begin, [width].
        arithmetic: of the other.

    Returns:
        For each number of the output, [out]; infinite where it is not known, never NaN.
    """
    ranges = intervals(program, [box], EXACT)
    errors = [start.unsqueeze(0)]
    for step in program.steps:
        errors.append(ceiled(_after(step, ranges, errors, arithmetic) * _UP))
    return errors[-1][0]


def _after(step: Step, ranges: Sequence[Interval], errors: Sequence[Tensor], arithmetic: Arithmetic) -> Tensor:
    if isinstance(step, Affine):
        carried, weighted = torch.zeros_like(step.bias), step.bias.abs()
        for v, weights in zip(step.inputs, step.weights, strict=True):
            size = absolute(weights)
            carried = carried + applied(size, errors[v])
            weighted = weighted + applied(size, ranges[v].magnitude + errors[v])
        return carried + affine_error(step.roundings, weighted * _UP, arithmetic)
    if isinstance(step, Product):
        return _of_product(step, ranges, errors, arithmetic)
    return _of_function(step, ranges[step.input], errors[step.input], arithmetic)


def _of_product(step: Product, ranges: Sequence[Interval], errors: Sequence[Tensor], arithmetic: Arithmetic) -> Tensor:
    (x, y), (e, f) = (ranges[v].magnitude for v in step.inputs), (errors[v] for v in step.inputs)
    return x * f + y * e + e * f + product_error((x + e) * (y + f) * _UP, arithmetic)


def _of_function(step: Elementwise, x: Interval, error: Tensor, arithmetic: Arithmetic) -> Tensor:
    wide = x.widened(error)
    y = image(step.function, wide).magnitude
    return _steepest(step.function, wide, y) * error + function_error(step.function, wide.magnitude, y, arithmetic)


def _steepest(function: Function, x: Interval, y: Tensor) -> Tensor:
    """The largest absolute slope on an interval, at most; y is the largest absolute value."""
    if function in _STEEPEST:
        return torch.full_like(y, _STEEPEST[function])
    if function == "exp":
        return y
    if function == "square":
        return 2 * x.magnitude
    power, factor = {"reciprocal": (-2.0, 1.0), "sqrt": (-0.5, 0.5), "rsqrt": (-1.5, 0.5)}[function]
    return (factor * x.lower.clamp(min=0).pow(power)).masked_fill(~(x.lower > 0), inf)
