import json
import sys
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from pathlib import Path

import pytest

import commute as cm
from commute.cli.main import exit_code
from commute.cli.replay import label_of, labels_of
from commute.proofs.counterexample import Counterexample
from commute.proofs.run import run_claim
from tests import planted

CLAIMS = """
import commute as cm
from tests import planted

@cm.claim
def planted_claim(fault: str = "backup", n: int = 300) -> cm.Claim:
    return cm.Claim(planted.algorithm(), planted.network(fault), alignment=planted.alignment(), n=n, battery="quick")
"""
NEIGHBOUR = """
import commute as cm
import network_of
from tests import planted

@cm.claim
def of_a_neighbour() -> cm.Claim:
    return cm.Claim(planted.algorithm(), network_of.made(), alignment=planted.alignment(), n=300, battery="quick")
"""
MENDED = """
import torch
from tests import planted

def made():
    network = planted.network()
    network.module.register_buffer("new", torch.ones(1))
    return network
"""
LABELS = """
import commute as cm, torch
from fractions import Fraction
from tests import planted
LABELS = (Fraction(1, 2), "a", None, (1, (2, 3)))

@cm.claim
def labelled() -> cm.Claim:
    labels = cm.Finite(LABELS)
    mechanisms = {"left": lambda a, b: a == b, "right": lambda c, d: c == d, "same": lambda left, right: left == right}
    algorithm = cm.CausalModel("m", dict.fromkeys("abcd", labels), mechanisms)
    encode = lambda i: torch.tensor([[LABELS.index(i[v][r]) for v in "abcd"] for r in range(len(i["a"]))])
    network = cm.Network(planted.Planted("backup"), encode=encode, decode=lambda x: x.argmax(-1).bool())
    return cm.Claim(algorithm, network, alignment=planted.alignment(), n=300, battery="quick")
"""


class Colour(Enum):
    RED = 1


@dataclass(frozen=True)
class Point:
    x: int
    y: tuple


AWKWARD = cm.Finite([(1, (2, "b")), Fraction(1, 3), Colour.RED, Point(1, (2,)), None, True, 2.5, "text", b"bytes", ()])


@pytest.fixture
def kept(tmp_path, capsys):
    """Run a file of claims; the folder of the run."""

    def run(text, *parameters):
        path = tmp_path / "claims.py"
        path.write_text(text)
        exit_code(["run", str(path), *parameters, "--runs", str(tmp_path / "runs")])
        (folder,) = (tmp_path / "runs").iterdir()
        capsys.readouterr()
        return folder

    return run


def replayed(folder, capsys):
    code = exit_code(["replay", str(folder)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out + captured.err


def edited(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_counterexample_comes_out_as_recorded(kept, capsys):
    folder = kept(CLAIMS)
    recorded = cm.Verdict.load(folder).counterexample
    code, said = replayed(folder, capsys)
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == f"planted_claim, {recorded.slice}"
    told = dict(line.strip().split("  ", 1) for line in lines[1:-1])
    assert told["base"].strip() == ", ".join(f"{v}={x}" for v, x in recorded.base.items())
    assert told["right from"].strip() == ", ".join(f"{v}={x}" for v, x in recorded.sources["right"].items())
    assert told["the algorithm says"].strip() == f"same={recorded.expected['same']}"
    assert told["the network says"].strip() == str(recorded.answered)
    assert lines[-1] == "They still differ, as recorded."


def test_labels_that_json_lacks_are_replayed(kept, capsys):
    folder = kept(LABELS)
    assert "1/2" in (folder / "verdict.json").read_text()
    code, said = replayed(folder, capsys)
    assert code == 0, said
    assert "They still differ, as recorded." in said


def test_parameters_are_those_of_the_run(kept, capsys):
    folder = kept(CLAIMS.replace('"backup"', '""'), "-P", "fault=backup")
    assert replayed(folder, capsys)[0] == 0


def test_what_comes_out_otherwise_exits_1_and_says_what_changed(kept, tmp_path, capsys, monkeypatch):
    neighbour = tmp_path / "network_of.py"
    neighbour.write_text("from tests import planted\nmade = lambda: planted.network('backup')\n")
    folder = kept(NEIGHBOUR)
    neighbour.write_text(MENDED)
    monkeypatch.delitem(sys.modules, "network_of")
    code, said = replayed(folder, capsys)
    assert code == 1
    assert "They no longer differ; recorded is that the algorithm said same=" in said
    assert said.endswith("\nBy their hashes, the network changed since.\n")


def test_a_record_that_was_altered_exits_1(kept, capsys):
    folder = kept(CLAIMS)
    record = json.loads((folder / "verdict.json").read_text())["counterexample"]
    edited(folder / "verdict.json", counterexample={**record, "answered": "other"})
    code, said = replayed(folder, capsys)
    assert code == 1
    assert "They still differ; recorded is" in said
    assert "the network 'other'.\nBy their hashes, neither the algorithm nor the network changed since." in said


def test_the_claim_of_the_demo_is_known(tmp_path, capsys, monkeypatch):
    claim = cm.Claim(planted.algorithm(), planted.network("backup"), alignment=planted.alignment(), n=300, battery="quick")
    folder = run_claim(claim, name="demo", runs=tmp_path).folder
    monkeypatch.setattr("commute.cli.replay.hierarchical_equality", lambda: claim)
    code, said = replayed(folder, capsys)
    assert code == 0
    assert said.startswith("demo, ")


def test_a_claim_made_in_python_is_told_as_python(tmp_path, capsys):
    claim = cm.Claim(planted.algorithm(), planted.network("backup"), alignment=planted.alignment(), n=300, battery="quick")
    claim.verify(runs=tmp_path)
    (folder,) = tmp_path.iterdir()
    code, said = replayed(folder, capsys)
    assert code == 2
    assert f"alignment = cm.Alignment.load('{folder / 'alignment'}')" in said
    assert cm.Verdict.load(folder).counterexample.replayed_by in said


def test_what_is_read_out_is_read_out_again(kept, capsys, monkeypatch):
    folder = kept(CLAIMS)
    record = json.loads((folder / "verdict.json").read_text())["counterexample"]
    edited(folder / "verdict.json", counterexample={**record, "read_out": "right"})
    seen = []

    def replay(*given, read_out=None):
        seen.append((*given[3:], read_out))
        return cm.Verdict.load(folder).counterexample

    monkeypatch.setattr("commute.cli.replay.replay", replay)
    code, said = replayed(folder, capsys)
    assert code == 0
    assert seen == [(record["base"], record["sources"], "right")]
    assert "right read out of" in said


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: edited(f / "run.json", file=str(f / "gone.py")), "gone.py, which is not there"),
        (lambda f: Path(json.loads((f / "run.json").read_text())["file"]).write_text("x = 1"), "claims.py has changed since"),
        (lambda f: edited(f / "verdict.json", counterexample=None), "has no counterexample to replay; its verdict is 'refuted'"),
        (lambda f: edited(f / "run.json", hashes=3), "run.json is not as written: TypeError"),
        (lambda f: (f / "run.json").write_text("{"), "run.json is not as written: JSONDecodeError"),
        (lambda f: (f / "run.json").unlink(), "is not the folder of a run: there is no"),
        (lambda f: (f / "verdict.json").unlink(), "does not hold a verdict"),
        (lambda f: (f / "alignment" / "alignment.json").unlink(), "does not hold a saved alignment"),
        (lambda f: edited(f / "run.json", parameters={"m": "3"}), "there is no parameter 'm'"),
    ],
)
def test_what_cannot_be_replayed_exits_2(kept, capsys, spoil, said):
    folder = kept(CLAIMS)
    spoil(folder)
    code, told = replayed(folder, capsys)
    assert code == 2
    assert said in told


def test_no_such_folder_exits_2(capsys):
    code, said = replayed("nowhere", capsys)
    assert code == 2
    assert "nowhere is not the folder of a run" in said


def test_every_label_is_found_again_from_a_verdict(tmp_path):
    model = cm.CausalModel("m", {f"x{i}": AWKWARD for i in range(len(AWKWARD))}, {"y": lambda x0: x0 is None})
    base = dict(zip(model.inputs, AWKWARD, strict=True))
    verdict = cm.verify(planted.algorithm(), planted.network(), planted.alignment(), n=10, battery="quick")
    replace(verdict, counterexample=Counterexample("slice", base, {"y": base}, {"y": True}, False)).save(tmp_path)
    written = cm.Verdict.load(tmp_path).counterexample
    assert written.base != base
    assert list(labels_of(model, written.base).values()) == list(AWKWARD)
    assert list(map(type, labels_of(model, written.sources["y"]).values())) == list(map(type, AWKWARD))


def test_a_real_number_is_itself():
    assert label_of("x", cm.Interval(0, 1), 0.1) == 0.1


@pytest.mark.parametrize(
    ("labels", "recorded", "said"),
    [
        ([(1, 2), 3], [1, 3], r"has \[1, 3\] for 'x', as which a verdict writes no label of its domain"),
        (["1/2", Fraction(1, 2)], "1/2", r"has '1/2' for 'x', as which a verdict writes each of '1/2', Fraction\(1, 2\)"),
    ],
)
def test_a_label_that_cannot_be_told_is_an_error(labels, recorded, said):
    with pytest.raises(cm.CommuteError, match=said):
        label_of("x", cm.Finite(labels), recorded)
