"""Featurizers: invertible views of a site's vectors in which features are coordinates."""

from commute.alignments.featurizers.affine import Affine
from commute.alignments.featurizers.composed import Composed
from commute.alignments.featurizers.featurizer import Featurizer
from commute.alignments.featurizers.identity import Identity
from commute.alignments.featurizers.invertible import Invertible
from commute.alignments.featurizers.kinds import KINDS
from commute.alignments.featurizers.mask import Mask
from commute.alignments.featurizers.orthogonal import Orthogonal
from commute.alignments.featurizers.pca import PCA
from commute.alignments.featurizers.reconstruction import reconstruction_error
from commute.alignments.featurizers.sparse_autoencoder import SparseAutoencoder
from commute.alignments.featurizers.stored import from_record, to_record

__all__ = [
    "KINDS",
    "PCA",
    "Affine",
    "Composed",
    "Featurizer",
    "Identity",
    "Invertible",
    "Mask",
    "Orthogonal",
    "SparseAutoencoder",
    "from_record",
    "reconstruction_error",
    "to_record",
]
