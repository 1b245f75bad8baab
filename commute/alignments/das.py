"""Distributed alignment search (2303.02536)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from commute.alignments.feature import Feature
from commute.alignments.featurizers import Featurizer, Identity, Orthogonal
from commute.alignments.method import At
from commute.alignments.objectives import Objective
from commute.alignments.options import as_plain, columns_of, dims_problems, fitting_sizes, trained_problems
from commute.alignments.rotations import Parameters, Parametrisation, free_parameters, orthonormal
from commute.alignments.supervised import Kind, disjoint_directions
from commute.errors import AlignmentError, check, not_counts, unknown

StartKind = Literal["random"] | Kind
STARTS: tuple[str, ...] = ("random", *get_args(Kind))

_NOISE = 0.1  # of a supervised start's length, added to each of its columns in restarts after the first


@dataclass(frozen=True)
class DAS:
    """One rotation of a site, trained by gradient descent so that interchanging its coordinates does what the algorithm does.

    Every variable gets coordinates of its own; all are trained jointly, on single and joint interchanges in turn.

    Attributes:
        dims: coordinates a variable; a list of numbers to try each; a mapping gives each variable its own.
        steps: gradient steps at most (Adam, cosine schedule).
        batch: pairs a step.
        learning_rate: at the start; a list to try each.
        restarts: starts at each site, trained side by side.
        start_from: a random rotation, or directions in closed form: `means`, `lda`, `ridge` or `components` (see `directions`).
        parametrisation: of orthonormal columns: `qr`, `cayley`, `exponential` or `householder`.
        patience: checks on the selection pairs without a lower loss, after which training stops.
        starts: that each restart begins with, of which the best goes on when nine in ten steps are over.
        objective: `cross-entropy`, or `error`, a smooth share of wrong answers, which finds a higher IIA where no rotation is
            always right.
    """

    dims: int | Sequence[int] | Mapping[str, int] = 8
    steps: int = 400
    batch: int = 256
    learning_rate: float | Sequence[float] = 0.1
    restarts: int = 2
    start_from: StartKind = "random"
    parametrisation: Parametrisation = "qr"
    patience: int = 5
    starts: int = 1
    objective: Objective = "cross-entropy"

    def __post_init__(self) -> None:
        as_plain(self)
        low = trained_problems(self.steps, self.batch, self.learning_rate, self.restarts, self.patience)
        low += dims_problems(self.dims) + not_counts(starts=self.starts)
        if self.objective not in get_args(Objective):
            low.append(unknown("objective", self.objective, get_args(Objective)))
        if self.start_from not in STARTS:
            low.append(unknown("start", self.start_from, STARTS))
        if self.parametrisation not in get_args(Parametrisation):
            low.append(unknown("parametrisation", self.parametrisation, get_args(Parametrisation)))
        check(low, AlignmentError, "DAS")

    def basis(self, at: At) -> Featurizer:
        """The site's own coordinates."""
        del at
        return Identity()

    def start(self, at: At, generator: torch.Generator, restart: int) -> Parameters:
        """A rotation's parameters, at a random or a supervised start.

        Raises:
            AlignmentError: when the site is narrower than the coordinates that are needed.
        """
        sizes = fitting_sizes("DAS", self.dims, at)
        drawn = torch.randn(at.width, sum(sizes), generator=generator)
        if self.start_from == "random":
            return free_parameters(self.parametrisation, torch.linalg.qr(drawn).Q, generator)
        found = disjoint_directions(self.start_from, [at.vectors(v) for v in at.variables], sizes, generator)
        told = torch.cat(found, 1).cpu()
        noise = _NOISE * drawn / at.width**0.5 if restart else 0.0
        return free_parameters(self.parametrisation, torch.linalg.qr(told + noise).Q, generator)

    def patch(self, parameters: Parameters, held: Tensor, sources: Mapping[str, Tensor], at: At, progress: float) -> Tensor:
        """The vectors with each set variable's coordinates taken from its source."""
        del progress
        q, columns = orthonormal(self.parametrisation, parameters), columns_of(self.dims, at.variables)
        parts = {v: q[..., columns[v]] for v in sources}
        moved = [(x - held) @ parts[v] for v, x in sources.items()]
        return held + torch.cat(moved, -1) @ torch.cat(list(parts.values()), -1).mT

    def penalty(self, parameters: Parameters, at: At, progress: float) -> Tensor:
        """Nothing."""
        del at, progress
        return parameters["free"].new_zeros(len(parameters["free"]))

    def hardened(self, parameters: Parameters, at: At) -> Parameters:
        """The parameters themselves."""
        del at
        return parameters

    def features(self, parameters: Parameters, at: At) -> Mapping[str, Feature]:
        """Coordinates of one rotation."""
        stacked = {k: x.detach().double()[None] for k, x in parameters.items()}
        rotation = Orthogonal(orthonormal(self.parametrisation, stacked)[0].to(parameters["free"].dtype))
        columns = columns_of(self.dims, at.variables)
        return {v: Feature(at.site, rotation, tuple(range(columns[v].start, columns[v].stop))) for v in at.variables}
