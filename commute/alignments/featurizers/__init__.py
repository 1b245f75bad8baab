"""Featurizers: invertible views of a site's vectors in which features are coordinates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from commute.errors import AlignmentError

_ORTHONORMAL = 1e-4  # largest entry of |QᵀQ - I| that float32 training leaves


@runtime_checkable
class Featurizer(Protocol):
    """A view of vectors [batch, width] as features [batch, features] and a rest, with an exact way back."""

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The features [batch, features] and the rest [batch, width] that they leave out."""

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The vectors [batch, width] that have these features and this rest."""

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to save."""


@dataclass(frozen=True)
class Identity:
    """The vectors' own coordinates as features: neurons."""

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors themselves, and nothing left over."""
        return vectors, vectors[:, :0]

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The features themselves."""
        del rest
        return features

    def tensors(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}


@dataclass(frozen=True, eq=False)
class Orthogonal:
    """Coordinates along orthonormal directions (a distributed alignment, 2303.02536).

    Attributes:
        directions: one direction a column, [width, features], orthonormal.

    Raises:
        AlignmentError: unless the columns are orthonormal to 1e-4.
    """

    directions: Tensor

    def __post_init__(self) -> None:
        q = self.directions
        if q.ndim != 2 or not q.is_floating_point() or not 0 < q.shape[1] <= q.shape[0]:  # noqa: PLR2004
            raise AlignmentError(
                f"directions are columns, [width, features] of float with features <= width; given {list(q.shape)}"
            )
        with torch.no_grad():
            error = float((q.T @ q - torch.eye(q.shape[1], dtype=q.dtype, device=q.device)).abs().max())
        if not error <= _ORTHONORMAL:
            raise AlignmentError(f"directions must be orthonormal; |QᵀQ - I| reaches {error:.2g}; torch.linalg.qr makes them so")

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates along the directions, and what is orthogonal to them."""
        if not vectors.is_floating_point():
            raise AlignmentError(f"directions need a site of floating-point values; this one holds {vectors.dtype}")
        vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))  # half precision is too coarse for a rotation
        q = self._like(vectors)
        if vectors.shape[1] != q.shape[0]:
            raise AlignmentError(f"the directions are for vectors of width {q.shape[0]}; this site has width {vectors.shape[1]}")
        features = vectors @ q
        return features, vectors - features @ q.T

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The rest plus the features along their directions."""
        features = features.to(torch.promote_types(features.dtype, rest.dtype))
        return rest + features @ self._like(features).T

    def tensors(self) -> dict[str, Tensor]:
        """The directions."""
        return {"directions": self.directions.detach()}

    def _like(self, x: Tensor) -> Tensor:
        return self.directions.to(device=x.device, dtype=x.dtype)


KINDS: dict[str, Callable[..., Featurizer]] = {"Identity": Identity, "Orthogonal": Orthogonal}
