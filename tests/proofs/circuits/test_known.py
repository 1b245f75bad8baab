import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commute.errors import ClaimError
from commute.models.circuits.circuit import Circuit
from commute.proofs.circuits.known import roc_curve
from tests.proofs.circuits.additive import edges, graph

EDGES = 9
GRAPH = graph(np.ones(EDGES))
KNOWN = Circuit(GRAPH, edges(0, 3, 4, 7))
RIGHT = np.isin(range(EDGES), [0, 3, 4, 7])


@given(st.lists(st.integers(-3, 3), min_size=EDGES, max_size=EDGES))
def test_the_area_is_the_chance_that_an_edge_of_the_circuit_scores_higher(scores):
    s = np.array(scores, dtype=float)
    pairs = [(a > b) + (a == b) / 2 for a in s[RIGHT] for b in s[~RIGHT]]
    assert roc_curve(s.tolist(), KNOWN).area == pytest.approx(np.mean(pairs))


@given(st.lists(st.integers(-3, 3), min_size=EDGES, max_size=EDGES))
def test_the_curve_has_a_point_at_each_threshold_from_nothing_to_everything(scores):
    s = np.array(scores, dtype=float)
    found = roc_curve(torch.tensor(s), KNOWN)
    thresholds = [np.inf, *sorted(set(s), reverse=True)]
    assert found.true_positive == pytest.approx([(s[RIGHT] >= t).mean() for t in thresholds])
    assert found.false_positive == pytest.approx([(s[~RIGHT] >= t).mean() for t in thresholds])
    assert (found.false_positive[0], found.true_positive[0]) == (0, 0)
    assert (found.false_positive[-1], found.true_positive[-1]) == (1, 1)


@pytest.mark.parametrize(("scores", "area"), [(RIGHT * 1.0, 1), (-1.0 * RIGHT, 0), (0.0 * RIGHT, 0.5)])
def test_right_scores_have_area_1_wrong_ones_0_and_equal_ones_a_half(scores, area):
    assert roc_curve(scores, KNOWN).area == area


def test_it_reads_as_a_sentence():
    assert str(roc_curve(RIGHT * 1.0, KNOWN)) == "AUROC 1.0000 of 4 edges against 5 others"


def test_scores_that_cannot_be_ranked_are_told():
    with pytest.raises(ClaimError, match=r"one score of each of 9 edges; given 3"):
        roc_curve([1.0, 2.0, 3.0], KNOWN)
    with pytest.raises(ClaimError, match="that of p2->logits is not"):
        roc_curve([0, 0, np.nan, 0, 0, 0, 0, 0, 0], KNOWN)
    with pytest.raises(ClaimError, match=r"a list of numbers, one of each edge; given \['a'\]"):
        roc_curve(["a"], KNOWN)
    with pytest.raises(
        ClaimError, match=r"(?s)a list of numbers, one of each edge; given None.*known must be a cm.Circuit; given 'c'"
    ):
        roc_curve(None, "c")
    with pytest.raises(ClaimError, match="has all 9 edges"):
        roc_curve(RIGHT * 1.0, Circuit(GRAPH, edges(*range(EDGES))))
