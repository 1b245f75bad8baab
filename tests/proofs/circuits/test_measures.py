from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import stats

from commute.causal.batches import take
from commute.errors import ClaimError
from commute.models.circuits.behaviour import Measure
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.runs import Runs
from commute.proofs.circuits.equivalence import equivalence_test
from commute.proofs.circuits.independence import independence_test
from commute.proofs.circuits.inflating import minimality_test
from commute.proofs.circuits.measures import completeness, faithfulness, minimality, over_repetitions
from tests.proofs.circuits.additive import edges, graph, measured

WEIGHTS = (3.0, 2.0, 1.0, 0.0)
GRAPH = graph(WEIGHTS)
CIRCUIT = Circuit(GRAPH, edges(0, 1))


def inputs(rows, seed=0):
    drawn = np.random.default_rng(seed)
    return drawn.normal(1, 1, (rows, 4)), drawn.normal(-0.5, 1, (rows, 4))


def values(x, instead, kept):
    """The logit difference on each row by definition."""
    return np.where(np.isin(range(4), kept), x, instead) @ WEIGHTS


def test_faithfulness_is_the_share_of_the_gap_between_the_whole_network_and_nothing_kept():
    x, instead = inputs(30)
    found = faithfulness(CIRCUIT, *measured(GRAPH, x, instead))
    kept, whole, none = (values(x, instead, k).mean() for k in ((0, 1), range(4), ()))
    assert (found.value.value, found.whole.value, found.none.value) == pytest.approx((kept, whole, none))
    assert found.share.value == pytest.approx((kept - none) / (whole - none))
    assert (found.edges, found.of, found.rows) == (2, 4, 30)
    assert str(found).startswith(f"2 of 4 edges keep {found.share.value:.3f} [")


def test_in_a_network_that_adds_up_circuit_and_complement_share_the_whole():
    given = measured(GRAPH, *inputs(30))
    assert faithfulness(CIRCUIT, *given).share.value + completeness(CIRCUIT, *given).share.value == pytest.approx(1)
    assert completeness(CIRCUIT, *given).edges == 2


@pytest.mark.parametrize("measure", get_args(Measure))
def test_the_whole_graph_keeps_everything_and_leaves_nothing(measure):
    given, whole = measured(GRAPH, *inputs(60), measure), Circuit(GRAPH, edges(0, 1, 2, 3))
    assert faithfulness(whole, *given).share.value == pytest.approx(1)
    assert completeness(whole, *given).share.value == pytest.approx(0)


@pytest.mark.parametrize("measure", ["agreement", "accuracy"])
def test_rates_are_counted_and_bounded_exactly(measure):
    x, instead = inputs(40)
    answers = np.arange(40) % 3 > 0
    runs, behaviour = measured(GRAPH, x, instead, measure, answers.astype(int))
    found = faithfulness(CIRCUIT, runs, behaviour, confidence=0.975)
    says = values(x, instead, (0, 1)) > 0
    right = says == (answers if measure == "accuracy" else values(x, instead, range(4)) > 0)
    bounds = stats.binomtest(int(right.sum()), 40).proportion_ci(0.95, "exact")
    assert (found.value.value, found.value.lower, found.value.upper) == pytest.approx((right.mean(), bounds.low, bounds.high))


def test_the_divergence_of_the_whole_network_is_none():
    found = faithfulness(CIRCUIT, *measured(GRAPH, *inputs(50), "divergence"))
    assert found.whole.value == pytest.approx(0)
    assert found.none.value < found.value.value < 0


def test_a_share_is_within_its_bounds_as_often_as_they_say():
    true, held = 5 / 6, np.zeros(2)  # all inputs move alike
    for seed in range(200):
        found = faithfulness(CIRCUIT, *measured(GRAPH, *inputs(25, seed)), confidence=0.9).share
        held += found.lower <= true, true <= found.upper
    assert (held >= 166).all()  # 3.3 standard deviations below 180
    assert (held <= 194).all()


def test_where_nothing_kept_does_as_well_there_is_no_share_to_keep():
    x, _ = inputs(10)
    with pytest.raises(ClaimError, match=r"with nothing kept the logit difference is as with the whole network.*take another"):
        faithfulness(CIRCUIT, *measured(GRAPH, x, x))


def test_a_behaviour_of_other_rows_and_a_wrong_confidence_are_told_at_once():
    runs, behaviour = measured(GRAPH, *inputs(10))
    with pytest.raises(ClaimError, match=r"(?s)behaviour is that of 4 rows and the runs have 10.*below 1; given 1\.5"):
        faithfulness(CIRCUIT, runs, behaviour.take(torch.arange(4)), confidence=1.5)


def test_many_scores_are_measured_in_parts(monkeypatch):
    given = measured(GRAPH, *inputs(12))
    before = minimality(CIRCUIT, *given)
    monkeypatch.setattr("commute.proofs.circuits.values._NUMBERS", 1)
    assert minimality(CIRCUIT, *given) == before


def test_the_spread_over_repetitions_is_that_of_their_numbers():
    found = over_repetitions([0.8, 0.9, 0.7, 0.85], confidence=0.95)
    expected = stats.ttest_1samp([0.8, 0.9, 0.7, 0.85], 0).confidence_interval(0.9)
    assert (found.mean.lower, found.mean.upper) == pytest.approx((expected.low, expected.high))
    assert str(found).endswith("over 4 repetitions, from 0.700 to 0.900")
    assert over_repetitions(torch.tensor([0.8, 0.9])).values == pytest.approx((0.8, 0.9))
    for numbers, told in (([0.5], r"\[0\.5\]"), ([1, np.nan], r"\[1, nan\]"), (["a", "b"], r"\['a', 'b'\]"), (3, "3")):
        with pytest.raises(ClaimError, match=f"two finite numbers or more; given {told}"):
            over_repetitions(numbers)
    with pytest.raises(ClaimError, match="confidence must be at least 0.5 and below 1; given 2"):
        over_repetitions([1, 2], confidence=2)


def test_minimality_finds_the_edges_that_matter_and_those_that_do_not():
    x, instead = inputs(200)
    found = minimality(Circuit(GRAPH, edges(0, 2, 3)), *measured(GRAPH, x, instead))
    lost = (x - instead)[:, [0, 2, 3]] * np.array(WEIGHTS)[[0, 2, 3]]
    assert [e.effect.value for e in found.effects] == pytest.approx(lost.mean(0).tolist())
    assert [e.p_value for e in found.effects[:2]] == pytest.approx(
        stats.ttest_1samp(lost[:, :2], 0, alternative="greater").pvalue.tolist()
    )
    assert found.idle == (("p3", "logits"),)
    assert found.effects[2].p_value == found.effects[2].corrected == 1
    assert found.effects[0].corrected == pytest.approx(3 * found.effects[0].p_value)
    assert str(found) == "2 of 3 edges are each shown to raise the logit difference on 200 rows; not p3->logits"


def test_an_edge_that_works_against_the_behaviour_is_idle():
    x, instead = inputs(50)
    found = minimality(CIRCUIT, *measured(GRAPH, instead, x))
    assert found.idle == CIRCUIT.edges
    assert all(e.effect.upper < 0 for e in found.effects)


def test_minimality_of_rates_is_mcnemars_exact_test():
    x, instead = inputs(80)
    runs, behaviour = measured(GRAPH, x, instead, "agreement")
    found = minimality(CIRCUIT, runs, behaviour)
    whole = values(x, instead, range(4)) > 0
    kept, less = ((values(x, instead, k) > 0) == whole for k in ((0, 1), (1,)))
    gone, won = int((kept & ~less).sum()), int((less & ~kept).sum())
    assert gone > won > 0
    assert found.effects[0].p_value == pytest.approx(stats.binomtest(gone, gone + won, alternative="greater").pvalue)
    assert found.effects[0].effect.value == pytest.approx((gone - won) / 80)


def test_edges_that_are_tested_are_named_as_those_of_a_circuit_are():
    given = CIRCUIT, *measured(GRAPH, *inputs(20))
    (alone,) = minimality(*given, edges=["p1->logits"]).effects
    assert alone == replace(minimality(*given).effects[1], corrected=alone.p_value)
    assert minimality(*given, edges=iter(edges(1))).effects == (alone,)


@pytest.mark.parametrize(
    ("tested", "told"),
    [
        (3, "edges must be a list of the circuit's, as pairs of nodes or 'm0->logits'; given 3"),
        (CIRCUIT, r"edges must be a list of the circuit's.*; given Circuit\(2 of 4 edges"),
        ("p0->logits", "edges must be a list of the circuit's.*; given 'p0->logits'"),
        ({("p0", "logits"): 1.0}, "edges must be a list of the circuit's"),
        (["p0", "logits"], "(?s)2 problems.*given the node 'p0'.*given the node 'logits'"),
        (edges(0, 3), "the edge p3->logits is not one of the circuit's 2"),
        ([], "there are none; None tests all of the circuit's"),
    ],
)
def test_what_names_no_edges_to_test_is_told(tested, told):
    with pytest.raises(ClaimError, match=told):
        minimality(CIRCUIT, *measured(GRAPH, *inputs(5)), edges=tested)


def test_no_test_is_surer_than_the_rows_allow():
    x, instead = np.ones((4, 4)), np.zeros((4, 4))
    assert [e.p_value for e in minimality(CIRCUIT, *measured(GRAPH, x, instead)).effects] == [1 / 16, 1 / 16]
    assert minimality(CIRCUIT, *measured(GRAPH, x[:1], instead[:1])).effects[0].p_value == 0.5


def test_rounding_is_not_an_effect():
    x, instead = inputs(200)
    runs, behaviour = measured(GRAPH, x, instead)
    wide = replace(behaviour, whole=behaviour.whole * 1e16)
    assert minimality(CIRCUIT, runs, wide).idle == CIRCUIT.edges


def test_edges_that_do_nothing_are_rarely_shown_to_matter():
    false = 0
    for seed in range(200):
        drawn = np.random.default_rng(seed)
        x, instead = drawn.standard_normal((2, 20, 4))
        false += len(minimality(CIRCUIT, *measured(GRAPH, x, instead), confidence=0.9).idle) < 2
    assert 5 <= false <= 34  # 20 expected


MEASUREMENTS = [faithfulness, completeness, minimality, equivalence_test, independence_test, minimality_test]


@pytest.mark.parametrize("measurement", MEASUREMENTS)
def test_a_circuit_or_a_behaviour_of_another_graph_is_told(measurement):
    runs, behaviour = measured(GRAPH, *inputs(5))
    for other in (graph((1, 1, 1, 1, 1, 1)), graph(WEIGHTS)):
        with pytest.raises(ClaimError, match=r"Circuit\(1 of . edges, 2 nodes\) is of another computation graph"):
            measurement(Circuit(other, edges(0)), runs, behaviour)
    _, foreign = measured(graph(WEIGHTS), *inputs(5))
    with pytest.raises(ClaimError, match="behaviour is of another computation graph"):
        measurement(CIRCUIT, runs, foreign)
    _, later = measured(GRAPH, *inputs(5, seed=1))
    with pytest.raises(ClaimError, match="behaviour is that of other inputs"):
        measurement(CIRCUIT, runs, later)


@pytest.mark.parametrize("measurement", MEASUREMENTS)
def test_what_is_no_circuit_no_runs_and_no_behaviour_is_told_at_once(measurement):
    with pytest.raises(
        ClaimError, match=r"(?s)circuit must be a cm.Circuit; given 'p0'.*runs must be.*given 3.*behaviour must be"
    ):
        measurement("p0", 3, None)
    with pytest.raises(ClaimError, match=r"circuit must be a cm.Circuit; given \[\('p0', 'logits'\)\]"):
        measurement(edges(0), *measured(GRAPH, *inputs(5)))


@pytest.mark.parametrize("measurement", [faithfulness, completeness, minimality])
def test_a_confidence_that_is_no_number_is_told(measurement):
    with pytest.raises(ClaimError, match="confidence must be at least 0.5 and below 1; given 'a'"):
        measurement(CIRCUIT, *measured(GRAPH, *inputs(5)), confidence="a")


def test_one_row_after_the_other_gives_the_same_mean():
    runs, behaviour = measured(GRAPH, *inputs(5))
    one = [
        faithfulness(
            CIRCUIT,
            Runs(GRAPH, take(runs.batch, np.array([i])), runs.instead[:, [i]]),
            behaviour.take(torch.tensor([i])),
        )
        for i in range(5)
    ]
    assert np.mean([k.value.value for k in one]) == pytest.approx(faithfulness(CIRCUIT, runs, behaviour).value.value)
    assert one[0].share.upper == np.inf
