"""The network of the zoo that was trained on induction: its answers, its two heads, and the path between them."""

import json
import re
from hashlib import sha256
from importlib.resources import files

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import commute as cm
from commute.errors import NetworkError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.runs import Runs
from commute.models.zoo.__main__ import main
from commute.models.zoo.induction import POSITIONS, InductionNetwork

PREVIOUS, INDUCTION = (0, 3), (1, 1)
PATH = ("a0.h3", "a1.h1<k>")
CIRCUIT = [("input", "a0.h3<v>"), PATH, ("input", "a1.h1<q>"), ("input", "a1.h1<v>"), ("a1.h1", "logits")]


@pytest.fixture(scope="module")
def network():
    return cm.zoo.induction()


@pytest.fixture(scope="module")
def inputs():
    return cm.zoo.induction_sequences(256, seed=1)


@pytest.fixture(scope="module")
def runs(network, inputs):
    return Runs.of(cm.computation_graph(network, inputs), inputs, cm.zoo.induction_sequences(256, seed=2))


def accuracy(runs, keeps):
    answers = torch.from_numpy(cm.zoo.induction_answers(runs.batch))
    return Behaviour.of(runs, "accuracy", answers=answers)(runs.scores(keeps)).mean(-1)


def patterns(network, inputs):
    """What each head attends to, [batch, query, key]."""
    size = len(POSITIONS)
    sites = network.heads("pattern")
    found = network.activations(inputs, list(sites.values()))
    return {head: found[site].reshape(-1, size, size).numpy() for head, site in sites.items()}


# What it does


def test_it_answers_held_out_sequences(network):
    inputs = cm.zoo.induction_sequences(4096, seed=12)
    assert (np.asarray(network.run(inputs)) == cm.zoo.induction_answers(inputs)).mean() >= 0.99


def test_answers_are_what_followed_the_last_token_when_it_came_before(inputs):
    rows = np.stack([inputs[v] for v in POSITIONS], axis=1).tolist()
    assert all(len(set(row[:8])) == 8 and sorted(row[:8]) == sorted(row[8:]) for row in rows)
    assert cm.zoo.induction_answers(inputs).tolist() == [row[row.index(row[-1]) + 1] for row in rows]
    assert {row.index(row[-1]) for row in rows} == set(range(8))


def test_a_last_token_that_came_before_anywhere_decides_and_one_that_did_not_is_an_error(inputs):
    rows = {v: x[:3].copy() for v, x in inputs.items()}
    for v, token in {"t15": 50, "t9": 50, "t10": 51}.items():
        rows[v][1] = token
    assert cm.zoo.induction_answers(rows)[1] == 51
    rows["t15"][2] = 60
    with pytest.raises(NetworkError, match="in 1 of 3 sequences the last token did not come before.* row 2, which ends with 60"):
        cm.zoo.induction_answers(rows)


@pytest.mark.parametrize("n", [-1, 0, 2.5])
def test_sequences_are_at_least_one(n):
    with pytest.raises(NetworkError, match="n must be a whole number of at least 1"):
        cm.zoo.induction_sequences(n, seed=0)


def test_the_seed_decides_the_sequences():
    one, same, other = (cm.zoo.induction_sequences(20, seed=seed)["t0"].tolist() for seed in (4, 4, 5))
    assert one == same != other


def test_loading_it_leaves_torchs_random_state():
    before = torch.random.get_rng_state()
    cm.zoo.induction()
    assert torch.equal(torch.random.get_rng_state(), before)


# Its two heads


def test_one_head_attends_to_the_token_before_and_one_to_what_followed(network, inputs):
    """Of the heads that write anything; the others may attend anywhere."""
    tokens = np.stack([inputs[v] for v in POSITIONS], axis=1)
    followed = (tokens[:, :-1] == tokens[:, -1:]).argmax(1) + 1
    found = patterns(network, inputs)
    assert found[PREVIOUS].diagonal(-1, axis1=1, axis2=2)[:, :7].mean() > 0.95
    assert found[INDUCTION][np.arange(len(tokens)), -1, followed].mean() > 0.9
    weights = [
        layer.attention.o_proj.weight.detach().unflatten(1, (4, -1)).square().sum((0, 2)) for layer in network.module.layers
    ]
    writing = {(i, j) for i, w in enumerate(weights) for j in range(4) if w[j] > 1e-3 * w.max()}
    assert writing == {PREVIOUS, INDUCTION}


def test_the_heads_are_found_by_cutting_one_edge_at_a_time(runs):
    every = residual_edges(runs.graph)
    right = accuracy(runs, [[e for e in every if e != cut] for cut in every])
    assert {edge for edge, x in zip(every, right.tolist(), strict=True) if x < 0.9} == set(CIRCUIT)


@pytest.mark.parametrize("kind", ["other sequences", "mean", "zero"])
def test_cutting_the_one_edge_between_them_ends_the_behaviour(runs, inputs, kind):
    graph = runs.graph
    others = cm.zoo.induction_sequences(1000, seed=3)
    instead = {"other sequences": cm.Resample(others), "mean": cm.Mean(others), "zero": cm.Zero()}[kind]
    every = residual_edges(graph)
    here = Runs.of(graph, inputs, instead)
    whole, cut = accuracy(here, [every, [edge for edge in every if edge != PATH]])
    assert whole == 1
    assert cut < 0.3


def test_the_circuit_keeps_the_answers_and_without_the_path_it_is_refuted(runs):
    circuit = cm.Circuit(runs.graph, CIRCUIT)
    without = [edge for edge in CIRCUIT if edge != PATH]
    right = accuracy(runs, [circuit, without, circuit.complement, []])
    assert right[0] > 0.97
    assert right[1:].max() < 0.3
    assert {*circuit.nodes} == {"input", "a0.h3", "a0.h3<v>", "a1.h1", "a1.h1<q>", "a1.h1<k>", "a1.h1<v>", "logits"}


def test_what_the_path_carries_decides_the_answer(network, inputs):
    """With the keys of another order of the first half, the answer is what the last token is then found after."""
    rotated = {v: inputs[f"t{(i + 1) % 8}"] if i < 8 else inputs[v] for i, v in enumerate(POSITIONS)}
    runs = Runs.of(cm.computation_graph(network, inputs), inputs, rotated)
    every = residual_edges(runs.graph)
    answered = np.asarray(runs.labels([edge for edge in every if edge != PATH]))
    tokens, moved = (np.stack([x[v] for v in POSITIONS], axis=1) for x in (inputs, rotated))
    place = (moved[:, :8] == moved[:, -1:]).argmax(1) + 1  # where the keys say that it follows
    inside = (place < 8) & (place > 1)
    assert inside.sum() > 100
    assert (answered == tokens[np.arange(len(tokens)), place])[inside].mean() > 0.95


# Its files, and how they came about


def test_the_files_are_what_the_record_says():
    folder = files("commute.models.zoo")
    weights = folder.joinpath("induction_24.safetensors").read_bytes()
    record = json.loads(folder.joinpath("induction_24.json").read_text())
    assert record["sha256"] == sha256(weights).hexdigest()
    assert record["accuracy"] >= 0.99
    assert (record["seed"], record["task"]) == (0, "induction over 24 tokens: what followed the same token before")
    assert len(weights) < 300_000


def test_training_it_writes_a_network_that_loads(tmp_path):
    given = ["train", "induction", "--values", "9", "--seed", "2", "--steps", "2", "--to", str(tmp_path)]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    InductionNetwork(9).load_state_dict(load_file(tmp_path / "induction_9.safetensors"))
    record = json.loads((tmp_path / "induction_9.json").read_text())
    assert (record["steps"], record["seed"], record["inputs"]) == (2, 2, 4096 * 8)


def test_training_needs_as_many_tokens_as_a_sequence_has(tmp_path):
    done = CliRunner().invoke(main, ["train", "induction", "--values", "7", "--to", str(tmp_path)])
    assert re.search("there must be at least as many; given 7", str(done.exception))
