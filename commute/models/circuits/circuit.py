"""Circuits: the claim that along some edges of a network everything flows that matters."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import networkx as nx
from torch import Tensor

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
        keep = _listed(self.keep)
        edges = edges_of(self.graph, keep)
        object.__setattr__(self, "keep", keep)
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

    def plot(self, *, weights: Mapping[Any, float] | None = None, ax: "Axes | None" = None) -> "Axes":
        """Draw the kept edges in layers with matplotlib, from what is read first to the output.

        Args:
            weights: of edges of the graph, as pairs of nodes or `"m0->logits"`, which are drawn the thicker for it, such as their
                scores or effects.
            ax: where to draw; a figure of its own if not given.

        Raises:
            NetworkError: listing edges that the graph does not have, and weights that are not numbers.
        """
        return draw(self.edges, None if weights is None else _weighed(self.graph, weights), ax)

    def flowing(self, edges: Collection[Edge]) -> set[str]:
        """The nodes on paths of some edges from nodes that read nothing to those that the answer is read of."""
        part: nx.DiGraph[str] = nx.DiGraph(edges)
        part.add_edges_from((u, v) for u, v, internal in self.graph.edges(data="internal", default=False) if internal)
        starts = [node for node in part if not self.graph.in_degree(node)]
        ends = [node for node in ends_of(self.graph) if node in part]
        after = set(starts).union(*(nx.descendants(part, node) for node in starts))
        before = set(ends).union(*(nx.ancestors(part, node) for node in ends))
        return after & before


def _listed(keep: object) -> tuple[Any, ...]:
    if not isinstance(keep, Iterable):
        raise NetworkError(f"a circuit keeps a list of edges or of nodes; given {short(keep)}")
    return (keep,) if isinstance(keep, str) else tuple(keep)


def edges_of(graph: "nx.DiGraph[str]", keep: Iterable[Any]) -> tuple[Edge, ...]:
    """The residual edges that a list of edges or nodes names, in the graph's order.

    Raises:
        NetworkError: listing those that the graph does not have.
    """
    stream_of(graph)
    named = [_split(x) for x in _listed(keep)]
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
    chosen = set(_there(graph, pairs, "a circuit"))
    return tuple(edge for edge in every if edge in chosen)


def _weighed(graph: "nx.DiGraph[str]", weights: object) -> dict[Edge, float]:
    """The weight of each edge that is given one."""
    if not isinstance(weights, Mapping):
        raise NetworkError(f"weights are a mapping from edges to numbers; given {short(weights)}")
    edges = _there(graph, [_split(x) for x in weights], "weights")
    found = dict(zip(edges, map(_number, weights.values()), strict=True))
    wrong = [f"{'->'.join(e)} has {short(x)}" for e, x in zip(edges, weights.values(), strict=True) if found[e] is None]
    check(wrong[:_MANY], NetworkError, "weights, each a finite number")
    return {edge: x for edge, x in found.items() if x is not None}


def _number(x: Any) -> float | None:
    """A finite number; None for anything else."""
    x = x.item() if isinstance(x, Tensor) and x.numel() == 1 else x
    return float(x) if isinstance(x, Real) and isfinite(x) else None


def _split(edge: Any) -> Any:
    """The nodes of an edge that is written as one text."""
    return tuple(edge.split("->")) if isinstance(edge, str) and "->" in edge else edge


def _there(graph: "nx.DiGraph[str]", pairs: Iterable[Any], subject: str) -> list[Edge]:
    """Pairs of nodes, each of which is to be an edge."""
    found: list[Edge] = []
    wrong: list[str] = []
    every = residual_edges(graph)
    there = set(every)
    for x in pairs:
        if len(wrong) == _MANY:  # the nearest name of each is looked for among all edges
            break
        if not isinstance(x, (tuple, list)) or not all(isinstance(node, str) for node in x):
            wrong.append(f"an edge is a pair of nodes or 'm0->logits'; given {x!r}")
        elif (edge := tuple(x)) in there:
            found.append(edge)
        else:
            wrong.append(_missing(graph, edge, every))
    check(wrong, NetworkError, subject)
    return found


def _missing(graph: "nx.DiGraph[str]", edge: Any, every: Collection[Edge]) -> str:
    if len(edge) == 2 and graph.has_edge(*edge):  # noqa: PLR2004
        return f"the edge {edge[0]}->{edge[1]} is inside a node, and always there"
    return unknown("edge", "->".join(map(str, edge)), ["->".join(e) for e in every])
