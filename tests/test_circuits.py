"""The example about circuits: on the small network, and on the one that adds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import commute as cm
from examples import circuits as example

ROOT = Path(__file__).parents[1]


def column(rows, measure):
    """The measure in a study's table, by the first of what flows instead."""
    return rows.xs(measure, axis=1, level=1).iloc[:, 0]


@pytest.fixture(scope="module")
def network(shared_models):
    return example.load(shared_models / "apollo_modadd113_seed2")


def test_without_the_path_between_the_heads_the_behaviour_is_gone():
    study = example.induction(128, pairs=128)
    assert study.verdicts["the circuit without the path"].status == "refuted"
    right = column(study.circuits, "accuracy")
    assert right["the whole network"] == 1
    assert right["the circuit"] > 0.97
    assert right[["the circuit without the path", "all but the path", "all but the circuit", "nothing"]].max() < 0.3
    edges = column(study.edges, "accuracy")
    assert len(edges) == 81
    assert set(edges[edges < 0.9].index) == {
        "input->a0.h3<v>",
        "a0.h3->a1.h1<k>",
        "input->a1.h1<q>",
        "input->a1.h1<v>",
        "a1.h1->logits",
    }


@pytest.mark.slow
def test_the_claim_of_the_circuit_holds():
    graph = cm.computation_graph(cm.zoo.induction(), cm.zoo.induction_sequences(4, seed=0))
    circuit = cm.Circuit(graph, keep=example.induced("a0.h3", "a1.h1"))
    verdict = cm.verify(circuit, cm.zoo.induction_sequences(6000, seed=5), n=3000, controls=5, tested=1)
    assert verdict.status == "holds"


def test_the_network_with_hook_points_computes_what_the_original_does(network, shared_models, tmp_path):
    inputs = example.sums()
    assert (np.asarray(network.run(inputs)) == (inputs["a"] + inputs["b"]) % example.MODULUS).all()
    (tmp_path / "model.safetensors").touch()
    source = (shared_models / "nets.py").read_text()
    (tmp_path.parent / "nets.py").write_text(source + LOADS_ANOTHER.format(models=str(shared_models)))
    with pytest.raises(cm.CommuteError, match="gives other logits, by up to .*; it must be causal"):
        example.load(tmp_path)


LOADS_ANOTHER = """
def load(name, folder, _load=load):
    module, arch = _load("apollo_modadd113_seed2", Path({models!r}))
    module.blocks[0].attn.causal = False
    return module, arch
"""


def test_thirteen_edges_keep_every_answer_and_the_others_none(network):
    drawn = np.random.default_rng(0).choice(example.MODULUS**2, 300, replace=False)
    study = example.addition(network, {v: x[drawn] for v, x in example.sums().items()})
    assert study.verdicts["the circuit"].status != "refuted"  # too few sums are answered alike with nothing kept to say more
    assert study.verdicts["the circuit without keys"].status == "refuted"
    sizes, right = study.circuits["", "edges"], study.circuits.xs("accuracy", axis=1, level=1)
    assert sizes[["the whole network", "the circuit", "all but the circuit", "nothing"]].tolist() == [23, 13, 10, 0]
    assert sizes[["at single positions", "all but these"]].tolist() == [21, 71]
    assert (right.loc[["the whole network", "the circuit", "at single positions"]] == 1).all(axis=None)
    assert (right.loc[["all but the circuit", "all but these", "nothing"]] < 0.05).all(axis=None)
    assert (right.loc[[f"all but {h}" for h in example.HEADS] + ["the circuit without keys"]] < 0.8).all(axis=None)
    losses = study.edges.xs("divergence", axis=1, level=1).max(axis=1)
    assert (losses > 0.3).sum() == 13
    assert losses.nsmallest(10).max() < 0.01


def test_heads_that_write_nothing_are_not_chosen_for_where_they_attend():
    network, inputs = cm.zoo.induction(), cm.zoo.induction_sequences(64, seed=3)
    assert example.attending(network, inputs) == ("a0.h3", "a1.h1")
    with torch.no_grad():
        for layer, head in ((0, 3), (1, 1)):
            network.module.layers[layer].attention.o_proj.weight.unflatten(1, (4, -1))[:, head] = 0
    previous, copying = example.attending(network, inputs)
    assert previous != "a0.h3"
    assert copying != "a1.h1"


def test_tables_list_the_edges_that_matter_and_fit_a_terminal():
    tables, verdicts = example.told(example.induction(64, pairs=64)).split("\n\nthe circuit: ")
    lines = tables.splitlines()
    assert max(map(len, lines)) <= 100
    assert verdicts.startswith("inconclusive: with 5 of 81 edges of 'induction' kept")
    assert "the circuit without the path: refuted: with 4 of 81 edges" in verdicts
    assert lines[0] == "induction: a0.h3 attends to the token before, a1.h1 to what followed; the path is a0.h3->a1.h1<k>"
    assert lines[-1] == "each of the 76 other edges: divergence below 0.05"
    assert "-0.000" not in "".join(lines)


def test_the_example_runs_as_a_script(tmp_path):
    given = [sys.executable, "examples/circuits.py", "--sequences", "64", "--pairs", "64"]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "the circuit without the path" in done.stdout
    done = subprocess.run([*given, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has no model.safetensors; give a folder of trained weights" in done.stderr
