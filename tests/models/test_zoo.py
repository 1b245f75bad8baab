"""The networks that ship."""

import json
import re
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import commute as cm
from benchmarks.provable import trained
from commute.errors import NetworkError
from commute.models.zoo.__main__ import main
from commute.models.zoo.equality import SIZES, EqualityNetwork


@pytest.mark.parametrize("values", SIZES)
def test_the_zoo_networks_are_right_on_every_input(values):
    net = cm.zoo.hierarchical_equality(values)
    a, b, c, d = np.stack(np.meshgrid(*[np.arange(values)] * 4, indexing="ij"), -1).reshape(-1, 4).T
    assert net.module.embed.weight.shape == (values, 8)
    assert (np.asarray(net.run({"a": a, "b": b, "c": c, "d": d})) == ((a == b) == (c == d))).all()


@pytest.mark.parametrize("values", SIZES)
def test_the_zoo_files_are_what_their_records_say(values):
    folder = Path(str(files("commute.models.zoo")))
    record = json.loads((folder / f"hierarchical_equality_{values}.json").read_text())
    assert record["sha256"] == sha256((folder / f"hierarchical_equality_{values}.safetensors").read_bytes()).hexdigest()
    assert record["accuracy"] == 1.0
    assert record["inputs"] == values**4
    assert f"over {values} objects, trained on the output alone" in record["task"]


def test_the_zoo_ships_what_it_lists_and_little_else():
    folder = Path(str(files("commute.models.zoo")))
    weights = {p.name: p for p in folder.glob("*.safetensors")}
    assert set(weights) == {*(f"hierarchical_equality_{values}.safetensors" for values in SIZES), "induction_24.safetensors"}
    assert sum(p.stat().st_size for p in weights.values()) < 400_000
    eight = sha256(weights["hierarchical_equality_8.safetensors"].read_bytes()).hexdigest()
    assert eight == "ab3c6ba070dec7cc4c21fcd6479935b86e774d6436d47f2ed65a188f0c88d528"


@pytest.mark.parametrize("values", [5, 0, 8.0, np.float32(8), True, "8", None])
def test_sizes_that_the_zoo_lacks_are_told_with_those_it_has(values):
    with pytest.raises(NetworkError, match=re.escape(f"values={values!r}; it has 4, 6, 8, 12, 16 and 20")):
        cm.zoo.hierarchical_equality(values)


def test_the_zoo_leaves_torchs_random_state():
    before = torch.random.get_rng_state()
    given = cm.zoo.hierarchical_equality(np.int64(6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(w.device.type == "cpu" and w.requires_grad for w in given.module.parameters())


def test_training_a_zoo_network_writes_a_network_that_loads(tmp_path):
    done = CliRunner().invoke(
        main, ["train", "hierarchical_equality", "--values", "5", "--seed", "2", "--steps", "3", "--to", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    EqualityNetwork(5).load_state_dict(load_file(tmp_path / "hierarchical_equality_5.safetensors"))
    record = json.loads((tmp_path / "hierarchical_equality_5.json").read_text())
    assert (record["steps"], record["seed"], record["inputs"]) == (3, 2, 5**4)


def test_training_by_interchange_takes_no_weight_decay():
    with pytest.raises(NetworkError, match="has no weight decay; given weight_decay=0.1"):
        trained(3, interchange=True, weight_decay=0.1)
