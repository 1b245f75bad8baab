"""Features of features."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from commute.alignments.featurizers.featurizer import Featurizer
from commute.errors import AlignmentError, check


@dataclass(frozen=True, eq=False)
class Composed:
    """The features that a second featurizer finds in the features of a first.

    Attributes:
        first: of the vectors; it says their `width`, as all featurizers here do but `Identity`.
        second: of the features of the first.

    Raises:
        AlignmentError: when the width is not known, or the second is not for as many features as the first has.
    """

    first: Featurizer
    second: Featurizer

    def __post_init__(self) -> None:
        given = {"first": self.first, "second": self.second}
        problems = [
            f"{name} must be a featurizer such as Orthogonal(…); given {x!r}"
            for name, x in given.items()
            if isinstance(x, type) or not isinstance(x, Featurizer)
        ]
        if not problems and not isinstance(getattr(self.first, "width", None), int):
            problems.append(f"first must have a width: that of its vectors; {type(self.first).__name__} has none")
        check(problems, AlignmentError, "Composed")
        try:
            _ = self._left
        except AlignmentError as error:
            raise AlignmentError(f"Composed: second is not for the features of first: {error}") from error

    @property
    def width(self) -> int:
        """Of the vectors."""
        width: int = self.first.width  # type: ignore[attr-defined]
        return width

    def to_features(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The features of the second [batch, dims], and the rest of the first beside that of the second [batch, left]."""
        middle, left = self.first.to_features(vectors)
        features, also_left = self.second.to_features(middle)
        return features, torch.cat([left, also_left], dim=1)

    def from_features(self, features: Tensor, rest: Tensor) -> Tensor:
        """Through the second into the first."""
        return self.first.from_features(self.second.from_features(features, rest[:, self._left :]), rest[:, : self._left])

    @cached_property
    def _left(self) -> int:
        """How many columns of the rest are the first's."""
        with torch.no_grad():
            middle, left = self.first.to_features(torch.zeros(1, self.width))
            self.second.to_features(middle)
        return left.shape[1]
