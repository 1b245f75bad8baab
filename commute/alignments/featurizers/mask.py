"""Some of the neurons."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from commute.alignments.featurizers.checks import as_floats
from commute.errors import AlignmentError


@dataclass(frozen=True, eq=False)
class Mask:
    """Some of the vectors' own coordinates as features.

    Attributes:
        kept: [width] of bool, True where a coordinate is a feature.

    Raises:
        AlignmentError: unless `kept` is such a mask that keeps at least one coordinate.
    """

    kept: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.kept, Tensor) or self.kept.dtype != torch.bool or self.kept.ndim != 1:
            told = f"{list(self.kept.shape)} of {self.kept.dtype}" if isinstance(self.kept, Tensor) else repr(self.kept)
            raise AlignmentError(f"Mask: kept must be a tensor [width] of bool; given {told}")
        if not self.kept.any():
            raise AlignmentError(f"Mask: none of the {len(self.kept)} coordinates is kept; keep at least one")

    @property
    def width(self) -> int:
        """Of the vectors."""
        return len(self.kept)

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The kept coordinates [batch, dims], and the others [batch, width - dims]."""
        vectors = as_floats(vectors, self.width, "Mask")
        ordered = vectors[:, self._order.to(vectors.device)]
        return ordered[:, : self._dims], ordered[:, self._dims :]

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """Both, each coordinate in its place."""
        features = as_floats(features, self._dims, "Mask", "features")
        return torch.cat([features, rest], dim=1)[:, self._order.argsort().to(features.device)]

    @cached_property
    def _order(self) -> Tensor:
        """The coordinates [width], the kept ones first."""
        return (~self.kept.cpu()).int().argsort(stable=True)

    @cached_property
    def _dims(self) -> int:
        """How many are kept."""
        return int(self.kept.sum())
