"""Features: the part of a site that an algorithm's variable is aligned with."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

from torch import Tensor

from commute.alignments.featurizers import Featurizer, Identity
from commute.errors import AlignmentError
from commute.models.sites import Site

_NEURONS = Identity()


@dataclass(frozen=True)
class Feature:
    """Some coordinates of a featurizer at a site.

    Attributes:
        site: where in the network.
        featurizer: the view of the site's vectors whose coordinates are meant.
        dims: which coordinates; None is all of them.
    """

    site: Site
    featurizer: Featurizer = _NEURONS
    dims: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        problems = [] if isinstance(self.site, Site) else [f"site must be a Site (network.site(…)); given {self.site!r}"]
        if not isinstance(self.featurizer, Featurizer) or isinstance(self.featurizer, type):
            problems.append(f"featurizer must be a featurizer such as Identity(); given {self.featurizer!r}")
        if self.dims is not None:
            dims = _whole(self.dims)
            if not dims or len(set(dims)) < len(dims) or min(dims) < 0:
                problems.append(f"dims must name at least one coordinate, each once, counted from 0; given {self.dims!r}")
            object.__setattr__(self, "dims", dims)
        if problems:
            raise AlignmentError("a feature: " + "; ".join(problems))

    def __str__(self) -> str:
        return str(self.site) if self.dims is None else f"{self.site}, {len(self.dims)} dim{'s' * (len(self.dims) > 1)}"

    def read(self, vectors: Tensor) -> Tensor:
        """The feature's values, [batch, dims], in the site's vectors [batch, width]."""
        features, _ = self._split(vectors)
        return features if self.dims is None else features[:, self._columns(features)]

    def write(self, vectors: Tensor, values: Tensor) -> Tensor:
        """The site's vectors with the feature set to `values` [batch, dims] and everything else kept."""
        features, rest = self._split(vectors)
        if self.dims is None:
            return self.featurizer.from_features(values, rest)
        changed = features.clone()
        changed[:, self._columns(features)] = values.to(features.dtype)
        return self.featurizer.from_features(changed, rest)

    def _split(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return self.featurizer.to_features(vectors)
        except AlignmentError as error:
            raise AlignmentError(f"the feature at {self.site}: {error}") from None

    def _columns(self, features: Tensor) -> list[int]:
        dims = list(self.dims or ())
        if max(dims) >= features.shape[1]:
            raise AlignmentError(
                f"the feature at {self.site} asks for dim {max(dims)}, but there are {features.shape[1]}, from 0"
            )
        return dims


def _whole(dims: object) -> tuple[int, ...]:
    """Dims as whole numbers; none where they are not."""
    listed = dims.tolist() if hasattr(dims, "tolist") else dims  # of an array or a tensor
    each = tuple(listed) if isinstance(listed, Iterable) else ()
    return tuple(map(int, each)) if all(isinstance(x, Integral) and not isinstance(x, bool) for x in each) else ()
