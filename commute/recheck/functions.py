"""Elementwise functions in balls: values, and what they make of intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from commute.recheck.balls import NAN, arb, fmpq

_PIECES = 16  # of an interval on which a smooth function is bounded
_NARROW = 2.0**-20  # a radius up to which it is one piece


@dataclass(frozen=True)
class Function:
    """A function of real numbers.

    Attributes:
        value: f of a ball, a ball; not a number where f is not defined.
        slope: its derivative.
        k: in floats it is off by at most k·u·|f(x)|, or k·u·|x|.
        of_output: which of these.
        monotone: whether it rises everywhere or falls everywhere.
    """

    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    k: int
    of_output: bool = True
    monotone: bool = True


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + (-x).exp())


def _normal(x: Any) -> Any:
    return (-x / arb(2).sqrt()).erfc() / 2


def _inner(x: Any) -> Any:
    return (8 / arb.pi()).sqrt() * (x + arb(fmpq(44715, 10**6)) * x * x * x)


def _inner_slope(x: Any) -> Any:
    return (8 / arb.pi()).sqrt() * (1 + arb(fmpq(3 * 44715, 10**6)) * x * x)


def _gelu_slope(x: Any) -> Any:
    return _normal(x) + x * (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def _gelu_tanh_slope(x: Any) -> Any:  # the function is x·sigmoid of the inner one
    return _sigmoid(_inner(x)) * (1 + x * _inner_slope(x) * _sigmoid(-_inner(x)))


FUNCTIONS = {
    "relu": Function(arb.nonnegative_part, lambda _: NAN, 0),
    "abs": Function(lambda x: x.abs_lower().union(x.abs_upper()), lambda _: NAN, 0, monotone=False),
    "square": Function(lambda x: x * x, lambda x: 2 * x, 1, monotone=False),
    "reciprocal": Function(lambda x: 1 / x, lambda x: -1 / (x * x), 1, monotone=False),
    "sqrt": Function(lambda x: x.sqrt(), lambda x: x.rsqrt() / 2, 1),
    "rsqrt": Function(lambda x: x.rsqrt(), lambda x: -x.rsqrt() / (2 * x), 4),
    "exp": Function(lambda x: x.exp(), lambda x: x.exp(), 4),
    "tanh": Function(lambda x: x.tanh(), lambda x: 1 - x.tanh() * x.tanh(), 4),
    "sigmoid": Function(_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x), 8),
    "silu": Function(
        lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)), 12, of_output=False, monotone=False
    ),
    "gelu": Function(lambda x: x * _normal(x), _gelu_slope, 12, of_output=False, monotone=False),
    "gelu_tanh": Function(lambda x: x * _sigmoid(_inner(x)), _gelu_tanh_slope, 24, of_output=False, monotone=False),
}


def images(name: str, balls: Sequence[Any]) -> list[Any]:
    """For each ball one that holds f(t) for every t in it."""
    return list(map(FUNCTIONS[name].value, balls)) if name in ("relu", "abs") else [_image(name, x) for x in balls]


def _image(name: str, x: Any) -> Any:
    function = FUNCTIONS[name]
    if x.is_exact():
        return function.value(x)
    if function.monotone:
        return function.value(x.lower()).union(function.value(x.upper()))
    if name == "square":
        return (x.abs_lower() * x.abs_lower()).union(x.abs_upper() * x.abs_upper())
    if name == "reciprocal":
        return NAN if x.contains(0) else function.value(x.lower()).union(function.value(x.upper()))
    return _band(function, x, arb(0))


def lines(name: str, x: Any) -> tuple[Any, Any, Any, Any]:
    """Slope and offset of a line that is below f on a ball, and of one that is above it."""
    if name in ("relu", "abs"):
        return _bent(x, arb(-1 if name == "abs" else 0))
    function, low, high = FUNCTIONS[name], x.lower(), x.upper()
    slope = ((function.value(high) - function.value(low)) / (high - low)).mid() if high > low else arb(0)
    band = _band(function, x, slope) if slope.is_finite() and high > low else NAN
    if not band.is_finite():
        slope, band = arb(0), _image(name, x)
    return slope, band.lower(), slope, band.upper()


def _bent(x: Any, before: Any) -> tuple[Any, Any, Any, Any]:
    """The lines of a function that is `before`·x left of 0 and x right of it."""
    if x >= 0 or x <= 0:
        slope = arb(1) if x >= 0 else before
        return slope, arb(0), slope, arb(0)
    low, high = x.lower(), x.upper()
    slope = ((high - before * low) / (high - low)).mid()
    offset = ((before - slope) * low).max((1 - slope) * high)  # the function is convex: a line above its ends is above all of it
    return arb(1) if high > -low else before, arb(0), slope, offset.upper()


def _band(function: Function, x: Any, slope: Any) -> Any:
    """A ball that holds f(t) - slope·t for every t in a ball, by the mean value theorem on each piece of it."""
    if not x.is_finite():
        return NAN
    low, high, count = x.lower(), x.upper(), _PIECES if x.rad() > _NARROW else 1
    edges = [low, *((low + (high - low) * i / count).mid() for i in range(1, count)), high]
    found = []
    for piece in (edges[i].union(edges[i + 1]) for i in range(count)):
        c = piece.mid()
        found.append(function.value(c) - slope * c + (function.slope(piece) - slope) * (piece - c))
    return reduce(arb.union, found)
