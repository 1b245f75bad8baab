"""A verdict as rows: one for each set of variables, the same in the terminal and on the page."""

from dataclasses import dataclass

from commute.alignments.binomial import Count
from commute.causal.abstraction import Status
from commute.proofs.evidence import Evidence
from commute.proofs.verdict import Verdict


@dataclass(frozen=True)
class Row:
    """How one set of variables did.

    Attributes:
        variables: their names, joined.
        features: where they are in the network.
        overall: right answers on all pairs of the set.
        changed: on those whose interchange changes the answer; None for the network left alone.
        worst: the slice with the lowest bound.
        control: the control with the highest bound, if any was measured.
        status: of the set by itself.
    """

    variables: str
    features: tuple[str, ...]
    overall: Count
    changed: Count | None
    worst: Evidence
    control: Evidence | None
    status: Status

    def rate(self, count: Count | None, confidence: float) -> str:
        """A count to read: its rate with bounds where pairs were sampled, as it is where everything was gone through."""
        if count is None or not count.total:
            return "–"
        return str(count) if self.worst.level == "exact" else count.with_bounds(confidence)


def rows(verdict: Verdict) -> list[Row]:
    """The network left alone, every variable, and every set of variables set jointly."""
    return [_row(verdict, variables) for variables in dict.fromkeys(e.variables for e in verdict.slices)]


def _row(verdict: Verdict, variables: tuple[str, ...]) -> Row:
    slices = [e for e in verdict.slices if e.variables == variables]
    controls = [e for e in verdict.controls if e.variables == variables and e.count]
    whole = [e for e in slices if e.name in ("changed", "unchanged")] or slices
    counts = [e.count for e in whole if e.count]
    features = {v.name: v.feature for v in verdict.variables}
    return Row(
        " + ".join(variables) or "(left alone)",
        tuple(dict.fromkeys(features[v] or "" for v in variables)),
        Count(sum(c.correct for c in counts), sum(c.total for c in counts)),
        next((e.count for e in slices if e.name == "changed"), None),
        min(slices, key=lambda e: e.lower),
        max(controls, key=lambda e: e.upper, default=None),
        _status([*slices, *controls]),
    )


def _status(evidence: list[Evidence]) -> Status:
    if any(e.kind == "slice" and e.passed is False for e in evidence):
        return "refuted"
    return "holds" if all(e.passed for e in evidence) else "inconclusive"
