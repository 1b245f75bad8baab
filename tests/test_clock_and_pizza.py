"""The example about the clock and the pizza: its sites, its hypotheses, and what tells the two networks apart."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import commute as cm
from commute.cli.main import exit_code
from examples import clock_and_pizza as example

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def networks(shared_models):
    return {name: example.load(shared_models / folder) for name, folder in example.NETWORKS.items()}


def rate(network, alignment, variables, *, algorithm=None, n=400):
    algorithm = algorithm or example.separately()
    pairs = cm.pairs(algorithm, variables, n, design="uniform", seed=7)
    return cm.interchange_accuracy(algorithm, network, alignment, pairs).rate


def by_hand(network, pairs):
    """Answers with the first token's vector and all weights from the source, as the attention reads them, in plain torch."""
    module, block = network.module, network.module.blocks[0]
    (source,) = pairs.sources.values()
    with torch.no_grad():
        x, other = (module.embed.W_E[example.encode(i)] + module.pos_embed.W_pos[:2] for i in (pairs.base, source))
        q, k = (torch.einsum("bpd,hde->bphe", other, w) for w in (block.attn.W_Q, block.attn.W_K))
        scores = torch.einsum("bhe,bkhe->bhk", q[:, -1], k) / q.shape[-1] ** 0.5
        pattern = block.attn.mix * scores.softmax(-1) + 1 - block.attn.mix
        read = torch.stack([other[:, 0], x[:, 1]], 1)
        values = torch.einsum("bpd,hde->bphe", read, block.attn.W_V)
        put = torch.einsum("bhk,bkhe,hed->bd", pattern, values, block.attn.W_O) + block.attn.b_O
        middle = x[:, -1] + put
        return ((middle + block.mlp(middle)) @ module.unembed.W_U)[:, : example.MODULUS].argmax(-1).numpy()


def test_weights_of_another_input_leave_the_pizza_right_and_not_the_clock(networks):
    pairs = cm.pairs(example.separately(), ["left"], 400, design="uniform", seed=7)
    expected = (pairs.sources["left"]["a"] + pairs.base["b"]) % example.MODULUS
    assert np.array_equal(pairs.expected["answer"], expected)
    for name, network in networks.items():
        by_us = rate(network, example.added(network), ["left"])
        assert by_us == pytest.approx((by_hand(network, pairs) == expected).mean(), abs=0.006)  # ties of rounding
        assert (by_us == 1) == (name == "pizza")
        assert by_us > 0.5
        assert rate(network, example.added(network), ["right"]) == 1  # what goes past the attention does not matter


def test_weights_alone_are_neither_networks_right_input(networks):
    for network in networks.values():
        assert rate(network, example.multiplied(network), ["left"]) == 1
        assert rate(network, example.multiplied(network), ["right"]) < 0.1


def test_whole_places_hold_the_sum_but_for_the_weights(networks):
    for network in networks.values():
        for place, sites in example.places(network).items():
            features = [cm.Feature(s) for s in (sites if isinstance(sites, list) else [sites])]
            found = rate(network, cm.Alignment({"sum": features}), ["sum"], algorithm=example.together())
            assert (found == 1) == (place != "attention weights")


def test_the_order_of_the_inputs_is_lost_in_what_the_pizzas_attention_puts_out(networks):
    network = networks["pizza"]
    site = example.places(network)["attention output"]
    a, b = np.divmod(np.arange(example.MODULUS**2), example.MODULUS)
    one, other = (network.activations(i, [site])[site] for i in ({"a": a, "b": b}, {"a": b, "b": a}))
    assert torch.allclose(one, other, atol=1e-4)
    assert one.std(0).max() > 0.1


@pytest.mark.slow
def test_the_sum_is_found_after_the_attention_and_the_inputs_are_not(networks):
    for network in networks.values():
        site = example.places(network)["attention output"]
        by_sum = cm.search(
            example.together(), network, variables=["sum"], sites=[site], method=example.method(16, steps=100), n=2048
        )
        assert rate(network, by_sum.best, ["sum"], algorithm=example.together()) > 0.9
        apart = cm.search(
            example.separately(), network, variables=["left", "right"], sites=[site], method=example.method(8, steps=100), n=1024
        )
        assert max(rate(network, apart.best, [v]) for v in ("left", "right")) < 0.2


def test_a_table_has_a_line_for_each_place():
    sets = ["left", "right", "left+right"]
    told = [("here", v, 4) for v in [*sets, "sum"]] + [("given", v, None) for v in sets]
    rows = pd.DataFrame(told, columns=["place", "variables", "dims"]).assign(iia=0.5, lower=0.414, upper=0.586)
    head, here, given = example.table("pizza", rows).splitlines()
    assert head.split() == ["pizza", "dims", "left", "right", "both", "dims", "sum"]
    assert here.split() == ["here", "4", *["50", "[41,59]"] * 3, "4", "50", "[41,59]"]
    assert given.split() == ["given", *["50", "[41,59]"] * 3]
    assert here.index("[41") == given.index("[41")
    assert len(here) == len(head) <= 100


@pytest.mark.slow
def test_the_claim_that_vectors_are_only_added_tells_the_two_apart(shared_models, tmp_path):
    file = f"{ROOT / 'examples' / 'clock_and_pizza.py'}::embeddings_added"
    statuses = {}
    for name, folder in example.NETWORKS.items():
        code = exit_code(["run", file, "-P", f"folder={shared_models / folder}", "-P", "n=6000", "--runs", str(tmp_path / name)])
        (run,) = (tmp_path / name).iterdir()
        statuses[name] = code, cm.Verdict.load(run).status
    assert statuses == {"pizza": (0, "holds"), "clock": (1, "refuted")}


def test_without_the_networks_it_says_what_to_give(tmp_path):
    given = [sys.executable, "examples/clock_and_pizza.py", "--folder", str(tmp_path)]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has no model.safetensors; give a folder of trained weights" in done.stderr
