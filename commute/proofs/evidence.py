"""Evidence: one thing that was measured of a claim."""

from dataclasses import dataclass
from typing import Literal

from commute.alignments.binomial import Count

Kind = Literal["slice", "transition", "distinction", "control", "diagnostic", "proof"]
Level = Literal["exact", "sound", "statistical", "survived"]


def title(variables: tuple[str, ...], what: str) -> str:
    """What was measured, behind the variables interchanged."""
    return f"{' + '.join(variables)}: {what}" if variables else what


@dataclass(frozen=True)
class Evidence:
    """One thing that was measured.

    Attributes:
        kind: a `slice` of the claim, on which it must hold; a `transition` between single values, too rare to be bounded by
            itself, which must not stand out; a `distinction` between values that no answer tells apart, which the feature must
            make; a `control`, which must stay below the claim; a `diagnostic`, which decides nothing; or a `proof`, which bounds
            IIA over every pair of the domain, and can refute.
        level: how strong it is, from `exact` over `sound` and `statistical` to `survived`.
        name: which pairs (`changed`, `False → True`), which control or which diagnostic.
        variables: the variables interchanged.
        count: right answers, or for a diagnostic the pairs that show what it names; None where nothing was counted.
        lower: bound from below on the rate, of slices at the verdict's confidence over all of them.
        upper: bound from above, likewise.
        passed: whether it speaks for the claim; None where it decides nothing.
        says: what it means, in a sentence.
        warning: whether a diagnostic found what a reader should know of, or a control or proof could not be made.
        unit: of `lower` and `upper` where they bound no rate.
    """

    kind: Kind
    level: Level
    name: str
    variables: tuple[str, ...]
    count: Count | None
    lower: float
    upper: float
    passed: bool | None
    says: str
    warning: bool = False
    unit: str = ""

    @property
    def title(self) -> str:
        """The variables interchanged and what was measured."""
        return title(self.variables, self.name)

    @property
    def measured(self) -> str:
        """The number and its bounds, in words."""
        if self.unit or not (self.count and self.count.total) or self.level == "survived":
            return self.interval
        return f"in {self.count.rate:.1%} of {self.count.total} pairs; between {self.lower:.1%} and {self.upper:.1%}"

    @property
    def interval(self) -> str:
        """The bounds, to read."""
        if self.level == "survived" and self.count is not None:
            return f"{self.count.total - self.count.correct} of {self.count.total} failed"
        if self.unit:
            return f"{self.lower:.3g} to {self.upper:.3g} {self.unit}"
        unbounded = self.count is None and self.kind != "proof"
        return "–" if unbounded else f"{self.lower:.4f} to {self.upper:.4f}"
