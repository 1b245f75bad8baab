"""One search of a circuit: scores from a part of the inputs, and a curve on the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from commute.alignments.circuits.methods import SearchMethod
from commute.alignments.circuits.optimal import OptimalAblation, with_constants
from commute.alignments.circuits.parts import of_rows, split
from commute.alignments.circuits.ranking import Rank, faithfulness
from commute.causal.batches import Batch, Column, rows_of, take
from commute.errors import NetworkError, NoCircuitError
from commute.models.circuits.behaviour import Behaviour, Measure
from commute.models.circuits.instead import Instead
from commute.models.circuits.runs import Runs

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
        behaviour = self._behaviour(runs, rows)
        by_row = self.method.scores(runs, behaviour)
        _check_telling(by_row, runs, behaviour)
        return by_row

    def _trained(self, rows: Column) -> Instead | Tensor:
        """What edges carry instead, or constants for it trained on some rows."""
        if isinstance(self.instead, OptimalAblation):
            return self.instead.constants(self.graph, take(self.batch, rows))
        return self.instead

    def _runs(self, rows: Column, instead: Instead | Tensor, seed: int, purpose: str) -> Runs:
        batch = take(self.batch, rows)
        if isinstance(instead, Tensor):
            return with_constants(self.graph, batch, instead)
        return Runs.of(self.graph, batch, of_rows(instead, self.batch, rows, seed, purpose))

    def _behaviour(self, runs: Runs, rows: Column) -> Behaviour:
        chosen = {k: runs.readout.choices(labels[rows]) for k, labels in self.labels.items()}
        return Behaviour.of(runs, self.measure, answers=chosen.get("answers"), others=chosen.get("others"))


def _check_telling(by_row: Tensor, runs: Runs, behaviour: Behaviour) -> None:
    """Check that scores tell edges apart.

    Raises:
        NetworkError: when some are not finite, saying why; `NoCircuitError` when all are 0.
    """
    scores, measure = by_row.mean(1), behaviour.measure
    wrong = int((~scores.isfinite()).sum())
    if wrong:
        inputs = int(behaviour(behaviour.whole).isfinite().sum())
        raise NetworkError(
            f"{wrong} of {len(scores)} edges have scores that are not finite; the {measure} of the whole network is finite on "
            f"{inputs} of {rows_of(runs.batch)} inputs; take another measure or method"
        )
    if scores.any():
        return
    values = behaviour(torch.stack([behaviour.whole, runs.scores([()])[0]]))
    if measure == "logit difference" and torch.equal(behaviour.answers, behaviour.others):
        why = "each answer is held against itself; give wrong answers as others"
    elif torch.equal(values[0], values[1]):
        why = "it is the same with nothing kept; let edges carry something else, or take another measure"
    else:
        why = "it changes where all edges are left out; take a measure with gradients, or another method"
    raise NoCircuitError(
        f"every edge scores 0 by the {measure} on {rows_of(runs.batch)} inputs, so none is better than another: {why}"
    )
