"""Diagnostics as evidence: a line with numbers and a warning, or the reason why nothing was measured."""

from collections.abc import Sequence

from commute.alignments.binomial import Count
from commute.proofs.claimed import Claimed
from commute.proofs.evidence import Evidence


def measured(claimed: Claimed, name: str, variables: Sequence[str], seen: Count, says: str, *, warning: bool) -> Evidence:
    """A count with its bounds, each one-sided at the claim's confidence."""
    lower, upper = seen.lower(claimed.confidence), seen.upper(claimed.confidence)
    return Evidence("diagnostic", "statistical", name, tuple(variables), seen, lower, upper, None, says, warning)


def not_measured(name: str, variables: Sequence[str], why: str, *, warning: bool = False) -> Evidence:
    """No count, since it would mean nothing here."""
    return Evidence("diagnostic", "statistical", name, tuple(variables), None, 0.0, 1.0, None, why, warning)
