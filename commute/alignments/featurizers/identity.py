"""Neurons."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Identity:
    """The vectors' own coordinates as features: neurons."""

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors themselves [batch, width], and nothing left over [batch, 0]."""
        return vectors, vectors[:, :0]

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The features themselves."""
        del rest
        return features
