"""The whole vector of a site."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commute.alignments.feature import Feature
from commute.alignments.method import sites_of
from commute.alignments.training import Features, TrainingPairs
from commute.errors import AlignmentError


@dataclass(frozen=True)
class FullVector:
    """The whole vector of each of a place's sites: where a variable is, before asking which part of the vectors holds it."""

    def fit(self, train: Sequence[TrainingPairs], select: Sequence[TrainingPairs], generator: np.random.Generator) -> Features:
        """The sites of the pairs' place; nothing is fitted.

        Raises:
            AlignmentError: for several variables.
        """
        del select, generator
        sites = sites_of(train)
        if len(variables := sites[0].variables) > 1:
            raise AlignmentError(
                f"FullVector: {', '.join(variables)} cannot share a site's whole vector; search for each by itself and join the "
                "alignments found: cm.Alignment({**first.best, **second.best})"
            )
        return {variables[0]: [Feature(at.site) for at in sites]}
