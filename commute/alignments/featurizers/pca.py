"""Principal components."""

from dataclasses import dataclass

import torch
from torch import Tensor

from commute.alignments.featurizers.checks import ORTHONORMAL, as_floats, like, misfits, off_orthonormal
from commute.errors import AlignmentError, check, not_counts


@dataclass(frozen=True, eq=False)
class PCA:
    """Coordinates along principal components: ((x - mean) / scale) @ components.

    The vectors are centred and scaled in use as they were when the components were fitted.

    Attributes:
        mean: [width], where the features are 0.
        scale: [width], what a unit of each coordinate is.
        components: one a column, [width, dims], orthonormal.

    Raises:
        AlignmentError: for tensors that do not fit each other, scales that are not positive and columns not orthonormal to 1e-4.
    """

    mean: Tensor
    scale: Tensor
    components: Tensor

    def __post_init__(self) -> None:
        problems = misfits(components=(self.components, "width dims"), mean=(self.mean, "width"), scale=(self.scale, "width"))
        if not problems:
            if not (self.scale.detach() > 0).all():
                problems.append("scale must be positive; give 1 for a coordinate that does not vary")
            error = off_orthonormal(self.components)
            if not error <= ORTHONORMAL:
                problems.append(f"components must be orthonormal; |CᵀC - I| reaches {error:.2g}")
        check(problems, AlignmentError, "PCA")

    @classmethod
    def fit(cls, vectors: Tensor, *, dims: int | None = None, standardize: bool = False) -> "PCA":
        """Fit to vectors [rows, width], in float64.

        Args:
            vectors: what to fit to.
            dims: how many components to keep, those of largest variance; all of them if None, which is one less than the rows
                where there are fewer rows than the width. The largest entry of each is positive.
            standardize: whether to divide each coordinate by its standard deviation first; one that does not vary is left alone.

        Raises:
            AlignmentError: when the vectors are not finite, or too few for the components.
        """
        problems = misfits(vectors=(vectors, "rows width")) + ([] if dims is None else not_counts(dims=dims))
        check(problems, AlignmentError, "PCA.fit")
        most = min(vectors.shape[0] - 1, vectors.shape[1])
        if not (dims or 1) <= most:
            told = f"{vectors.shape[0]} vectors of width {vectors.shape[1]} have at most {most} components"
            raise AlignmentError(f"PCA.fit: {told}; {dims or 1} are asked for")
        x = vectors.detach().double()
        mean, scale = x.mean(0), torch.ones_like(x[0])
        if standardize:
            scale = torch.where(x.amax(0) > x.amin(0), x.std(0, correction=0), scale)
        components = torch.linalg.svd((x - mean) / scale, full_matrices=False).Vh[: dims or most].T
        largest = components.gather(0, components.abs().argmax(0, keepdim=True))
        dtype = torch.promote_types(vectors.dtype, torch.float32)
        return cls(mean.to(dtype), scale.to(dtype), (components * largest.sign()).to(dtype).contiguous())

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.components.shape[0]

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates along the components [batch, dims], and what they leave of the vectors, unscaled [batch, width]."""
        vectors = as_floats(vectors, self.width, "PCA")
        mean, scale, components = (like(x, vectors) for x in (self.mean, self.scale, self.components))
        features = ((vectors - mean) / scale) @ components
        return features, vectors - self._decoded(features)

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The rest plus the vectors that the features alone stand for."""
        features = as_floats(features, self.components.shape[1], "PCA", "features")
        return rest + self._decoded(features.to(torch.promote_types(features.dtype, rest.dtype)))

    def _decoded(self, features: Tensor) -> Tensor:
        mean, scale, components = (like(x, features) for x in (self.mean, self.scale, self.components))
        return mean + (features @ components.T) * scale
