"""Lines below and above an elementwise function on intervals.

A slope may be any number: that a line lies below or above is a matter of its offset, which is found for the slope as it is
stored. On pieces where f bends away from the line the ends decide, on the others a tangent, which lies beyond the whole piece.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from commute.proofs.enclosures.functions import image
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import SLACK, TINY, up
from commute.proofs.enclosures.shapes import SHAPES, Shape
from commute.proofs.programs.program import Function

_HALVINGS = 20  # with which a tangent of a given slope is found
_NARROW = 2.0**-26  # a width, relative to 1 and the numbers, below which a chord's slope is rounding


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines between which f lies on an interval: slopes and offsets of one below and one above, each [cells, width]."""

    lower_slope: Tensor
    lower_offset: Tensor
    upper_slope: Tensor
    upper_offset: Tensor


def lines(function: Function, x: Interval) -> Lines:
    """Lines that lie close to f over the whole of each interval (as in 1811.00866)."""
    if function in ("relu", "abs"):
        return _kinked(function, x)
    shape = SHAPES[function]
    if shape.bends:
        found = _bent(shape, x)
    elif shape.convex:
        found = Lines(*_cup(shape, x))
    else:
        slope, offset, over, top = _cup(shape.flipped(), x)
        found = Lines(-over, -top, -slope, -offset)
    return _settled(found, shape, image(function, x), x)


def parallel(function: Function, x: Interval) -> Lines:
    """Lines of one slope, the chord's, as close to each other as they can be."""
    if function in ("relu", "abs"):
        found = _kinked(function, x)
        return Lines(found.upper_slope, found.lower_offset, found.upper_slope, found.upper_offset)
    shape = SHAPES[function]
    slope = _chord(shape, x)
    found = Lines(slope, -_over(shape.flipped(), -slope, x), slope, _over(shape, slope, x))
    return _settled(found, shape, image(function, x), x)


def _kinked(function: Function, x: Interval) -> Lines:
    """Of relu and |x|, a line on either side of 0: where 0 is inside, the one of the larger side below and the chord above."""
    low, high = (0.0, 1.0) if function == "relu" else (-1.0, 1.0)
    left, right = x.lower.clamp(max=0), x.upper.clamp(min=0)
    slope = (high * right - low * left) / (right - left).clamp(min=TINY)
    side = (slope > (low + high) / 2).to(slope) * (high - low) + low
    # Each factor is rounded relative to itself; on one side of 0 both products are 0.
    offset = up(torch.maximum((low - slope) * left, (high - slope) * right) * (1 + SLACK))
    found = Lines(side, torch.zeros_like(side), slope, offset)
    wrong = ~(offset.isfinite() & slope.isfinite())
    return _replaced(found, image(function, x), wrong) if bool(wrong.any()) else found


def _cup(shape: Shape, x: Interval) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slope and offset below and above a convex function: a tangent and the chord."""
    middle = torch.minimum(x.center, x.lower + shape.reach)
    below, above = shape.slope(middle), _chord(shape, x)
    bottom = -_beyond(shape.flipped(), -below, x.lower, x.upper, middle)
    return below, bottom, above, torch.maximum(_at(shape, above, x.lower), _at(shape, above, x.upper))


def _bent(shape: Shape, x: Interval) -> Lines:
    chord, middle = _chord(shape, x), shape.slope(x.center)
    lower = upper = chord
    if len(shape.bends) == 1:
        bend = torch.full_like(chord, shape.bends[0])
        upper = _tangent(shape, chord, x.lower, bend, x.upper)
        lower = _tangent(shape, chord, x.upper, bend, x.lower)
    for low, high, convex in shape.pieces():
        inside = (x.lower >= low) & (x.upper <= high)
        if convex:
            lower, upper = torch.where(inside, middle, lower), torch.where(inside, chord, upper)
        else:
            lower, upper = torch.where(inside, chord, lower), torch.where(inside, middle, upper)
    return Lines(lower, -_over(shape.flipped(), -lower, x), upper, _over(shape, upper, x))


def _chord(shape: Shape, x: Interval) -> Tensor:
    width = x.upper - x.lower
    slope = (shape.value(x.upper) - shape.value(x.lower)) / width
    return torch.where(width > x.magnitude.clamp(min=1) * _NARROW, slope, shape.slope(x.center))


def _tangent(shape: Shape, chord: Tensor, end: Tensor, bend: Tensor, far: Tensor) -> Tensor:
    """The slope with which a line touches an s beyond its bend as seen from one end: the chord's where the curve ends before.

    It touches where a line from the end does, or in the middle of the interval where that is further on: least is then between.
    """
    value, near, further = shape.value(end), bend, far
    for _ in range(_HALVINGS):
        middle = (near + further) / 2
        on = shape.slope(middle) > (shape.value(middle) - value) / (middle - end)
        near, further = torch.where(on, middle, near), torch.where(on, further, middle)
    half = (end + far) / 2
    touched = torch.where((half - end).abs() > (further - end).abs(), half, further)
    return torch.where(further == far, chord, shape.slope(touched))


def _over(shape: Shape, slope: Tensor, x: Interval) -> Tensor:
    """The offset with which a line of a slope lies above."""
    offset = torch.full_like(slope, -torch.inf)
    for low, high, convex in shape.pieces():
        start, stop = x.lower.clamp(low, high), x.upper.clamp(low, high)
        if convex:
            needed = torch.maximum(_at(shape, slope, start), _at(shape, slope, stop))
        else:
            needed = _beyond(shape, slope, start, stop, _touching(shape, slope, start, stop))
        offset = torch.where((x.lower <= high) & (x.upper >= low), torch.maximum(offset, needed), offset)
    return offset


def _at(shape: Shape, slope: Tensor, x: Tensor) -> Tensor:
    """What f(x) - slope·x is at most."""
    y = shape.value(x)
    return y - slope * x + (shape.off(x, y) + (y.abs() + (slope * x).abs()) * SLACK + TINY)


def _beyond(shape: Shape, slope: Tensor, start: Tensor, stop: Tensor, at: Tensor) -> Tensor:
    """What f - slope·x is at most where f is concave: what its tangent at one place reaches."""
    own = shape.slope(at)
    rest = own - slope
    reach = torch.maximum(rest * (start - at), rest * (stop - at))
    return _at(shape, slope, at) + reach + (shape.slope_off(own) + (own.abs() + slope.abs()) * SLACK) * (stop - start) + TINY


def _touching(shape: Shape, slope: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Near where a concave function has a slope."""
    for _ in range(_HALVINGS):
        middle = (start + stop) / 2
        right = shape.slope(middle) > slope
        start, stop = torch.where(right, middle, start), torch.where(right, stop, middle)
    return (start + stop) / 2


def _settled(found: Lines, shape: Shape, y: Interval, x: Interval) -> Lines:
    told = (found.lower_slope, found.lower_offset, found.upper_slope, found.upper_offset, x.lower, x.upper)
    right = torch.stack([t.isfinite() for t in told]).all(0)
    return _replaced(found, y, ~(right & (x.lower > 0)) if shape.positive else ~right)


def _replaced(found: Lines, y: Interval, where: Tensor) -> Lines:
    """With the bounds of the values in place of lines."""
    zero = found.lower_slope.masked_fill(where, 0.0)
    return Lines(
        zero,
        torch.where(where, y.lower, found.lower_offset),
        found.upper_slope.masked_fill(where, 0.0),
        torch.where(where, y.upper, found.upper_offset),
    )
