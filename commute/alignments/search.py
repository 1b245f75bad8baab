"""Searching the places of a network for an alignment."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from commute.alignments.accuracy import Accuracy, agrees, check_labels
from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count, count
from commute.alignments.das import DAS
from commute.alignments.drawing import CLAIM, SearchPairs, search_pairs
from commute.alignments.fingerprint import fingerprint
from commute.alignments.items import Chunk, Fitted, Item, chunked, fit_chunk, items_of
from commute.alignments.method import Method
from commute.alignments.records import Records
from commute.alignments.result import Candidate, SearchResult, named
from commute.alignments.spec import Halving, Search
from commute.alignments.training import Place
from commute.alignments.workers import spread
from commute.causal.batches import take
from commute.causal.designs import pairs
from commute.causal.heldout import Heldout
from commute.causal.model import CausalModel
from commute.errors import AlignmentError, NetworkError, check
from commute.models.network import Network
from commute.models.sites import Site
from commute.runs.directory import RunDirectory
from commute.runs.events import ItemFitted, OnEvent, SearchStarted, SiteSkipped, ignore
from commute.runs.seeds import stream

_COARSE = 512  # pairs of the coarse pass, at most
_CONFIDENCE = 0.99  # of the bounds in what is found


def search(
    algorithm: CausalModel,
    network: Network,
    *,
    variables: Sequence[str],
    sites: Sequence[Site | Sequence[Site]],
    method: Method | None = None,
    n: int = 4096,
    seed: int = 0,
    heldout: Heldout = "pairs",
    halving: Halving | None = None,
    executor: Executor | None = None,
    runs: str | Path | None = None,
    on_event: OnEvent = ignore,
) -> SearchResult:
    """Fit alignments of the variables at each place and compare them on held-out pairs.

    Args:
        algorithm: whose variables are looked for.
        network: where.
        variables: to align, all at one place, in disjoint coordinates of it.
        sites: the places to try: sites, as `network.sites(…)`, `network.residual(…)` and `network.heads(…).values()` list them,
            or lists of sites that hold the variables together.
        method: how features are fitted; `DAS()` by default.
        n: pairs to train on for each set of variables; half as many are drawn to select by. No pair is in both, and `verify`
            draws others still, as far as the domain has others.
        seed: of every random stream. The same seed gives the same result.
        heldout: `values` holds values of the inputs out too: none is trained on, selected by and verified with.
        halving: thins out a large grid; None tries all of it in full.
        executor: of `concurrent.futures`, whose workers fit items; see `spread`.
        runs: a folder in which every fitted item is kept, so that a search that was cut off goes on there, and a larger one has
            less to do. Several processes may use it.
        on_event: is told of progress; `cm.progress()` draws it.

    Raises:
        AlignmentError: listing every unknown variable and site, and places too narrow for the method.
    """
    spec = Search(variables, sites, DAS() if method is None else method, n, heldout, halving)
    return run_search(spec, algorithm, network, seed=seed, executor=executor, runs=runs, on_event=on_event)


def run_search(
    spec: Search,
    algorithm: CausalModel,
    network: Network,
    *,
    seed: int,
    control: str | None = None,
    executor: Executor | None = None,
    runs: str | Path | None = None,
    on_event: OnEvent = ignore,
) -> SearchResult:
    """Carry out a search; `control` names the control that it serves, which gives it streams of its own."""
    check(spec.problems(algorithm, network), AlignmentError, "the search")
    path = ("search", control or CLAIM)
    drawn = search_pairs(spec, algorithm, seed, path)
    first = drawn.select[0].pairs
    if control is None:
        network.check_deterministic(first.base)
        check_labels(algorithm, network.run(first.base))
    skipped = _unusable(network, spec.places, take(first.base, slice(2)))
    for name, reason in skipped.items():
        on_event(SiteSkipped(name, reason, control))
    places = [place for place in spec.places if named(place) not in skipped]
    records = _records(spec, algorithm, network, seed, path, runs)
    work = _Work(spec, network, drawn, seed, path, control, executor, records, on_event)
    items = items_of(spec.method, places)
    fitted = work.fit(items) if spec.halving is None else _halved(work, algorithm, items, spec.halving)
    skipped |= {str(item): x.problem for item, x in fitted if x.features is None}
    known = _known(network, drawn)
    candidates = tuple(_candidate(item, x, known) for item, x in fitted if x.features is not None)
    if not candidates:
        check(list(dict.fromkeys(skipped.values())), AlignmentError, "the search")
    return SearchResult(spec, seed, candidates, len(items), skipped)


@dataclass(frozen=True, eq=False)
class _Work:
    """How items of one search are fitted: here or by workers, and kept."""

    spec: Search
    network: Network
    drawn: SearchPairs
    seed: int
    path: tuple[str, ...]
    control: str | None
    executor: Executor | None
    records: Records | None
    on_event: OnEvent

    def fit(self, items: Sequence[Item]) -> list[tuple[Item, Fitted]]:
        """What came of each item; those that are kept already are not fitted again."""
        self.on_event(SearchStarted(len(items), self.control))
        done: dict[int, Fitted] = {}
        todo: list[list[Item]] = []
        for together in chunked(items):
            kept = [self.records and self.records.read(item) for item in together]
            if all(kept):  # else all of it is fitted again, which gives the same numbers
                for item, x in zip(together, kept, strict=True):
                    self._take(done, item, x)
            else:
                todo.append(together)

        def on_result(place: int, found: Sequence[Fitted]) -> None:
            for item, x in zip(todo[place], found, strict=True):
                if self.records is not None:
                    self.records.write(item, x)
                self._take(done, item, x)

        spread(fit_chunk, self.network, [self._chunk(together) for together in todo], self.executor, on_result=on_result)
        return [(item, done[id(item)]) for item in items]

    def _take(self, done: dict[int, Fitted], item: Item, fitted: Any) -> None:
        done[id(item)] = fitted
        if fitted.features is None:
            self.on_event(SiteSkipped(str(item), fitted.problem, self.control))
        else:
            self.on_event(ItemFitted(str(item), _worst(fitted), self.control))

    def _chunk(self, items: Sequence[Item]) -> Chunk:
        drawn = self.drawn
        return Chunk(items, tuple(self.spec.variables), drawn.train, drawn.select, self.seed, self.path)


def _halved(work: _Work, algorithm: CausalModel, items: Sequence[Item], halving: Halving) -> list[tuple[Item, Fitted]]:
    """Items of the places that a coarse pass leaves, trained with more and more steps, fewer of them each time."""
    places = list(dict.fromkeys(item.place for item in items))
    left_out = _coarse(work, algorithm, places, halving.coarse)
    for place, reason in left_out.items():
        work.on_event(SiteSkipped(named(place), reason, work.control))
    left = [item for item in items if item.place not in left_out]
    for rung in reversed(range(halving.rungs)):
        method: Any = work.spec.method
        share = halving.keep**rung
        steps = max(1, ceil(method.steps * share))
        fitted = work.fit([replace(item, method=replace(item.method, steps=steps)) for item in left])  # type: ignore[type-var]
        if rung:
            scores = sorted((_worst(x) for _, x in fitted if x.features is not None), reverse=True)
            least = scores[ceil(len(scores) * halving.keep) - 1] if scores else 0.0
            left = [i for i, (_, x) in zip(left, fitted, strict=True) if x.features is not None and _worst(x) >= least]
    return fitted


def _coarse(work: _Work, algorithm: CausalModel, places: Sequence[Place], share: float) -> dict[Place, str]:
    """Places whose whole vector carries too little of the variables, and why each is left out.

    All variables are taken from one source, by the whole vector: what is not in it, no part of it holds.
    """
    if not share:
        return {}
    generator = stream(work.seed, *work.path, "coarse")
    n = min(work.spec.n, _COARSE)
    drawn = pairs(algorithm, list(work.spec.variables), n, seed=generator, one_source=True)
    changed = drawn[np.flatnonzero(drawn.changed)]
    source = next(iter(changed.sources.values()))
    alone = [place[0] for place in places if len(place) == 1]
    answers: dict[Place, Any] = {(site,): x for site, x in work.network.sweep(changed.base, source, alone).answers.items()}
    for place in places:
        if len(place) > 1:
            answers[place] = work.network.interchange(changed.base, {_whole(site): source for site in place})
    rates = {place: float(agrees(answers[place], changed.expected).mean()) for place in places}
    best = max(rates.values())
    said = (
        f"the whole vector gives the algorithm's changed answer in {{:.3f}} of pairs, less than {share:g} of the best, {best:.3f}"
    )
    return {place: said.format(rate) for place, rate in rates.items() if rate < share * best}


def _whole(site: Site) -> Any:
    from commute.alignments.feature import Feature

    return Feature(site)


def _worst(fitted: Fitted) -> float:
    counts = [c for both in (fitted.selection or {}).values() for c in both if c.total]
    return min((c.rate for c in counts), default=0.0)


def _known(network: Network, drawn: SearchPairs) -> dict[tuple[str, ...], tuple[Count, bool]]:
    """For each set of variables how often the base alone has the right answer, and whether pairs are independent."""
    found = {}
    for d in drawn.select:
        alone = agrees(network.run(d.pairs.base), d.pairs.expected)
        found[d.pairs.variables] = count(alone), d.pairs.independent
    return found


def _candidate(item: Item, fitted: Fitted, known: Mapping[tuple[str, ...], tuple[Count, bool]]) -> Candidate:
    selection = {}
    for chosen, (changed, unchanged) in (fitted.selection or {}).items():
        overall = Count(changed.correct + unchanged.correct, changed.total + unchanged.total)
        noop, independent = known[chosen]
        selection[chosen] = Accuracy(overall, changed, unchanged, noop, independent, _CONFIDENCE)
    return Candidate(item, Alignment(fitted.features or {}), selection, fitted.train or {}, fitted.losses, fitted.flops)


def _records(
    spec: Search, algorithm: CausalModel, network: Network, seed: int, path: Sequence[str], runs: str | Path | None
) -> Records | None:
    if runs is None:
        return None
    hashes = fingerprint(algorithm, network, None, None)
    depends = {"variables": list(spec.variables), "n": int(spec.n), "heldout": spec.heldout, "seed": seed, "path": list(path)}
    run = RunDirectory.open(Path(runs), f"search {algorithm.name}", {**depends, **hashes})
    return Records(run.folder)


def _unusable(network: Network, places: Sequence[Place], few: Mapping[str, Any]) -> dict[str, str]:
    """Why places cannot be read, of those that cannot."""
    found = {}
    try:
        network.activations(few, list(dict.fromkeys(site for place in places for site in place)))
    except (AlignmentError, NetworkError):
        for place in places:
            try:
                network.activations(few, place)
            except (AlignmentError, NetworkError) as error:  # this place is of no use; others may be
                found[named(place)] = str(error)
    return found
