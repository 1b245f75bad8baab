"""A learned invertible map in place of a rotation: what can be had when the map may be anything (2507.08802)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from commute.alignments.feature import Feature
from commute.alignments.featurizers import Featurizer, Identity, Invertible
from commute.alignments.featurizers.invertible import Parameters as Flow
from commute.alignments.featurizers.invertible import forward, inverse
from commute.alignments.method import At
from commute.alignments.options import as_plain, columns_of, dims_problems, fitting_sizes, trained_problems
from commute.alignments.rotations import Parameters
from commute.errors import AlignmentError, check, not_counts


@dataclass(frozen=True)
class NonlinearDAS:
    """A normalising flow at a site, trained so that interchanging its coordinates does what the algorithm does.

    It shows when a claim is vacuous: what such a map reaches on a network that does not compute the algorithm, no claim can be
    built on.

    Attributes:
        dims: coordinates a variable; a list of numbers to try each; a mapping gives each variable its own.
        layers: coupling layers.
        hidden: width of the networks in them.
        steps: gradient steps at most (Adam, cosine schedule).
        batch: pairs a step.
        learning_rate: at the start; a list to try each.
        restarts: random starts at each site, trained side by side.
        patience: checks on the selection pairs without a lower loss, after which training stops.
    """

    dims: int | Sequence[int] | Mapping[str, int] = 8
    layers: int = 6
    hidden: int = 64
    steps: int = 800
    batch: int = 256
    learning_rate: float | Sequence[float] = 0.005
    restarts: int = 2
    patience: int = 10

    def __post_init__(self) -> None:
        as_plain(self)
        low = trained_problems(self.steps, self.batch, self.learning_rate, self.restarts, self.patience)
        check(low + dims_problems(self.dims) + not_counts(layers=self.layers, hidden=self.hidden), AlignmentError, "NonlinearDAS")

    def basis(self, at: At) -> Featurizer:
        """The site's own coordinates."""
        del at
        return Identity()

    def start(self, at: At, generator: torch.Generator, restart: int) -> Parameters:
        """A random flow.

        Raises:
            AlignmentError: when the site is narrower than the coordinates that are needed.
        """
        del restart
        fitting_sizes("NonlinearDAS", self.dims, at)
        flow = Invertible.random(at.width, layers=self.layers, hidden=self.hidden, generator=generator)
        return {f.name: getattr(flow, f.name).requires_grad_() for f in fields(flow)}

    def patch(self, parameters: Parameters, held: Tensor, sources: Mapping[str, Tensor], at: At, progress: float) -> Tensor:
        """The vectors with each set variable's coordinates under the flow taken from its source."""
        del progress
        columns, flow = columns_of(self.dims, at.variables), Flow(**parameters)
        moved = forward(flow, held).clone()
        for variable, source in sources.items():
            moved[..., columns[variable]] = forward(flow, source)[..., columns[variable]]
        return inverse(flow, moved)

    def penalty(self, parameters: Parameters, at: At, progress: float) -> Tensor:
        """Nothing."""
        del at, progress
        first = next(iter(parameters.values()))
        return torch.zeros(len(first), device=first.device)

    def hardened(self, parameters: Parameters, at: At) -> Parameters:
        """The parameters themselves."""
        del at
        return parameters

    def features(self, parameters: Parameters, at: At) -> Mapping[str, Feature]:
        """Coordinates of one flow."""
        flow = Invertible(**{k: x.detach() for k, x in parameters.items()})
        columns = columns_of(self.dims, at.variables)
        return {v: Feature(at.site, flow, tuple(range(columns[v].start, columns[v].stop))) for v in at.variables}
