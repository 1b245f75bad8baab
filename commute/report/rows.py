"""A verdict as rows: one for each set of variables, the same in the terminal and on the page."""

from dataclasses import dataclass

from commute.alignments.binomial import Count
from commute.proofs.verdict import Evidence, Status, Verdict


@dataclass(frozen=True)
class Row:
    """How one set of variables did."""

    variables: str
    where: str
    iia: str
    changed: str
    worst: str
    control: str
    status: Status


def rows(verdict: Verdict) -> list[Row]:
    """The network left alone, every variable, and every set of variables set jointly."""
    sets = list(dict.fromkeys(e.variables for e in verdict.slices))
    return [_row(verdict, variables) for variables in sets]


def _row(verdict: Verdict, variables: tuple[str, ...]) -> Row:
    slices = [e for e in verdict.slices if e.variables == variables]
    controls = [e for e in verdict.controls if e.variables == variables and e.count is not None]
    worst = min(slices, key=lambda e: e.lower)
    places = {v.name: v.feature for v in verdict.variables}
    kinds = {e.name.removeprefix(f"{' + '.join(variables)}: "): e for e in slices}
    total = _sum([kinds[k] for k in ("changed", "unchanged") if k in kinds] or slices)
    best = max(controls, key=lambda e: e.upper, default=None)
    return Row(
        " + ".join(variables) or "(no intervention)",
        "; ".join(dict.fromkeys(places[v] or "" for v in variables)) or "–",
        with_bounds(total, verdict.confidence),
        with_bounds(kinds["changed"].count, verdict.confidence) if "changed" in kinds else "–",
        f"{worst.name.rpartition(': ')[2]} ≥ {worst.lower:.3f}" if variables else f"≥ {worst.lower:.3f}",
        f"{best.name} ≤ {best.upper:.3f}" if best else "–",
        _status([*slices, *controls]),
    )


def with_bounds(count: Count | None, confidence: float) -> str:
    """A rate and its exact bounds."""
    if count is None or not count.total:
        return "–"
    return f"{count.rate:.4f} [{count.lower(confidence):.4f}, {count.upper(confidence):.4f}]"


def _sum(slices: list[Evidence]) -> Count:
    counts = [e.count for e in slices if e.count is not None]
    return Count(sum(c.correct for c in counts), sum(c.total for c in counts))


def _status(evidence: list[Evidence]) -> Status:
    if any(e.kind == "slice" and e.passed is False for e in evidence):
        return "refuted"
    return "holds" if all(e.passed for e in evidence) else "inconclusive"
