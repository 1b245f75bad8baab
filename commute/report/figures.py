"""Figures as SVG, with the ink in the page's own colour so that they read on light and dark."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib as mpl
import networkx as nx
from matplotlib.figure import Figure

from commute.proofs.verdict import SearchedSite, Variable

_INK = "#0b0b0b"  # replaced by the page's text colour
_ALIGNED, _OTHER = "#2f6fdb", "#8a94a6"


def graph_svg(variables: tuple[Variable, ...]) -> str:
    """The algorithm's graph, inputs on the left; each aligned variable with its place in the network."""
    graph = nx.DiGraph()
    graph.add_nodes_from(v.name for v in variables)
    graph.add_edges_from((p, v.name) for v in variables for p in v.parents)
    order = {v.name: i for i, v in enumerate(variables)}
    layers = [sorted(layer, key=order.__getitem__) for layer in nx.topological_generations(graph)]
    places = {v: (depth, (len(layer) - 1) / 2 - i) for depth, layer in enumerate(layers) for i, v in enumerate(layer)}
    tall = max(map(len, layers))
    with _figure(2.4 * len(layers), 0.9 + 0.75 * tall) as (figure, svg):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.margins(0.2, 0.2)
        colours = [_ALIGNED if v.feature else _OTHER for v in variables]
        nx.draw_networkx_nodes(graph, places, ax=axes, node_color=colours, node_size=260)
        nx.draw_networkx_edges(graph, places, ax=axes, edge_color=_OTHER, node_size=260, arrowsize=12)
        for v in variables:
            x, y = places[v.name]
            axes.annotate(
                v.name, (x, y), (0, 13), textcoords="offset points", ha="center", color=_INK, weight="bold", fontsize=10
            )
            if v.feature:
                axes.annotate(v.feature, (x, y), (0, -20), textcoords="offset points", ha="center", color=_INK, fontsize=8)
    return svg.getvalue()


def sites_svg(sites: tuple[SearchedSite, ...], at_least: float) -> str:
    """IIA at each site that was searched, a bar a variable, with the claimed IIA as a line."""
    names = list(dict.fromkeys(s.site for s in sites))
    variables = list(dict.fromkeys(s.variable for s in sites))
    thick = 0.8 / len(variables)
    with _figure(6.4, 0.9 + 0.34 * len(names) * len(variables)) as (figure, svg):
        axes = figure.add_subplot()
        for i, variable in enumerate(variables):
            heights = [next(s.iia for s in sites if s.site == name and s.variable == variable) for name in names]
            at = [place + i * thick for place in range(len(names))]
            bars = axes.barh(at, heights, height=0.9 * thick, color=_ALIGNED, alpha=1 - 0.6 * i / len(variables), label=variable)
            axes.bar_label(bars, [f"{variable} {h:.3f}" for h in heights], padding=3, color=_INK, fontsize=8)
        axes.axvline(at_least, color=_INK, linewidth=1, linestyle="--")
        axes.set_yticks([place + thick * (len(variables) - 1) / 2 for place in range(len(names))], names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.25)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel("interchange intervention accuracy on selection pairs")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return svg.getvalue()


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, StringIO]]:
    """A figure of `width` by `height` inches, and the SVG that it becomes."""
    style: dict[str, Any] = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    style |= {"svg.fonttype": "none", "svg.hashsalt": "commute", "text.parse_math": False, "font.family": "sans-serif"}
    svg = StringIO()
    with mpl.rc_context(style):  # type: ignore[arg-type]  # its keys are typed one by one
        figure = Figure(figsize=(width, height))
        yield figure, svg
        drawn = StringIO()
        figure.savefig(drawn, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    text = drawn.getvalue()
    svg.write(text[text.index("<svg") :].replace(_INK, "currentColor"))
