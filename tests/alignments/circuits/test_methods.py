import numpy as np
import pytest
import torch

import commute as cm
from commute.alignments.circuits.methods import EdgeAttribution, EdgePatching, NodeAttribution, NodePatching
from commute.alignments.circuits.pruning import GreedyPruning
from commute.errors import AlignmentError, NetworkError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.runs import Runs
from tests.alignments.circuits import networks


def language(measure="logit difference", **options):
    graph, first, others = networks.language(**options)
    runs = Runs.of(graph, first, others)
    return graph, runs, Behaviour.of(runs, measure)


def lost(runs, behaviour, left_out):
    kept = [e for e in residual_edges(runs.graph) if e not in left_out]
    return behaviour(behaviour.whole) - behaviour(runs.scores([kept])[0])


def test_exact_patching_of_an_edge_is_what_is_lost_without_it():
    graph, runs, behaviour = language()
    found = EdgePatching().scores(runs, behaviour)
    for i, edge in list(enumerate(residual_edges(graph)))[::17]:
        assert torch.allclose(found[i], lost(runs, behaviour, {edge}), atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"positions": [-1]}])
def test_exact_patching_of_nodes_gives_an_edge_the_weaker_of_its_ends(options):
    graph, runs, behaviour = language(family="llama", **options)
    edges = residual_edges(graph)
    nodes = {u: lost(runs, behaviour, set(graph.out_edges(u))) for u in dict.fromkeys(u for u, _ in edges)}
    found = NodePatching().scores(runs, behaviour)
    for (u, v), score in zip(edges, found, strict=True):
        led = [w for w in (v, *graph.successors(v)) if w in nodes]
        port = max((nodes[w] for w in led), key=lambda x: x.mean().abs(), default=None)
        ends = [nodes[u]] if port is None else [nodes[u], port]
        expected = min(ends, key=lambda x: float(x.mean().abs()))
        assert torch.allclose(score, expected, atol=1e-4)


def test_a_node_is_attributed_what_its_edges_are_and_an_edge_to_the_logits_is_its_node():
    graph, runs, behaviour = language()
    edges, by_edge = residual_edges(graph), EdgeAttribution(steps=2).scores(runs, behaviour)
    found = NodeAttribution(steps=2).scores(runs, behaviour)
    for u in dict.fromkeys(u for u, _ in edges):
        total = sum(x for (w, _), x in zip(edges, by_edge, strict=True) if w == u)
        assert torch.allclose(found[edges.index((u, "logits"))], total, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.001, 0.005, 0.02])
@pytest.mark.parametrize("batch", [1, 64])
def test_greedy_pruning_decides_as_one_edge_after_the_other(threshold, batch):
    graph, runs, behaviour = language("divergence")
    kept, value, expected = list(residual_edges(graph)), float(behaviour(behaviour.whole).mean()), {}
    for node in reversed(list(graph)):
        for edge in [e for e in reversed(list(graph.in_edges(node))) if e in kept]:
            less = [e for e in kept if e != edge]
            found = float(behaviour(runs.scores([less])[0]).mean())
            expected[edge] = max(value - found, 0)
            if value - found < threshold:
                kept, value = less, found
    found = GreedyPruning(threshold, batch=batch).scores(runs, behaviour)[:, 0]
    assert torch.allclose(found, torch.tensor([expected[e] for e in residual_edges(graph)]), atol=1e-4)
    assert [e for e, x in zip(residual_edges(graph), found, strict=True) if x >= threshold] == kept
    assert 0 < len(kept) < len(expected)


@pytest.mark.parametrize(
    "method",
    [EdgeAttribution(), NodeAttribution(), EdgePatching(), NodePatching(), GreedyPruning(0.1)],
    ids=lambda x: type(x).__name__,
)
def test_a_behaviour_of_other_inputs_is_refused_by_every_method(method):
    _, runs, behaviour = language()
    for rows, told in (([3, 2, 1, 0], "that of other inputs"), ([0, 1, 2], "that of 4 rows and the runs have 3")):
        with pytest.raises(NetworkError, match=told):
            method.scores(runs.take(np.array(rows)), behaviour)


def test_greedy_pruning_in_batches_runs_the_network_less_often(monkeypatch):
    _, runs, behaviour = language("divergence")
    calls = []
    scores = Runs.scores
    monkeypatch.setattr(Runs, "scores", lambda self, keeps: (calls.append(len(keeps)), scores(self, keeps))[1])
    GreedyPruning(0.3).scores(runs, behaviour)
    assert len(calls) < 0.6 * len(runs.index)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EdgeAttribution(steps=0), "steps must be a whole number of at least 1; given 0"),
        (lambda: EdgeAttribution(path="input"), "did you mean 'inputs'"),
        (lambda: NodeAttribution(path="weights"), "there is no path 'weights'"),
        (lambda: GreedyPruning(0), "threshold must be a number above 0; given 0"),
        (lambda: GreedyPruning(float("nan")), "threshold must be"),
        (lambda: GreedyPruning(0.1, batch=0), "batch must be"),
    ],
)
def test_options_of_methods_must_make_sense(make, said):
    with pytest.raises(AlignmentError, match=said):
        make()


PLANTED = [("input", "m0"), ("input", "m1"), ("m0", "m2"), ("m1", "m3"), ("m2", "logits"), ("m3", "logits")]


@pytest.mark.parametrize(
    "method",
    [EdgeAttribution(), EdgeAttribution(path="activations"), EdgeAttribution(steps=1), EdgePatching(), GreedyPruning(1e-4)],
    ids=lambda m: type(m).__name__,
)
def test_planted_edges_are_told_from_all_others(method):
    graph = networks.planted(PLANTED, 5)
    runs = networks.runs_of(graph)
    measure = "divergence" if isinstance(method, GreedyPruning) else "logit difference"
    scores = method.scores(runs, Behaviour.of(runs, measure)).abs().mean(1)
    edges = residual_edges(graph)
    there = [float(x) for e, x in zip(edges, scores, strict=True) if e in PLANTED]
    absent = [float(x) for e, x in zip(edges, scores, strict=True) if e not in PLANTED]
    assert len(there) == len(PLANTED)
    assert min(there) > 100 * max(absent)


def test_an_edge_into_nodes_that_do_not_act_scores_nothing():
    graph = networks.planted([*PLANTED, ("input", "m4")], 5)
    runs = networks.runs_of(graph)
    found = dict(zip(residual_edges(graph), EdgeAttribution().scores(runs, Behaviour.of(runs)), strict=True))
    assert float(found["input", "m4"].abs().max()) == 0


@pytest.mark.parametrize("seed", range(2))
def test_the_circuits_of_compiled_organisms_are_found(seed):
    model = cm.CausalModel(
        "ordered",
        inputs={k: cm.Finite(range(3)) for k in "abc"},
        mechanisms={"same": lambda a, b: a == b, "out": lambda same, c: c if same else 0},
    )
    organism = cm.organisms.compile(model, seed=seed)
    known = cm.organisms.known_circuit(organism)
    pairs = cm.pairs(model, ["same"], n=64, seed=seed)
    runs = Runs.of(known.graph, pairs.base, pairs.sources["same"])
    behaviour = Behaviour.of(runs)
    edges = residual_edges(known.graph)
    for method in (EdgeAttribution(), EdgePatching()):
        scores = method.scores(runs, behaviour).mean(1).abs()
        inside = torch.stack([x for e, x in zip(edges, scores, strict=True) if e in known.edges])
        outside = torch.stack([x for e, x in zip(edges, scores, strict=True) if e not in known.edges])
        assert float((inside[:, None] > outside).float().mean()) >= 0.99
