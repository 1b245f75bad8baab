"""One search of a circuit: scores from a part of the inputs, and a curve on the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from commute.alignments.circuits.methods import SearchMethod
from commute.alignments.circuits.optimal import OptimalAblation, with_constants
from commute.alignments.circuits.ranking import Rank, faithfulness
from commute.causal.batches import Batch, Column, take
from commute.errors import AlignmentError
from commute.models.ablations import Mean, Resample, Zero
from commute.models.circuits.behaviour import Behaviour, Measure
from commute.models.circuits.runs import Instead, Runs
from commute.models.rows import batched, kinds_of
from commute.runs.seeds import stream as seeded

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Task:
    """What is searched and how; see `search_circuit`. `labels` are the answers and others that were given."""

    graph: "nx.DiGraph[str]"
    batch: Batch
    instead: Instead | OptimalAblation
    labels: Mapping[str, Column]
    method: SearchMethod
    measure: Measure
    rank: Rank
    n: int
    sizes: tuple[int, ...]

    def found(self, seed: int) -> "tuple[Tensor, pd.DataFrame]":
        """Scores [edges, rows] from a part of the inputs, and the curve on the rest."""
        searched, judged = split(self.batch, self.n, seed)
        instead = self._trained(searched)
        by_row = self._scored(searched, instead, seed)
        runs = self._runs(judged, instead, seed, "judging")
        return by_row, faithfulness(runs, self._behaviour(runs, judged), by_row.mean(1), self.rank, self.sizes)

    def scored(self, seed: int) -> Tensor:
        """The scores alone."""
        searched, _ = split(self.batch, self.n, seed)
        return self._scored(searched, self._trained(searched), seed)

    def _scored(self, rows: Column, instead: Instead | Tensor, seed: int) -> Tensor:
        runs = self._runs(rows, instead, seed, "search")
        return self.method.scores(runs, self._behaviour(runs, rows))

    def _trained(self, rows: Column) -> Instead | Tensor:
        """What edges carry instead, or constants for it trained on some rows."""
        if isinstance(self.instead, OptimalAblation):
            return self.instead.constants(self.graph, take(self.batch, rows))
        return self.instead

    def _runs(self, rows: Column, instead: Instead | Tensor, seed: int, purpose: str) -> Runs:
        batch = take(self.batch, rows)
        if isinstance(instead, Tensor):
            return with_constants(self.graph, batch, instead)
        return Runs.of(self.graph, batch, _of_rows(instead, rows, seed, purpose))

    def _behaviour(self, runs: Runs, rows: Column) -> Behaviour:
        chosen = {k: runs.readout.choices(labels[rows]) for k, labels in self.labels.items()}
        return Behaviour.of(runs, self.measure, answers=chosen.get("answers"), others=chosen.get("others"))


def split(batch: Batch, n: int, seed: int) -> tuple[Column, Column]:
    """The rows to search on and those to judge on, no input in both.

    Raises:
        AlignmentError: when all inputs are equal, or none is left to judge on.
    """
    _, kinds = kinds_of(batch)
    order = seeded(seed, "circuits", "split").permutation(int(kinds.max()) + 1)
    place = np.argsort(order)[kinds]  # of each row's kind in the order
    counts = np.bincount(place)
    taken = int(np.searchsorted(np.cumsum(counts), n)) + 1
    if taken >= len(counts):
        raise AlignmentError(
            f"of {len(counts)} different inputs {taken} make up the {n} rows to search on, so none is left to judge on; give more"
        )
    return np.flatnonzero(place < taken), np.flatnonzero(place >= taken)


def _of_rows(instead: Instead, rows: Column, seed: int, purpose: str) -> Instead:
    """What edges of some rows carry; a sample of inputs is drawn anew for each purpose."""
    if isinstance(instead, Resample):
        draws = seeded(seed, "circuits", "resample", purpose, str(instead.seed))
        return replace(instead, seed=int(draws.integers(2**31)))
    return instead if isinstance(instead, (Mean, Zero)) else take(batched(instead)[0], rows)
