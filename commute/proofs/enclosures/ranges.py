"""Intervals of vectors, one in each cell."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from commute.proofs.enclosures.rounding import ceiled, down, floored, up


@dataclass(frozen=True, eq=False)
class Interval:
    """Vectors between two others, coordinate by coordinate; a bound that is not known is infinite, never NaN.

    Attributes:
        lower: [cells, width], float64.
        upper: likewise.
    """

    lower: Tensor
    upper: Tensor

    @cached_property
    def magnitude(self) -> Tensor:
        """The largest absolute value, [cells, width]."""
        return torch.maximum(-self.lower, self.upper)

    @cached_property
    def center(self) -> Tensor:
        """The middle, rounded; 0 where a bound, or their sum, is infinite."""
        return ((self.lower + self.upper) / 2).nan_to_num(0.0, 0.0, 0.0)

    def ball(self) -> tuple[Tensor, Tensor]:
        """The rounded middle, and a radius around it that reaches both bounds."""
        center = self.center
        return center, up(torch.maximum(self.upper - center, center - self.lower))

    def widened(self, by: Tensor) -> "Interval":
        """With |e| ≤ `by` added."""
        return Interval(floored(down(self.lower - by)), ceiled(up(self.upper + by)))

    def plus(self, other: "Interval") -> "Interval":
        """The sums of one of each."""
        return Interval(floored(down(self.lower + other.lower)), ceiled(up(self.upper + other.upper)))

    def within(self, other: "Interval") -> "Interval":
        """What is in both."""
        return Interval(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))
