"""Circuits: the claim that along some edges of a network everything flows that matters."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import networkx as nx

from commute.errors import NetworkError, check, unknown
from commute.models.circuits.drawing import draw
from commute.models.circuits.ends import ends_of
from commute.models.circuits.graph import Edge, residual_edges, stream_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 8  # problems told of at once


@dataclass(frozen=True, eq=False, repr=False)
class Circuit:
    """Some edges of a computation graph; along the others flows something else, as of another input.

    Args:
        graph: from `computation_graph`.
        keep: edges, as pairs of nodes or `"m0->logits"`; or nodes, which keeps all edges among them (a head is kept with all that
            it reads).

    Attributes:
        edges: that are kept, in the graph's order.

    Raises:
        NetworkError: listing nodes and edges that the graph does not have, and where no kept path leads to the output.
    """

    graph: "nx.DiGraph[str]"
    keep: Iterable[Any]
    edges: tuple[Edge, ...] = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.keep, Circuit) or not isinstance(self.keep, Iterable):
            raise NetworkError(f"a circuit keeps a list of edges or of nodes; given {self.keep!r}")
        keep = [self.keep] if isinstance(self.keep, str) else list(self.keep)
        edges = edges_of(self.graph, keep)
        object.__setattr__(self, "keep", tuple(keep))
        object.__setattr__(self, "edges", edges)
        if not self.flowing(edges):
            ends = ", ".join(ends_of(self.graph))
            raise NetworkError(
                f"no path of the {len(edges)} edges kept leads from what the network is given to {ends}, so "
                "the circuit does not act on the output at all"
            )

    def __repr__(self) -> str:
        return f"Circuit({len(self.edges)} of {len(residual_edges(self.graph))} edges, {len(self.nodes)} nodes)"

    def __len__(self) -> int:
        return len(self.edges)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that lie on kept paths from what the network is given to its output, in the graph's order."""
        found = self.flowing(self.edges)
        return tuple(node for node in self.graph if node in found)

    @property
    def complement(self) -> tuple[Edge, ...]:
        """All other edges, which are claimed not to matter."""
        kept = set(self.edges)
        return tuple(edge for edge in residual_edges(self.graph) if edge not in kept)

    def plot(self, *, weights: Mapping[Edge, float] | None = None, ax: "Axes | None" = None) -> "Axes":
        """Draw the kept edges in layers with matplotlib; see `draw`.

        Args:
            weights: of edges, which are drawn the thicker for it, such as their scores or effects.
            ax: where to draw; a figure of its own if not given.
        """
        return draw(self.edges, weights, ax)

    def flowing(self, edges: Collection[Edge]) -> set[str]:
        """The nodes on paths of some edges from nodes that read nothing to those that the answer is read of."""
        part: nx.DiGraph[str] = nx.DiGraph(edges)
        part.add_edges_from((u, v) for u, v, internal in self.graph.edges(data="internal", default=False) if internal)
        starts = [node for node in part if not self.graph.in_degree(node)]
        ends = [node for node in ends_of(self.graph) if node in part]
        after = set(starts).union(*(nx.descendants(part, node) for node in starts))
        before = set(ends).union(*(nx.ancestors(part, node) for node in ends))
        return after & before


def edges_of(graph: "nx.DiGraph[str]", keep: Iterable[Any]) -> tuple[Edge, ...]:
    """The residual edges that a list of edges or nodes names, in the graph's order.

    Raises:
        NetworkError: listing those that the graph does not have.
    """
    stream_of(graph)
    named = [tuple(x.split("->")) if isinstance(x, str) and "->" in x else x for x in keep]
    nodes = [x for x in named if isinstance(x, str)]
    pairs = [x for x in named if not isinstance(x, str)]
    if nodes and pairs:
        raise NetworkError(f"a circuit keeps edges or nodes, not both; given the node {nodes[0]!r} and the edge {pairs[0]!r}")
    every = residual_edges(graph)
    if nodes:
        wrong = [unknown("node", x, graph) for x in nodes if x not in graph]
        check(wrong[:_MANY], NetworkError, "a circuit")
        held = {*nodes, *(u for u, v, internal in graph.edges(data="internal", default=False) if internal and v in nodes)}
        return tuple((u, v) for u, v in every if u in held and v in held)
    fit = [isinstance(x, (tuple, list)) and all(isinstance(node, str) for node in x) for x in pairs]
    chosen = dict.fromkeys(tuple(x) for x, good in zip(pairs, fit, strict=True) if good)
    there = set(every)
    wrong = [f"an edge is a pair of nodes or 'm0->logits'; given {x!r}" for x, good in zip(pairs, fit, strict=True) if not good]
    wrong += [_missing(graph, x, every) for x in chosen if x not in there]
    check(wrong[:_MANY], NetworkError, "a circuit")
    return tuple(edge for edge in every if edge in chosen)


def _missing(graph: "nx.DiGraph[str]", edge: Any, every: Collection[Edge]) -> str:
    if len(edge) == 2 and graph.has_edge(*edge):  # noqa: PLR2004
        return f"the edge {edge[0]}->{edge[1]} is inside a node, and always there"
    return unknown("edge", "->".join(map(str, edge)), ["->".join(e) for e in every])
