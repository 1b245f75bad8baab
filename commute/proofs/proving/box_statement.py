"""Statements about boxes: what is to be proved of all numbers near those of some inputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import down, up
from commute.proofs.programs.patched import Patched
from commute.proofs.proving.statement import Answers

Path = tuple[int, ...]

_FINEST = 2.0**-40  # of a root's interval, shorter than which none is halved: ends are whole numbers of these, which floats hold


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the box around a base and its sources.

    The box's coordinates are the entries of the base and then of each source. In units of epsilon from the center of the whole
    box every end is a binary fraction, which is exact.

    Attributes:
        path: the number of the whole box, and which half it is of each part above it, 0 the lower one; it orders parts.
        lower: in units of epsilon, [width] of float64.
        upper: likewise.
    """

    path: Path
    lower: Tensor
    upper: Tensor

    def halves(self, along: int) -> "tuple[Part, Part]":
        """Below and above the middle of one coordinate."""
        below, above = self.upper.clone(), self.lower.clone()
        below[along] = above[along] = (self.lower[along] + self.upper[along]) / 2
        return Part((*self.path, 0), self.lower, below), Part((*self.path, 1), above, self.upper)


@dataclass(frozen=True, eq=False)
class BoxStatement:
    """That interchanging variables gives the algorithm's answer for all numbers near those of each base and each source.

    The answer is that for the inputs in the middle of a box. Coordinates range without regard to each other, over the
    real numbers.

    Attributes:
        variables: that are interchanged.
        patched: the network after the interchange, from the entries of the base and of each source.
        answers: the right choices for all combinations of inputs.
        inputs: the inputs in the middle of the boxes, in order.
        entries: the numbers that the network has of each, [inputs, entries], float64.
        epsilon: how far each number may be from that.
    """

    variables: tuple[str, ...]
    patched: Patched
    answers: Answers
    inputs: Batch
    entries: Tensor
    epsilon: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Inputs of each side, base first. Each combination has a box, the last side fastest."""
        return (len(self.entries),) * (1 + len(self.variables))

    def places(self, root: int) -> tuple[int, ...]:
        """The inputs of a box, base first."""
        return tuple(int(i) for i in np.unravel_index(root, self.shape))

    @cached_property
    def choices(self) -> Column:
        """The right choice in every box, one axis a side."""
        chosen: Column = self.answers.expected[np.ix_(*self.answers.groups)]
        return chosen

    def choice(self, root: int) -> int:
        """The right choice in a box."""
        return int(self.choices.flat[root])

    def center(self, root: int) -> Tensor:
        """The middle of a box, [width]."""
        return self.entries[list(self.places(root))].reshape(-1)

    def roots(self) -> Iterator[Part]:
        """The whole boxes."""
        one = torch.ones(self.entries.shape[1] * len(self.shape), dtype=torch.float64)
        return (Part((root,), -one, one) for root in range(prod(self.shape)))

    def divisible(self, parts: Sequence[Part]) -> Tensor:
        """Coordinates of some parts that can be halved, [parts, width] of bool: none where a box is a point."""
        return torch.stack([p.upper - p.lower for p in parts]) > (_FINEST if self.epsilon else torch.inf)

    def interval(self, parts: Sequence[Part]) -> Interval:
        """Bounds of all coordinates of some parts, [parts, width], rounded outward."""
        center = torch.stack([self.center(p.path[0]) for p in parts])
        lower, upper = (torch.stack([getattr(p, end) for p in parts]) for end in ("lower", "upper"))
        if not self.epsilon:  # a point, which rounding outward would make a box
            return Interval(center, center)
        return Interval(down(center + down(lower * self.epsilon)), up(center + up(upper * self.epsilon)))
