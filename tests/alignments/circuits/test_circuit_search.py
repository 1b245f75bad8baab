from dataclasses import dataclass
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
from commute.alignments.circuits.parts import split
from commute.alignments.circuits.pruning import GreedyPruning
from commute.alignments.circuits.search import search_circuit
from commute.causal.batches import as_column
from commute.errors import AlignmentError, NetworkError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.runs import Runs
from tests.alignments.circuits import networks
from tests.models import families

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


@pytest.mark.parametrize("sizes", [[10, 6, 10], np.array([10, 6]), (n for n in (6, 10, 6)), {10: "large", 6: "small"}])
def test_sizes_are_judged_once_each_from_the_smallest(sizes):
    found = search(sizes=sizes, seeds=1)
    assert found.curve["size"].tolist() == [6, 10]
    assert found.task.sizes == (6, 10)


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
    assert set(found.repeat(6)(elsewhere, seed=0).edges) > {("input", "m4"), ("m4", "logits")}


def test_a_repeated_search_keeps_no_fewer_edges_than_the_first_and_no_more_than_it_must():
    found = search(instead=cm.Zero(), seeds=1)
    elsewhere = networks.graph_by_hand(networks.residual(blocks=5, width=7, seed=4))
    there = search(graph=elsewhere, instead=cm.Zero(), seeds=1)
    sizes = [len(there.circuit(k)) if k > 8 else 0 for k in range(9, 22)]
    for size in (6, 11, 21):
        wanted = len(found.circuit(size))
        again = found.repeat(size)(elsewhere, seed=0)
        assert len(again) == next((n for n in sizes if n >= wanted), sizes[-1])
        assert len(again) >= wanted
    assert len(there.circuit(9)) < 9  # so that some of the best edges are on no path


def test_only_a_circuit_that_there_is_can_be_searched_for_again():
    found = search(seeds=1)
    with pytest.raises(NetworkError, match="no path"):
        found.repeat(2)
    with pytest.raises(AlignmentError, match="size"):
        found.repeat(0)


# What searching and judging share


def settings_of(batch):
    return set(zip(*(batch[v].tolist() for v in sorted(batch)), strict=True))


@pytest.mark.parametrize("kind", [cm.Resample, cm.Mean])
def test_inputs_carried_instead_are_of_the_part_that_they_belong_to_or_of_neither(kind, monkeypatch):
    inputs, more, seen = networks.inputs(24, seed=1), networks.inputs(5, seed=7), []
    of = Runs.of
    monkeypatch.setattr(Runs, "of", lambda graph, rows, x: (seen.append((rows, x.inputs)), of(graph, rows, x))[1])
    search(instead=kind({v: np.concatenate([x, more[v]]) for v, x in inputs.items()}), seeds=2)
    assert len(seen) == 4
    for rows, pool in seen:
        assert settings_of(pool) == settings_of(rows) | settings_of(more)


def test_a_part_with_nothing_of_its_own_to_carry_instead_is_an_error():
    first = {v: x[:1] for v, x in networks.inputs(24, seed=1).items()}
    with pytest.raises(AlignmentError, match="of 1 inputs, all of them among those of one part"):
        search(instead=cm.Resample(first))


def test_the_share_kept_is_that_of_the_measure_of_a_circuit():
    found = search(sizes=[3, 6], seeds=1)
    _, judged = split(found.task.batch, 12, 0)
    others = networks.inputs(24, seed=2)
    runs = Runs.of(found.graph, {k: x[judged] for k, x in found.task.batch.items()}, {k: x[judged] for k, x in others.items()})
    shares = [float(cm.circuits.faithfulness(found.circuit(n), runs, Behaviour.of(runs)).share.value) for n in (3, 6)]
    assert found.curve["faithfulness"].tolist() == pytest.approx(shares, abs=1e-5)


@given(
    kinds=st.lists(st.integers(0, 6), min_size=2, max_size=30),
    n=st.integers(1, 30),
    seed=st.integers(0, 5),
    as_=st.sampled_from(
        [np.array, lambda x: np.array(x) / 4, lambda x: as_column([(k,) for k in x]), lambda x: as_column([[k] for k in x])]
    ),
)
@settings(max_examples=200, deadline=None)
def test_equal_inputs_are_searched_on_or_judged_on_never_both(kinds, n, seed, as_):
    batch = {"a": as_(kinds)}
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
        ({"method": EdgeAttribution}, "method must be one of searching circuits"),
        ({"measure": "kl"}, "there is no measure 'kl'"),
        ({"rank": "size"}, "there is no rank 'size'"),
        ({"n": 24}, "none is left to judge on"),
        ({"n": 0}, "n must be a whole number"),
        ({"sizes": [0]}, "sizes must be a list of whole numbers from 1 to the 21 edges"),
        ({"sizes": [22]}, "sizes must be"),
        ({"sizes": []}, "sizes must be"),
        ({"sizes": 5}, "sizes must be"),
        ({"sizes": "12"}, "sizes must be"),
        ({"seeds": 0}, "seeds must be"),
        ({"resamples": -1}, "resamples must be 0, or at least 2"),
        ({"resamples": 1}, "resamples must be"),
        ({"resamples": False}, "resamples must be"),
        ({"resamples": True}, "resamples must be"),
        ({"resamples": 2.5}, "resamples must be"),
        ({"seed": "x"}, "a seed must be a whole number"),
        ({"instead": "zero"}, "instead must be other inputs row by row, .*; given 'zero'"),
        ({"instead": cm.Zero}, "instead must be other inputs row by row"),
        ({"instead": cm.Mean(None)}, r"instead must be Mean\(inputs\), of a batch; given Mean\(None\)"),
        ({"instead": networks.inputs(5)}, "instead has 5 rows, and there are 24 inputs"),
        ({"instead": networks.inputs(48)}, "instead has 48 rows, and there are 24 inputs"),
        ({"instead": networks.inputs(24, seed=1)}, "instead is the same as the inputs"),
        ({"answers": [0] * 5}, "answers has 5 rows, and there are 24 inputs"),
        ({"others": [0] * 48}, "others has 48 rows, and there are 24 inputs"),
        ({"answers": 1}, "answers must be a list of labels"),
        ({"answers": "abc"}, "answers must be a list of labels"),
        ({"answers": [0] * 24, "others": (0,) * 24}, "answers and others are the same"),
    ],
)
def test_a_search_that_cannot_be_made_says_why(options, said):
    with pytest.raises(AlignmentError, match=said):
        search(**options)


@pytest.mark.parametrize(("inputs", "instead"), [("abc", cm.Zero()), (None, cm.Zero()), (networks.inputs(24), None)])
def test_a_search_needs_inputs_and_others(inputs, instead):
    with pytest.raises(AlignmentError, match="must be"):
        search_circuit(networks.planted(PLANTED, 5), inputs, instead)


def test_all_problems_are_told_at_once():
    wrong = {"n": 0, "seeds": 0, "rank": "none", "sizes": 3, "instead": networks.inputs(3), "answers": [1]}
    with pytest.raises(AlignmentError, match="has 6 problems"):
        search(**wrong)


# Scores that tell nothing


@dataclass(frozen=True)
class Constant:
    score: float

    def scores(self, runs, behaviour):
        found = torch.ones(len(residual_edges(runs.graph)), len(behaviour.whole))
        found[0] = self.score
        return found if np.isnan(self.score) or np.isinf(self.score) else found * 0


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_not_ranked(score):
    with pytest.raises(NetworkError, match="1 of 21 edges have scores that are not finite"):
        search(method=Constant(score), seeds=1)


def test_a_search_in_which_no_edge_does_anything_says_why():
    graph = networks.planted(PLANTED, 5)
    with pytest.raises(NetworkError, match="every edge scores 0 .* it changes where all edges are left out"):
        search(method=Constant(0), seeds=1)
    said = graph.graph["stream"].network.run(networks.inputs(24, seed=1))
    with pytest.raises(NetworkError, match="every edge scores 0 .* held against itself"):
        search(graph=graph, others=said, seeds=1)
    inputs = networks.inputs(24) | {"unread": np.arange(24)}
    with pytest.raises(NetworkError, match="every edge scores 0 .* the same with nothing kept"):
        search_circuit(graph, inputs, inputs | {"unread": np.arange(24)[::-1]}, seeds=1)


def test_a_search_repeated_where_no_edge_does_anything_finds_none():
    found, dead = search(instead=cm.Zero(), seeds=1), networks.residual(blocks=5)
    graph = networks.graph_by_hand(dead)
    with torch.no_grad():
        dead.out.weight.zero_()
    with pytest.raises(NetworkError, match="every edge scores 0"):
        found.repeat(6)(graph, seed=0)


# Prompts of several lengths


def prompts():
    net = cm.Network.from_transformers(
        families.model("gpt2"),
        None,
        prompts=lambda x: [x["a"], *[7] * int(x["long"]), x["b"], 9],
        answers={str(i): [i] for i in range(6, 12)},
    )
    draws = np.random.default_rng(0)
    first, others = ({v: draws.integers(6, 12, size=8) for v in "ab"} for _ in range(2))
    long = np.array([0, 0, 0, 0, 0, 0, 0, 2])
    return cm.computation_graph(net, first | {"long": long}), first | {"long": long}, others | {"long": long}


@pytest.mark.parametrize("kind", [cm.Resample, cm.Mean, lambda _: OptimalAblation(steps=1)], ids=["resample", "mean", "optimal"])
def test_prompts_of_several_lengths_are_an_error_whatever_the_seed(kind):
    graph, first, others = prompts()
    for seed in range(4):
        with pytest.raises(NetworkError, match="from 3 to 5 tokens.*search those of each length by themselves"):
            search_circuit(graph, first, kind(others), seed=seed)


def test_a_pool_of_another_length_than_the_prompts_is_an_error():
    graph, first, others = prompts()
    with pytest.raises(NetworkError, match="from 3 to 5 tokens"):
        search_circuit(graph, {v: x[:7] for v, x in first.items()}, cm.Mean({v: x[7:] for v, x in others.items()}))


def test_prompts_of_several_lengths_are_searched_with_others_of_the_same():
    graph, first, others = prompts()
    for instead in (others, cm.Zero()):
        for seed in range(3):
            found = search_circuit(graph, first, instead, seed=seed, seeds=1, resamples=0, sizes=[5])
            assert bool(found.scores.isfinite().all())
    swapped = others | {"long": others["long"][[0, 7, 2, 3, 4, 5, 6, 1]]}
    for seed in range(4):
        with pytest.raises(NetworkError, match="as many tokens; in row 1 these are 3 and 5"):
            search_circuit(graph, first, swapped, seed=seed)


def test_another_graph_is_an_error():
    with pytest.raises(NetworkError, match="computation graph"):
        search(graph=nx.DiGraph([("a", "b")]))


def test_a_search_shows_what_it_is():
    found = search(seeds=1)
    assert repr(found) == "CircuitSearch(EdgeAttribution(steps=5, path='inputs'), 21 edges)"
    assert isinstance(found.circuit(6), Circuit)
