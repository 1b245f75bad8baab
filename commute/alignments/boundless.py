"""Boundless distributed alignment search: the number of coordinates of each variable is learned too (2305.08809)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from commute.alignments.feature import Feature
from commute.alignments.featurizers import Featurizer, Identity, Orthogonal
from commute.alignments.masked import HARD, by_variable, dims_of, rotated_swap
from commute.alignments.method import At
from commute.alignments.options import as_plain, check_one_each, sparsity_problems, trained_problems
from commute.alignments.rotations import Parameters, Parametrisation, free_parameters, orthonormal
from commute.errors import AlignmentError, check, unknown

_WARM, _COLD = 0.03, 0.002  # temperature of the boundaries, as a share of the width, at the start and at the end
_KNOWN = 0.5  # of training, after which sparsity has its whole weight


@dataclass(frozen=True)
class BoundlessDAS:
    """A full rotation of a site in which each variable takes the coordinates up to a learned boundary, each in an equal part.

    While it is trained boundaries are soft, and harden with a falling temperature; features have whole coordinates.

    Attributes:
        sparsity: weight of the share of coordinates that the variables take, in the loss.
        steps: gradient steps at most (Adam, cosine schedule).
        batch: pairs a step.
        learning_rate: at the start; a list to try each.
        restarts: random starts at each site, trained side by side.
        parametrisation: of the rotation.
        patience: checks on the selection pairs without a lower loss, after which training stops.
    """

    sparsity: float = 1.0
    steps: int = 600
    batch: int = 256
    learning_rate: float | Sequence[float] = 0.05
    restarts: int = 4
    parametrisation: Parametrisation = "qr"
    patience: int = 20

    def __post_init__(self) -> None:
        as_plain(self)
        low = trained_problems(self.steps, self.batch, self.learning_rate, self.restarts, self.patience)
        low += sparsity_problems(self.sparsity)
        if self.parametrisation not in get_args(Parametrisation):
            low.append(unknown("parametrisation", self.parametrisation, get_args(Parametrisation)))
        check(low, AlignmentError, "BoundlessDAS")

    def basis(self, at: At) -> Featurizer:
        """The site's own coordinates."""
        del at
        return Identity()

    def start(self, at: At, generator: torch.Generator, restart: int) -> Parameters:
        """A random rotation, and boundaries that give each variable one coordinate; they move as far as it takes.

        Raises:
            AlignmentError: when the site has fewer coordinates than there are variables.
        """
        del restart
        n = len(at.variables)
        check_one_each(at, at.width)
        rotation = torch.linalg.qr(torch.randn(at.width, at.width, generator=generator)).Q
        return {
            **free_parameters(self.parametrisation, rotation, generator),
            "shares": torch.tensor([1 / size for size in _parts(at.width, n)]).clamp(max=0.9).logit().requires_grad_(),
        }

    def patch(self, parameters: Parameters, held: Tensor, sources: Mapping[str, Tensor], at: At, progress: float) -> Tensor:
        """The vectors with each set variable's coordinates moved towards its source's, as far as its boundaries say."""
        masks = parameters[HARD] if HARD in parameters else _soft(parameters["shares"], at.width, progress)
        return rotated_swap(self.parametrisation, parameters, held, sources, by_variable(masks, at.variables))

    def penalty(self, parameters: Parameters, at: At, progress: float) -> Tensor:
        """The share of coordinates that variables take, weighed, and the more so the better the rotation is known."""
        del at
        return self.sparsity * min(1.0, progress / _KNOWN) * parameters["shares"].sigmoid().mean(-1)

    def hardened(self, parameters: Parameters, at: At) -> Parameters:
        """Boundaries at whole coordinates, at least one a variable."""
        return {**parameters, HARD: torch.stack([_hard(shares, at.width) for shares in parameters["shares"]])}

    def features(self, parameters: Parameters, at: At) -> Mapping[str, Feature]:
        """Coordinates of one rotation, which has no more than the variables take."""
        stacked = {k: x.detach().double()[None] for k, x in parameters.items() if k in ("free", "base")}
        dims = dims_of(parameters[HARD], at.variables)
        used = sorted(d for own in dims.values() for d in own)
        rotation = Orthogonal(orthonormal(self.parametrisation, stacked)[0][:, used].to(parameters["free"].dtype))
        return {v: Feature(at.site, rotation, tuple(map(used.index, own))) for v, own in dims.items()}


def _parts(width: int, variables: int) -> list[int]:
    """How many coordinates each variable can take; the last one has the rest."""
    return [width // variables] * (variables - 1) + [width - width // variables * (variables - 1)]


def _places(width: int, variables: int) -> Tensor:
    """The place of each coordinate in each variable's part, [variables, width], from 0; outside of it, past any boundary."""
    sizes = _parts(width, variables)
    places = torch.full((variables, width), float("inf"))
    start = 0
    for variable, size in enumerate(sizes):
        places[variable, start : start + size] = torch.arange(size)
        start += size
    return places


def _soft(shares: Tensor, width: int, progress: float) -> Tensor:
    """Masks [items, variables, width] that fall off at the boundaries, where shares of the parts end."""
    n = shares.shape[-1]
    temperature = width * _WARM * (_COLD / _WARM) ** progress
    ends = shares.sigmoid() * torch.tensor(_parts(width, n)).to(shares)
    masks: Tensor = ((ends[..., None] - _places(width, n).to(shares) - 0.5) / temperature).sigmoid()
    return masks


def _hard(shares: Tensor, width: int) -> Tensor:
    """One item's mask, [variables, width] of 0 and 1, with a coordinate a variable at least."""
    n = len(shares)
    ends = (shares.sigmoid() * torch.tensor(_parts(width, n)).to(shares)).round().clamp(min=1)
    return (_places(width, n).to(shares) < ends[:, None]).to(shares)
