"""Drawings of circuits: what writes above what reads it, an arrow for each edge that is kept."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import networkx as nx

from commute.causal.drawing import layered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Edge = tuple[str, str]

_COLOURS = {"q": "#2f6fdb", "k": "#d55e00", "v": "#009e73", "": "#8a94a6"}  # by what a head reads
_NAMES = {"q": "query", "k": "key", "v": "value"}
_BENDS = {"q": 0.09, "k": -0.09, "v": 0.03, "": -0.03}  # of arrows over one layer
_SPAN = 3.0  # layers over which longer arrows are bent more
_THIN, _THICK = 0.8, 4.0
_ASIDE = 0.35
_LETTER = 0.11  # inches that a letter is wide, about


def draw(edges: Sequence[Edge], weights: Mapping[Edge, float] | None = None, ax: "Axes | None" = None) -> "Axes":
    """Draw some edges of a computation graph in layers, those that write above those that read.

    What a head reads as its query, key and value are arrows of three colours. The thicker an arrow the larger its weight is; one
    of a negative weight is dashed.

    Args:
        edges: pairs of nodes.
        weights: of edges, such as their scores; None draws all alike.
        ax: where to draw; a figure of its own, which fits the graph, if not given.

    Returns:
        The axes that were drawn on.
    """
    joined: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for edge in edges:
        joined.add_edge(*map(_node, edge), key=_port(edge[1]), weight=(weights or {}).get(edge))
    places = _places(joined)
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=_size(places)).add_axes((0, 0, 1, 1))
    for limit, i in ((ax.set_xlim, 0), (ax.set_ylim, 1)):
        limit(min(place[i] for place in places.values()) - 0.6, max(place[i] for place in places.values()) + 0.6)
    ax.set_axis_off()
    most = max((abs(w) for *_, w in joined.edges(data="weight") if w), default=1.0)
    for u, v, port, weight in joined.edges(keys=True, data="weight"):
        span = places[u][1] - places[v][1]
        nx.draw_networkx_edges(
            nx.DiGraph([(u, v)]),
            places,
            ax=ax,
            width=_THIN if weight is None else _THIN + (_THICK - _THIN) * abs(weight) / most,
            edge_color=_COLOURS[port],
            style="--" if weight is not None and weight < 0 else "-",
            node_size=700,
            connectionstyle=f"arc3,rad={_BENDS[port] * min(span, _SPAN):.3f}",
        )
    for port in dict.fromkeys(key for *_, key in joined.edges(keys=True)):
        if port:
            ax.plot([], [], color=_COLOURS[port], label=_NAMES[port])
    for node, place in places.items():
        box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "#8a94a6"}
        ax.text(*place, node, ha="center", va="center", fontsize=9, color="#0b0b0b", parse_math=False, bbox=box)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", frameon=False, fontsize=8)
    return ax


def _places(graph: "nx.MultiDiGraph[str]") -> dict[str, tuple[float, float]]:
    """Nodes from above to below; layers of one node stand to the left and right in turn, so that arrows pass beside them."""
    columns = layered(nx.DiGraph(graph))
    layers = [[v for v, (x, _) in columns.items() if x == depth] for depth in range(int(max(x for x, _ in columns.values())) + 1)]
    places: dict[str, tuple[float, float]] = {}
    for depth, layer in enumerate(layers):
        aside = _ASIDE * (-1) ** depth if len(layer) == 1 and 0 < depth < len(layers) - 1 else 0.0
        places |= {v: (i - (len(layer) - 1) / 2 + aside, -float(depth)) for i, v in enumerate(layer)}
    return places


def _node(name: str) -> str:
    """The node that a port belongs to."""
    start, _, end = name.partition("<")
    return start + end.partition(">")[2]


def _port(name: str) -> str:
    port = name.partition("<")[2][:1]
    return port if port in _COLOURS else ""


def size_of(edges: Sequence[Edge]) -> tuple[float, float]:
    """The width and height of a drawing of edges, in inches."""
    joined: nx.MultiDiGraph[str] = nx.MultiDiGraph([(_node(u), _node(v)) for u, v in edges])
    return _size(_places(joined))


def _size(places: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    across, down = ([place[i] for place in places.values()] for i in (0, 1))
    width = (max(across) - min(across) + 1) * (0.5 + _LETTER * max(map(len, places)))
    return max(3.0, width), max(2.0, 0.9 * (max(down) - min(down) + 1))
