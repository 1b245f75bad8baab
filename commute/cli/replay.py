"""The command `commute replay`: the counterexample of a run, carried out again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from commute.alignments.alignment import Alignment
from commute.alignments.fingerprint import fingerprint
from commute.causal.domains import Domain, Finite
from commute.causal.model import CausalModel
from commute.cli.claim_files import chosen, located, make, opened
from commute.cli.demo import hierarchical_equality
from commute.errors import ClaimError
from commute.proofs.claim import Claim
from commute.proofs.counterexample import Counterexample, shown
from commute.proofs.replaying import replay
from commute.proofs.verdict import Verdict
from commute.testing.telling import told

AS_RECORDED, OTHERWISE = 0, 1


@dataclass(frozen=True)
class MadeBy:
    """How the claim of a run was made, as `run.json` tells it."""

    claim: str | None
    file: Path | None
    parameters: Mapping[str, str]
    hashes: Mapping[str, str]

    @classmethod
    def load(cls, folder: Path) -> "MadeBy":
        """Read a run's `run.json`.

        Raises:
            ClaimError: when there is none, or it is not as written.
        """
        path = folder / "run.json"
        if not path.is_file():
            raise ClaimError(f"{folder} is not the folder of a run: there is no {path}")
        try:
            record = json.loads(path.read_text())
            file = record["file"] and Path(record["file"])
            return cls(record["claim"], file, dict(record["parameters"]), dict(record["hashes"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ClaimError(f"{path} is not as written: {type(error).__name__}: {error}") from error


def replay_run(folder: Path) -> int:
    """Make the claim of a run again, carry out its counterexample and tell what came of it; the exit code.

    Raises:
        ClaimError: when the run has no counterexample, or its claim cannot be made again.
    """
    by = MadeBy.load(folder)
    verdict = Verdict.load(folder)
    recorded = verdict.counterexample
    if recorded is None:
        raise ClaimError(f"{folder} has no counterexample to replay; its verdict is {verdict.status!r}")
    if by.file is None and by.claim == "demo":
        return _tell(hierarchical_equality(), folder, by, recorded)
    if by.file is None:
        raise ClaimError(
            f"{folder} was made in Python, not from a file of claims; replay it there:\n"
            f"  alignment = cm.Alignment.load({str(folder / 'alignment')!r})\n  {recorded.replayed_by}"
        )
    if not by.file.is_file():
        raise ClaimError(f"{folder} was made from {by.file}, which is not there; replay it where it was run")
    if sha256(by.file.read_bytes()).hexdigest() != by.hashes.get("file"):
        raise ClaimError(f"{by.file} has changed since {folder} was made; run the claim again")
    with opened(by.file) as claims, located(by.file):
        (claim,) = chosen(claims, by.claim or "", by.file)
        return _tell(make(claim, [*by.parameters.items()]), folder, by, recorded)


def _tell(claim: Claim, folder: Path, by: MadeBy, recorded: Counterexample) -> int:
    """Carry out what was recorded, and print both."""
    algorithm, alignment = claim.algorithm, Alignment.load(folder / "alignment")
    base = labels_of(algorithm, recorded.base)
    sources = {v: labels_of(algorithm, source) for v, source in recorded.sources.items()}
    again = replay(algorithm, claim.network, alignment, base, sources, read_out=recorded.read_out)
    click.echo(f"{by.claim}, {recorded.slice}")
    for line in told(again):
        click.echo(f"  {line}")
    differ = "They still differ" if again.differs else "They no longer differ"
    if _answers(again) == _answers(recorded):
        click.echo(f"{differ}, as recorded.")
        return AS_RECORDED
    before = recorded.answered
    network = shown(before) if isinstance(before, Mapping) else repr(before)
    click.echo(f"{differ}; recorded is that the algorithm said {shown(recorded.expected)} and the network {network}.")
    now = fingerprint(algorithm, claim.network, None, None)
    changed = [f"the {side}" for side in ("algorithm", "network") if now[side] != by.hashes.get(side)]
    click.echo(f"By their hashes, {' and '.join(changed) or 'neither the algorithm nor the network'} changed since.")
    return OTHERWISE


def labels_of(algorithm: CausalModel, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """A setting of the inputs whose labels went through JSON, in the labels of the inputs' domains."""
    return {v: label_of(v, algorithm.domain(v), x) for v, x in recorded.items()}


def label_of(variable: str, domain: Domain, recorded: Any) -> Any:
    """The label of a domain that a verdict writes as `recorded`: JSON has no tuples, and other types are written as text.

    Raises:
        ClaimError: when no label is written so, or several are.
    """
    if not isinstance(domain, Finite):
        return recorded
    found = [
        label for label in domain if _written(Counterexample("", {variable: label}, {}, {}, None))["base"] == {variable: recorded}
    ]
    if len(found) == 1:
        return found[0]
    told = "each of " + ", ".join(map(repr, found)) if found else f"no label of its domain {domain}"
    raise ClaimError(f"the counterexample has {recorded!r} for {variable!r}, as which a verdict writes {told}")


def _answers(counterexample: Counterexample) -> tuple[Any, Any]:
    written = _written(counterexample)
    return written["expected"], written["answered"]


def _written(counterexample: Counterexample) -> dict[str, Any]:
    """A counterexample as it is after having been written to `verdict.json` and read again."""
    record: dict[str, Any] = json.loads(json.dumps(asdict(counterexample), default=str))
    return record
