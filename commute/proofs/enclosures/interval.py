"""Interval bounds of every value of a program, forward."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from commute.proofs.enclosures.functions import image
from commute.proofs.enclosures.linear import absolute, applied
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import (
    TINY,
    Arithmetic,
    affine_error,
    ceiled,
    down,
    floored,
    function_error,
    gamma,
    product_error,
    up,
)
from commute.proofs.programs.program import Affine, Elementwise, Product, Program, Step

if TYPE_CHECKING:
    from commute.proofs.enclosures.domains import Domain


@dataclass(frozen=True, eq=False)
class Image:
    """What a step makes of intervals.

    Attributes:
        interval: of its output, errors included.
        error: what the network's arithmetic may add to the step, [cells, width].
        weighted: Σ|Wᵢ||xᵢ| + |b| of an affine step at most; of others |y|.
    """

    interval: Interval
    error: Tensor
    weighted: Tensor


@torch.no_grad()
def intervals(program: Program, domains: Sequence["Domain"], arithmetic: Arithmetic) -> list[Interval]:
    """Bounds of every value of a program, inputs first, for each cell.

    Where the domains are points, these are its values with a bound on how far rounding may take them.

    Args:
        program: to bound.
        domains: what each input ranges over.
        arithmetic: whose evaluations are bounded beside the exact one.
    """
    found = [d.hull() for d in domains]
    for step in program.steps:
        found.append(stepped(step, found, arithmetic).interval)
    return found


def stepped(step: Step, values: Sequence[Interval], arithmetic: Arithmetic) -> Image:
    """What one step makes of the values before it."""
    if isinstance(step, Affine):
        return _affine(step, values, arithmetic)
    if isinstance(step, Product):
        return _product(step, values, arithmetic)
    return _elementwise(step, values[step.input], arithmetic)


def _affine(step: Affine, values: Sequence[Interval], arithmetic: Arithmetic) -> Image:
    own = gamma(2 * sum(w.shape[1] for w in step.weights) + 8)
    center, weighted, radius = step.bias, step.bias.abs(), torch.zeros_like(step.bias)
    for v, weights in zip(step.inputs, step.weights, strict=True):
        middle, spread = values[v].ball()
        size = absolute(weights)
        center = center + applied(weights, middle)
        weighted = weighted + applied(size, values[v].magnitude)
        radius = radius + applied(size, spread)
    weighted = weighted * (1 + own)
    error = affine_error(step.roundings, weighted, arithmetic)
    # Of n summands from m ≤ n inputs the center has n + m + 1 roundings, each of at most Σ|W||c| + |b|, where |c| is at most the
    # largest |x|; center ± radius has one more. `own` is for 2n + 8: above both, and above what the sums of sizes are off.
    radius = (radius + error) * (1 + own) + weighted * own + TINY
    return Image(Interval(floored(center - radius), ceiled(center + radius)), error, weighted)


def _elementwise(step: Elementwise, x: Interval, arithmetic: Arithmetic) -> Image:
    y = image(step.function, x)
    error = function_error(step.function, x.magnitude, y.magnitude, arithmetic)
    return Image(y.widened(error), error, y.magnitude)


def _product(step: Product, values: Sequence[Interval], arithmetic: Arithmetic) -> Image:
    one, other = (values[v] for v in step.inputs)
    corners = torch.stack([a * b for a in (one.lower, one.upper) for b in (other.lower, other.upper)])
    y = Interval(floored(down(corners.amin(0))), ceiled(up(corners.amax(0))))
    error = product_error(y.magnitude, arithmetic)
    return Image(y.widened(error), error, y.magnitude)
