"""Claims: an algorithm, a network, and where or how to look for their alignment."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from commute.alignments.alignment import Alignment
from commute.alignments.search import Search, run_search
from commute.causal.model import CausalModel
from commute.errors import ClaimError, check
from commute.models.network import Network
from commute.proofs.fingerprint import fingerprint
from commute.proofs.judge import Battery, judge
from commute.proofs.verdict import SearchedSite, Verdict
from commute.runs.directory import RunDirectory
from commute.runs.events import Event, OnEvent, ignore


@dataclass(frozen=True, eq=False)
class Claim:
    """That a network runs an algorithm.

    Attributes:
        algorithm: what it is believed to run.
        network: the network.
        alignment: where each variable is, or
        search: how to find it.
        at_least: the interchange intervention accuracy that every slice must have.
        confidence: of the verdict.
        n: fresh pairs for each set of variables.
        battery: `standard` with controls, or `quick` without, which never gives `holds`.

    Raises:
        ClaimError: listing everything that is wrong.
    """

    algorithm: CausalModel
    network: Network
    alignment: Alignment | None = field(default=None, kw_only=True)
    search: Search | None = field(default=None, kw_only=True)
    at_least: float = field(default=0.95, kw_only=True)
    confidence: float = field(default=0.99, kw_only=True)
    n: int = field(default=4000, kw_only=True)
    battery: Battery = field(default="standard", kw_only=True)

    def __post_init__(self) -> None:
        check(self._problems(), ClaimError, "the claim")

    def _problems(self) -> list[str]:
        wanted = (("algorithm", CausalModel), ("network", Network), ("alignment", Alignment | None), ("search", Search | None))
        problems = [
            f"{name} must be a {getattr(kind, '__name__', kind)}; given {getattr(self, name)!r}"
            for name, kind in wanted
            if not isinstance(getattr(self, name), kind)
        ]
        if (self.alignment is None) == (self.search is None):
            problems.append("a claim has either an alignment or a search for one")
        for name in ("at_least", "confidence"):
            if not 0 < getattr(self, name) < 1:
                problems.append(f"{name} must lie between 0 and 1; given {getattr(self, name)}")
        if self.n < 1:
            problems.append(f"n must be at least 1; given {self.n}")
        if not problems and self.search is not None:
            problems += self.search.problems(self.algorithm, self.network)
        return problems

    def verify(self, *, seed: int = 0, runs: str | Path | None = None, on_event: OnEvent = ignore) -> Verdict:
        """Search if need be, then judge on fresh pairs; with `runs`, keep the run in a folder of it and continue one begun there.

        See `verify` for what a verdict means and `run_claim` for what is kept.
        """
        return run_claim(self, seed=seed, runs=runs, on_event=on_event).verdict


@dataclass(frozen=True)
class ClaimFunction:
    """A function that makes a claim, found by name in a file of claims. Its parameters can be given on the command line."""

    function: Callable[..., Claim]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, **parameters: Any) -> Claim:
        made = self.function(**parameters)
        if not isinstance(made, Claim):
            raise ClaimError(f"the claim {self.name!r} must return a cm.Claim; it returned {made!r}")
        return made


def claim(function: Callable[..., Claim]) -> ClaimFunction:
    """Mark a function as a claim, to be run by `commute run FILE::name`."""
    return ClaimFunction(function)


@dataclass(frozen=True)
class ClaimRun:
    """A claim's verdict, and the folder in which the run is kept."""

    verdict: Verdict
    folder: Path | None
    resumed: bool


def run_claim(
    made: Claim,
    *,
    seed: int = 0,
    runs: str | Path | None = None,
    name: str | None = None,
    details: Mapping[str, Any] | None = None,
    on_event: OnEvent = ignore,
) -> ClaimRun:
    """Search if need be, judge, and keep the run.

    Args:
        made: the claim.
        seed: of every random stream.
        runs: a folder of runs. This one goes into a folder named by `name` and a hash of everything that it depends on, with
            `run.json`, `events.jsonl`, `alignment/`, `search.json`, `pairs.parquet` and `verdict.json`. What is found there already
            is not done again.
        name: of the claim; the algorithm's if not given.
        details: what else to note in `run.json`.
        on_event: is told of progress.
    """
    if runs is None:
        alignment, sites = _found(made, seed, on_event)
        return ClaimRun(_judged(made, alignment, sites, seed, None, on_event), None, resumed=False)
    hashes = fingerprint(made.algorithm, made.network, made.alignment, made.search)
    settings = {"at_least": made.at_least, "confidence": made.confidence, "battery": made.battery, "n": made.n, "seed": seed}
    run = RunDirectory.open(Path(runs), name or made.algorithm.name, {**settings, **hashes})
    if run.has("verdict.json"):
        return ClaimRun(Verdict.load(run.folder), run.folder, resumed=True)
    device = next((str(p.device) for p in made.network.module.parameters()), "cpu")
    dtype = next((str(p.dtype) for p in made.network.module.parameters()), "none")
    run.begin({"claim": name, "device": device, "dtype": dtype, **settings, "hashes": hashes, **(details or {})})

    def tell(event: Event) -> None:
        run.log(event)
        on_event(event)

    if run.has("search.json") and run.has("alignment/alignment.json"):
        alignment = replace(Alignment.load(run.folder / "alignment"), search=made.search)
        sites = tuple(SearchedSite(**row) for row in json.loads(run.read("search.json")))
    else:
        alignment, sites = _found(made, seed, tell)
        alignment.save(run.folder / "alignment")
        run.write("search.json", json.dumps([asdict(site) for site in sites], indent=2) + "\n")
    verdict = _judged(made, alignment, sites, seed, run.folder / "pairs.parquet", tell)
    verdict.save(run.folder)
    run.end()
    return ClaimRun(verdict, run.folder, resumed=False)


def _found(made: Claim, seed: int, on_event: OnEvent) -> tuple[Alignment, tuple[SearchedSite, ...]]:
    if made.search is None:
        assert made.alignment is not None  # noqa: S101  # a claim has one or the other
        return made.alignment, ()
    result = run_search(made.search, made.algorithm, made.network, seed=seed, on_event=on_event)
    sites = (
        SearchedSite(str(c.site), v, c.selection[v,].rate, c.worst) for c in result.candidates for v in made.search.variables
    )
    return result.best, tuple(sites)


def _judged(
    made: Claim, alignment: Alignment, sites: tuple[SearchedSite, ...], seed: int, pairs_to: Path | None, on_event: OnEvent
) -> Verdict:
    return judge(
        made.algorithm,
        made.network,
        alignment,
        at_least=made.at_least,
        confidence=made.confidence,
        battery=made.battery,
        n=made.n,
        seed=seed,
        sites=sites,
        pairs_to=pairs_to,
        on_event=on_event,
    )
