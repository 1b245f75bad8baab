"""The featurizers by name."""

from typing import Any

from commute.alignments.featurizers.affine import Affine
from commute.alignments.featurizers.composed import Composed
from commute.alignments.featurizers.identity import Identity
from commute.alignments.featurizers.invertible import Invertible
from commute.alignments.featurizers.mask import Mask
from commute.alignments.featurizers.orthogonal import Orthogonal
from commute.alignments.featurizers.pca import PCA
from commute.alignments.featurizers.sparse_autoencoder import SparseAutoencoder

# A frozen dataclass of one's own can be added, so that it can be saved and loaded.
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Identity, Orthogonal, PCA, Mask, Affine, SparseAutoencoder, Invertible, Composed)
}
