"""Exact binomial bounds (Clopper and Pearson, 1934)."""

from dataclasses import dataclass
from math import ceil, floor

from commute.causal.batches import Column
from commute.errors import CommuteError


@dataclass(frozen=True)
class Count:
    """How many of a number of independent trials were right."""

    correct: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.total:
            raise CommuteError(f"a count needs 0 <= correct <= total; given {self.correct} of {self.total}")

    def __str__(self) -> str:
        return f"{self.correct} of {self.total}"

    def with_bounds(self, confidence: float) -> str:
        """The rate and its bounds, rounded outwards, to read."""
        if not self.total:
            return "–"
        lower, upper = floor(1000 * self.lower(confidence)) / 1000, ceil(1000 * self.upper(confidence)) / 1000
        return f"{self.rate:.4f} [{lower:.3f}, {upper:.3f}]"

    @property
    def rate(self) -> float:
        """The share that was right; NaN of none."""
        return self.correct / self.total if self.total else float("nan")

    def lower(self, confidence: float) -> float:
        """The rate is at least this, in a share `confidence` of repetitions (one-sided): 0.997 for 1,000 of 1,000 at 0.95."""
        from scipy.special import betaincinv

        if not self.correct:
            return 0.0
        return float(betaincinv(self.correct, self.total - self.correct + 1, 1 - confidence))

    def upper(self, confidence: float) -> float:
        """The rate is at most this, in a share `confidence` of repetitions (one-sided)."""
        return 1.0 - Count(self.total - self.correct, self.total).lower(confidence)


def count(right: Column) -> Count:
    """The count of a column of bool, [trials]."""
    return Count(int(right.sum()), len(right))
