"""What a method of search is: a frozen dataclass of options, which fits features at places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from commute.alignments.feature import Feature
from commute.alignments.featurizers import Featurizer, Identity
from commute.alignments.rotations import Parameters
from commute.alignments.training import Features, TrainingPairs
from commute.models.sites import Site

_NEURONS = Identity()


@runtime_checkable
class Direct(Protocol):
    """A method that finds features without gradients."""

    def fit(self, train: Sequence[TrainingPairs], select: Sequence[TrainingPairs], generator: np.random.Generator) -> Features:
        """The features of each variable at the pairs' place.

        Args:
            train: pairs to fit on, one set of variables an item.
            select: pairs to choose among what was fitted by, likewise.
            generator: of all that is random.
        """


@dataclass(frozen=True, eq=False)
class At:
    """One site of a place at which parameters are trained.

    Attributes:
        variables: in the order in which they have parameters.
        site: the site.
        index: which of the place's sites it is.
        width: of its vectors.
        train: the pairs to train on, one set of variables an item.
        basis: the view of its vectors in which features are trained.
    """

    variables: tuple[str, ...]
    site: Site
    index: int
    width: int
    train: Sequence[TrainingPairs]
    basis: Featurizer = _NEURONS

    def vectors(self, variable: str) -> tuple[Tensor, Tensor]:
        """The vectors [pairs, width] of a variable's sources, and the variable's values there, [pairs]."""
        here = next(p for p in self.train if tuple(p.vectors) == (variable,))
        return here.vectors[variable][self.index], torch.from_numpy(np.asarray(here.values[variable]))


def sites_of(train: Sequence[TrainingPairs], variables: Sequence[str] | None = None) -> list[At]:
    """The sites of the pairs' place, at each of which all variables are: those of the pairs, unless given."""
    named = dict.fromkeys(v for here in train for v in here.vectors) if variables is None else variables
    widths = [x.shape[1] for x in next(iter(train[0].vectors.values()))]
    return [At(tuple(named), site, i, widths[i], train) for i, site in enumerate(train[0].place)]


@runtime_checkable
class Trained(Protocol):
    """A method whose features are trained by gradients: what it trains, and what an interchange is under it.

    Items of one method are trained together: `patch` and `penalty` are given their parameters stacked.
    """

    @property
    def steps(self) -> int:
        """Gradient steps."""

    @property
    def batch(self) -> int:
        """Pairs a step."""

    @property
    def learning_rate(self) -> float | Sequence[float]:
        """At the start; of a single item one number."""

    def basis(self, at: At) -> Featurizer:
        """The view of a site's vectors in which features are trained."""

    def start(self, at: At, generator: torch.Generator, restart: int) -> Parameters:
        """One item's parameters at a site; those that require gradients are trained.

        Raises:
            AlignmentError: when the site is too narrow.
        """

    def patch(self, parameters: Parameters, held: Tensor, sources: Mapping[str, Tensor], at: At, progress: float) -> Tensor:
        """The site's vectors after the interchange.

        Args:
            parameters: of items, [items, …] each.
            held: the bases' vectors, [items, batch, width].
            sources: those of the source of each variable that is set, likewise.
            at: where.
            progress: the share of training that is over; what is soft hardens with it.
        """

    def penalty(self, parameters: Parameters, at: At, progress: float) -> Tensor:
        """What is added to each item's loss, [items]."""

    def hardened(self, parameters: Parameters, at: At) -> Parameters:
        """Parameters, [items, …], under which an interchange is exactly that of `features`."""

    def features(self, parameters: Parameters, at: At) -> Mapping[str, Feature]:
        """The features of one item's hardened parameters."""


Method = Direct | Trained
_M = TypeVar("_M", bound=Any)


def variants(method: _M) -> list[_M]:
    """One method for each combination of the options that were given as lists of values to try (`dims=(1, 2, 4)`)."""
    swept = [f.name for f in fields(method) if f.name in ("dims", "learning_rate") and _several(getattr(method, f.name))]
    return [replace(method, **dict(zip(swept, x, strict=True))) for x in product(*(getattr(method, name) for name in swept))]


def _several(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str)
