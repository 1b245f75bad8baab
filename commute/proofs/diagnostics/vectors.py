"""What an interchange does to a site's vectors, without the rest of the network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from commute.alignments.feature import Feature
from commute.models.sites import Site

_SAME = 1e-3  # difference that rounding may make, against the largest entry of the vectors
_MOVED = 1e-3  # size of a direction, against the largest, below which it is rounding
_MORE = 8  # vectors beyond the rank by which directions are found
_SEED = 0  # of random vectors, which need only be of no special kind


def by_site(features: Sequence[Feature]) -> dict[Site, list[Feature]]:
    """The features of a variable at each of their sites."""
    found: dict[Site, list[Feature]] = {}
    for f in features:
        found.setdefault(f.site, []).append(f)
    return found


def patched(features: Sequence[Feature], base: Tensor, source: Tensor) -> Tensor:
    """Vectors of one site [batch, width] with the features taken from other vectors of it."""
    vectors = base
    for f in features:
        vectors = f.write(vectors, f.read(source))
    return vectors


def fills(features: Sequence[Feature], vectors: Tensor) -> bool:
    """Whether features are all of their site: taken from vectors of it [batch, width], they leave nothing of random ones."""
    vectors = vectors.float()
    draws = torch.Generator().manual_seed(_SEED)
    other = vectors + vectors.abs().max() * torch.randn(vectors.shape, generator=draws).to(vectors)
    return _same(patched(features, other, vectors), vectors, vectors)


def moved(features: Sequence[Feature], base: Tensor, source: Tensor) -> Tensor | None:
    """Orthonormal directions [width, dims] in which an interchange of features at one site moves its vectors.

    For linear featurizers, whatever they are made of, an interchange moves the base by P(source - base) with a matrix P of the
    features' rank. So P of a few more random vectors than that spans all that it moves.

    Args:
        features: of one site.
        base: vectors of the site, [batch, width], on which the features are seen to be linear.
        source: others.

    Returns:
        The directions; None where the features are not linear.
    """
    base, source = base.float(), source.float()
    zero = torch.zeros_like(base[:1])
    dims = sum(f.read(base[:1]).shape[1] for f in features)

    def moves(by: Tensor) -> Tensor:
        return patched(features, zero.expand_as(by), by) - patched(features, zero, zero)

    if not _same(patched(features, base, source) - base, moves(source - base), base, source):
        return None
    draws = torch.Generator().manual_seed(_SEED)
    random = torch.randn(min(dims + _MORE, base.shape[1]), base.shape[1], generator=draws).to(base)
    directions, sizes, _ = torch.linalg.svd(moves(random).double().T, full_matrices=False)
    found: Tensor = directions[:, sizes > _MOVED * sizes[0]]
    return found.float()


def _same(one: Tensor, other: Tensor, *scale: Tensor) -> bool:
    largest = max(float(x.abs().max()) for x in scale)
    return bool((one - other).abs().max() <= _SAME * largest)
