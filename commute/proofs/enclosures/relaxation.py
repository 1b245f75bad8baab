"""Linear bounds of one step, through which rows of coefficients are taken backward.

A row of coefficients a over the step's output y, with a·y to be bounded from below, becomes rows over what the step takes. All
that rounding may add, the network's and ours, is in the constants.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from commute.proofs.enclosures.interval import Image
from commute.proofs.enclosures.linear import dots, pulled, shared
from commute.proofs.enclosures.lines import lines
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import TINY, gamma
from commute.proofs.programs.program import Affine, Elementwise, Product, Step


@dataclass(frozen=True, eq=False)
class Linear:
    """y = Σ Wᵢxᵢ + b + e with |e| ≤ `error`.

    Attributes:
        step: with inputs, weights and bias.
        error: what rounding may add, [cells, out].
    """

    step: Affine
    error: Tensor

    def back(self, rows: Tensor) -> tuple[list[tuple[int, Tensor]], list[Tensor]]:
        """Rows over each value that the step takes, and constants [cells or 1, rows]; their sum bounds rows·y from below."""
        constant = rows @ self.step.bias
        found = [(v, pulled(rows, w)) for v, w in zip(self.step.inputs, self.step.weights, strict=True)]
        return found, [constant[None] if shared(rows) else constant, -dots(rows.abs(), self.error)]


@dataclass(frozen=True, eq=False)
class Sloped:
    """Lower and upper bounds Σ sᵢxᵢ + t of y, number by number.

    Attributes:
        inputs: the values that the step takes.
        lower_slopes: s of the lower bound for each of these, [cells, width].
        upper_slopes: likewise.
        lower: its t, with all that rounding may add, [cells, width].
        upper: likewise.
    """

    inputs: tuple[int, ...]
    lower_slopes: tuple[Tensor, ...]
    upper_slopes: tuple[Tensor, ...]
    lower: Tensor
    upper: Tensor

    def back(self, rows: Tensor) -> tuple[list[tuple[int, Tensor]], list[Tensor]]:
        """Rows over what the step takes, and constants: y's lower bound counts where a row is positive, else its upper."""
        more, less = rows.clamp(min=0), rows.clamp(max=0)
        constants = [dots(more, self.lower), dots(less, self.upper)]
        if shared(rows):
            more, less = more[None], less[None]
        slopes = zip(self.inputs, self.lower_slopes, self.upper_slopes, strict=True)
        return [(v, torch.addcmul(more * low[:, None], less, high[:, None])) for v, low, high in slopes], constants


Relaxation = Linear | Sloped


def relaxed(step: Step, values: Sequence[Interval], made: Image) -> Relaxation:
    """Linear bounds of a step where its inputs are in `values`, and it makes of these what `made` says."""
    if isinstance(step, Affine):
        own = gamma(2 * len(step.bias) + 8)
        return Linear(step, (made.error + made.weighted * own + TINY) * (1 + own))
    if isinstance(step, Elementwise):
        x = values[step.input]
        found = lines(step.function, x)
        slopes = (found.lower_slope,), (found.upper_slope,)
        return _sloped((step.input,), slopes, found.lower_offset, found.upper_offset, values, made)
    return _planes(step, values, made)


def _planes(step: Product, values: Sequence[Interval], made: Image) -> Sloped:
    """The means of McCormick's two planes below and above: x₁x₂ = c₂x₁ + c₁x₂ - c₁c₂ + (x₁ - c₁)(x₂ - c₂)."""
    (one, one_radius), (other, other_radius) = (values[v].ball() for v in step.inputs)
    rest, off = one_radius * other_radius, -one * other
    slack = rest + (rest + off.abs()) * gamma(4) + TINY
    return _sloped(step.inputs, ((other, one), (other, one)), off - slack, off + slack, values, made)


def _sloped(
    inputs: tuple[int, ...],
    slopes: tuple[tuple[Tensor, ...], tuple[Tensor, ...]],
    lower: Tensor,
    upper: Tensor,
    values: Sequence[Interval],
    made: Image,
) -> Sloped:
    """With what rounding may add to a row's coefficients and to its sum of constants."""
    own = gamma(2 * lower.shape[1] + 8)
    size = lower.abs().maximum(upper.abs()) + made.error
    for v, low, high in zip(inputs, *slopes, strict=True):
        size = size + low.abs().maximum(high.abs()) * values[v].magnitude
    slack = (made.error + size * own + TINY) * (1 + own)
    return Sloped(inputs, *slopes, lower - slack, upper + slack)
