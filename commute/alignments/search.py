"""Searching the sites of a network for an alignment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from commute.alignments.accuracy import Accuracy, interchange_accuracy
from commute.alignments.alignment import Alignment
from commute.alignments.das import DAS
from commute.alignments.feature import Feature
from commute.alignments.training import TrainingPairs, prepare, read_decisions
from commute.alignments.variable_sets import variable_sets
from commute.causal.designs import pairs
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError, check, unknown
from commute.models.network import Network
from commute.models.sites import Site
from commute.runs.events import OnEvent, SearchStarted, SiteSearched, ignore
from commute.runs.seeds import stream

if TYPE_CHECKING:
    import pandas as pd


class Method(Protocol):
    """A way to fit features at a site."""

    def fit(
        self,
        site: Site,
        train: Sequence[TrainingPairs],
        select: Sequence[TrainingPairs],
        generator: np.random.Generator,
    ) -> Mapping[str, Feature]:
        """The feature of each variable at `site`."""


@dataclass(frozen=True)
class Search:
    """What to search for and where.

    Attributes:
        variables: the variables to align, all at one site.
        sites: the sites to try.
        method: how features are fitted at a site.
        n: pairs to train on for each set of variables; half as many are drawn to select by.
    """

    variables: Sequence[str]
    sites: Sequence[Site]
    method: Method = field(default_factory=DAS)
    n: int = 4096

    def problems(self, algorithm: CausalModel, network: Network) -> list[str]:
        """What is wrong with the search for this algorithm and network."""
        paths = [path for path, _ in network.module.named_modules()]
        found = [unknown("variable", v, algorithm.graph) for v in self.variables if v not in algorithm.graph]
        found += [f"sites must be Site values (network.sites(…)); given {s!r}" for s in self.sites if not isinstance(s, Site)]
        found += [unknown("site", s.path, paths) for s in self.sites if isinstance(s, Site) and s.path not in paths]
        found += [f"{what} is empty" for what, given in (("variables", self.variables), ("sites", self.sites)) if not len(given)]
        if isinstance(self.variables, str):
            found = [f"variables is a list of names; given {self.variables!r}"]
        if self.n < 2:  # noqa: PLR2004  # one to train on and one to select by
            found.append(f"n must be at least 2; given {self.n}")
        return found


@dataclass(frozen=True)
class Candidate:
    """The best alignment found at one site, and its accuracy on the selection pairs of each set of variables."""

    site: Site
    alignment: Alignment
    selection: Mapping[tuple[str, ...], Accuracy]

    @property
    def worst(self) -> float:
        """The lowest IIA of any set of variables, on changed or on unchanged pairs."""
        return min(c.rate for a in self.selection.values() for c in (a.changed, a.unchanged) if c.total)


@dataclass(frozen=True)
class SearchResult:
    """What a search found: a candidate a site."""

    search: Search
    seed: int
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Alignment:
        """The alignment whose worst slice is the highest on the selection pairs."""
        return max(self.candidates, key=lambda c: c.worst).alignment

    def to_frame(self) -> "pd.DataFrame":
        """One row a site and variable: IIA on the selection pairs, alone and in the worst slice of any set."""
        import pandas as pd

        return pd.DataFrame(
            {
                "site": str(candidate.site),
                "variable": variable,
                "method": type(self.search.method).__name__,
                "dims": len(candidate.alignment[variable].dims or ()) or None,
                "seed": self.seed,
                "iia": candidate.selection[variable,].rate,
                "changed": candidate.selection[variable,].changed.rate,
                "unchanged": candidate.selection[variable,].unchanged.rate,
                "worst": candidate.worst,
                "best": candidate.alignment is self.best,
                "candidates": len(self.candidates),
            }
            for candidate in self.candidates
            for variable in self.search.variables
        )


def search(
    algorithm: CausalModel,
    network: Network,
    *,
    variables: Sequence[str],
    sites: Sequence[Site],
    method: Method | None = None,
    n: int = 4096,
    seed: int = 0,
) -> SearchResult:
    """Fit an alignment of the variables at each site and compare the sites on held-out pairs.

    Pairs to train on, pairs to select by, and the pairs that `verify` draws later come from separate streams of the seed.

    Raises:
        AlignmentError: listing every unknown variable and site, and sites too narrow for the method.
    """
    return run_search(Search(variables, sites, method or DAS(), n), algorithm, network, seed=seed)


def run_search(
    spec: Search,
    algorithm: CausalModel,
    network: Network,
    *,
    seed: int,
    control: str | None = None,
    on_event: OnEvent = ignore,
) -> SearchResult:
    """Carry out a search; `control` names the control that it serves, which gives it streams of its own."""
    check(spec.problems(algorithm, network), AlignmentError, "the search")
    path = ("search", control or "claim")
    train = _pairs(spec, algorithm, spec.n, stream(seed, *path, "train"))
    select = _pairs(spec, algorithm, max(spec.n // 2, 1), stream(seed, *path, "select"))
    on_event(SearchStarted(len(spec.sites), control))
    readout = read_decisions(network, train[0])
    candidates = []
    for site in spec.sites:
        ready = [[prepare(network, site, readout, p) for p in part] for part in (train, select)]
        features = spec.method.fit(site, ready[0], ready[1], stream(seed, *path, str(site)))
        alignment = Alignment(features, search=spec)
        selection = {p.variables: interchange_accuracy(algorithm, network, alignment, p) for p in select}
        candidates.append(Candidate(site, alignment, selection))
        on_event(SiteSearched(str(site), candidates[-1].worst, control))
    return SearchResult(spec, seed, tuple(candidates))


def _pairs(spec: Search, algorithm: CausalModel, n: int, generator: np.random.Generator) -> list[Pairs]:
    return [pairs(algorithm, chosen, n, seed=generator) for chosen in variable_sets(spec.variables)]
