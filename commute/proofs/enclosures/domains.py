"""What a program's inputs range over: for each cell a set, of which the least value of any linear function is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import torch
from torch import Tensor

from commute.proofs.enclosures.linear import dots
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import TINY, UNIT, ceiled, down, floored, gamma, up


class Domain(Protocol):
    """A set of vectors in each cell."""

    @property
    def separate(self) -> bool:
        """Whether each set is a box, in which coordinates range without regard to each other."""
        ...

    def lower(self, rows: Tensor) -> Tensor:
        """The least of a·z over z of the set, at most: a lower bound of it in spite of rounding.

        Args:
            rows: the functions a: [rows, width] for all cells, or [cells, rows, width].

        Returns:
            [cells, rows]; never NaN.
        """
        ...

    def hull(self) -> Interval:
        """Bounds of each coordinate."""
        ...

    def zonotope(self) -> "Zonotope":
        """A zonotope that holds the set."""
        ...


@dataclass(frozen=True, eq=False)
class Box:
    """The vectors within a radius of a center, coordinate by coordinate.

    Attributes:
        center: [cells, width], float64.
        radius: [cells, width], not negative.

    Raises:
        ValueError: listing shapes and types that do not fit; numbers that are not float64 would be rounded unseen.
    """

    center: Tensor
    radius: Tensor

    def __post_init__(self) -> None:
        _check(self.center, radius=self.radius)

    @property
    def separate(self) -> bool:
        """It is a box."""
        return True

    def lower(self, rows: Tensor) -> Tensor:
        """The least of each linear function."""
        own = gamma(4 * self.center.shape[1] + 16)
        size = self.radius + own * (self.center.abs() + self.radius)
        return _below(dots(rows, self.center) - dots(rows.abs(), size * (1 + own)))

    def hull(self) -> Interval:
        """Bounds of each coordinate."""
        return Interval(floored(down(self.center - self.radius)), ceiled(up(self.center + self.radius)))

    def zonotope(self) -> "Zonotope":
        """Itself, without generators."""
        return Zonotope(self.center, self.center.new_zeros(len(self.center), 0, self.center.shape[1]), self.radius)


@dataclass(frozen=True, eq=False)
class Zonotope:
    """center + Σ εⱼ·generatorsⱼ + r with all |εⱼ| ≤ 1 and |r| ≤ radius, coordinate by coordinate.

    Attributes:
        center: [cells, width], float64.
        generators: [cells, count, width].
        radius: [cells, width], not negative.

    Raises:
        ValueError: listing shapes and types that do not fit.
    """

    center: Tensor
    generators: Tensor
    radius: Tensor

    def __post_init__(self) -> None:
        _check(self.center, radius=self.radius, generators=self.generators)

    @property
    def separate(self) -> bool:
        """Generators tie coordinates together."""
        return not self.generators.shape[1]

    def lower(self, rows: Tensor) -> Tensor:
        """The least of each linear function."""
        count, width = self.generators.shape[1:]
        own = gamma(4 * width + 2 * count + 16)
        spread = self.generators.abs().sum(1)
        size = self.radius + own * (self.center.abs() + self.radius + spread)
        fixed = dots(rows, self.center) - dots(rows.abs(), size * (1 + own))
        along = self.generators @ rows.mT
        return _below(fixed - along.abs().sum(1) * (1 + own))

    def hull(self) -> Interval:
        """Bounds of each coordinate."""
        spread = self.generators.abs().sum(1) * (1 + gamma(2 * self.generators.shape[1] + 4))
        reach = up(self.radius + spread)
        return Interval(floored(down(self.center - reach)), ceiled(up(self.center + reach)))

    def zonotope(self) -> "Zonotope":
        """Itself."""
        return self


@dataclass(frozen=True, eq=False)
class Sum:
    """The sums of one vector from each of several sets of the same width."""

    parts: Sequence[Domain]

    @property
    def separate(self) -> bool:
        """A sum of boxes is a box."""
        return all(part.separate for part in self.parts)

    def lower(self, rows: Tensor) -> Tensor:
        """The least of each linear function: least values add."""
        return reduce(lambda one, other: floored(down(one + other)), [part.lower(rows) for part in self.parts])

    def hull(self) -> Interval:
        """Bounds of each coordinate."""
        return reduce(Interval.plus, [part.hull() for part in self.parts])

    def zonotope(self) -> Zonotope:
        """The sum of the parts' zonotopes."""
        return reduce(_added, [part.zonotope() for part in self.parts])


def _added(one: Zonotope, other: Zonotope) -> Zonotope:
    center = one.center + other.center
    radius = up(up(one.radius + other.radius) + (center.abs() * (2 * UNIT) + TINY))
    return Zonotope(center, torch.cat([one.generators, other.generators], 1), radius)


def _below(least: Tensor) -> Tensor:
    """Below the exact value of rounded terms that pay for their roundings, all but those below the smallest numbers."""
    return floored(down(least - TINY))


def _check(center: Tensor, **parts: Tensor) -> None:
    """The parts, named, are to fit a center; `generators` has its count between."""
    given = {"center": center, **parts}
    problems = [f"{name} must be float64; given {part.dtype}" for name, part in given.items() if part.dtype != torch.float64]
    problems += [
        f"{name} must be of {len(center)} cells and width {center.shape[1]}; given {list(part.shape)}"
        for name, part in parts.items()
        if (len(part), part.shape[-1]) != tuple(center.shape) or part.dim() != (3 if name == "generators" else 2)
    ]
    if not problems and not bool((parts["radius"] >= 0).all()):
        problems = ["radius must not be negative or NaN"]
    if problems:
        raise ValueError("; ".join(problems))
