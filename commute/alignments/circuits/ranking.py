"""Circuits of the best edges, by their scores."""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

from commute.errors import AlignmentError, NoCircuitError, not_counts
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import Edge, residual_edges
from commute.models.circuits.runs import Runs

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

Rank = Literal["magnitude", "value"]


def best_first(scores: Tensor, rank: Rank) -> list[int]:
    """The places of scores, the best first; of equal ones the first."""
    found: list[int] = (scores.abs() if rank == "magnitude" else scores).argsort(descending=True, stable=True).tolist()
    return found


def pruned(whole: Circuit, edges: Collection[Edge]) -> Sequence[Edge]:
    """Those of some edges of a graph that lie on paths of them to the output."""
    flowing = whole.flowing(edges)
    return [(u, v) for u, v in edges if u in flowing and v in flowing]


def best_circuit(graph: "nx.DiGraph[str]", scores: Tensor, rank: Rank, size: int) -> Circuit:
    """See `CircuitSearch.circuit`."""
    edges = residual_edges(graph)
    problems = not_counts(size=size) or ([f"there are {len(edges)} edges; given {size}"] if size > len(edges) else [])
    if problems:
        raise AlignmentError(f"a circuit's size: {problems[0]}")
    whole, best = Circuit(graph, edges), [edges[i] for i in best_first(scores, rank)]
    found = pruned(whole, best[:size])
    if not found:
        least = _least(whole, best, 1)
        raise NoCircuitError(f"no path to the output is among the {size} best edges; the least size with one is {least}")
    return Circuit(graph, found)


def least_circuit(graph: "nx.DiGraph[str]", scores: Tensor, rank: Rank, edges: int) -> Circuit:
    """The circuit of as few of the best edges as leave so many on paths; of all edges where there are fewer."""
    every = residual_edges(graph)
    whole, best = Circuit(graph, every), [every[i] for i in best_first(scores, rank)]
    return Circuit(graph, pruned(whole, best[: _least(whole, best, edges)]))


def _least(whole: Circuit, best: Sequence[Edge], edges: int) -> int:
    """How many of the best edges leave so many on paths; more of them never leave fewer."""
    return bisect_left(range(len(best)), edges, key=lambda n: len(pruned(whole, best[:n])))


def faithfulness(runs: Runs, behaviour: Behaviour, scores: Tensor, rank: Rank, sizes: Sequence[int]) -> "pd.DataFrame":
    """The curve of a `CircuitSearch`, of circuits by some scores [edges] on the inputs of some runs.

    Its column `faithfulness` is the value of what `commute.circuits.faithfulness` measures of one circuit with bounds: the same
    definition, of fewer guarantees, since circuits are compared here and one of them is then judged on fresh inputs.
    """
    import pandas as pd

    edges, order = residual_edges(runs.graph), best_first(scores, rank)
    whole = Circuit(runs.graph, edges)
    kept = [pruned(whole, [edges[i] for i in order[:size]]) for size in sizes]
    none, *found = behaviour(runs.scores([(), *kept])).mean(1).tolist()
    span = float(behaviour(behaviour.whole).mean()) - none
    rows = [
        (size, len(k), value, (value - none) / span if span else np.nan)
        for size, k, value in zip(sizes, kept, found, strict=True)
    ]
    return pd.DataFrame(rows, columns=["size", "edges", "measure", "faithfulness"])
