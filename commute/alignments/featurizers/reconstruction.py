"""How much features leave out."""

import torch
from torch import Tensor

from commute.alignments.featurizers.checks import misfits
from commute.alignments.featurizers.featurizer import Featurizer
from commute.errors import AlignmentError, check


def reconstruction_error(featurizer: Featurizer, vectors: Tensor) -> float:
    """The share of the variance of vectors [batch, width] that their features leave in the rest.

    It is mean |x - y|² / mean |x - mean x|², where y are the vectors with the same features and a rest of zeros: 0 where nothing
    is left out, the fraction of variance unexplained of a sparse autoencoder, and above 1 where the mean reconstructs better.

    Raises:
        AlignmentError: when the vectors are not finite or do not vary.
    """
    problems = misfits(vectors=(vectors, "batch width"))
    if not problems and not (vectors != vectors[:1]).any():
        problems.append(f"vectors must vary to have a variance; given {len(vectors)} that are equal")
    check(problems, AlignmentError, "the reconstruction error")
    with torch.no_grad():
        features, rest = featurizer.to_features(vectors)
        x, y = vectors.double(), featurizer.from_features(features, torch.zeros_like(rest)).double()
        return float((x - y).square().sum() / (x - x.mean(0)).square().sum())
