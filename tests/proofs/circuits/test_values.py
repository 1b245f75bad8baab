from dataclasses import replace

import numpy as np
import pytest
import torch

from commute.errors import ClaimError
from commute.models.circuits.behaviour import SMOOTH
from commute.models.circuits.circuit import Circuit
from commute.proofs.circuits.equivalence import equivalence_test
from commute.proofs.circuits.independence import independence_test
from commute.proofs.circuits.inflating import minimality_test
from commute.proofs.circuits.measures import completeness, faithfulness, minimality
from commute.proofs.circuits.values import of_scores, of_whole, rounding
from tests.proofs.circuits.additive import Additive, edges, graph, measured

WEIGHTS = (3.0, 2.0, 1.0, 0.0)
GRAPH = graph(WEIGHTS)
LOW = [-torch.inf, float(torch.finfo(torch.float32).min)]  # scores of masked choices
MEASUREMENTS = [faithfulness, completeness, minimality, equivalence_test, independence_test, minimality_test]


def inputs(rows=60, seed=0):
    drawn = np.random.default_rng(seed)
    return drawn.normal(1, 1, (rows, 4)), drawn.normal(-0.5, 1, (rows, 4))


def masked(low):
    """The network with a choice that is never made."""

    class Masked(Additive):
        def forward(self, x):
            scores = super().forward(x)
            return torch.cat([scores, torch.full_like(scores[:, :1], low)], 1)

    return graph(WEIGHTS, Masked, decode=lambda scores: np.array(["no", "yes", "never"])[scores.argmax(-1).numpy()])


class Half(Additive):
    def __init__(self, weights):
        super().__init__(weights)
        self.bfloat16()

    def forward(self, x):
        return super().forward(x.bfloat16())


@pytest.mark.parametrize("low", LOW)
@pytest.mark.parametrize("measurement", MEASUREMENTS)
def test_masked_choices_change_no_measurement(measurement, low):
    other = masked(low)
    plain = measurement(Circuit(GRAPH, edges(0, 2)), *measured(GRAPH, *inputs()))
    found = measurement(Circuit(other, edges(0, 2)), *measured(other, *inputs()))
    assert str(found) == str(plain)


@pytest.mark.parametrize("measure", ["log probability", "divergence"])
@pytest.mark.parametrize("low", LOW)
def test_masked_choices_have_no_part_in_what_is_rounding(measure, low):
    plain, other = (measured(g, *inputs(), measure)[1] for g in (GRAPH, masked(low)))
    assert 0 < rounding(other) == rounding(plain) < 1e-12
    small = replace(plain, whole=plain.whole / 2**20)
    assert rounding(small) == 64 * 2**-52  # what the sum of two exponentials is exact to


def test_effects_in_half_precision_are_about_those_in_double():
    half = graph(WEIGHTS, Half)
    exact, found = (
        [e.effect.value for e in minimality(Circuit(g, edges(0, 1, 2)), *measured(g, *inputs(300))).effects]
        for g in (GRAPH, half)
    )
    assert measured(half, *inputs())[1].whole.dtype == torch.bfloat16
    assert found == pytest.approx(exact, rel=0.05)
    assert equivalence_test(Circuit(half, edges(0, 1)), *measured(half, *inputs(300))).same < 60


def test_what_runs_in_half_precision_may_differ_by_is_no_effect():
    _, behaviour = measured(graph(WEIGHTS, Half), *inputs())
    size = float(behaviour.whole[:, 1].abs().max())
    assert rounding(behaviour) == 4 * 2**-7 * size
    assert rounding(replace(behaviour, whole=behaviour.whole.float())) == 64 * 2**-23 * size


def test_the_difference_of_two_scores_is_as_exact_as_they_are():
    _, behaviour = measured(GRAPH, *inputs())
    third = replace(behaviour, whole=torch.cat([behaviour.whole, behaviour.whole[:, :1] - 1e9], 1))
    never = replace(third, whole=third.whole.index_fill(1, torch.tensor([0]), -torch.inf))
    assert rounding(never) == rounding(third) == rounding(behaviour) == 64 * 2**-52 * float(behaviour.whole[:, 1].abs().max())


@pytest.mark.parametrize("measurement", [faithfulness, minimality, independence_test])
def test_a_measure_that_is_not_finite_is_told_with_its_row(measurement):
    other, answers = masked(-torch.inf), np.ones(60, dtype=np.int64)
    runs, behaviour = measured(other, *inputs(), answers=answers)
    never = replace(behaviour, answers=torch.where(torch.arange(60) == 7, 2, behaviour.answers))
    with pytest.raises(
        ClaimError, match="in row 7 the logit difference is -inf, of which there is no mean.*answers= and others="
    ):
        measurement(Circuit(other, edges(0)), runs, never)


@pytest.mark.parametrize("measure", SMOOTH)
def test_scores_of_circuits_are_looked_at_too(measure):
    _, behaviour = measured(GRAPH, *inputs(), measure)
    scores = behaviour.whole.repeat(3, 1, 1)
    assert of_scores(behaviour, scores).tolist() == [of_whole(behaviour).tolist()] * 3
    scores[1, 4, 1] = -torch.inf
    with pytest.raises(ClaimError, match=f"in row 4 the {measure} is -inf"):
        of_scores(behaviour, scores)


def test_a_log_probability_is_rounded_as_its_answers_score():
    """Where the answer is far below the others, one unit in the last place of its score is many of theirs."""
    behaviour = replace(measured(GRAPH, *inputs(), "log probability")[1], answers=torch.ones(60, dtype=torch.int64))
    low = replace(behaviour, whole=torch.tensor([[0.1, -3000.0]]).expand(60, 2))
    step = torch.nextafter(low.whole[:, 1], torch.zeros(60)) - low.whole[:, 1]
    moved = of_scores(low, low.whole + torch.stack([torch.zeros(60), step], -1)) - of_whole(low)
    assert 0 < moved[0] < rounding(low)
