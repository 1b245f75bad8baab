"""Measures of what of a network's answers is kept."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch.testing import assert_close

import commute as cm
from commute.errors import NetworkError
from commute.models.circuits.behaviour import SMOOTH, Behaviour, Measure
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.runs import Runs
from tests.models.circuits import nets

GRAPH = computation_graph(nets.hooked(), nets.BASE)
RUNS = Runs.of(GRAPH, nets.BASE, nets.OTHER)
SOME = RUNS.scores([residual_edges(GRAPH)[::2], residual_edges(GRAPH)[::3]])
WHOLE, NONE = RUNS.scores([residual_edges(GRAPH), []])
ROWS = np.arange(5)


def test_the_difference_is_that_of_two_scores():
    answers, others = torch.tensor([1, 2, 3, 4, 5]), torch.tensor([0, 0, 0, 1, 1])
    found = Behaviour.of(RUNS, answers=answers, others=others)(SOME)
    assert_close(found, SOME[:, ROWS, answers] - SOME[:, ROWS, others])


def test_answers_are_the_networks_and_others_what_it_says_with_nothing_kept():
    behaviour = Behaviour.of(RUNS)
    assert torch.equal(behaviour.answers, WHOLE.argmax(-1))
    for row in range(5):
        best, order = int(NONE[row].argmax()), WHOLE[row].argsort(descending=True)
        assert int(behaviour.others[row]) == (int(order[1]) if best == int(order[0]) else best)
    assert (behaviour.answers != behaviour.others).all()
    same = Behaviour.of(Runs.of(GRAPH, nets.BASE, nets.BASE))
    assert torch.equal(same.others, WHOLE.topk(2).indices[:, 1])


def test_the_divergence_is_that_of_the_probabilities():
    found = Behaviour.of(RUNS, "divergence")(SOME)
    expected = -rel_entr(softmax(WHOLE.double().numpy(), -1), softmax(SOME.double().numpy(), -1)).sum(-1)
    assert_close(found.double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-4)
    assert_close(Behaviour.of(RUNS, "divergence")(WHOLE), torch.zeros(5))


def test_choices_that_are_never_made_add_no_divergence():
    """As where a vocabulary is masked; gradients are numbers, too."""
    behaviour = Behaviour.of(RUNS, "divergence")
    masked = replace(behaviour, whole=WHOLE.clone().index_fill_(1, torch.tensor([0]), -torch.inf))
    scores = SOME.clone().index_fill_(2, torch.tensor([0]), -torch.inf).requires_grad_()
    found = masked(scores)
    expected = rel_entr(softmax(WHOLE[:, 1:].double().numpy(), -1), softmax(SOME[..., 1:].double().numpy(), -1)).sum(-1)
    assert_close(found.detach().double(), torch.from_numpy(-expected), atol=1e-5, rtol=1e-4)
    found.sum().backward()
    assert scores.grad.isfinite().all()


def test_choices_with_one_label_are_one_answer():
    graph = computation_graph(cm.Network(nets.hooked().module, encode=nets.hooked().encode, decode=halves), nets.BASE)
    runs = Runs.of(graph, nets.BASE, nets.OTHER)
    some, whole = WHOLE.argmax(-1) // 2, SOME.argmax(-1) // 2
    assert Behaviour.of(runs, "agreement")(SOME).bool().tolist() == (some == whole).tolist()
    answers = torch.tensor([0, 1, 2, 3, 4])
    assert Behaviour.of(runs, "accuracy", answers=answers)(SOME).bool().tolist() == (whole == answers // 2).tolist()
    behaviour = Behaviour.of(runs)
    assert (behaviour.answers // 2 != behaviour.others // 2).all()


def halves(output):
    return output[:, -1].argmax(-1) // 2


def test_the_log_probability_is_that_of_the_answer():
    answers = torch.tensor([1, 2, 3, 4, 5])
    found = Behaviour.of(RUNS, "log probability", answers=answers)(SOME)
    expected = log_softmax(SOME.double().numpy(), -1)[:, ROWS, answers.numpy()]
    assert_close(found.double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-4)


def test_the_measures_with_gradients_are_the_smooth_ones():
    scores = SOME.clone().requires_grad_()
    graded = {m for m in get_args(Measure) if Behaviour.of(RUNS, m)(scores).requires_grad}
    assert graded == set(SMOOTH)


def test_a_behaviour_fits_the_inputs_that_it_is_of():
    behaviour = Behaviour.of(RUNS)
    assert behaviour.misfits(Runs.of(GRAPH, {"i": nets.BASE["i"].copy()}, cm.Zero())) == []
    for runs, told in (
        (Runs.of(computation_graph(nets.hooked(), nets.BASE), nets.BASE, nets.OTHER), "another computation graph"),
        (Runs.of(GRAPH, nets.OTHER, nets.BASE), "of other inputs"),
        (RUNS.take(np.arange(3)), "that of 5 rows and the runs have 3"),
    ):
        (problem,) = behaviour.misfits(runs)
        assert told in problem


def test_agreement_is_with_the_network_and_accuracy_with_the_answers():
    answers = torch.tensor([1, 2, 3, 4, 5])
    assert torch.equal(Behaviour.of(RUNS, "agreement", answers=answers)(SOME), (SOME.argmax(-1) == WHOLE.argmax(-1)).float())
    assert torch.equal(Behaviour.of(RUNS, "accuracy", answers=answers)(SOME), (SOME.argmax(-1) == answers).float())


def test_the_rows_of_a_behaviour_can_be_taken():
    rows = torch.tensor([4, 1])
    for measure in get_args(Measure):
        behaviour = Behaviour.of(RUNS, measure)
        assert_close(behaviour.take(rows)(SOME[:, rows]), behaviour(SOME)[:, rows])
        assert behaviour.take(rows).misfits(RUNS.take(rows.numpy())) == []


def test_choices_that_there_are_not_are_told():
    with pytest.raises(NetworkError, match="no measure 'logit diff'; did you mean 'logit difference'"):
        Behaviour.of(RUNS, "logit diff")
    with pytest.raises(NetworkError, match=r"answers must be choices, a tensor \[5\] of int64, .*; given Tensor \[3\]"):
        Behaviour.of(RUNS, answers=torch.tensor([1, 2, 3]))
    with pytest.raises(NetworkError, match="others must be choices from 0 to 10; given 0 to 11"):
        Behaviour.of(RUNS, others=torch.tensor([0, 11, 2, 3, 4]))


def test_a_network_that_compares_a_number_has_two_choices():
    net = cm.Network(nets.Hooked(), encode=nets.tokens_of, decode=lambda x: x[:, -1, 0] > 0)
    runs = Runs.of(computation_graph(net, nets.BASE), nets.BASE, nets.OTHER)
    assert runs.choices == (False, True)
    behaviour = Behaviour.of(runs)
    sign = torch.where(behaviour.answers == 1, 1.0, -1.0)
    assert_close(behaviour(behaviour.whole), sign * WHOLE[:, 0], atol=1e-4, rtol=1e-4)
