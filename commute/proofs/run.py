"""Running a claim: search, judgement, and the folder in which both are kept."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commute.alignments.alignment import Alignment
from commute.alignments.fingerprint import fingerprint
from commute.alignments.result import SearchResult
from commute.alignments.search import run_search
from commute.alignments.training import named
from commute.errors import ClaimError
from commute.proofs.battery import items_of
from commute.proofs.diagnostics import as_rival, rival_record
from commute.proofs.judge import Judging, Searched, judge
from commute.proofs.proving.budget import Budget
from commute.proofs.shown import FittedDims, SearchedSite
from commute.proofs.verdict import Verdict
from commute.runs.directory import RunDirectory
from commute.runs.events import Event, OnEvent, ignore
from commute.runs.provenance import git_state
from commute.runs.seeds import plain_seed

if TYPE_CHECKING:
    from commute.proofs.claim import Claim


@dataclass(frozen=True)
class ClaimRun:
    """A claim's verdict, and the folder in which the run is kept."""

    verdict: Verdict
    folder: Path | None
    resumed: bool


def run_claim(
    made: "Claim",
    *,
    seed: int = 0,
    runs: str | Path | None = None,
    name: str | None = None,
    file: Path | None = None,
    parameters: Mapping[str, str] | None = None,
    on_event: OnEvent = ignore,
) -> ClaimRun:
    """Search if need be, judge, and keep the run.

    Args:
        made: the claim.
        seed: of every random stream.
        runs: a folder of runs. This one goes into a folder named by `name` and a hash of everything that it depends on, with
            `run.json`, `events.jsonl`, `alignment/`, `search.json`, `pairs.parquet`, `verdict.json` and, of a proof,
            `certificate/`. What is found there already is not done again.
        name: of the claim; the algorithm's if not given.
        file: that the claim was made in; its content is part of what the verdict depends on.
        parameters: that the claim was made with, to be noted in `run.json`.
        on_event: is told of progress.
    """
    seed = plain_seed(seed)
    if runs is None:
        alignment, searched = _found(made, seed, None, on_event)
        return ClaimRun(_judged(made, alignment, searched, seed, None, on_event), None, resumed=False)
    hashes = fingerprint(made.algorithm, made.network, made.alignment, made.search)
    if file is not None:
        hashes["file"] = sha256(file.read_bytes()).hexdigest()
    settings = {**_settings(made), "seed": seed}
    run = RunDirectory.open(Path(runs), name or made.algorithm.name, {**settings, **hashes, "version": version("commute")})
    if run.has("verdict.json"):
        return ClaimRun(Verdict.load(run.folder), run.folder, resumed=True)
    weights = next(made.network.module.parameters(), None)
    on = {} if weights is None else {"device": str(weights.device), "dtype": str(weights.dtype)}
    made_by = {"claim": name, "file": file and str(file.resolve()), "parameters": dict(parameters or {})}
    about = {**made_by, **on, **settings, "hashes": hashes}
    run.begin(about, git_state(file.parent if file else Path.cwd()))

    def tell(event: Event) -> None:
        run.log(event)
        on_event(event)

    if run.has("search.json") and run.has("alignment/alignment.json"):
        alignment = Alignment.load(run.folder / "alignment")
        searched = _read_searched(run)
    else:
        alignment, searched = _found(made, seed, run.folder, tell)
        alignment.save(run.folder / "alignment")
        run.write("search.json", json.dumps(asdict(searched), indent=2) + "\n")
    verdict = _judged(made, alignment, searched, seed, run.folder, tell)
    verdict.save(run.folder)
    run.end()
    return ClaimRun(verdict, run.folder, resumed=False)


def _settings(made: "Claim") -> dict[str, Any]:
    """What a verdict depends on, beside what is hashed."""
    items = items_of(made.battery)
    settings = {
        "at_least": made.at_least,
        "confidence": made.confidence,
        "battery": items,
        "n": int(made.n),
        "until": made.until,
        "at_most": None if made.at_most is None else int(made.at_most),
        "tried": int(made.tried),
        "rivals": {name: rival_record(rival) for name, rival in made.rivals.items()},
    }
    return {**settings, "budget": str(Budget.of(made.budget))} if "proof" in items else settings


def _found(made: "Claim", seed: int, runs: Path | None, on_event: OnEvent) -> tuple[Alignment, Searched]:
    if made.search is None:
        assert made.alignment is not None  # noqa: S101  # a claim has one or the other
        return made.alignment, Searched()
    result = run_search(made.search, made.algorithm, made.network, seed=seed, runs=runs, on_event=on_event)
    best = {c.place: c for c in sorted(result.candidates, key=lambda c: c.worst)}  # the best of each place comes last
    order = [c for c in result.candidates if best[c.place] is c]
    sites = (SearchedSite(named(c.place), v, c.selection[v,].rate, c.worst) for c in order for v in made.search.variables)
    return result.best, Searched(tuple(sites), _curve(result))


def _curve(result: SearchResult) -> tuple[FittedDims, ...]:
    curve = result.curve().dropna()
    return tuple(FittedDims(int(dims), float(iia)) for dims, iia in zip(curve["dims"], curve["iia"], strict=True))


def _read_searched(run: RunDirectory) -> Searched:
    try:
        record = json.loads(run.read("search.json"))
        sites = tuple(SearchedSite(**row) for row in record["sites"])
        return Searched(sites, tuple(FittedDims(**point) for point in record["curve"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ClaimError(
            f"{run.folder / 'search.json'} is not as written ({error}); remove {run.folder} to start anew"
        ) from error


def _judged(
    made: "Claim", alignment: Alignment, searched: Searched, seed: int, folder: Path | None, on_event: OnEvent
) -> Verdict:
    how = Judging(
        made.at_least,
        made.confidence,
        made.battery,
        made.sampling,
        seed,
        made.tried,
        {name: as_rival(rival) for name, rival in made.rivals.items()},
        made.budget,
    )
    pairs_to = folder and folder / "pairs.parquet"
    return judge(
        made.algorithm,
        made.network,
        alignment,
        how=how,
        searched=searched,
        pairs_to=pairs_to,
        runs=folder,
        on_event=on_event,
    )
