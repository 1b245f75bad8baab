from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import commute as cm
from commute.alignments.circuits.methods import EdgeAttribution, EdgePatching, NodePatching
from commute.alignments.circuits.optimal import OptimalAblation
from commute.alignments.circuits.pruning import GreedyPruning
from commute.alignments.circuits.search import search_circuit
from commute.alignments.circuits.task import split
from commute.errors import AlignmentError, NetworkError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.runs import Runs
from tests.alignments.circuits import networks

PLANTED = [("input", "m0"), ("input", "m1"), ("m0", "m2"), ("m1", "m3"), ("m2", "logits"), ("m3", "logits")]


def search(graph=None, instead=None, **options):
    graph = networks.planted(PLANTED, 5) if graph is None else graph
    return search_circuit(
        graph, networks.inputs(24, seed=1), networks.inputs(24, seed=2) if instead is None else instead, **options
    )


@pytest.mark.parametrize("method", [None, EdgePatching(), GreedyPruning(1e-4)], ids=["default", "patching", "pruning"])
def test_the_best_edges_are_the_planted_ones(method):
    found = search(method=method, measure="divergence")
    assert set(found.circuit(len(PLANTED)).edges) == set(PLANTED)
    frame = found.to_frame()
    assert {(u, v) for u, v in zip(frame["writer"][:6], frame["reader"][:6], strict=True)} == set(PLANTED)
    assert len(frame) == len(residual_edges(found.graph))


def test_the_curve_is_of_inputs_that_were_not_searched_on():
    found = search(sizes=[2, 6, 21], seeds=1)
    searched, judged = split(found.task.batch, 12, 0)
    assert not set(searched) & set(judged)
    others = networks.inputs(24, seed=2)
    runs = Runs.of(found.graph, {k: x[judged] for k, x in found.task.batch.items()}, {k: x[judged] for k, x in others.items()})
    behaviour = Behaviour.of(runs)
    edges = residual_edges(found.graph)
    order = found.scores.abs().argsort(descending=True)
    none, two, six, whole = behaviour(runs.scores([(), [], [edges[i] for i in order[:6]], edges])).mean(1)
    assert found.curve["size"].tolist() == [2, 6, 21]
    assert found.curve["edges"].tolist()[:2] == [0, 6]  # two edges make no path
    assert found.curve["measure"].to_numpy() == pytest.approx(torch.stack([two, six, whole]).numpy(), abs=1e-5)
    assert found.curve["faithfulness"].to_numpy() == pytest.approx([0, float((six - none) / (whole - none)), 1], abs=1e-5)


def test_scores_come_of_the_inputs_searched_on_alone():
    found = search(seeds=1, n=5)
    searched, _ = split(found.task.batch, 5, 0)
    others = networks.inputs(24, seed=2)
    runs = Runs.of(
        found.graph, {k: x[searched] for k, x in found.task.batch.items()}, {k: x[searched] for k, x in others.items()}
    )
    assert torch.allclose(found.by_row, EdgeAttribution().scores(runs, Behaviour.of(runs)), atol=1e-6)
    assert torch.allclose(found.scores, found.by_row.mean(1))


def test_the_same_seed_finds_the_same_and_another_searches_on_others():
    first, again, other = (search(instead=cm.Resample(networks.inputs(9)), seed=s) for s in (0, 0, 1))
    assert torch.equal(first.by_row, again.by_row)
    assert first.curve.equals(again.curve)
    assert first.stability.equals(again.stability)
    assert not torch.equal(first.by_row, other.by_row)


def test_inputs_to_resample_from_are_drawn_anew_to_search_and_to_judge(monkeypatch):
    drawn = []
    of = Runs.of
    monkeypatch.setattr(Runs, "of", lambda graph, inputs, instead: (drawn.append(instead.seed), of(graph, inputs, instead))[1])
    for seed in (0, 1):
        search(instead=cm.Resample(networks.inputs(9), seed=seed), seeds=2)
    assert len(set(drawn)) == 8


def test_stability_tells_how_alike_searches_are():
    found = search(graph=networks.graph_by_hand(networks.residual()), sizes=[1, 2, 10], seeds=4, resamples=7)
    rows, seeds = (found.stability[found.stability["over"] == x] for x in ("rows", "seeds"))
    assert rows["searches"].tolist() == [7] * 3
    assert seeds["searches"].tolist() == [4] * 3
    for part in (rows, seeds):
        assert part["jaccard"].between(0, 1).all()
        assert part["jaccard"].tolist()[-1] == 1  # all edges
    assert seeds["deviation"].tolist()[-1] == pytest.approx(0, abs=1e-5)
    assert (seeds["deviation"].to_numpy()[:2] > 0).all()


def test_searches_that_agree_have_a_jaccard_index_of_one_and_others_that_of_their_sets():
    from commute.alignments.circuits.stability import over_rows

    same = torch.tensor([[3.0] * 8, [2.0] * 8, [1.0] * 8])
    assert [row[3] for row in over_rows(same, "magnitude", [1, 2], 5, 0)] == [1, 1]
    one_row_decides = torch.zeros(2, 2)
    one_row_decides[0, 0] = one_row_decides[1, 1] = 1
    by_chance = next(over_rows(one_row_decides, "value", [1], 40, 0))[3]
    assert 0 < by_chance < 1  # either edge is the best in about half of the draws


def test_a_method_without_scores_of_inputs_has_no_resampled_stability():
    found = search(method=GreedyPruning(1e-3), seeds=2)
    assert set(found.stability["over"]) == {"seeds"}
    assert found.to_frame()["error"].isna().all()


def test_circuits_leave_out_edges_on_no_path():
    graph = networks.graph_by_hand(networks.residual(blocks=4))
    found = search(graph=graph, seeds=1)
    edges = residual_edges(graph)
    order = found.scores.abs().argsort(descending=True).tolist()
    for size in range(1, len(edges) + 1):
        best = nx.DiGraph([edges[i] for i in order[:size]])
        paths = list(nx.all_simple_paths(best, "input", "logits")) if {"input", "logits"} <= set(best) else []
        expected = {e for path in paths for e in pairwise(path)}
        if expected:
            assert set(found.circuit(size).edges) == expected
        else:
            with pytest.raises(NetworkError, match="no path to the output"):
                found.circuit(size)


def test_a_circuit_too_small_for_a_path_names_the_least_that_has_one():
    found = search(seeds=1)
    with pytest.raises(NetworkError, match="among the 1 best edges; the least size with one is") as error:
        found.circuit(1)
    least = int(str(error.value).rpartition(" ")[2])
    assert len(found.circuit(least)) >= 3
    with pytest.raises(NetworkError, match="no path"):
        found.circuit(least - 1)


@pytest.mark.parametrize("size", [0, 22, 2.5])
def test_a_size_must_be_one_of_a_circuit(size):
    with pytest.raises(AlignmentError, match="size"):
        search(seeds=1).circuit(size)


def test_ranking_by_value_puts_edges_that_hinder_last():
    graph = networks.graph_by_hand(networks.residual(seed=3))
    found = {rank: search(graph=graph, rank=rank, seeds=1).to_frame()["score"].to_numpy() for rank in ("magnitude", "value")}
    assert (np.diff(found["value"]) <= 0).all()
    assert (np.diff(np.abs(found["magnitude"])) <= 0).all()
    assert found["value"][-1] < 0


def test_right_answers_given_as_labels_are_those_that_count():
    graph = networks.graph_by_hand(networks.residual())
    labels = np.arange(24) % 2
    told = search(graph=graph, answers=labels, others=1 - labels, seeds=1)
    turned = search(graph=graph, answers=1 - labels, others=labels, seeds=1)
    assert torch.allclose(told.by_row, -turned.by_row, atol=1e-6)
    with pytest.raises(NetworkError, match="never returns it"):
        search(graph=graph, answers=labels + 7, seeds=1)


@pytest.mark.parametrize(
    "instead", [cm.Zero(), cm.Mean(networks.inputs(9)), OptimalAblation(steps=2)], ids=lambda x: type(x).__name__
)
def test_edges_left_out_may_carry_constants(instead):
    found = search(instead=instead, seeds=1)
    assert found.curve["faithfulness"].tolist()[-1] == pytest.approx(1, abs=1e-4)


def test_exact_methods_take_measures_without_gradients():
    found = search(method=NodePatching(), measure="agreement", seeds=1)
    assert found.curve["measure"].tolist()[-1] == 1


def test_a_search_is_repeated_on_another_graph_with_another_seed():
    found = search(instead=cm.Zero(), seeds=1, seed=5)
    again = found.repeat(6)
    assert again(found.graph, seed=5).edges == found.circuit(6).edges
    elsewhere = networks.planted([("input", "m4"), ("m4", "logits")], 5)
    assert set(found.repeat(2)(elsewhere, seed=0).edges) == {("input", "m4"), ("m4", "logits")}


@given(kinds=st.lists(st.integers(0, 6), min_size=2, max_size=30), n=st.integers(1, 30), seed=st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_equal_inputs_are_searched_on_or_judged_on_never_both(kinds, n, seed):
    batch = {"a": np.array(kinds)}
    try:
        searched, judged = split(batch, n, seed)
    except AlignmentError:
        assert len(set(kinds)) == 1 or n > min(len(kinds) - kinds.count(k) for k in kinds)
        return
    assert sorted([*searched, *judged]) == list(range(len(kinds)))
    assert len(searched) >= n
    assert len(judged)
    assert not {kinds[i] for i in searched} & {kinds[i] for i in judged}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "EAP"}, "method must be one of searching circuits"),
        ({"rank": "size"}, "there is no rank 'size'"),
        ({"n": 24}, "none is left to judge on"),
        ({"n": 0}, "n must be a whole number"),
        ({"sizes": [0]}, "sizes must be whole numbers from 1 to the 21 edges"),
        ({"sizes": [22]}, "sizes must be"),
        ({"sizes": []}, "sizes must be"),
        ({"seeds": 0}, "seeds must be"),
        ({"resamples": -1}, "resamples must be"),
    ],
)
def test_a_search_that_cannot_be_made_says_why(options, said):
    with pytest.raises(AlignmentError, match=said):
        search(**options)


def test_all_problems_are_told_at_once():
    with pytest.raises(AlignmentError, match="has 3 problems"):
        search(n=0, seeds=0, rank="none")


def test_another_graph_is_an_error():
    with pytest.raises(NetworkError, match="computation graph"):
        search(graph=nx.DiGraph([("a", "b")]))


def test_a_search_shows_what_it_is():
    found = search(seeds=1)
    assert repr(found) == "CircuitSearch(EdgeAttribution(steps=5, path='inputs'), 21 edges)"
    assert isinstance(found.circuit(6), Circuit)
