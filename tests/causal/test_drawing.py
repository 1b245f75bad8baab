import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.colors import same_color
from matplotlib.figure import Figure

import commute as cm
from commute.causal import drawing
from commute.causal.drawing import layered, plot, to_dot, to_html
from commute.errors import ModelError
from commute.testing.strategies import models

QUOTED = r'"((?:[^"\\]|\\.)*)"'
STATEMENT = re.compile(rf"  {QUOTED}(?: -> {QUOTED})?(?: \[((?:\w+={QUOTED}(?:, )?)+)\])?;")
NASTY = ('<script>"x"</script>', "back\\slash\\", "$x_{$", "two\nlines", "a -> b", "&amp;")


def diamond():
    """x -> left, right -> y, and x -> y past them."""
    three = cm.Finite(range(3))
    return cm.CausalModel(
        "diamond", {"x": three}, {"left": lambda x: x > 0, "right": lambda x: x > 1, "y": lambda left, right, x: left + right + x}
    )


def nasty():
    labels = cm.Finite(("<script>", "$a$", 'say "so"'))
    return cm.CausalModel("<script>alert('&')</script>", {"x": labels}, {name: lambda x: x for name in NASTY})


def test_a_model_draws_and_writes_itself():
    model = cm.library.xor_direct()
    assert model.to_dot(do={"xor": True}) == to_dot(model, do={"xor": True})
    assert model.plot(setting=model.solve({"a": True, "b": False})).figure is not None
    assert model._repr_html_() == to_html(model)


def test_a_pair_that_is_an_edge_is_one_edge():
    model = cm.library.hierarchical_equality()
    assert to_dot(model, do=("left", "same")) == to_dot(model, do=[("left", "same")]) != to_dot(model, do=["left", "same"])
    assert to_dot(model, do=("left", "right")) == to_dot(model, do=["left", "right"])


def nodes_of(ax):
    """The text in each node, by the first line of it."""
    return {text.get_text().split("\n")[0]: text for text in ax.texts}


def arrows_of(ax, model):
    assert len(ax.patches) == model.graph.number_of_edges()
    return dict(zip(model.graph.edges, ax.patches, strict=True))


def statements(dot):
    """Nodes and edges with their attributes, read back from DOT text line by line."""
    first, second, *lines, last = dot.splitlines()
    assert re.fullmatch(rf"digraph {QUOTED} {{", first)
    assert (second, last) == ("  rankdir=LR;", "}")
    nodes, edges = [], []
    for line in lines:
        start, end, attributes, _ = STATEMENT.fullmatch(line).groups()
        read = {name: plain(text) for name, text in re.findall(rf"(\w+)={QUOTED}", attributes or "")}
        (nodes if end is None else edges).append((plain(start) if end is None else (plain(start), plain(end)), read))
    assert len(dict(nodes)) == len(nodes)
    assert len(dict(edges)) == len(edges)
    return dict(nodes), dict(edges)


def plain(escaped):
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], escaped)


def svg_of(html):
    return ET.fromstring(html[html.index("<svg") : html.index("</svg>") + len("</svg>")])


# --- the layout


@given(models())
def test_every_edge_goes_right_and_a_layer_is_a_generation(model):
    places = layered(model.graph)
    for depth, layer in enumerate(nx.topological_generations(model.graph)):
        assert {places[v][0] for v in layer} == {depth}
        heights = sorted(places[v][1] for v in layer)
        assert all(above - below >= 1 - 1e-9 for below, above in pairwise(heights))
    assert all(places[p][0] < places[v][0] for p, v in model.graph.edges)


def test_variables_stand_beside_their_parents():
    graph = nx.DiGraph([("a", "first"), ("b", "second"), ("first", "top"), ("second", "bottom")])
    graph.add_edges_from([("b", "bottom"), ("a", "top")])
    heights = {v: y for v, (_, y) in layered(graph).items()}
    assert heights["a"] == heights["first"] == heights["top"] == 0.5
    assert heights["b"] == heights["second"] == heights["bottom"] == -0.5


def test_an_arrow_past_a_layer_keeps_clear_of_it():
    graph = nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")])
    places = layered(graph)
    assert drawing._bend(("a", "b"), places) == 0
    bend = drawing._bend(("a", "c"), places)
    assert abs(drawing._along(("a", "c"), places, bend)[1] - places["b"][1]) >= 0.4


# --- the plot


def test_a_plot_without_axes_makes_a_figure_of_its_own_without_pyplot():
    figure = plot(diamond()).figure
    assert isinstance(figure, Figure)
    assert type(figure.canvas) is FigureCanvasBase
    assert "pyplot" not in Path(drawing.__file__).read_text(encoding="utf-8")
    wide = cm.CausalModel("wide", {f"x{i}": cm.Bool for i in range(10)}, {"y": lambda x0: x0})
    assert plot(wide).figure.get_figheight() > 2 * figure.get_figheight()


def test_a_plot_goes_on_the_axes_that_are_given():
    ax = Figure().add_subplot()
    assert plot(diamond(), ax=ax) is ax
    assert set(nodes_of(ax)) == {"x", "left", "right", "y"}


@settings(max_examples=30)
@given(models(), st.data())
def test_plots_and_texts_show_each_variable_and_edge_once(model, data):
    do = data.draw(st.sets(st.sampled_from([*model.graph.nodes, *model.graph.edges])))
    ax = plot(model, do=do)
    assert [text.get_text() for text in ax.texts] == list(layered(model.graph))
    arrows_of(ax, model)
    nodes, edges = statements(to_dot(model, do=do))
    assert set(nodes) == set(model.graph.nodes)
    assert set(edges) == set(model.graph.edges)


def test_inputs_outputs_and_others_differ_in_shape():
    ax = plot(diamond())
    ax.figure.draw_without_rendering()
    outlines = {v: text.get_bbox_patch().get_path() for v, text in nodes_of(ax).items()}
    borders = {v: (outline.codes == outline.MOVETO).sum() for v, outline in outlines.items()}
    curved = {v: outline.CURVE4 in outline.codes for v, outline in outlines.items()}
    assert borders == {"x": 1, "left": 1, "right": 1, "y": 2}
    assert curved == {"x": False, "left": True, "right": True, "y": True}


def test_a_node_is_as_wide_as_its_text_and_long_names_are_shortened():
    x, y = "the_first_operand_of_the_sum", "the_first_operand_of_the_difference"
    model = cm.CausalModel("long", {"x": cm.Bool, x: cm.Bool}, {y: lambda x: x})
    ax = plot(model)
    ax.figure.draw_without_rendering()
    nodes = nodes_of(ax)
    assert set(nodes) == {"x", "the_first_op…_of_the_sum", "the_first_op…_difference"}
    for text in nodes.values():
        border, room = text.get_bbox_patch().get_window_extent(), text.get_window_extent()
        assert border.x0 < room.x0 < room.x1 < border.x1
        assert 0 < border.x0 < border.x1 < ax.figure.bbox.x1


def test_arrows_end_at_the_borders():
    ax = plot(diamond())
    ax.figure.draw_without_rendering()
    left = nodes_of(ax)["left"].get_bbox_patch().get_window_extent()
    arrow = arrows_of(ax, diamond())["x", "left"].get_window_extent()
    assert abs(arrow.x1 - left.x0) < 0.2 * left.width


def test_values_stand_under_the_names():
    model = diamond()
    shown = {text.get_text() for text in plot(model, setting=model.solve({"x": 2})).texts}
    assert shown == {"x\n2", "left\nTrue", "right\nTrue", "y\n4"}
    assert {text.get_text() for text in plot(model, setting={"x": 2}).texts} == {"x\n2", "left", "right", "y"}


def test_numbers_are_rounded_and_long_labels_shortened():
    line = cm.CausalModel("line", {"x": cm.Interval(0, 1)}, {"y": lambda x: f"{x}"})
    shown = [text.get_text() for text in plot(line, setting={"x": 1 / 3, "y": "abcdefghijklmnopqrstuvwxyz"}).texts]
    assert shown == ["x\n0.3333", "y\n'abcdefghijk…qrstuvwxyz'"]


def test_an_intervention_is_marked_and_cuts_its_arrows():
    model = diamond()
    ax = plot(model, do=["left", ("right", "y")])
    nodes, arrows = nodes_of(ax), arrows_of(ax, model)
    thick = {v for v, text in nodes.items() if text.get_bbox_patch().get_linewidth() > 2}
    assert thick == {"left"}
    assert {edge for edge, arrow in arrows.items() if arrow.get_linestyle() == "--"} == {("x", "left")}
    assert {edge for edge, arrow in arrows.items() if arrow.get_linewidth() > 2} == {("right", "y")}
    assert same_color(arrows["right", "y"].get_edgecolor(), nodes["left"].get_bbox_patch().get_edgecolor())
    assert plot(model, do="left").patches[0].get_linestyle() == "--"


def test_what_an_intervention_sets_is_written():
    model = diamond()
    ax = plot(model, setting={"x": 0, "left": False}, do={"left": True, ("right", "y"): False})
    assert {text.get_text() for text in ax.texts} == {"x\n0", "left\nTrue", "right", "y", "False"}
    nodes, edges = statements(to_dot(model, setting={"x": 0, "left": False}, do={"left": True, ("right", "y"): False}))
    assert {v: node["label"] for v, node in nodes.items()} == {"x": "x\n0", "left": "left\nTrue", "right": "right", "y": "y"}
    assert edges["right", "y"]["label"] == "False"
    assert edges["x", "left"]["style"] == "dashed"


def test_a_soft_intervention_keeps_its_arrows_and_a_batch_writes_nothing():
    model = diamond()
    ax = plot(model, setting={"left": False}, do={"left": lambda old: old, "right": [True, False]})
    assert {text.get_text() for text in ax.texts} == {"x", "left\nFalse", "right", "y"}
    dashed = {edge for edge, arrow in arrows_of(ax, model).items() if arrow.get_linestyle() == "--"}
    assert dashed == {("x", "right")}


@pytest.mark.parametrize("draw", [plot, to_dot])
def test_unknown_names_are_all_named_with_the_nearest(draw):
    with pytest.raises(ModelError, match="diamond") as caught:
        draw(diamond(), setting={"lefd": True, "x": [0, 1]}, do=["rigt", ("x", "lef"), ("left", "x")])
    message = str(caught.value)
    assert "5 problems" in message
    assert "'lefd'; did you mean 'left'? (setting)" in message
    assert "the value of 'x' is a batch" in message
    assert "'rigt'; did you mean 'right'? (do)" in message
    assert "no edge 'x -> lef'; did you mean 'x -> left'? (do)" in message
    assert "no edge 'left -> x'" in message


def test_names_are_not_read_as_mathematics():
    ax = plot(nasty(), setting={"x": "$a$"}, do={("x", "$x_{$"): "$b^$"})
    assert not any(text.get_parse_math() for text in ax.texts)
    ax.figure.draw_without_rendering()


# --- Graphviz


def test_dot_escapes_names_and_labels():
    model = nasty()
    nodes, edges = statements(to_dot(model, setting={"x": 'say "so"'}))
    assert set(nodes) == {"x", *NASTY}
    assert set(edges) == {("x", name) for name in NASTY}
    assert nodes["x"]["label"] == "x\n'say \"so\"'"
    assert nodes["back\\slash\\"]["label"] == "back\\slash\\"


def test_dot_shapes_and_tooltips():
    model = cm.CausalModel(
        "line", {"x": cm.Interval(0, 1), "i": cm.Bool}, {"y": lambda x: x, "z": lambda y: y}, outputs=["z", "i"]
    )
    nodes, _ = statements(to_dot(model, do=["y"]))
    assert nodes["x"] == {"label": "x", "tooltip": "x: [0, 1]", "shape": "box"}
    assert (nodes["i"]["shape"], nodes["i"]["peripheries"]) == ("box", "2")
    assert (nodes["y"]["shape"], nodes["y"]["tooltip"]) == ("ellipse", "y: not known")
    assert float(nodes["y"]["penwidth"]) > 2
    assert (nodes["z"]["shape"], nodes["z"]["peripheries"]) == ("ellipse", "2")


# --- HTML


def test_html_is_a_table_and_a_picture():
    html = to_html(cm.CausalModel("line", {"x": cm.Interval(0, 1)}, {"y": lambda x: x, "z": lambda y, x: x + y}))
    assert "<strong>line</strong>" in html
    assert "<tr><td>x</td><td>input</td><td></td><td>[0, 1]</td></tr>" in html
    assert "<tr><td>y</td><td>internal</td><td>x</td><td>not known</td></tr>" in html
    assert "<tr><td>z</td><td>output</td><td>y, x</td><td>not known</td></tr>" in html
    assert [text.text for text in svg_of(html).iter("{http://www.w3.org/2000/svg}text")] == ["x", "y", "z"]


def test_html_is_well_formed_and_escapes_everything():
    html = to_html(nasty())
    assert "<script" not in html
    root = ET.fromstring(html)  # well formed as XML, so nothing of the model has become markup
    assert root.find("p/strong").text == "<script>alert('&')</script>"
    assert [row.find("td").text for row in root.iter("tr") if row.find("td") is not None] == ["x", *NASTY]
    assert "$x_{$" in [text.text for text in svg_of(html).iter("{http://www.w3.org/2000/svg}text")]


def test_html_is_the_same_each_time_and_leaves_the_page_around_it_alone():
    html = to_html(diamond())
    assert html == to_html(diamond())
    for leaking in ("<?xml", "<!DOCTYPE", "<style", "id=", "url(", "<metadata", drawing._INK):
        assert leaking not in html
