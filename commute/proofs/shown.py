"""What is shown with a verdict: the algorithm's variables, what the search saw, and what everything cost."""

from dataclasses import dataclass
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
class ItemCost:
    """What one item of the battery cost, in module-FLOPs."""

    item: str
    flops: int
