"""Features along directions that need not be orthogonal."""

from dataclasses import dataclass

import torch
from torch import Tensor

from commute.alignments.featurizers.checks import as_floats, like, misfits
from commute.errors import AlignmentError, check

_CONDITION = 1e4  # beyond which float32 keeps fewer than three digits of a feature


@dataclass(frozen=True, eq=False)
class Affine:
    """The features f of vectors x = matrix @ f + shift.

    Attributes:
        matrix: one direction a column, [width, width], invertible.
        shift: [width], the vector whose features are 0.

    Raises:
        AlignmentError: for tensors that do not fit each other, and a matrix whose condition number is above 10,000.
    """

    matrix: Tensor
    shift: Tensor

    def __post_init__(self) -> None:
        problems = misfits(matrix=(self.matrix, "width width"), shift=(self.shift, "width"))
        if not problems:
            condition = float(torch.linalg.cond(self.matrix.detach().to("cpu", torch.float64)))
            if not condition <= _CONDITION:
                problems.append(
                    f"the matrix has condition number {condition:.3g}; above {_CONDITION:g} it cannot be inverted accurately; "
                    "choose directions further apart or of more equal length"
                )
        check(problems, AlignmentError, "Affine")

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.matrix.shape[0]

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The features [batch, width], and what rounding leaves [batch, width]."""
        vectors = as_floats(vectors, self.width, "Affine")
        features = torch.linalg.solve(like(self.matrix, vectors), (vectors - like(self.shift, vectors)).T).T
        return features, vectors - self._decoded(features)

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The rest plus the vectors that the features stand for."""
        features = as_floats(features, self.width, "Affine", "features")
        return rest + self._decoded(features.to(torch.promote_types(features.dtype, rest.dtype)))

    def _decoded(self, features: Tensor) -> Tensor:
        return features @ like(self.matrix, features).T + like(self.shift, features)
