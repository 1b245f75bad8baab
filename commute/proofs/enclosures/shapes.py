"""How the elementwise functions run: values, slopes, where they turn and where they bend.

Turning points and bends are stated to the nearest float64. That each function turns and bends there and nowhere else is known in
closed form except for `gelu_tanh`, x·sigmoid(s(x)). There ball arithmetic shows it for |x| ≤ 8 (the tests do); beyond, the last
terms outweigh the others in 1 + xs'·sigmoid(-s) and 2s' + xs" - xs'²·tanh(s/2), which have the signs of the derivatives.
Between a bend and its float64 lie less than 2⁻⁵⁰, where the second derivative is below 2⁻⁴⁸: what a curve is off for that is far
below `SLACK`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, pi, sqrt

import torch
from torch import Tensor

from commute.proofs.enclosures.rounding import SLACK, TINY
from commute.proofs.programs.program import Function

Curve = Callable[[Tensor], Tensor]
_A, _B = sqrt(2 / pi), 0.044715  # of gelu_tanh
_STEEP = 2.0**-46  # what a computed slope may be off, relative to itself, or to 1 where slopes are bounded


@dataclass(frozen=True)
class Shape:
    """A smooth function.

    Attributes:
        value: f, off by at most SLACK·|f(x)|, or where `of_input` by SLACK·|x|.
        slope: its derivative s, off by at most 2⁻⁴⁶|s|, and where `bounded` by 2⁻⁴⁶ more.
        bends: where the second derivative changes its sign.
        convex: whether it is convex before the first bend.
        positive: whether it is defined for x > 0 only.
        span: between which its values lie.
        turn: the one place where it changes from falling to rising and the value there, unless it is monotone.
        reach: how far from the lower end a line may touch it from below.
    """

    value: Curve
    slope: Curve
    bends: tuple[float, ...] = ()
    convex: bool = True
    positive: bool = False
    span: tuple[float, float] = (-inf, inf)
    turn: tuple[float, float] | None = None
    of_input: bool = False
    bounded: bool = False
    reach: float = inf

    def pieces(self) -> Iterator[tuple[float, float, bool]]:
        """Between bends: from where, to where, and whether it is convex there."""
        edges = (-inf, *self.bends, inf)
        for i, (low, high) in enumerate(pairwise(edges)):
            yield low, high, self.convex == (i % 2 == 0)

    def flipped(self) -> "Shape":
        """-f, of which only values, slopes and pieces are told."""
        value, slope = self.value, self.slope
        return replace(self, value=lambda x: -value(x), slope=lambda x: -slope(x), convex=not self.convex)

    def off(self, x: Tensor, y: Tensor) -> Tensor:
        """What a computed value y = f(x) may be off."""
        return (x.abs() if self.of_input else y.abs()) * SLACK + TINY

    def slope_off(self, slope: Tensor) -> Tensor:
        """What a computed slope may be off."""
        return (slope.abs() + (1.0 if self.bounded else 0.0)) * _STEEP


def _tanh_slope(x: Tensor) -> Tensor:
    return 1 - torch.tanh(x).square()


def _sigmoid_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * torch.sigmoid(-x)


def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _silu_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * (1 + x * torch.sigmoid(-x))


def _gelu(x: Tensor) -> Tensor:
    return x * ((1 + torch.erf(x * sqrt(0.5))) / 2)


def _gelu_slope(x: Tensor) -> Tensor:
    return (1 + torch.erf(x * sqrt(0.5))) / 2 + x * torch.exp(x.square() / -2) / sqrt(2 * pi)


def _gelu_tanh(x: Tensor) -> Tensor:
    return x * ((1 + torch.tanh(_A * x * (1 + _B * x.square()))) / 2)


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    inner = 2 * _A * x * (1 + _B * x.square())  # the function is x·sigmoid of this
    return torch.sigmoid(inner) * (1 + x * (2 * _A) * (1 + 3 * _B * x.square()) * torch.sigmoid(-inner))


SHAPES: Mapping[Function, Shape] = {
    "square": Shape(torch.square, lambda x: 2 * x, span=(0, inf), turn=(0, 0)),
    "reciprocal": Shape(torch.reciprocal, lambda x: -1 / x.square(), positive=True, span=(0, inf)),
    "sqrt": Shape(torch.sqrt, lambda x: 0.5 / x.sqrt(), convex=False, positive=True, span=(0, inf)),
    "rsqrt": Shape(lambda x: 1 / x.sqrt(), lambda x: -0.5 / (x * x.sqrt()), positive=True, span=(0, inf)),
    "exp": Shape(torch.exp, torch.exp, span=(0, inf), reach=0.99),  # from below still positive at the lower end (2002.06622)
    "tanh": Shape(torch.tanh, _tanh_slope, (0.0,), span=(-1, 1), bounded=True),
    "sigmoid": Shape(torch.sigmoid, _sigmoid_slope, (0.0,), span=(0, 1), bounded=True),
    "silu": Shape(
        _silu,
        _silu_slope,
        (-2.3993572805154675, 2.3993572805154675),
        convex=False,
        turn=(-1.2784645427610737, -0.2784645427610738),
        of_input=True,
        bounded=True,
    ),
    "gelu": Shape(
        _gelu,
        _gelu_slope,
        (-sqrt(2), sqrt(2)),
        convex=False,
        turn=(-0.7517915246935645, -0.16997120747990366),
        of_input=True,
        bounded=True,
    ),
    "gelu_tanh": Shape(
        _gelu_tanh,
        _gelu_tanh_slope,
        (-1.4185040087908283, 1.4185040087908283),
        convex=False,
        turn=(-0.7524614220710163, -0.17004075057125406),
        of_input=True,
        bounded=True,
    ),
}
