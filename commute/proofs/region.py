"""A region: pairs on which a network does answer as the algorithm, though the claim is refuted."""

from dataclasses import dataclass

from commute.alignments.binomial import Count


@dataclass(frozen=True)
class Region:
    """Where a claim that is refuted does hold, for one kind of pairs: conditions on the algorithm's variables, all met at once.

    Attributes:
        what: the variables interchanged in these pairs, or what else was done.
        conditions: such as `base carry = False` and `source left ≤ 3`; at most three.
        inside: right answers on pairs that meet them, of pairs that did not choose them.
        outside: right answers on the others.
        lower: bound on the IIA inside from below, at the verdict's confidence.
        upper: bound from above, likewise.
    """

    what: str
    conditions: tuple[str, ...]
    inside: Count
    outside: Count
    lower: float
    upper: float

    def __str__(self) -> str:
        where = " and ".join(self.conditions)
        return (
            f"{self.what}: the network does answer as the algorithm where {where}: IIA {self.inside.rate:.4f} "
            f"[{self.lower:.4f}, {self.upper:.4f}] on {self.inside.total} pairs, against {self.outside.rate:.4f} elsewhere"
        )
