"""What rounding may add: in the network's arithmetic, and in our own.

A step of a program makes y = op(x) + e, with |e| at most an error that covers every float evaluation of the step, in any order of
summation. What our own float64 adds is paid on top. It is assumed of float64 that + - * / are rounded to nearest with
subnormal numbers kept, that sums may be taken in any order and fused, and that torch's square root, exp, tanh, sigmoid and erf
are within 4 units in the last place.
"""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from commute.proofs.programs.program import Function, Program, roundings_of

UNIT = 2.0**-53
TINY = 2.0**-1022
SLACK = 2.0**-48  # relative: a library function within 4 units in the last place (2⁻⁵⁰), and up to ten operations beside it
PARTS = 128  # sides of a sum whose bounds are found side by side
_COARSER = 1 + 2.0**-4
_UP = 1 + 2.0**-44  # makes up for the rounding of an error that is itself computed


@dataclass(frozen=True)
class Arithmetic:
    """In which numbers a network is evaluated: what is bounded are all its evaluations in this, and the exact one.

    Attributes:
        unit: the unit roundoff; 0 for exact real numbers.
        tiny: the smallest normal number; 0 for exact real numbers.
    """

    unit: float
    tiny: float

    @property
    def largest(self) -> float:
        """A magnitude below overflow, also of what up to `PARTS` numbers add up to that are bounded by themselves.

        IEEE formats reach nearly 4/tiny.
        """
        return 2 / self.tiny / PARTS if self.tiny else inf


EXACT = Arithmetic(0.0, 0.0)


def stored(program: Program) -> Arithmetic:
    """The arithmetic of a program's network, made a little coarser so that other bounds than these show the same of it."""
    return Arithmetic(program.unit * _COARSER, program.tiny)


def keeps_subnormals() -> bool:
    """Whether torch keeps numbers below the smallest normal one, as the bounds here assume."""
    return bool(torch.tensor(TINY, dtype=torch.float64) / 2 > 0)


def gamma(n: int, unit: float = UNIT) -> float:
    """γₙ = n·u/(1 - n·u), an upper bound of it; infinite where it is not defined."""
    return n * unit / (1 - n * unit) * _UP if n * unit < 1 else inf


def down(x: Tensor) -> Tensor:
    """The next lower numbers: below the true result of the one rounded operation that gave x."""
    return torch.nextafter(x, x.new_tensor(-inf))


def up(x: Tensor) -> Tensor:
    """The next higher numbers."""
    return torch.nextafter(x, x.new_tensor(inf))


def affine_error(roundings: int, weighted: Tensor, arithmetic: Arithmetic) -> Tensor:
    """What an affine step's floats may be off, where Σ|Wᵢ||xᵢ| + |b| is at most `weighted`; infinite where it may overflow."""
    error = weighted * (gamma(roundings, arithmetic.unit) * _UP) + roundings * arithmetic.tiny
    return _unless_overflow(error, weighted, arithmetic)


def function_error(function: Function, inputs: Tensor, outputs: Tensor, arithmetic: Arithmetic) -> Tensor:
    """What an elementwise step's floats may be off, where |x| and |f(x)| are at most `inputs` and `outputs`.

    It is infinite where x may have overflowed too: what is made of that may be NaN.
    """
    count, of_output = roundings_of(function)
    error = (outputs if of_output else inputs) * (count * arithmetic.unit * _UP) + arithmetic.tiny
    return _unless_overflow(error, inputs.maximum(outputs), arithmetic)


def product_error(outputs: Tensor, arithmetic: Arithmetic) -> Tensor:
    """What a product's floats may be off, where |x₁x₂| is at most `outputs`."""
    return _unless_overflow(outputs * (arithmetic.unit * _UP) + arithmetic.tiny, outputs, arithmetic)


def _unless_overflow(error: Tensor, magnitude: Tensor, arithmetic: Arithmetic) -> Tensor:
    fits = magnitude <= arithmetic.largest
    return error if bool(fits.all()) else error.masked_fill(~fits, inf)


def floored(lower: Tensor) -> Tensor:
    """Lower bounds with -∞, which says nothing, where one is not a number."""
    return lower.nan_to_num(-inf, inf, -inf)


def ceiled(upper: Tensor) -> Tensor:
    """Upper bounds with ∞ where one is not a number."""
    return upper.nan_to_num(inf, inf, -inf)
