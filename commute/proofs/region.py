"""A region: inputs on which a claim that is refuted does hold."""

from dataclasses import dataclass

from commute.alignments.binomial import Count


@dataclass(frozen=True)
class Region:
    """Inputs on which a claim that is refuted does hold: conditions on the algorithm's variables, all met at once.

    Attributes:
        conditions: such as `base carry = False` and `source left ≤ 3`; at most three.
        inside: right answers on pairs that meet them, of pairs that did not choose them.
        outside: right answers on the others.
        lower: bound on the IIA inside from below, at the verdict's confidence.
        upper: bound from above, likewise.
    """

    conditions: tuple[str, ...]
    inside: Count
    outside: Count
    lower: float
    upper: float

    def __str__(self) -> str:
        where = " and ".join(self.conditions)
        return (
            f"it does hold where {where}: IIA {self.inside.rate:.4f} [{self.lower:.4f}, {self.upper:.4f}] on {self.inside.total} "
            f"pairs, against {self.outside.rate:.4f} elsewhere"
        )
