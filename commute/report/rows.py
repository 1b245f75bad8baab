"""A verdict as rows: one for each set of variables, the same in the terminal and on the page."""

from dataclasses import dataclass

from commute.alignments.binomial import Count
from commute.causal.abstraction import Status
from commute.proofs.bounds import stands_out
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
        controls: all that were tried.
        status: of the set by itself.
        confidence: of bounds on counts; None where counts have none, since they are exact or the number of pairs was not fixed.
    """

    variables: str
    features: tuple[str, ...]
    overall: Count
    changed: Count | None
    worst: Evidence
    controls: tuple[Evidence, ...]
    status: Status
    confidence: float | None

    @property
    def control(self) -> Evidence | None:
        """The control with the highest bound, if any was measured."""
        return max((e for e in self.controls if e.count), key=lambda e: e.upper, default=None)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """On the rate over all pairs of the set."""
        if self.confidence is None or not self.overall.total:
            return None
        return self.overall.lower(self.confidence), self.overall.upper(self.confidence)

    def rate(self, count: Count | None) -> str:
        """A count to read: its rate with bounds where it has them, as it is where everything was gone through."""
        if count is None or not count.total:
            return "–"
        if self.confidence is not None:
            return count.with_bounds(self.confidence)
        return str(count) if self.worst.level == "exact" else f"{count.rate:.4f}"


def rows(verdict: Verdict) -> list[Row]:
    """The network left alone, every variable, and every set of variables set jointly."""
    return [_row(verdict, variables) for variables in dict.fromkeys(e.variables for e in verdict.slices)]


def _row(verdict: Verdict, variables: tuple[str, ...]) -> Row:
    slices = [e for e in verdict.slices if e.variables == variables]
    controls = tuple(e for e in verdict.controls if e.variables == variables)
    others = [e for e in (*verdict.transitions, *verdict.proved) if e.variables == variables]
    whole = [e for e in slices if e.name in ("changed", "unchanged")] or slices
    counts = [e.count for e in whole if e.count]
    features = {v.name: v.feature for v in verdict.variables}
    accuracy = verdict.accuracy
    return Row(
        " + ".join(variables) or ("the circuit" if verdict.circuit else "(left alone)"),
        tuple(dict.fromkeys(features[v] or "" for v in variables)),
        Count(sum(c.correct for c in counts), sum(c.total for c in counts)),
        next((e.count for e in slices if e.name == "changed"), None),
        min(slices, key=lambda e: e.lower),
        controls,
        _status([*slices, *(e for e in controls if e.count)], others, verdict.at_least),
        accuracy.confidence if accuracy is not None and accuracy.independent else None,
    )


def _status(evidence: list[Evidence], others: list[Evidence], at_least: float) -> Status:
    if any(e.kind != "control" and e.passed is False for e in (*evidence, *others)):
        return "refuted"
    settled = all(e.passed for e in evidence) and not any(stand_out(e, at_least) for e in others if e.kind == "transition")
    return "holds" if settled else "inconclusive"


def stand_out(transition: Evidence, at_least: float) -> bool:
    """Whether a transition that is not refuted leaves the claim open all the same."""
    return transition.count is not None and stands_out(transition.count, at_least)
