"""Rates by row and column, as heat maps: IIA at each site, and transitions from one value of a variable to another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from commute.proofs.evidence import Evidence
from commute.proofs.shown import SearchedSite

_ARROW = " → "
WORST = "worst slice"


@dataclass(frozen=True)
class Cell:
    """A rate to read.

    Attributes:
        text: the rate.
        shade: how dark the cell is, from 0 to 1.
        note: beside the rate.
        evidence: that it is of, if any.
    """

    text: str
    shade: float
    note: str = ""
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Grid:
    """A heat map; cells that nothing is known of are missing."""

    corner: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]


def sites_grid(sites: Sequence[SearchedSite]) -> Grid:
    """IIA at each site of each variable, and of the worst slice there."""
    cells = {(s.site, s.variable): _rate(s.iia) for s in sites} | {(s.site, WORST): _rate(s.worst) for s in sites}
    names, variables = (tuple(dict.fromkeys(x)) for x in ((s.site for s in sites), (s.variable for s in sites)))
    return Grid("site", names, (*variables, WORST), cells)


def transition_grids(evidence: Sequence[Evidence]) -> dict[str, Grid]:
    """For each variable with transitions, IIA by what its value was (rows) and what it is set to (columns).

    Transitions that are too rare to be bounded by themselves are of finer groups of values than those that are slices, and are
    shown in their place.
    """
    found: dict[str, dict[str, list[Evidence]]] = {}
    for e in evidence:
        if len(e.variables) == 1 and e.name.count(_ARROW) == 1:
            found.setdefault(e.variables[0], {}).setdefault(e.kind, []).append(e)
    return {variable: _transitions(kinds.get("transition") or kinds["slice"]) for variable, kinds in found.items()}


def _transitions(evidence: Sequence[Evidence]) -> Grid:
    cells = {(before, after): _transition(e) for e in evidence for before, after in [e.name.split(_ARROW)]}
    names = tuple(dict.fromkeys([before for before, _ in cells] + [after for _, after in cells]))
    return Grid("from ↓ to →", names, names, cells)


def _transition(e: Evidence) -> Cell:
    return _rate(e.count.rate, f"of {e.count.total}", e) if e.count and e.count.total else Cell("–", 0.0, "no pair", e)


def _rate(rate: float, note: str = "", evidence: Evidence | None = None) -> Cell:
    return Cell(f"{rate:.3f}", rate, note, evidence)
