"""One control: how a variable's interchange does where it should not."""

from dataclasses import dataclass

from commute.alignments.binomial import Count


@dataclass(frozen=True)
class Control:
    """How one variable's interchange does where it should not.

    Attributes:
        name: what was put in place of the claim's network, subspace or algorithm.
        variable: the variable interchanged.
        count: right answers on fresh balanced pairs; None where there is nothing to control, or where it could not be made.
        says: what it means, in a sentence; without a count, why there is none.
        failed: whether it could not be made, though there is something to control.
    """

    name: str
    variable: str
    count: Count | None
    says: str
    failed: bool = False
