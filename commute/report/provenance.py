"""Where a verdict comes from, as names and values to read."""

from collections.abc import Iterator, Mapping
from typing import Any

from commute.proofs.verdict import Verdict

_TOLD = ("seed", "confidence", "at_least", "battery", "schema")  # told by the verdict itself, or of no interest


def provenance_rows(verdict: Verdict, run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the verdict says of itself, and what `run.json` says of the run that it came from."""
    told: dict[str, object] = {"seed": verdict.seed, "confidence": verdict.confidence, "battery": ", ".join(verdict.battery)}
    if verdict.method is not None:
        told["method of the search"] = verdict.method
    if verdict.candidates is not None:
        told |= {"candidates of the search": verdict.candidates, "pairs that the search saw too": verdict.shared}
    if verdict.tried > 1:
        told["alignments chosen among by their verdicts"] = verdict.tried
    sampled = told if verdict.accuracy else {}
    return [(name, str(value)) for name, value in sampled.items() if value != ""] + list(_flat(run))


def _flat(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every value with its name; what is `None` or empty is left out."""
    for key, value in run.items():
        if key in _TOLD or value is None or value == {}:
            continue
        if key == "git" and isinstance(value, Mapping):
            if value.get("commit"):
                yield "git commit", f"{value['commit']}{' with uncommitted changes' if value.get('dirty') else ''}"
        elif isinstance(value, Mapping):
            yield from ((f"{_SINGULAR.get(key, key)} {name}", str(x)) for name, x in value.items())
        else:
            yield key, str(value)


_SINGULAR = {"hashes": "SHA-256 of the", "packages": "package", "parameters": "parameter"}
