"""The leading principal components of a site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commute.alignments.feature import Feature
from commute.alignments.featurizers import PCA
from commute.alignments.method import sites_of
from commute.alignments.options import as_plain, dims_problems, sizes_of
from commute.alignments.training import Features, TrainingPairs
from commute.errors import AlignmentError, check


@dataclass(frozen=True)
class PrincipalComponents:
    """The leading principal components of a site's vectors, fitted to those of the variable's sources.

    Attributes:
        dims: how many components of each site; a list of numbers to try each.
    """

    dims: int | Sequence[int] | Mapping[str, int] = 8

    def __post_init__(self) -> None:
        as_plain(self)
        check(dims_problems(self.dims), AlignmentError, "PrincipalComponents")

    def fit(self, train: Sequence[TrainingPairs], select: Sequence[TrainingPairs], generator: np.random.Generator) -> Features:
        """The components at each of the place's sites.

        Raises:
            AlignmentError: for several variables, and when a site has fewer components.
        """
        del select, generator
        sites = sites_of(train)
        if len(variables := sites[0].variables) > 1:
            raise AlignmentError(
                f"PrincipalComponents: {', '.join(variables)} would all get the leading components; "
                'Selection(over="components") chooses some for each'
            )
        (dims,) = sizes_of(self.dims, variables)
        pcas = [PCA.fit(at.vectors(variables[0])[0], dims=dims) for at in sites]
        return {variables[0]: [Feature(at.site, pca, tuple(range(dims))) for at, pca in zip(sites, pcas, strict=True)]}
