"""Drawings of circuits."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.patches import FancyArrowPatch

import commute as cm
from commute.errors import NetworkError
from commute.models.circuits.drawing import draw, size_of
from tests.models.circuits import nets

EDGES = [
    ("input", "a0.h1<q>"),
    ("input", "a0.h1<k>"),
    ("a0.h1", "m0"),
    ("input", "m0"),
    ("m0", "logits"),
    ("a0.h1", "logits"),
]


def arrows(ax):
    return [x for x in ax.patches if isinstance(x, FancyArrowPatch)]


def places(ax):
    return {text.get_text(): text.get_position() for text in ax.texts}


def test_every_edge_is_an_arrow_downwards():
    ax = draw(EDGES)
    assert len(arrows(ax)) == len(EDGES)
    at = places(ax)
    assert set(at) == {"input", "a0.h1", "m0", "logits"}  # what a head reads is drawn as the head
    assert at["input"][1] > at["a0.h1"][1] > at["m0"][1] > at["logits"][1]
    assert len(set(at.values())) == 4
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["query", "key"]


def test_weights_are_thick_and_negative_ones_dashed():
    weights = dict(zip(EDGES, [1.0, -0.5, 0.0, 0.25, -1.0, 0.1], strict=True))
    ax = draw(EDGES, weights)
    widths = sorted(arrow.get_linewidth() for arrow in arrows(ax))
    assert widths[0] < widths[-1] == widths[-2]
    assert sum(arrow.get_linestyle() == "--" for arrow in arrows(ax)) == 2


def test_nodes_at_positions_are_told_apart():
    ax = draw([("input[0]", "a0.h1<k>[0]"), ("input[-1]", "a0.h1<q>[-1]"), ("a0.h1[-1]", "logits[-1]")])
    assert set(places(ax)) == {"input[0]", "input[-1]", "a0.h1[0]", "a0.h1[-1]", "logits[-1]"}


def test_a_figure_grows_with_the_circuit():
    wide = [("input", f"a0.h{i}<q>") for i in range(12)] + [(f"a0.h{i}", "logits") for i in range(12)]
    assert size_of(wide)[0] > 2 * size_of(EDGES)[0]


@pytest.mark.filterwarnings("error")
def test_a_circuit_draws_itself_where_it_is_told():
    graph = cm.computation_graph(nets.decoder("gpt2"), nets.PROMPTS)
    figure = mpl.figure.Figure()
    ax = figure.add_subplot()
    circuit = cm.Circuit(graph, ["input", "m0", "logits"])
    assert circuit.plot(ax=ax, weights=dict.fromkeys(circuit.edges, 1.0)) is ax
    assert len(arrows(ax)) == len(circuit)
    assert np.isfinite(list(places(ax).values())).all()


def test_weights_are_of_edges_of_the_graph_by_pair_or_by_name():
    graph = cm.computation_graph(nets.decoder("gpt2"), nets.PROMPTS)
    circuit = cm.Circuit(graph, ["input", "m0", "logits"])
    weights = {"input->m0": 1.0, ("m0", "logits"): torch.tensor(0.5), ("input", "logits"): 0, "m1->logits": 9}
    dashed = circuit.plot(weights={**weights, "m0->logits": -0.5})
    assert sum(arrow.get_linestyle() == "--" for arrow in arrows(dashed)) == 1
    assert [x.get_linewidth() for x in arrows(circuit.plot(weights=weights))] == pytest.approx([4, 0.8, 2.4])
    for wrong, told in (
        ({"input->m7": 1.0}, "no edge 'input->m7'; did you mean 'input->m1'"),
        ({"a0.h1<q>->a0.h1": 1.0}, "is inside a node"),
        ({"m0": 1.0}, "an edge is a pair of nodes or 'm0->logits'; given 'm0'"),
        ({("input", "m0"): np.nan}, "input->m0 has nan"),
        ({("input", "m0"): "1"}, "input->m0 has '1'"),
        ([1.0], r"weights are a mapping from edges to numbers; given \[1.0\]"),
    ):
        with pytest.raises(NetworkError, match=told):
            circuit.plot(weights=wrong)
