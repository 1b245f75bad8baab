"""Random circuits that act on the output, to hold a circuit against."""

from dataclasses import dataclass

import networkx as nx
import numpy as np

from commute.errors import ClaimError, check, not_counts
from commute.models.circuits.ends import ends_of
from commute.models.circuits.graph import Edge, residual_edges, stream_of

_TRIES = 100  # paths in a row that are too long for what is left


@dataclass(frozen=True, eq=False)
class Paths:
    """All paths of a graph from nodes that read nothing to those that the answer is read of.

    Attributes:
        starts: the nodes that they start at.
        after: where each node of theirs leads to.
        edges: how many the graph has.
    """

    starts: tuple[str, ...]
    after: dict[str, tuple[str, ...]]
    edges: int

    @classmethod
    def of(cls, graph: "nx.DiGraph[str]") -> "Paths":
        """Those of a graph, found once for it and for a copy of which no edges are gone."""
        found: Paths | None = graph.graph.get("paths")
        if found is None or found.edges != graph.number_of_edges():
            ends = ends_of(graph)
            leading = set(ends).union(*(nx.ancestors(graph, node) for node in ends))
            after = {node: tuple(v for v in graph.successors(node) if v in leading) for node in graph if node in leading}
            starts = tuple(node for node in after if not graph.in_degree(node))
            graph.graph["paths"] = found = cls(starts, after, graph.number_of_edges())
        return found

    def drawn(self, generator: np.random.Generator) -> list[Edge]:
        """A random walk along one, with edges inside of nodes."""
        node, found = self.starts[generator.integers(len(self.starts))], list[Edge]()
        while after := self.after[node]:
            found.append((node, after[generator.integers(len(after))]))
            node = found[-1][1]
        return found


def random_circuit(graph: "nx.DiGraph[str]", size: int, generator: np.random.Generator) -> list[Edge]:
    """So many residual edges: random paths to the answer as long as they fit, then others on such paths, and then any.

    Raises:
        ClaimError: when the graph has fewer.
    """
    stream_of(graph)
    every, paths, tries = residual_edges(graph), Paths.of(graph), 0
    wrong = not_counts(size=size) or ([f"the graph has {len(every)} edges; given {size}"] if size > len(every) else [])
    check(wrong, ClaimError, "a random circuit")
    there, chosen = set(every), set[Edge]()
    while len(chosen) < size and tries < _TRIES:
        new = {edge for edge in paths.drawn(generator) if edge in there} - chosen
        fits = len(chosen) + len(new) <= size and bool(new)
        chosen |= new if fits else set()
        tries = 0 if fits else tries + 1
    rest = [edge for edge in every if edge not in chosen]
    order = sorted(generator.permutation(len(rest)), key=lambda i: rest[i][1] not in paths.after)
    chosen |= {rest[i] for i in order[: size - len(chosen)]}
    return [edge for edge in every if edge in chosen]
