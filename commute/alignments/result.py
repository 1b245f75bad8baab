"""What a search found: every item that was tried, and how to choose among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commute.alignments.accuracy import Accuracy
from commute.alignments.alignment import Alignment
from commute.alignments.items import Counts, Item
from commute.alignments.spec import Found, Search
from commute.alignments.training import Features, Place, named
from commute.models.sites import Site

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Candidate:
    """One item's alignment.

    Attributes:
        item: what was fitted.
        alignment: what was found.
        selection: its accuracy on the selection pairs of each set of variables.
        train: right answers on some of the pairs that it was trained on, changed and unchanged ones.
        losses: of each step.
        flops: that fitting it took, in the module.
    """

    item: Item
    alignment: Alignment
    selection: Mapping[tuple[str, ...], Accuracy]
    train: Mapping[tuple[str, ...], Counts]
    losses: tuple[float, ...]
    flops: float

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.item.place

    @property
    def site(self) -> Site:
        """The first of its sites, which is the only one unless places have several."""
        return self.place[0]

    @property
    def worst(self) -> float:
        """The lowest IIA of any set of variables, on changed or on unchanged pairs."""
        return min(c.rate for a in self.selection.values() for c in (a.changed, a.unchanged) if c.total)

    @property
    def dims(self) -> int:
        """Coordinates of all variables together; a whole site counts as one."""
        return size_of({v: self.alignment.parts(v) for v in self.alignment})


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found.

    Attributes:
        search: what was searched for.
        seed: of its random streams.
        candidates: an alignment for each item that was fitted to the end.
        tried: how many items there were; each of these may stand for several starts and rungs.
        shared: pairs to select by that were trained on too, since the domain has no others of their kind.
        skipped: why places or items could not be used, or were left out.
    """

    search: Search
    seed: int
    candidates: tuple[Candidate, ...]
    tried: int
    shared: int
    skipped: Mapping[str, str]

    @property
    def best(self) -> Alignment:
        """The alignment whose worst slice is the highest on the selection pairs; of equals the one with the fewest dims."""
        return self._found(self._best)

    @property
    def _best(self) -> Candidate:
        return max(self.candidates, key=lambda c: (c.worst, -c.dims))

    def smallest(self, *, within: float = 0.01) -> Alignment:
        """The best alignment of the fewest dims whose worst slice is at most `within` below that of the best.

        To be judged on fresh pairs like any other: the choice was made by selection pairs.
        """
        least = self._best.worst - within
        return self._found(min((c for c in self.candidates if c.worst >= least), key=lambda c: (c.dims, -c.worst)))

    def _found(self, candidate: Candidate) -> Alignment:
        return Alignment(candidate.alignment.features, Found(self.search, self.seed, self.tried, candidate.place))

    def curve(self) -> "pd.DataFrame":
        """IIA(dims): for each number of dims of all variables together the best candidate, a row each.

        Columns: `dims`, `worst` (IIA of the worst slice on the selection pairs), `iia` (over all of them) and `site`.
        """
        import pandas as pd

        best: dict[int, Candidate] = {}
        for c in self.candidates:
            if c.dims not in best or c.worst > best[c.dims].worst:
                best[c.dims] = c
        rows = [(dims, c.worst, _pooled(c), named(c.place)) for dims, c in sorted(best.items())]
        return pd.DataFrame(rows, columns=["dims", "worst", "iia", "site"])

    def to_frame(self) -> "pd.DataFrame":
        """One row an item and variable.

        Columns: `site`, `variable`, `method`, `dims`, `learning_rate`, `steps`, `seed`, `restart`; IIA on the pairs trained on
        (`train`) and on the selection pairs (`iia`, `changed`, `unchanged`, and `worst`, the lowest of any set of variables);
        `best`; `candidates`, how many were tried in all; `losses` of all steps, and `flops` that fitting took in the module.
        """
        import pandas as pd

        best = self._best
        rows = [self._row(c, v, best=c is best) for c in self.candidates for v in self.search.variables]
        return pd.DataFrame(rows)

    def _row(self, candidate: Candidate, variable: str, *, best: bool) -> dict[str, Any]:
        method, found = candidate.item.method, candidate.selection[variable,]
        correct, total = (sum(getattr(c, k) for c in candidate.train[variable,]) for k in ("correct", "total"))
        return {
            "site": named(candidate.place),
            "variable": variable,
            "method": type(method).__name__,
            "dims": _size(candidate.alignment, variable) or None,
            "learning_rate": getattr(method, "learning_rate", None),
            "steps": len(candidate.losses),
            "seed": self.seed,
            "restart": candidate.item.restart,
            "train": correct / total,
            "iia": found.rate,
            "changed": found.changed.rate,
            "unchanged": found.unchanged.rate,
            "worst": candidate.worst,
            "best": best,
            "candidates": self.tried,
            "losses": candidate.losses,
            "flops": candidate.flops,
        }


def size_of(features: Features | None) -> int:
    """Coordinates of all variables together; a whole site counts as one."""
    return sum(1 if f.dims is None else len(f.dims) for parts in (features or {}).values() for f in parts)


def _size(alignment: Alignment, variable: str) -> int:
    """Coordinates that a variable takes; 0 where it is whole sites."""
    return sum(len(f.dims or ()) for f in alignment.parts(variable))


def _pooled(candidate: Candidate) -> float:
    counts = [a.overall for a in candidate.selection.values()]
    return sum(c.correct for c in counts) / sum(c.total for c in counts)
