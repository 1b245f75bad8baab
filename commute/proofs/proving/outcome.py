"""Outcomes: what is known of a statement."""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Work:
    """What was done up to some moment, and what was known then.

    Attributes:
        bounds: of cells.
        evaluated: pairs that were evaluated one by one.
        right: pairs known to be right.
        wrong: pairs known to be wrong.
    """

    bounds: int = 0
    evaluated: int = 0
    right: int | Fraction = 0
    wrong: int | Fraction = 0

    @property
    def spent(self) -> int:
        """What counts as bounds of a budget."""
        return self.bounds + self.evaluated


@dataclass(frozen=True)
class Outcome:
    """How many pairs (base and sources) of a statement are proved right, how many wrong, and what it took.

    Attributes:
        variables: that are interchanged.
        total: pairs in all.
        right: pairs whose answer is the algorithm's, in exact arithmetic on the stored weights.
        wrong: pairs whose answer is another.
        within_rounding: of those decided, the pairs whose answer the network's own rounding may change.
        kinds: of the wrong pairs decided one by one, how many at least for each expected and given label; a pair counts where it
            is known which score is above every other.
        first: the inputs' places in the domain's order, base first, of the first wrong pair; None where there is none.
        classes: different inputs of each side, base first, after merging those that bring the same numbers.
        bounds: bounds of cells that were computed.
        evaluated: pairs that were evaluated one by one.
        work: how far it was after each round.
    """

    variables: tuple[str, ...]
    total: int
    right: int | Fraction
    wrong: int | Fraction
    within_rounding: int = 0
    kinds: "Counter[tuple[Any, Any]]" = field(default_factory=Counter)
    first: tuple[int, ...] | None = None
    classes: tuple[int, ...] = ()
    bounds: int = 0
    evaluated: int = 0
    work: tuple[Work, ...] = ()

    @property
    def undecided(self) -> int | Fraction:
        """Pairs of which neither is known."""
        return self.total - self.right - self.wrong

    @property
    def lower(self) -> Fraction:
        """IIA at least."""
        return Fraction(self.right, self.total)

    @property
    def upper(self) -> Fraction:
        """IIA at most."""
        return Fraction(self.total - self.wrong, self.total)
