"""What is shown with a verdict: the algorithm's variables, what the search saw, and what everything cost."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Literal

Role = Literal["input", "internal", "output"]


@dataclass(frozen=True)
class Variable:
    """A variable of the algorithm, its place in the graph and, if aligned, in the network."""

    name: str
    role: Role
    parents: tuple[str, ...]
    feature: str | None


@dataclass(frozen=True)
class SearchedSite:
    """One row of the search behind the claim: a variable's IIA at a site, on the selection pairs."""

    site: str
    variable: str
    iia: float
    worst: float


@dataclass(frozen=True)
class FittedDims:
    """One point of the curve of IIA by dims of the search behind the claim: the best at so many dims, on the selection pairs."""

    dims: int
    iia: float


@dataclass(frozen=True)
class KeptEdge:
    """An edge of the circuit that is claimed, and the share of answers lost when it alone is left out; None if not tested."""

    start: str
    end: str
    effect: float | None


@dataclass(frozen=True)
class ItemCost:
    """What one item of the battery cost, in module-FLOPs."""

    item: str
    flops: int


@dataclass(frozen=True)
class ProvedAt:
    """How far a proof was at some moment: cells bounded and pairs evaluated, and the bounds on IIA that were known."""

    done: int
    lower: float
    upper: float


@dataclass(frozen=True)
class Proved:
    """What was proved about every pair of one set of variables; `Outcome` says what the counts are.

    Attributes:
        variables: that are interchanged.
        total: pairs in all.
        right: pairs proved right.
        wrong: pairs proved wrong.
        within_rounding: of those decided, the pairs whose answer the network's own rounding may change.
        classes: different inputs of each side, base first.
        bounds: bounds of cells that were computed.
        evaluated: pairs that were evaluated one by one.
        first: the first wrong pair, to read; empty where none is known.
        work: how far it was, at some moments.
    """

    variables: tuple[str, ...]
    total: int
    right: int
    wrong: int
    within_rounding: int
    classes: tuple[int, ...]
    bounds: int
    evaluated: int
    first: str = ""
    work: tuple[ProvedAt, ...] = ()

    @property
    def undecided(self) -> int:
        """Pairs of which neither is known."""
        return self.total - self.right - self.wrong

    @property
    def level(self) -> Literal["exact", "sound"]:
        """`exact` where every pair is decided."""
        return "sound" if self.undecided else "exact"

    @property
    def interval(self) -> str:
        """The bounds on IIA, each rounded away from what lies between; one number where both are the same to the last digit."""
        lower, upper = _share(self.right, self.total, ROUND_FLOOR), _share(self.total - self.wrong, self.total, ROUND_CEILING)
        return lower if lower == upper else f"[{lower}, {upper}]"

    @property
    def says(self) -> str:
        """What was proved and by what work, in a line."""
        counted = f"{self.right:,} of {self.total:,} pairs are right"
        if self.undecided:
            counted = f"of {self.total:,} pairs {self.right:,} are right, {self.wrong:,} wrong and {self.undecided:,} undecided"
        parts = [
            f"IIA {'in' if self.interval.startswith('[') else '='} {self.interval}, {counted}",
            f"{' × '.join(f'{n:,}' for n in self.classes)} different inputs",
        ]
        parts += [f"{self.bounds:,} bounds", f"{self.evaluated:,} evaluated"]
        if self.within_rounding:
            parts.append(f"{self.within_rounding:,} within rounding")
        return "; ".join(parts)


def _share(count: int, total: int, rounding: str) -> str:
    """A share with six decimals."""
    divided = Context(prec=40, rounding=rounding).divide(Decimal(count), Decimal(total))
    return str(divided.quantize(Decimal("0.000001"), rounding=rounding))
