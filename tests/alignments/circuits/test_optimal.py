from itertools import combinations

import numpy as np
import pytest
import torch

import commute as cm
from commute.alignments.circuits.optimal import OptimalAblation, with_constants
from commute.errors import AlignmentError, NetworkError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.runs import Runs
from tests.alignments.circuits import networks


def lost_by_nodes(runs):
    """The mean divergence over all sets of nodes that are left out."""
    behaviour = Behaviour.of(runs, "divergence")
    edges = residual_edges(runs.graph)
    nodes = list(dict.fromkeys(u for u, _ in edges))
    sets = [gone for n in range(1, len(nodes) + 1) for gone in combinations(nodes, n)]
    return -float(behaviour(runs.scores([[e for e in edges if e[0] not in gone] for gone in sets])).mean())


def test_trained_constants_lose_less_than_means_on_inputs_not_trained_on():
    module = networks.residual()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)
    graph = networks.graph_by_hand(module)
    trained, fresh = networks.inputs(64, seed=3), networks.inputs(64, seed=4)
    constants = OptimalAblation().constants(graph, trained)
    assert lost_by_nodes(with_constants(graph, fresh, constants)) < 0.8 * lost_by_nodes(Runs.of(graph, fresh, cm.Mean(trained)))


def test_constants_are_the_same_at_all_positions_and_for_the_same_seed():
    graph, first, _ = networks.language()
    ablation = OptimalAblation(steps=3)
    constants = ablation.constants(graph, first)
    runs = with_constants(graph, first, constants)
    assert constants.shape == (len(runs.stream.writers), 1, 1, 16)
    assert runs.instead.shape[1:3] == (1, 5)
    assert torch.equal(constants, ablation.constants(graph, first))
    assert not torch.equal(constants, OptimalAblation(steps=3, seed=1).constants(graph, first))


def test_training_constants_leaves_the_network_as_found():
    graph, first, _ = networks.language()
    module = graph.graph["stream"].network.module
    before = {k: x.clone() for k, x in module.state_dict().items()}
    with torch.no_grad():
        OptimalAblation(steps=2).constants(graph, first)
    assert all(torch.equal(x, before[k]) for k, x in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


def test_constants_are_not_trained_where_there_are_no_gradients():
    graph, first, _ = networks.language()
    with (
        torch.inference_mode(),
        pytest.raises(NetworkError, match="optimal ablation takes gradients"),
    ):
        OptimalAblation(steps=1).constants(graph, first)


@pytest.mark.parametrize(
    "option",
    [
        {"steps": 0},
        {"batch": 0},
        {"learning_rate": 0},
        {"learning_rate": np.inf},
        {"learning_rate": True},
        {"seed": "x"},
        {"seed": -1},
    ],
)
def test_options_of_optimal_ablation_must_make_sense(option):
    with pytest.raises(AlignmentError, match=f"{next(iter(option))} must be"):
        OptimalAblation(**option)
