"""One control: how a variable's interchange does where it should not."""

from dataclasses import dataclass

from commute.alignments.binomial import Count


@dataclass(frozen=True)
class Control:
    """How one variable's interchange does where it should not.

    Attributes:
        name: what was put in place of the claim's network, subspace or algorithm.
        variable: the variable interchanged.
        count: right answers on fresh balanced pairs; None where the control cannot be made.
        says: what it means, in a sentence.
    """

    name: str
    variable: str
    count: Count | None
    says: str
