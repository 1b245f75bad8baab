"""Streams: how what a block of a compiled network has computed is laid out in the directions of its output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from commute.causal.batches import Column

_CONSTANT = 1e-9  # a standard deviation that is rounding


def spread(values: Column) -> Column:
    """The standard deviation of each column; 1 where it is constant."""
    found: Column = values.std(0)
    return np.where(found > _CONSTANT, found, 1.0)


@dataclass(frozen=True, eq=False)
class Code:
    """How amounts become coordinates, and back: of a variable, one amount a value, which is 1 for the value it has, else 0.

    Attributes:
        write, shift: coordinates are `write` @ amounts + `shift`, [dims, amounts] and [dims].
        read, back: amounts are `read` @ coordinates + `back`, [amounts, dims] and [amounts].
    """

    write: Column
    shift: Column
    read: Column
    back: Column

    @classmethod
    def simplex(cls, values: int) -> "Code":
        """Values at the corners of a regular simplex around the origin, at distance 1 from it, in one dimension less."""
        from scipy.linalg import helmert

        if values == 1:
            return cls(np.ones((1, 1)), np.zeros(1), np.zeros((1, 1)), np.ones(1))
        corners = helmert(values) * np.sqrt(values / (values - 1))
        return cls(corners, np.zeros(values - 1), corners.T * (values - 1) / values, np.full(values, 1 / values))

    @classmethod
    def plain(cls, values: int) -> "Code":
        """Amounts as they are."""
        return cls(np.eye(values), np.zeros(values), np.eye(values), np.zeros(values))

    @classmethod
    def standardised(cls, amounts: Column) -> "Code":
        """Amounts so that those given, [batch, amounts], have mean 0 and standard deviation 1 each."""
        mean, deviation = amounts.mean(0), spread(amounts)
        return cls(np.diag(1 / deviation), -mean / deviation, np.diag(deviation), mean)


@dataclass(frozen=True, eq=False)
class Stream:
    """The vectors between two blocks: a rotation of stretched coordinates, each name's side by side.

    Attributes:
        codes: of each name.
        scales: by which coordinates are stretched, [width].
        rotation: of stretched coordinates, orthogonal, [width, width].
    """

    codes: Mapping[str, Code]
    scales: Column
    rotation: Column

    @classmethod
    def drawn(cls, codes: Mapping[str, Code], *, rotate: bool, scale: float, generator: np.random.Generator) -> "Stream":
        """A stream with a random rotation, if any, and scales between 1 / `scale` and `scale`, uniform in their logarithm."""
        width = sum(len(c.write) for c in codes.values())
        rotation = np.eye(width)
        if rotate:
            q, r = np.linalg.qr(generator.standard_normal((width, width)))
            rotation = q * np.sign(np.diag(r))  # so that all rotations are equally likely
        return cls(codes, scale ** generator.uniform(-1, 1, width), rotation)

    @property
    def width(self) -> int:
        """Of the vectors."""
        return len(self.scales)

    @cached_property
    def amounts(self) -> dict[str, slice]:
        """The place of each name's amounts among all amounts."""
        return _places(self.codes, [c.write.shape[1] for c in self.codes.values()])

    def directions(self, names: Sequence[str]) -> Column:
        """The directions in which some names are, [width, dims]."""
        places = _places(self.codes, [c.write.shape[0] for c in self.codes.values()])
        return np.concatenate([self.rotation[:, places[v]] for v in names], 1)

    @cached_property
    def written(self) -> tuple[Column, Column]:
        """Vectors are this matrix times amounts, plus this vector: [width, amounts], [width]."""
        from scipy.linalg import block_diag

        stretched = self.rotation * self.scales
        shift = np.concatenate([c.shift for c in self.codes.values()])
        return stretched @ block_diag(*(c.write for c in self.codes.values())), stretched @ shift

    @cached_property
    def read(self) -> tuple[Column, Column]:
        """Amounts are this matrix times vectors, plus this vector: [amounts, width], [amounts]."""
        from scipy.linalg import block_diag

        straight = (self.rotation / self.scales).T
        back = np.concatenate([c.back for c in self.codes.values()])
        return block_diag(*(c.read for c in self.codes.values())) @ straight, back


def _places(names: Mapping[str, Code], lengths: Sequence[int]) -> dict[str, slice]:
    ends = list(accumulate(lengths))
    return {v: slice(end - n, end) for v, n, end in zip(names, lengths, ends, strict=True)}
