"""Searching the sites of a network for an alignment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from commute.alignments.accuracy import Accuracy, check_labels, measured_accuracy
from commute.alignments.alignment import Alignment
from commute.alignments.das import DAS
from commute.alignments.spec import Method, Search
from commute.alignments.training import prepare, read_decisions
from commute.alignments.variable_sets import variable_sets
from commute.causal.batches import take
from commute.causal.designs import pairs
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError, NetworkError, check
from commute.models.network import Network
from commute.models.sites import Site
from commute.runs.events import OnEvent, SearchStarted, SiteSearched, SiteSkipped, ignore
from commute.runs.seeds import stream

if TYPE_CHECKING:
    import pandas as pd


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
    """What a search found: a candidate a site, and why sites could not be used."""

    search: Search
    seed: int
    candidates: tuple[Candidate, ...]
    skipped: Mapping[str, str]

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
    select = _pairs(spec, algorithm, spec.n // 2, stream(seed, *path, "select"))
    if control is None:
        network.check_deterministic(select[0].base)
        check_labels(algorithm, network.run(select[0].base))
    on_event(SearchStarted(len(spec.sites), control))
    readout = read_decisions(network, train[0])
    candidates = []
    skipped = _unusable(network, spec.sites, train[0])
    for site in spec.sites:
        if str(site) in skipped:
            on_event(SiteSkipped(str(site), skipped[str(site)], control))
    sites = [site for site in spec.sites if str(site) not in skipped]
    ready = [[prepare(network, sites, readout, p) for p in part] for part in (train, select)] if sites else []
    for site in sites:
        try:
            here = [[of_set[site] for of_set in part] for part in ready]
            features = spec.method.fit(site, here[0], here[1], stream(seed, *path, str(site)))
        except (AlignmentError, NetworkError) as error:  # this site is of no use; others may be
            skipped[str(site)] = str(error)
            on_event(SiteSkipped(str(site), str(error), control))
            continue
        alignment = Alignment(features, search=spec)
        selection = {p.variables: measured_accuracy(network, alignment, p) for p in select}
        candidates.append(Candidate(site, alignment, selection))
        on_event(SiteSearched(str(site), candidates[-1].worst, control))
    if not candidates:
        check(list(dict.fromkeys(skipped.values())), AlignmentError, "the search")
    return SearchResult(spec, seed, tuple(candidates), skipped)


def _unusable(network: Network, sites: Sequence[Site], pairs: Pairs) -> dict[str, str]:
    """Why sites cannot be read, of those that cannot."""
    found = {}
    for site in sites:
        try:
            network.activations(take(pairs.base, slice(2)), [site])
        except (AlignmentError, NetworkError) as error:  # this site is of no use; others may be
            found[str(site)] = str(error)
    return found


def _pairs(spec: Search, algorithm: CausalModel, n: int, generator: np.random.Generator) -> list[Pairs]:
    return [pairs(algorithm, chosen, n, seed=generator) for chosen in variable_sets(spec.variables)]
