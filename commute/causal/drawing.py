"""Drawings of causal models: matplotlib axes, Graphviz text and a fragment of HTML for notebooks."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from html import escape
from io import StringIO
from math import atan2, degrees, inf
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

import networkx as nx
import numpy as np

from commute.causal.batches import is_batch
from commute.errors import ModelError, check, unknown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path
    from matplotlib.text import Text

    from commute.causal.model import CausalModel  # which imports this module for its methods

_DRAWN = 60  # variables of a model up to which a notebook shows its graph by itself
Edge = tuple[str, str]
Do = Collection[str | Edge]  # a mapping also gives what each is set to
Places = dict[str, tuple[float, float]]

_INK = "#0b0b0b"  # in HTML replaced by the colour of the text around it
_DONE, _CUT = "#d55e00", "#8a94a6"  # what is intervened on, and the arrows that no longer carry anything
_SHOWN = 24  # characters of a name or label that are drawn
_CLEAR = (0.3, 0.4)  # columns or rows that an arrow keeps from the variables that it passes
_BENDS = tuple(sorted((i / 4 for i in range(-10, 11)), key=abs))  # rows that an arrow's middle may leave the straight line


def layered(graph: nx.DiGraph) -> Places:
    """Places of the variables in layers from left to right, so that every edge goes to the right.

    A variable stands as high as its parents do on average, at least one row from the next; variables without parents keep the
    order of the graph.

    Args:
        graph: an acyclic graph.

    Returns:
        The layer and the height of each variable; neighbours in a layer are at least 1 apart, the first layer is centred on 0.
    """
    places: Places = {}
    for depth, members in enumerate(nx.topological_generations(graph)):
        layer = sorted(members, key=list(graph).index)
        if depth == 0:
            wished = {v: (len(layer) - 1) / 2 - i for i, v in enumerate(layer)}
        else:
            wished = {v: fmean(places[p][1] for p in graph.predecessors(v)) for v in layer}
        heights: dict[str, float] = {}
        free = inf  # the height below which nothing stands yet
        for v in sorted(layer, key=lambda v: -wished[v]):
            heights[v] = min(wished[v], free)
            free = heights[v] - 1
        shift = fmean(wished.values()) - fmean(heights.values())  # making room has pushed the layer down
        places |= {v: (float(depth), y + shift) for v, y in heights.items()}
    return places


def plot(model: "CausalModel", *, setting: Mapping[str, Any] | None = None, do: Do = (), ax: "Axes | None" = None) -> "Axes":
    """Draw the graph of a causal model with matplotlib, inputs on the left.

    Inputs are boxes, variables that a mechanism sets are ellipses, and outputs have a double border. What is intervened on is
    orange and thick, and the arrows that an intervention cuts are dashed.

    Args:
        model: the model to draw.
        setting: labels to write under the names of variables: a solved setting, or part of one.
        do: the variables intervened on, and for interventions on one path the edges, as (parent, child); or one of them alone.
            As a mapping it also gives what each is set to: a label is written in the drawing, a function (a soft intervention)
            cuts no arrows.
        ax: where to draw; a figure of its own, which fits the graph, if not given.

    Returns:
        The axes that were drawn on.

    Raises:
        ModelError: listing every unknown variable or edge in `setting` and `do`.
    """
    marks = _marked(model, setting, do)
    places = layered(model.graph)
    bends = {edge: _bend(edge, places) for edge in model.graph.edges}
    heights = [y for _, y in places.values()] + [_along(edge, places, bend)[1] for edge, bend in bends.items()]
    columns, rows = max(x for x, _ in places.values()) + 1, max(heights) - min(heights) + 1
    if ax is None:
        ax = _own_axes(columns, rows, marks, model)
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(min(heights) - 0.5, max(heights) + 0.5)
    ax.set_axis_off()
    nodes = {v: _node(ax, model, v, marks, place) for v, place in places.items()}
    for edge, bend in bends.items():
        _arrow(ax, edge, nodes, marks, _curve(ax, edge, places, bend))
        if edge in marks.values:
            _label(ax, marks.values[edge], _along(edge, places, bend))
    return ax


def to_dot(model: "CausalModel", *, setting: Mapping[str, Any] | None = None, do: Do = ()) -> str:
    """The drawing of `plot` as text for Graphviz, with each variable's domain as its tooltip.

    Args:
        model: the model to draw.
        setting: labels to write under the names of variables.
        do: the variables and edges intervened on; all as for `plot`.

    Returns:
        A digraph in the DOT language.

    Raises:
        ModelError: as `plot`.
    """
    marks = _marked(model, setting, do)
    lines = [f"digraph {_quoted(model.name)} {{", "  rankdir=LR;"]
    for v in model.graph:
        attributes = {
            "label": marks.text(v),
            "tooltip": f"{v}: {_domain(model, v)}",
            "shape": "box" if v in model.inputs else "ellipse",
        }
        attributes |= {"peripheries": "2"} if v in model.outputs else {}
        attributes |= {"color": _DONE, "penwidth": "2.4"} if v in marks.done else {}
        lines.append(f"  {_quoted(v)} {_attributes(attributes)};")
    for edge in model.graph.edges:
        attributes = {"label": marks.values[edge]} if edge in marks.values else {}
        attributes |= {"style": "dashed", "color": _CUT} if edge in marks.cut else {}
        attributes |= {"color": _DONE, "penwidth": "2.4"} if edge in marks.done else {}
        lines.append(f"  {' -> '.join(map(_quoted, edge))} {_attributes(attributes)}".rstrip() + ";")
    return "\n".join([*lines, "}"]) + "\n"


def to_html(model: "CausalModel") -> str:
    """A model as a fragment of HTML: its name, a table of its variables and, unless there are many, its graph as SVG.

    Args:
        model: the model to show.

    Returns:
        The fragment, which needs nothing outside itself; the same model gives the same text.
    """
    head = "".join(f"<th>{title}</th>" for title in ("variable", "role", "parents", "domain"))
    body = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for cells in ((v, _role(model, v), ", ".join(model.graph.predecessors(v)), _domain(model, v)) for v in model.graph)
    )
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    drawing = _svg(model) if len(model.graph) <= _DRAWN else f"<p>{len(model.graph)} variables; .plot() draws them.</p>\n"
    return f"<div>\n<p><strong>{escape(model.name)}</strong></p>\n{table}\n{drawing}</div>\n"


@dataclass(frozen=True)
class _Marks:
    """What a drawing says beyond the graph, of variables and edges alike."""

    values: dict[Any, str]
    done: Collection[Any]
    cut: Collection[Edge]

    def text(self, variable: str) -> str:
        """The name of a variable, and under it its value where it is given."""
        name = _shortened(variable)
        return f"{name}\n{self.values[variable]}" if variable in self.values else name


def _marked(model: "CausalModel", setting: Mapping[str, Any] | None, do: Do) -> _Marks:
    """The marks for a setting and an intervention, which must fit the model."""
    if setting is not None and not isinstance(setting, Mapping):
        raise ModelError(f"a setting maps variables to labels; given {setting!r}")
    edge = isinstance(do, tuple) and len(do) == 2 and do in model.graph.edges  # noqa: PLR2004
    done = [do] if edge or isinstance(do, str) else list(do)
    shown = dict(setting or {})
    changes: Mapping[Any, Any] = do if isinstance(do, Mapping) else {}
    edges = [" -> ".join(edge) for edge in model.graph.edges]
    problems = [unknown("variable", v, model.graph) + " (setting)" for v in shown if v not in model.graph]
    problems += [f"the value of {v!r} is a batch; draw one of its rows" for v, x in shown.items() if is_batch(x)]
    for key in done:
        if isinstance(key, tuple):
            problems += [] if key in model.graph.edges else [unknown("edge", " -> ".join(map(str, key)), edges) + " (do)"]
        elif key not in model.graph:
            problems.append(unknown("variable", key, model.graph) + " (do)")
    check(problems, ModelError, f"a drawing of the causal model {model.name!r}")

    shown |= {key: x for key, x in changes.items() if not callable(x) and not is_batch(x)}
    hard = [key for key in done if key in model.graph and not callable(changes.get(key))]
    return _Marks({key: _value(x) for key, x in shown.items()}, done, list(model.graph.in_edges(hard)))


def _shortened(text: str) -> str:
    """The text, without its middle if it is long: names that are alike mostly differ at an end."""
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]}…{text[1 - half :]}"


def _value(label: Any) -> str:
    plain = label.item() if isinstance(label, np.generic) else label
    return f"{plain:.4g}" if isinstance(plain, float) else _shortened(repr(plain))


def _domain(model: "CausalModel", variable: str) -> str:
    domain = model.known_domain(variable)
    return "not known" if domain is None else str(domain)


def _role(model: "CausalModel", variable: str) -> str:
    roles = {"input": model.inputs, "internal": model.internal, "output": model.outputs}
    return ", ".join(role for role, variables in roles.items() if variable in variables)


def _along(edge: Edge, places: Places, bend: float, t: float = 0.5) -> tuple[float, float]:
    """The place at `t` from 0 to 1 on an arrow whose middle leaves the straight line by `bend` rows."""
    (left, start), (right, end) = (places[v] for v in edge)
    return left + t * (right - left), start + t * (end - start) + 4 * bend * t * (1 - t)


def _bend(edge: Edge, places: Places) -> float:
    """The least bend of an arrow that passes no variable too near; if none does that, the one that passes farthest."""
    if places[edge[1]][0] - places[edge[0]][0] == 1:  # nothing is in between
        return 0
    others = np.array([place for v, place in places.items() if v not in edge])

    def clearance(bend: float) -> float:
        curve = np.array([_along(edge, places, bend, t) for t in np.linspace(0, 1, 25)])
        gaps = np.abs(curve[:, None] - others) / _CLEAR  # [point, variable, direction]
        return float(gaps.max(axis=2).min())

    return max(_BENDS, key=lambda bend: min(clearance(bend), 1))  # the first of those that are clear


def _curve(ax: "Axes", edge: Edge, places: Places, bend: float) -> str:
    """The bend of an arrow as a connection style, which matplotlib wants as the angles on the screen at both ends."""
    if not bend:
        return "arc3"
    (left, start), (right, end) = (places[v] for v in edge)
    width, height = ax.transData.transform((1, 1)) - ax.transData.transform((0, 0))
    run, rise, lift = (right - left) / 2 * width, (end - start) / 2 * height, 2 * bend * height
    return f"angle3,angleA={degrees(atan2(rise + lift, run))},angleB={degrees(atan2(rise - lift, run))}"


def _own_axes(columns: float, rows: float, marks: _Marks, model: "CausalModel") -> "Axes":
    """Axes in a new figure, in inches that leave room for the text and keep the arrows of a tall graph from being steep."""
    from matplotlib.figure import Figure

    text = max(len(line) for v in model.graph for line in marks.text(v).split("\n"))
    beside = max((len(marks.values[edge]) for edge in model.graph.edges if edge in marks.values), default=0)
    height = 0.3 + 0.75 * rows
    width = columns * (0.9 + 0.09 * text + 0.06 * beside + 0.1 * height)
    return Figure(figsize=(width, height)).add_axes((0, 0, 1, 1))


def _node(ax: "Axes", model: "CausalModel", variable: str, marks: _Marks, place: tuple[float, float]) -> "Text":
    from matplotlib import rcParams
    from matplotlib.colors import to_rgba

    done = variable in marks.done
    border = {
        "boxstyle": _outline(box=variable in model.inputs, double=variable in model.outputs),
        "facecolor": to_rgba(_DONE, 0.12) if done else "none",
        "edgecolor": _DONE if done else rcParams["text.color"],
        "linewidth": 2.4 if done else 1,
    }
    return ax.text(*place, marks.text(variable), ha="center", va="center", fontsize=10, parse_math=False, bbox=border)


def _outline(*, box: bool, double: bool) -> Any:
    """The border of a node in the form that matplotlib takes: a function from the text's place and size to a path."""
    from matplotlib.patches import BoxStyle
    from matplotlib.path import Path

    shape, pad = (BoxStyle.Square, 0.4) if box else (BoxStyle.Ellipse, 0.15)
    borders = [shape(pad), shape(pad + 0.25)] if double else [shape(pad)]

    def outline(x: float, y: float, width: float, height: float, size: float) -> "Path":
        wide = max(width, 1.2 * height)  # a short name stands in a round shape, not in a tall one
        return Path.make_compound_path(*(border(x - (wide - width) / 2, y, wide, height, size) for border in borders))

    return outline


def _arrow(ax: "Axes", edge: Edge, nodes: Mapping[str, "Text"], marks: _Marks, curve: str) -> None:
    from matplotlib import rcParams
    from matplotlib.patches import FancyArrowPatch

    parent, child = (nodes[v] for v in edge)
    done, cut = edge in marks.done, edge in marks.cut
    arrow = FancyArrowPatch(
        parent.get_position(),
        child.get_position(),
        patchA=parent.get_bbox_patch(),
        patchB=child.get_bbox_patch(),
        connectionstyle=curve,
        arrowstyle="-|>",
        mutation_scale=12,
        color=_DONE if done else _CUT if cut else rcParams["text.color"],
        linestyle="--" if cut else "-",
        linewidth=2.4 if done else 1,
        zorder=parent.get_zorder() + 1,  # the borders that it stops at are known once the nodes are drawn
        clip_on=False,
    )
    ax.add_artist(arrow)


def _label(ax: "Axes", text: str, place: tuple[float, float]) -> None:
    """Write what an edge carries on its arrow."""
    under = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 1}
    ax.text(*place, text, ha="center", va="center", fontsize=9, parse_math=False, bbox=under, zorder=5)


def _svg(model: "CausalModel") -> str:
    """The graph as an SVG element, in the colour of the text around it."""
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "text.color": _INK, "font.family": "sans-serif"}), StringIO() as drawn:
        unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        cast("Figure", plot(model).figure).savefig(drawn, format="svg", transparent=True, metadata=unsaid)
        text = drawn.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<defs>.*?</defs>\s*", "", text, count=1, flags=re.DOTALL)  # a style that would hold for the whole page
    return re.sub(r'<g id="[^"]*">', "<g>", text)  # nothing refers to the ids, and the next model on the page repeats them


def _quoted(text: str) -> str:
    """Text as a quoted string of the DOT language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _attributes(given: Mapping[str, str]) -> str:
    return f"[{', '.join(f'{name}={_quoted(text)}' for name, text in given.items())}]" if given else ""
