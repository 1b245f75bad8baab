"""What a search of circuits found: a score for each edge, and how circuits of each size do on inputs that did not choose them."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from commute.alignments.circuits.ranking import best_circuit, best_first, least_circuit
from commute.alignments.circuits.task import Task
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import residual_edges

if TYPE_CHECKING:
    from collections.abc import Callable

    import networkx as nx
    import pandas as pd


@dataclass(frozen=True, eq=False)
class CircuitSearch:
    """Scores of edges. They propose circuits, which `verify` then judges.

    Attributes:
        task: what was searched and how.
        seed: of the random streams.
        by_row: each input's score of each edge, [edges, rows], or [edges, 1] where inputs are not scored one by one.
        curve: a row for each size, of circuits judged on inputs that were not searched on. Columns: `size`; `edges`, those of
            them on a path; `measure`, its mean; `faithfulness`, (m(circuit) - m(none)) / (m(whole) - m(none)) of these means
            (2403.19647), which is 1 for the whole network and may be larger, and NaN where m(whole) is m(none).
        stability: how much circuits depend on chance (2510.00845), a row for each size and source of it. Columns: `over`, other
            draws of the inputs searched on with replacement (`rows`), or whole searches with other seeds, which split the same
            inputs otherwise, so that what two of them search on overlaps (`seeds`); `size`; `searches`, how many; `jaccard`,
            edges in both of two circuits among those in either, before pruning, the mean over pairs of searches;
            `faithfulness`, its mean over searches, and `deviation`, its standard deviation, for `seeds`.
    """

    task: Task
    seed: int
    by_row: Tensor
    curve: "pd.DataFrame"
    stability: "pd.DataFrame"

    def __repr__(self) -> str:
        return f"CircuitSearch({self.task.method}, {len(self.by_row)} edges)"

    @property
    def graph(self) -> "nx.DiGraph[str]":
        """The graph that was searched."""
        return self.task.graph

    @property
    def scores(self) -> Tensor:
        """A number for each edge, in the order of `residual_edges`: about what is lost of the measure without it, [edges]."""
        return self.by_row.mean(1)

    def circuit(self, size: int) -> Circuit:
        """The `size` best edges, less those on no path from what the network is given to its output.

        Raises:
            NoCircuitError: when no path is among them, naming the least size of which there is one.
        """
        return best_circuit(self.graph, self.scores, self.task.rank, size)

    def repeat(self, size: int) -> "Callable[..., Circuit]":
        """The same search as a function of another `graph` and `seed`, as controls need it.

        It takes as many of the best edges there as leave no fewer on paths than this search's `circuit(size)` has, if there are
        so many.

        Raises:
            NoCircuitError: when this search has no circuit of the size.
        """
        edges = len(self.circuit(size))

        def again(graph: "nx.DiGraph[str]", *, seed: int) -> Circuit:
            by_row = replace(self.task, graph=graph).scored(seed)
            return least_circuit(graph, by_row.mean(1), self.task.rank, edges)

        return again

    def to_frame(self) -> "pd.DataFrame":
        """A row for each edge, the best first: `writer`, `reader`, `score`, and its standard `error` over inputs."""
        import pandas as pd

        edges, rows = residual_edges(self.graph), self.by_row.shape[1]
        error = self.by_row.std(1) / rows**0.5 if rows > 1 else torch.full((len(edges),), torch.nan)
        table = [(*edges[i], float(self.scores[i]), float(error[i])) for i in best_first(self.scores, self.task.rank)]
        return pd.DataFrame(table, columns=["writer", "reader", "score", "error"])
