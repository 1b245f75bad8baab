"""Points: the numbers that some classes bring, as what a program's input ranges over."""

from dataclasses import dataclass

import torch
from torch import Tensor

from commute.proofs.enclosures.domains import Zonotope
from commute.proofs.enclosures.linear import dots
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import TINY, ceiled, down, floored, gamma, up


@dataclass(frozen=True, eq=False)
class Points:
    """For each cell a finite set of vectors, each with what rounding may add to it; linear functions are least at one of them.

    Attributes:
        center: [cells, size, width], float64; a cell with fewer has one of them several times.
        radius: of all vectors of a cell, [cells, width].
    """

    center: Tensor
    radius: Tensor

    @property
    def separate(self) -> bool:
        """Coordinates go together."""
        return False

    def lower(self, rows: Tensor) -> Tensor:
        """The least of each linear function, [cells, rows]."""
        own = gamma(4 * self.center.shape[2] + 16)
        least = torch.matmul(self.center, rows.mT).amin(1)
        size = self.radius + own * (self.center.abs().amax(1) + self.radius)
        return floored(down(least - dots(rows.abs(), size * (1 + own)) * (1 + own) - TINY))

    def hull(self) -> Interval:
        """Bounds of each coordinate."""
        lower, upper = torch.aminmax(self.center, dim=1)
        return Interval(floored(down(lower - self.radius)), ceiled(up(upper + self.radius)))

    def zonotope(self) -> Zonotope:
        """The hull."""
        center, radius = self.hull().ball()
        return Zonotope(center, center.new_zeros(len(center), 0, center.shape[1]), radius)
