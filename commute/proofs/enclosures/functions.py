"""What elementwise functions make of intervals."""

from math import inf

import torch
from torch import Tensor

from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import ceiled, down, floored, up
from commute.proofs.enclosures.shapes import SHAPES, Shape
from commute.proofs.programs.program import Function

_NEAR = 2.0**-40  # around a turning point


def image(function: Function, x: Interval) -> Interval:
    """The smallest interval that holds f of every number of x, up to rounding; infinite where f is not defined on all of x."""
    if function == "relu":
        return Interval(x.lower.clamp(min=0), x.upper.clamp(min=0))
    if function == "abs":
        least = torch.maximum(x.lower, -x.upper).clamp(min=0)
        return Interval(least, x.magnitude)
    return _smooth(SHAPES[function], x)


def _smooth(shape: Shape, x: Interval) -> Interval:
    first, last = shape.value(x.lower), shape.value(x.upper)
    lower = torch.minimum(first - shape.off(x.lower, first), last - shape.off(x.upper, last))
    upper = torch.maximum(first + shape.off(x.lower, first), last + shape.off(x.upper, last))
    if shape.turn is not None:
        at, value = shape.turn
        turns = (x.lower <= at + _NEAR) & (x.upper >= at - _NEAR)
        least: Tensor = lower.new_tensor(value) - shape.off(lower.new_tensor(at), lower.new_tensor(value))
        lower = torch.where(turns, least, lower)
    lower, upper = floored(down(lower)).clamp(min=shape.span[0]), ceiled(up(upper)).clamp(max=shape.span[1])
    if shape.positive:
        outside = ~(x.lower > 0)
        lower, upper = lower.masked_fill(outside, -inf), upper.masked_fill(outside, inf)
    return Interval(lower, upper)
