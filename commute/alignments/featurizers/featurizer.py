"""What every featurizer does."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Featurizer(Protocol):
    """A view of vectors [batch, width] as features [batch, dims] and a rest [batch, left], with an exact way back.

    What the features leave out is in the rest, so that unchanged features give the vectors again; a rest of zeros stands for
    nothing left out. Both ways are differentiable.
    """

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The features [batch, dims] and the rest [batch, left] that they leave out."""

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """The vectors [batch, width] that have these features and this rest."""
