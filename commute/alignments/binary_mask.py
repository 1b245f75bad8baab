"""Binary masks: which coordinates hold which variable, learned from what interchanges should do (2307.03637)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from commute.alignments.feature import Feature
from commute.alignments.featurizers import PCA, Composed, Featurizer, Identity, Orthogonal
from commute.alignments.masked import HARD, by_variable, dims_of, one_hot, rotated_swap, swapped
from commute.alignments.method import At
from commute.alignments.options import as_plain, check_one_each, sparsity_problems, trained_problems
from commute.alignments.rotations import Parameters, free_parameters, orthonormal
from commute.errors import AlignmentError, check, unknown

BasisName = Literal["neurons", "components"]

_WARM, _COLD = 1.0, 0.1  # temperature of the mask at the start and at the end
_ROTATED = 2048  # coordinates that are rotated, at most


@dataclass(frozen=True)
class BinaryMask:
    """A mask over coordinates, one for each variable and disjoint, soft while it is trained and 0 or 1 afterwards.

    What is asked of it (the desiderata) is what the algorithm answers for single and joint interchanges, those that change the
    output and those that do not.

    Attributes:
        over: the coordinates: `neurons`, principal `components` of the sources, or a featurizer such as a sparse autoencoder.
        rotation: learn a rotation of these coordinates too.
        sparsity: weight of the share of coordinates that the variables take, in the loss.
        steps: gradient steps at most (Adam, cosine schedule).
        batch: pairs a step.
        learning_rate: at the start; a list to try each.
        restarts: random starts at each site, trained side by side.
        patience: checks on the selection pairs without a lower loss, after which training stops.
    """

    over: BasisName | Featurizer = "neurons"
    rotation: bool = False
    sparsity: float = 0.8
    steps: int = 600
    batch: int = 256
    learning_rate: float | Sequence[float] = 0.05
    restarts: int = 1
    patience: int = 20

    def __post_init__(self) -> None:
        as_plain(self)
        low = trained_problems(self.steps, self.batch, self.learning_rate, self.restarts, self.patience)
        low += sparsity_problems(self.sparsity)
        if isinstance(self.over, str) and self.over not in get_args(BasisName):
            low.append(unknown("kind of coordinates", self.over, get_args(BasisName)))
        elif not isinstance(self.over, (str, Featurizer)):
            low.append(f"over must be 'neurons', 'components' or a featurizer; given {self.over!r}")
        check(low, AlignmentError, "BinaryMask")

    def basis(self, at: At) -> Featurizer:
        """The coordinates; principal components are fitted to the sources' vectors."""
        if isinstance(self.over, Featurizer):
            return self.over
        if self.over == "neurons":
            return Identity()
        return PCA.fit(torch.cat([at.vectors(v)[0] for v in at.variables]))

    def start(self, at: At, generator: torch.Generator, restart: int) -> Parameters:
        """A mask that says little, and with `rotation` a rotation: none at first, random in later restarts.

        Raises:
            AlignmentError: when there are fewer coordinates than variables, or too many to rotate.
        """
        width, n = at.basis.to_features(at.vectors(at.variables[0])[0][:1])[0].shape[1], len(at.variables)
        check_one_each(at, width)
        noise = 0.1 * torch.randn(n + 1, width, generator=generator)
        started: Parameters = {"logits": noise.requires_grad_()}
        if not self.rotation:
            return started
        if width > _ROTATED:
            raise AlignmentError(f"{width} coordinates at {at.site} are too many to rotate; at most {_ROTATED} are")
        rotation = torch.linalg.qr(torch.randn(width, width, generator=generator)).Q if restart else torch.eye(width)
        return {**started, **free_parameters("qr", rotation, generator)}

    def patch(self, parameters: Parameters, held: Tensor, sources: Mapping[str, Tensor], at: At, progress: float) -> Tensor:
        """The vectors with the coordinates moved towards each source's by its mask; what the basis leaves out stays."""
        temperature = _WARM * (_COLD / _WARM) ** progress
        soft = parameters[HARD] if HARD in parameters else (parameters["logits"] / temperature).softmax(-2)[..., :-1, :]
        masks, items = by_variable(soft, at.variables), len(held)
        features, rest = at.basis.to_features(held.flatten(0, 1))
        features = features.reshape(items, -1, features.shape[-1])
        taken = {v: at.basis.to_features(x.flatten(0, 1))[0].reshape(features.shape) for v, x in sources.items()}
        moved = rotated_swap("qr", parameters, features, taken, masks) if self.rotation else swapped(features, taken, masks)
        return at.basis.from_features(moved.flatten(0, 1), rest).reshape(held.shape)

    def penalty(self, parameters: Parameters, at: At, progress: float) -> Tensor:
        """The share of coordinates that variables take, weighed."""
        del at, progress
        return self.sparsity * parameters["logits"].softmax(-2)[..., :-1, :].sum(-2).mean(-1)

    def hardened(self, parameters: Parameters, at: At) -> Parameters:
        """Each coordinate with the variable, or with none, that its mask is largest for; each variable keeps one."""
        owners = [_owners(logits.detach()) for logits in parameters["logits"]]
        return {**parameters, HARD: one_hot(torch.stack(owners), len(at.variables))}

    def features(self, parameters: Parameters, at: At) -> Mapping[str, Feature]:
        """Coordinates of the basis, rotated where a rotation was learned."""
        view = at.basis
        if self.rotation:
            free = parameters["free"].detach()
            rotation = Orthogonal(orthonormal("qr", {"free": free.double()}).to(free.dtype))
            view = rotation if isinstance(view, Identity) else Composed(view, rotation)
        return {v: Feature(at.site, view, d) for v, d in dims_of(parameters[HARD], at.variables).items()}


def _owners(logits: Tensor) -> Tensor:
    """The variable of each coordinate, [dims] of int64; the last is none. A variable without any takes its best spare one."""
    none = len(logits) - 1
    owners = logits.argmax(0)
    for variable in range(none):
        if not (owners == variable).any():
            spare = (owners == none) | (torch.bincount(owners, minlength=none + 1)[owners] > 1)
            owners[torch.where(spare, logits[variable], -torch.inf).argmax()] = variable
    return owners
