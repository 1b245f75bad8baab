"""Directions that tell a variable's values apart, as its features: what supervised probes find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from commute.alignments.direct import sites_of
from commute.alignments.feature import Feature
from commute.alignments.featurizers import Orthogonal
from commute.alignments.method import At
from commute.alignments.options import as_plain, dims_problems, sizes_of
from commute.alignments.supervised import directions
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
        needed = {v: min(_needed(at.vectors(v)[1]), at.width) for v in at.variables}
        sizes = needed if self.dims is None else dict(zip(at.variables, sizes_of(self.dims, at.variables), strict=True))
        if sum(sizes.values()) > at.width:
            told = " + ".join(f"{k} of {v}" for v, k in sizes.items())
            raise AlignmentError(f"Probe needs {told} orthogonal directions; {at.site} has {at.width}")
        found = {v: directions(self.kind, *at.vectors(v), sizes[v], generator) for v in at.variables}
        order = sorted((i >= needed[v], j, i) for j, v in enumerate(at.variables) for i in range(sizes[v]))
        columns = torch.stack([found[at.variables[j]][:, i] for _, j, i in order], 1)
        rotation = Orthogonal(torch.linalg.qr(columns.double()).Q.to(columns.dtype))
        owners = [at.variables[j] for _, j, _ in order]
        return {v: Feature(at.site, rotation, tuple(d for d, owner in enumerate(owners) if owner == v)) for v in at.variables}


def _needed(values: Tensor) -> int:
    """How many directions tell all values apart."""
    return 1 if values.is_floating_point() else max(1, len(torch.unique(values)) - 1)
