"""Coordinates along orthonormal directions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from commute.alignments.featurizers.checks import ORTHONORMAL, as_floats, like, misfits, off_orthonormal
from commute.errors import AlignmentError, check


@dataclass(frozen=True, eq=False)
class Orthogonal:
    """Coordinates along orthonormal directions (a distributed alignment, 2303.02536).

    Attributes:
        directions: one direction a column, [width, dims], orthonormal.

    Raises:
        AlignmentError: unless the columns are orthonormal to 1e-4.
    """

    directions: Tensor

    def __post_init__(self) -> None:
        problems = misfits(directions=(self.directions, "width dims"))
        if not problems and self.directions.shape[1] > self.width:
            problems.append(f"directions are columns, [width, dims] with dims <= width; given {list(self.directions.shape)}")
        elif not problems and self.error > ORTHONORMAL:
            problems.append(f"directions must be orthonormal; |QᵀQ - I| reaches {self.error:.2g}; torch.linalg.qr makes them so")
        check(problems, AlignmentError, "Orthogonal")

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.directions.shape[0]

    @property
    def error(self) -> float:
        """How far the directions are from orthonormal: the largest entry of |QᵀQ - I|, in float64."""
        return off_orthonormal(self.directions)

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates along the directions [batch, dims], and what is orthogonal to them [batch, width]."""
        vectors = as_floats(vectors, self.width, "Orthogonal")
        q = like(self.directions, vectors)
        features = vectors @ q
        return features, vectors - features @ q.T

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The rest plus the features along their directions."""
        features = as_floats(features, self.directions.shape[1], "Orthogonal", "features")
        features = features.to(torch.promote_types(features.dtype, rest.dtype))
        return rest + features @ like(self.directions, features).T
