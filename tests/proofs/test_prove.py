"""`prove`: what it says, how it goes on, and what it refuses."""

import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.proofs.proving import refinement
from commute.proofs.proving.growing import keep, kept
from commute.proofs.proving.posing import posed
from commute.proofs.proving.refinement import Growth, refine
from commute.recheck import recheck


@pytest.fixture(scope="module")
def leaky() -> "cm.organisms.Organism":
    return cm.organisms.compile(cm.library.hierarchical_equality(3), leak={"left": 0.2}, seed=1)


@pytest.fixture(scope="module")
def proved(leaky) -> cm.Certificate:
    return cm.prove(leaky.algorithm, leaky.network, leaky.alignment, variables=["left"], method="enumeration")


def test_refinement_says_what_enumeration_says(leaky, proved, monkeypatch):
    monkeypatch.setattr(refinement, "_FEW", 1)
    found = cm.prove(leaky.algorithm, leaky.network, leaky.alignment, variables=["left"], method="refinement")
    (one,), (other,) = found.outcomes, proved.outcomes
    assert one.wrong > 0
    assert (one.right, one.wrong, one.first, one.undecided) == (other.right, other.wrong, other.first, 0)
    assert found.lower == found.upper < 1


@pytest.mark.parametrize("method", ["refinement", "auto", "enumeration"])
def test_a_cut_off_proof_goes_on_to_the_same_certificate(leaky, method, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "_FEW", 4)
    monkeypatch.setattr(refinement, "_AT_ONCE", 2)
    monkeypatch.setattr(refinement, "_ROUND", 500)
    arguments = leaky.algorithm, leaky.network, leaky.alignment
    whole = cm.prove(*arguments, variables=[["left"], ["right"]], method=method)
    whole.save(tmp_path / "whole")
    parts = 0
    while True:
        part = cm.prove(*arguments, variables=[["left"], ["right"]], method=method, budget="4 bounds", runs=tmp_path / "runs")
        parts += 1
        assert part.lower <= whole.lower <= whole.upper <= part.upper
        if not part.undecided:
            break
    assert parts > 1
    part.save(tmp_path / "parts")
    for name in ("certificate.json", "certificate.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


KILLED = """
import os
import signal
import sys

import torch

import commute as cm
from commute.proofs import prove
from commute.proofs.proving import refinement

torch.set_num_threads(1)
prove._EVERY = -1.0  # what was found is kept after every round
refinement._FEW, refinement._AT_ONCE = 4, 2
leaky = cm.organisms.compile(cm.library.hierarchical_equality(3), leak={"left": 0.2}, seed=1)
rounds = []

def on_event(event):
    rounds.append(event.variables)
    if rounds.count(("left",)) == 3:  # of which the first two were kept
        os.kill(os.getpid(), signal.SIGKILL)

arguments = leaky.algorithm, leaky.network, leaky.alignment
cm.prove(*arguments, variables=[["right"], ["left"]], method="refinement", runs=sys.argv[1], on_event=on_event)
"""


def test_a_killed_proof_goes_on_to_the_same_certificate(leaky, tmp_path, monkeypatch):
    """Killed amid the second set: the first is not begun anew, and the second goes on after the rounds that were kept."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "runs")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    monkeypatch.setattr(refinement, "_FEW", 4)
    monkeypatch.setattr(refinement, "_AT_ONCE", 2)
    arguments = leaky.algorithm, leaky.network, leaky.alignment
    rounds = {"whole": [], "resumed": []}
    for name, seen in rounds.items():
        runs = tmp_path / "runs" if name == "resumed" else None
        made = cm.prove(*arguments, variables=[["right"], ["left"]], method="refinement", runs=runs, on_event=seen.append)
        made.save(tmp_path / name)
    kept = [event.variables for event in rounds["whole"]].index(("left",)) + 2
    assert rounds["resumed"] == rounds["whole"][kept:] != []
    for name in ("certificate.json", "certificate.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()


def test_an_unfinished_proof_can_be_rechecked(leaky, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "_FEW", 1)
    monkeypatch.setattr(refinement, "_AT_ONCE", 2)
    part = cm.prove(leaky.algorithm, leaky.network, leaky.alignment, variables=["left"], method="refinement", budget="2 bounds")
    assert part.level == "sound"
    assert part.lower < part.upper
    part.save(tmp_path)
    assert recheck(tmp_path).upper == part.upper


def test_what_was_kept_is_what_was_found(leaky, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "_FEW", 2)
    statement = posed(leaky.algorithm, leaky.network, leaky.alignment, ["left"])
    growth = Growth.begun(statement)
    refine(growth, budget=cm.Budget(bounds=200), counting=False)
    keep(growth, tmp_path / "proof")
    again = kept(statement, tmp_path / "proof")
    assert again is not None
    assert again.outcome() == growth.outcome()
    assert [(p, e.kind) for p, e in sorted(again.entries.items())] == [(p, e.kind) for p, e in sorted(growth.entries.items())]
    assert kept(statement, tmp_path / "nothing") is None
    (tmp_path / "proof").write_bytes((tmp_path / "proof").read_bytes()[:-3])
    with pytest.raises(cm.CommuteError, match="remove it to begin anew"):
        kept(statement, tmp_path / "proof")


@pytest.mark.slow
def test_workers_find_the_same(leaky, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "_FEW", 4)
    arguments = leaky.algorithm, leaky.network, leaky.alignment
    cm.prove(*arguments, variables=["left"], method="refinement").save(tmp_path / "here")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        cm.prove(*arguments, variables=["left"], method="refinement", executor=pool).save(tmp_path / "there")
    for name in ("certificate.json", "certificate.safetensors"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_the_zoo_network_is_proved_with_few_bounds():
    """16.8 million pairs, each of which random sampling could only have made likely."""
    algorithm, network = cm.library.hierarchical_equality(8), cm.zoo.hierarchical_equality()
    method = cm.DAS(dims=8, restarts=1, steps=200)
    found = cm.search(algorithm, network, variables=["left", "right"], sites=network.sites("relu1"), method=method, n=4096)
    certificate = cm.prove(algorithm, network, found.best, variables=["left"], method="refinement", budget="16000 bounds")
    (outcome,) = certificate.outcomes
    assert outcome.total == 4096**2
    assert outcome.undecided == 0
    assert outcome.bounds + outcome.evaluated < outcome.total / 1000
    rng = np.random.default_rng(0)
    pairs = cm.pairs(algorithm, ["left"], 2000, design="uniform", seed=int(rng.integers(1000)))
    sampled = cm.interchange_accuracy(algorithm, network, found.best, pairs)
    assert abs(sampled.rate - float(certificate.lower)) < 0.01


class Ties(nn.Module):
    """Scores that are exactly equal where both inputs are one."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.site(x)
        return torch.stack([x[:, 0] * 0 + 1, x[:, 0] + x[:, 1]], 1)


def test_an_exact_tie_is_left_undecided():
    bit = cm.Finite(range(2))
    algorithm = cm.CausalModel("or", {"a": bit, "b": bit}, {"x": lambda a: a, "both": lambda x, b: x + b > 1},
                               domains={"x": bit})  # fmt: skip
    network = cm.Network(
        Ties(),
        encode=lambda batch: torch.stack([torch.from_numpy(batch[v]).float() for v in "ab"], 1),
        decode=lambda scores: scores.argmax(-1).bool(),
    )
    alignment = cm.Alignment({"x": cm.Feature(network.site("site"), cm.Orthogonal(torch.tensor([[1.0], [0.0]])))})
    certificate = cm.prove(algorithm, network, alignment)
    assert (certificate.lower, certificate.upper) == (Fraction(1, 2), Fraction(1))


def test_what_does_not_fit_is_said(leaky):
    arguments = leaky.algorithm, leaky.network, leaky.alignment
    with pytest.raises(cm.CommuteError, match="aligned variable 'lefd'.*'left'|lefd"):
        cm.prove(*arguments, variables=["lefd"])
    with pytest.raises(cm.CommuteError, match="given \"left\"|given 'left'"):
        cm.prove(*arguments, variables="left")
    with pytest.raises(cm.CommuteError, match="not both"):
        cm.prove(*arguments, variables=["left", ["right"]])
    with pytest.raises(cm.CommuteError, match="enumerate|enumeration"):
        cm.prove(*arguments, method="enumerate")
    with pytest.raises(cm.CommuteError, match="executor"):
        cm.prove(*arguments, executor=2)
    with pytest.raises(cm.CommuteError, match="budget"):
        cm.prove(*arguments, budget="soon")
    with pytest.raises(cm.CommuteError, match="within"):
        cm.prove(*arguments, within=0.1, method="enumeration")
    with pytest.raises(cm.CommuteError, match="say by within= how close"):
        cm.prove(*arguments, near={})
