"""Figures as SVG, with the ink in the page's own colour so that they read on light and dark."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib as mpl
import networkx as nx
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from commute.models.circuits.drawing import draw, size_of
from commute.proofs.shown import FittedDims, KeptEdge, ProvedAt, Variable

_INK = "#0b0b0b"  # replaced by the page's text colour
_ALIGNED, _OTHER = "#2f6fdb", "#8a94a6"
_LONGEST = 40  # letters of a label; the page's tables have the whole of it
_LETTER = 0.085  # inches that a letter is wide, about
_LINE = 0.16  # inches that a line of a feature is high, about


def graph_svg(variables: tuple[Variable, ...]) -> str:
    """The algorithm's graph, inputs on the left; each aligned variable with its place in the network."""
    graph = nx.DiGraph()
    graph.add_nodes_from(v.name for v in variables)
    graph.add_edges_from((p, v.name) for v in variables for p in v.parents)
    order = {v.name: i for i, v in enumerate(variables)}
    layers = [sorted(layer, key=order.__getitem__) for layer in nx.topological_generations(graph)]
    places = {v: (depth, (len(layer) - 1) / 2 - i) for depth, layer in enumerate(layers) for i, v in enumerate(layer)}
    parts = {v.name: [_short(x) for x in v.feature.split(" + ")] if v.feature else [] for v in variables}
    longest = max(len(text) for v in variables for text in (_short(v.name), *parts[v.name]))
    wide = max(2.0, 0.4 + _LETTER * longest)
    tall = 0.75 + _LINE * max(len(lines) for lines in parts.values())
    with _figure(wide * len(layers), tall * max(map(len, layers))) as (figure, svg):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.set_xlim(-0.5, len(layers) - 0.5)
        heights = [y for _, y in places.values()]
        axes.set_ylim(min(heights) - 0.55, max(heights) + 0.45)
        colours = [_ALIGNED if v.feature else _OTHER for v in variables]
        nx.draw_networkx_nodes(graph, places, ax=axes, node_color=colours, node_size=260)
        nx.draw_networkx_edges(graph, places, ax=axes, edge_color=_OTHER, node_size=260, arrowsize=12)
        drawn: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": _INK}
        for v in variables:
            axes.annotate(_short(v.name), places[v.name], (0, 13), weight="bold", fontsize=10, **drawn)
            axes.annotate("\n".join(parts[v.name]), places[v.name], (0, -13), va="top", fontsize=8, **drawn)
    return svg.getvalue()


def circuit_svg(edges: Sequence[KeptEdge]) -> str:
    """The circuit in layers, an edge the thicker the more answers change without it."""
    with _figure(*size_of(pairs := [(e.start, e.end) for e in edges])) as (figure, svg):
        draw(pairs, {(e.start, e.end): e.effect for e in edges if e.effect is not None}, figure.add_axes((0, 0, 1, 1)))
    return svg.getvalue().replace("#ffffff", "var(--page)")  # of the boxes around nodes, on a dark page, too


def curve_svg(curve: Sequence[FittedDims], at_least: float) -> str:
    """IIA by number of dims, each point with its number, and the claimed IIA as a line."""
    with _figure(max(3.2, 0.6 * len(curve)), 2.4) as (figure, svg):
        axes = figure.add_subplot()
        axes.axhline(at_least, color=_INK, linewidth=1, linestyle="--")
        axes.plot(range(len(curve)), [p.iia for p in curve], color=_ALIGNED, marker="o")
        for i, point in enumerate(curve):
            axes.annotate(f"{point.iia:.3f}", (i, point.iia), (0, 7), textcoords="offset points", ha="center", fontsize=8)
        axes.set_xticks(range(len(curve)), [str(p.dims) for p in curve])
        axes.set_xlim(-0.5, len(curve) - 0.5)
        axes.set_ylim(0, 1.12)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel("dims of all variables together")
        axes.set_ylabel("IIA on selection pairs")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return svg.getvalue()


def proof_svg(work: Sequence[ProvedAt], at_least: float) -> str:
    """The bounds on IIA that were known after so much work, and the claimed IIA as a line."""
    most = max(10.0, 1.5 * work[-1].done) if work else 10.0
    begun, ended = ProvedAt(1, 0.0, 1.0), work[-1:]
    known = (begun, *work, *ended)
    lower, upper = [p.lower for p in known], [p.upper for p in known]
    done = [1, *(max(p.done, 1) for p in work), *(most for _ in ended)]
    with _figure(6.4, 2.4) as (figure, svg):
        axes = figure.add_subplot()
        axes.axhline(at_least, color=_INK, linewidth=1, linestyle="--")
        axes.fill_between(done, lower, upper, step="post", color=_ALIGNED, alpha=0.2, linewidth=0)
        for bound in (lower, upper):
            axes.step(done, bound, where="post", color=_ALIGNED)
        axes.set_xscale("log")
        axes.set_xlim(1, most)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(-0.03, 1.03)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel("cells bounded and pairs evaluated")
        axes.set_ylabel("bounds on IIA")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return svg.getvalue()


def _short(text: str) -> str:
    """A label, without its middle if it is long."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, StringIO]]:
    """A figure of `width` by `height` inches, and the SVG that it becomes."""
    style: dict[str, Any] = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    style |= {"svg.fonttype": "none", "svg.hashsalt": "commute", "text.parse_math": False, "font.family": "sans-serif"}
    svg = StringIO()
    with mpl.rc_context(style), warnings.catch_warnings():  # type: ignore[arg-type]  # its keys are typed one by one
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has other fonts
        figure = Figure(figsize=(width, height))
        yield figure, svg
        drawn = StringIO()
        figure.savefig(drawn, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    text = drawn.getvalue()
    svg.write(text[text.index("<svg") :].replace(_INK, "currentColor"))
