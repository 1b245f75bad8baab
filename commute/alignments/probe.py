"""Directions that tell a variable's values apart, as its features: what supervised probes find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from commute.alignments.feature import Feature
from commute.alignments.featurizers import Orthogonal
from commute.alignments.method import At, sites_of
from commute.alignments.options import as_plain, dims_problems, sizes_of
from commute.alignments.supervised import disjoint_directions, needed
from commute.alignments.training import Features, TrainingPairs
from commute.errors import AlignmentError, check, unknown
from commute.runs.seeds import torch_seed

ProbeKind = Literal["means", "lda", "ridge"]


@dataclass(frozen=True)
class Probe:
    """Directions in which the vectors of a variable's sources differ by its value, in closed form.

    They show where a variable can be read, which need not be where the network reads it. Several variables get orthogonal
    directions: those of a variable are made orthogonal to those of the ones before it.

    Attributes:
        kind: `means`, `lda` or `ridge`; see `commute.alignments.supervised.directions`.
        dims: directions a variable; a list of numbers to try each; a mapping gives each variable its own. None is as many as its
            values need: one less than there are, one for numbers, and at most the site's width.
    """

    kind: ProbeKind = "means"
    dims: int | Sequence[int] | Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        as_plain(self)
        problems = [] if self.dims is None else dims_problems(self.dims)
        if self.kind not in get_args(ProbeKind):
            problems.append(unknown("kind of probe", self.kind, get_args(ProbeKind)))
        check(problems, AlignmentError, "Probe")

    def fit(self, train: Sequence[TrainingPairs], select: Sequence[TrainingPairs], generator: np.random.Generator) -> Features:
        """The directions at each of the place's sites.

        Raises:
            AlignmentError: when a site is narrower than the directions that are needed.
        """
        del select
        sites, draws = sites_of(train), torch.Generator().manual_seed(torch_seed(generator))
        found = [self._features(at, draws) for at in sites]
        return {v: [features[v] for features in found] for v in sites[0].variables}

    def _features(self, at: At, generator: torch.Generator) -> dict[str, Feature]:
        """Each variable's at one site. Those that only fill up its number come after all that tell some variable's values."""
        told = [at.vectors(v) for v in at.variables]
        least = [min(needed(values), at.width) for _, values in told]
        sizes = least if self.dims is None else sizes_of(self.dims, at.variables)
        if sum(sizes) > at.width:
            asked = " + ".join(f"{k} of {v}" for v, k in zip(at.variables, sizes, strict=True))
            raise AlignmentError(f"Probe needs {asked} orthogonal directions; {at.site} has {at.width}")
        found = disjoint_directions(self.kind, told, sizes, generator)
        rotation, ends = Orthogonal(torch.cat(found, 1)), np.cumsum(sizes)
        return {
            v: Feature(at.site, rotation, tuple(range(end - k, end))) for v, k, end in zip(at.variables, sizes, ends, strict=True)
        }
