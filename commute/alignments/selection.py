"""Choosing which coordinates hold a variable, by what their interchange does to the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from commute.alignments.assignments import Assignments, assignments, best_of, ways_to_assign
from commute.alignments.binary_mask import BinaryMask
from commute.alignments.feature import Feature
from commute.alignments.featurizers import Featurizer
from commute.alignments.method import At, sites_of
from commute.alignments.options import as_plain, dims_problems, sizes_of
from commute.alignments.training import Features, TrainingPairs
from commute.errors import AlignmentError, check, not_counts, unknown

Over = Literal["neurons", "components", "sites"]
How = Literal["greedy", "exact"]

_EXACT = 20_000  # assignments that are all tried, at most


@dataclass(frozen=True)
class Selection:
    """The coordinates of each variable, chosen by the IIA in the worst slice of the pairs to fit on.

    `exact` tries every assignment. `greedy` gives one coordinate at a time to the variable that gains most, in the mean over sets
    of variables of the lower IIA of changed and of unchanged pairs; in the end it exchanges the owners of two coordinates as long
    as that improves, first this mean and then the worst slice. Of U coordinates it looks at each by itself, and further at C: the
    `screen` best, and the D of least effect, for D coordinates in all. For V variables and S sets of them that is at most
    256 S (UV + CDV + 2CD²) rows through what comes after the site, where the last term is seldom reached. It can miss a code of
    which no coordinate helps by itself: a parity, or the majority of several copies whose scores do not show how narrow it is.

    Attributes:
        dims: coordinates a variable; a list of numbers to try each; a mapping gives each variable its own. With `parts` it counts
            parts, and over sites sites.
        over: the coordinates: `neurons`, principal `components` of the sources, or a featurizer such as a sparse autoencoder; or
            the place's `sites`, each with its whole vector.
        how: `greedy` or `exact`.
        parts: choose whole parts of the neurons, of which each site has so many equal ones: heads that stand side by side.
        screen: coordinates that `greedy` looks at further than by themselves.
    """

    dims: int | Sequence[int] | Mapping[str, int] = 8
    over: Over | Featurizer = "neurons"
    how: How = "greedy"
    parts: int | None = None
    screen: int = 64

    def __post_init__(self) -> None:
        as_plain(self)
        problems = dims_problems(self.dims) + not_counts(screen=self.screen)
        if isinstance(self.over, str) and self.over not in get_args(Over):
            problems.append(unknown("kind of coordinates", self.over, get_args(Over)))
        elif not isinstance(self.over, (str, Featurizer)) or isinstance(self.over, type):
            problems.append(f"over must be 'neurons', 'components', 'sites' or a featurizer; given {self.over!r}")
        if self.how not in get_args(How):
            problems.append(unknown("way to choose", self.how, get_args(How)))
        if self.parts is not None:
            problems += not_counts(parts=self.parts)
            if self.over != "neurons":
                problems.append(f"parts are of neurons, which over must be; given {self.over!r}")
        check(problems, AlignmentError, "Selection")

    def fit(self, train: Sequence[TrainingPairs], select: Sequence[TrainingPairs], generator: np.random.Generator) -> Features:
        """Each variable's coordinates, at those of the place's sites where it has some.

        Raises:
            AlignmentError: when there are too few coordinates, parts that do not divide them, or too many assignments to try.
        """
        del select, generator
        choices = self._choices(sites_of(train))
        sizes, units = sizes_of(self.dims, choices.sites[0].variables), sum(choices.units)
        what = "sites" if self.over == "sites" else "parts" if self.parts else "coordinates"
        if sum(sizes) > units:
            where = " + ".join(str(at.site) for at in choices.sites)
            raise AlignmentError(f"Selection: {len(sizes)} variables need {sum(sizes)} {what}; {where} has {units}")
        if self.how == "greedy":
            owners = _improved(choices, *_greedy(choices, sizes, self.screen))
        else:
            if (ways := ways_to_assign(units, sizes)) > _EXACT:
                raise AlignmentError(
                    f"Selection: there are {ways:,} ways to choose {' + '.join(map(str, sizes))} of {units} {what}, and at most "
                    f'{_EXACT:,} are tried; use how="greedy"'
                )
            tried = assignments(units, sizes)
            owners = tried[best_of(choices.outcomes(tried).keys())]
        return self._features(choices, owners)

    def _choices(self, sites: Sequence[At]) -> Assignments:
        over: Literal["neurons"] | Literal["components"] | Featurizer = "neurons" if self.over == "sites" else self.over
        method = BinaryMask(over=over)
        viewed = [At(at.variables, at.site, at.index, at.width, at.train, method.basis(at)) for at in sites]
        one = [at.vectors(at.variables[0])[0][:1] for at in sites]
        coordinates = [at.basis.to_features(x)[0].shape[1] for at, x in zip(viewed, one, strict=True)]
        units = [1 if self.over == "sites" else self.parts or n for n in coordinates]
        uneven = [
            f"{self.parts} equal parts do not divide the width {n} of {at.site}"
            for at, n, k in zip(sites, coordinates, units, strict=True)
            if n % k
        ]
        check(uneven, AlignmentError, "Selection")
        return Assignments(method, viewed, units, coordinates)

    def _features(self, choices: Assignments, owners: Tensor) -> Features:
        features: dict[str, list[Feature]] = {v: [] for v in choices.sites[0].variables}
        for at, owned in zip(choices.sites, choices.owned(owners), strict=True):
            for v, dims in owned.items():
                if dims:
                    features[v].append(Feature(at.site) if self.over == "sites" else Feature(at.site, at.basis, dims))
        return features


def _greedy(choices: Assignments, sizes: Sequence[int], screen: int) -> tuple[Tensor, list[int]]:
    """The assignment [units] to which units were added one by one, and the units that were looked at."""
    owners = torch.full((sum(choices.units),), choices.none)
    units = _screened(choices, screen, sum(sizes))
    while short := [v for v, size in enumerate(sizes) if (owners == v).sum() < size]:
        tried = _with(owners, [(u, v) for v in short for u in units if owners[u] == choices.none])
        owners = tried[best_of(choices.outcomes(tried).keys()[:, 1:])]
    return owners, units


def _screened(choices: Assignments, screen: int, needed: int) -> list[int]:
    """The units that by themselves are best for some variable, as many for each; and those of least effect, to fill up with."""
    total, none = sum(choices.units), choices.none
    if total <= screen + needed:
        return list(range(total))
    nothing = torch.full((total,), none)
    outcomes = choices.outcomes(torch.cat([nothing[None], _with(nothing, [(u, v) for v in range(none) for u in range(total)])]))
    keys, effects = outcomes.keys()[1:].reshape(none, total, 3), outcomes.effects()[1:].reshape(none, total)
    by_key = [sorted(range(total), key=of_variable[:, 1:].tolist().__getitem__, reverse=True) for of_variable in keys]
    best = dict.fromkeys(u for of_rank in zip(*by_key, strict=True) for u in of_rank)
    return sorted({*list(best)[:screen], *np.argsort(effects.sum(0), kind="stable")[:needed].tolist()})


def _improved(choices: Assignments, owners: Tensor, units: Sequence[int]) -> Tensor:
    """The assignment after exchanging the owners of two units as often as that improves, each time where it does most.

    What should improve is the mean over sets at first, and then the worst slice.
    """
    best, rounds = choices.outcomes(owners[None]).keys()[0], int((owners < choices.none).sum())
    tried = _swapped(owners, units)
    if best[0] == 1 or not len(tried):
        return owners
    keys = choices.outcomes(tried).keys()
    for first in (1, 0):
        for _ in range(rounds):
            place = best_of(keys[:, first:])
            if best[0] == 1 or keys[place, first:2].tolist() <= best[first:2].tolist():
                break
            best, owners = keys[place], tried[place]
            tried = _swapped(owners, units)
            keys = choices.outcomes(tried).keys()
    return owners


def _with(owners: Tensor, moves: Sequence[tuple[int, int]]) -> Tensor:
    """The assignment with one unit given to a variable, [moves, units]."""
    units, variables = torch.tensor(moves).T
    tried = owners.repeat(len(moves), 1)
    tried[torch.arange(len(moves)), units] = variables
    return tried


def _swapped(owners: Tensor, units: Sequence[int]) -> Tensor:
    """The assignments in which two units have each other's owner, [swaps, units]."""
    pairs = [(a, b) for i, a in enumerate(units) for b in units[i + 1 :] if owners[a] != owners[b]]
    swaps = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)
    tried = owners.repeat(len(swaps), 1)
    return tried.scatter(1, swaps, owners[swaps.flip(1)])
