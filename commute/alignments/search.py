"""Searching the places of a network for an alignment."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from commute.alignments.accuracy import Accuracy, agrees, check_labels
from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count, count
from commute.alignments.das import DAS
from commute.alignments.drawing import CLAIM, SearchPairs, search_pairs
from commute.alignments.fingerprint import fingerprint
from commute.alignments.fitting import Fitting
from commute.alignments.halving import coarse, halved
from commute.alignments.items import Fitted, Item, items_of
from commute.alignments.method import Method
from commute.alignments.records import Records
from commute.alignments.result import Candidate, SearchResult
from commute.alignments.spec import Halving, Search
from commute.alignments.training import Place, named
from commute.causal.batches import take
from commute.causal.heldout import Heldout
from commute.causal.model import CausalModel
from commute.errors import AlignmentError, NetworkError, check
from commute.models.network import Network
from commute.models.sites import Site
from commute.runs.directory import RunDirectory
from commute.runs.events import OnEvent, SiteSkipped, ignore
from commute.runs.seeds import plain_seed


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
    check(_misfits(algorithm, network, executor, runs, on_event), AlignmentError, "the search")
    check(spec.problems(algorithm, network), AlignmentError, "the search")
    seed = plain_seed(seed)
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
    fitting = Fitting(spec, network, drawn, seed, path, control, executor, records, on_event)
    items = items_of(spec.method, places)
    left_out: dict[Place, str] = {}
    if spec.halving is not None and drawn.coarse is not None and places:
        left_out = coarse(fitting, drawn.coarse, places, spec.halving.coarse)
    skipped |= {named(place): reason for place, reason in left_out.items()}
    left = [item for item in items if item.place not in left_out]
    fitted = fitting.fit(left) if spec.halving is None else halved(fitting, left, spec.halving)
    skipped |= {str(item): x.problem for item, x in fitted if x.features is None}
    known = _known(network, drawn)
    candidates = tuple(_candidate(item, x, known) for item, x in fitted if x.features is not None)
    if not candidates:
        check(list(dict.fromkeys(skipped.values())), AlignmentError, "the search")
    return SearchResult(spec, seed, candidates, len(items), drawn.shared, skipped)


def _misfits(algorithm: object, network: object, executor: object, runs: object, on_event: object) -> list[str]:
    """What is wrong with what a search is given besides its specification."""
    problems = []
    if not isinstance(algorithm, CausalModel):
        problems.append(f"algorithm must be a CausalModel; given {algorithm!r}")
    if not isinstance(network, Network):
        problems.append(f"network must be a Network, cm.Network(module, encode=…, decode=…); given {type(network).__name__}")
    if executor is not None and not isinstance(executor, Executor):
        problems.append(f"executor must be a concurrent.futures.Executor or None; given {type(executor).__name__}")
    if runs is not None and not isinstance(runs, (str, Path)):
        problems.append(f"runs must be a folder or None; given {runs!r}")
    elif runs is not None and Path(runs).exists() and not Path(runs).is_dir():
        problems.append(f"runs must be a folder; {runs} is a file")
    if not callable(on_event):
        problems.append(f"on_event must be a function of an event; given {on_event!r}")
    return problems


def _known(network: Network, drawn: SearchPairs) -> dict[tuple[str, ...], Count]:
    """For each set of variables how often the base alone already has the right answer."""
    return {d.pairs.variables: count(agrees(network.run(d.pairs.base), d.pairs.expected)) for d in drawn.select}


def _candidate(item: Item, fitted: Fitted, known: Mapping[tuple[str, ...], Count]) -> Candidate:
    selection = {}
    for chosen, (changed, unchanged) in (fitted.selection or {}).items():
        overall = Count(changed.correct + unchanged.correct, changed.total + unchanged.total)
        selection[chosen] = Accuracy(overall, changed, unchanged, known[chosen], independent=False)  # they chose it
    return Candidate(item, Alignment(fitted.features or {}), selection, fitted.train or {}, fitted.losses, fitted.flops)


def _records(
    spec: Search, algorithm: CausalModel, network: Network, seed: int, path: Sequence[str], runs: str | Path | None
) -> Records | None:
    if runs is None:
        return None
    hashes = fingerprint(algorithm, network, None, None)
    depends = {
        "version": version("commute"),
        "variables": list(spec.variables),
        "n": int(spec.n),
        "heldout": spec.heldout,
        "seed": seed,
        "path": list(path),
    }
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
