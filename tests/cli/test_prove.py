"""`commute prove` and `commute recheck`."""

import io
import json
import re
import subprocess
import sys

import pytest
from rich.console import Console
from safetensors.torch import save_file

import commute as cm
from commute.causal.library import hierarchical_equality
from commute.cli.main import exit_code
from commute.runs.events import ProofAdvanced

CLAIMS = """
import commute as cm
from commute.causal.library import hierarchical_equality
from tests import planted

@cm.claim
def proved(at_least: float = 0.95, leak: float = 0.0, seed: int = 1, n: int = 100) -> cm.Claim:
    disguise = {"leak": {"left": leak}} if leak else {}
    o = cm.organisms.compile(hierarchical_equality(2), seed=seed, **disguise)
    return cm.Claim(o.algorithm, o.network, alignment=o.alignment, n=n, at_least=at_least, battery="quick", budget="7 bounds")

@cm.claim
def unproved() -> cm.Claim:
    return cm.Claim(planted.algorithm(), planted.network(), alignment=planted.alignment(), n=100, battery="quick")
"""


@pytest.fixture
def ask(tmp_path):
    (tmp_path / "claims.py").write_text(CLAIMS)

    def run(name, *arguments):
        return exit_code(["prove", f"{tmp_path / 'claims.py'}::{name}", "--runs", str(tmp_path / "runs"), *arguments])

    return run


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("proved", ("--budget", "10m"), 0),
        ("proved", ("--budget", "10m", "-P", "leak=0.6", "-P", "at_least=0.99", "-P", "n=2"), 1),
        ("proved", ("--budget", "1 bounds", "-P", "leak=0.6", "-P", "at_least=0.5", "-P", "n=2"), 4),
        ("unproved", (), 4),
        ("proved", ("--budget", "soon"), 2),
        ("proved", ("-P", "many=1"), 2),
        ("none", (), 5),
    ],
)
def test_exit_codes(ask, name, arguments, code):
    assert ask(name, *arguments) == code


def test_the_proof_is_told_with_its_bounds_and_where_its_certificate_is(ask, tmp_path, capsys):
    assert ask("proved", "--budget", "10m") == 0
    captured = capsys.readouterr()
    (folder,) = (tmp_path / "runs").iterdir()
    out = " ".join(captured.out.split())
    assert "INCONCLUSIVE" in out
    assert "exact: left + right: every pair: IIA = 1.000000, 4,096 of 4,096 pairs are right" in out
    where = folder / "certificate"
    assert captured.out.splitlines()[-2:] == [f"certificate: {where}", f"recheck it: commute recheck {where}"]
    assert "proof: left: [1.0000, 1.0000] after" in captured.err
    assert json.loads((folder / "run.json").read_text())["budget"] == "600 seconds"
    advanced = [json.loads(x) for x in (folder / "events.jsonl").read_text().splitlines() if "ProofAdvanced" in x]
    assert {tuple(x["variables"]) for x in advanced} == {("left",), ("right",), ("left", "right")}


def test_without_a_budget_the_claims_own_is_taken(ask, tmp_path):
    ask("proved")
    (folder,) = (tmp_path / "runs").iterdir()
    run = json.loads((folder / "run.json").read_text())
    assert (run["budget"], run["battery"][-1], run["battery"][0]) == ("7 bounds", "proof", "no intervention")


def test_a_claim_that_is_run_is_not_proved_and_has_no_certificate(tmp_path, capsys):
    (tmp_path / "claims.py").write_text(CLAIMS)
    assert exit_code(["run", f"{tmp_path / 'claims.py'}::proved", "--runs", str(tmp_path / "runs")]) == 4
    assert "every pair" not in capsys.readouterr().out
    assert not list((tmp_path / "runs").glob("*/certificate"))


def test_json_has_the_proofs(ask, capsys):
    assert ask("proved", "--budget", "10m", "--json") == 0
    captured = capsys.readouterr()
    (told,) = [json.loads(line) for line in captured.out.splitlines()]
    assert [p["right"] for p in told["proofs"]] == [256, 256, 4096]
    assert captured.err == ""


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A run's folder, its certificate's and the network's weights."""
    tmp = tmp_path_factory.mktemp("certified")
    o = cm.organisms.compile(hierarchical_equality(2), seed=1)
    cm.Claim(o.algorithm, o.network, alignment=o.alignment, n=20, battery=["interchange", "proof"]).verify(runs=tmp / "runs")
    (folder,) = (tmp / "runs").iterdir()
    save_file({k: x.contiguous() for k, x in o.network.module.state_dict().items()}, tmp / "weights.safetensors")
    other = cm.organisms.compile(hierarchical_equality(2), seed=2)
    save_file({k: x.contiguous() for k, x in other.network.module.state_dict().items()}, tmp / "others.safetensors")
    return folder, folder / "certificate", tmp


def test_a_certificate_is_accepted_by_its_folder_and_its_runs(certified, capsys):
    run, certificate, tmp = certified
    assert exit_code(["recheck", str(certificate)]) == 0
    assert "accepted: exact, IIA in [1, 1]; no weights were given" in capsys.readouterr().out
    assert exit_code(["recheck", str(run), "--network", str(tmp / "weights.safetensors")]) == 0
    assert "the network's weights are those given" in capsys.readouterr().out


def test_a_certificate_is_rejected_with_the_reason(certified, tmp_path, capsys):
    _, certificate, tmp = certified
    assert exit_code(["recheck", str(certificate), "--network", str(tmp / "others.safetensors")]) == 1
    assert re.search(r"rejected: the digest of the weights in .*others\.safetensors is ", capsys.readouterr().err)
    for name in ("certificate.json", "certificate.safetensors"):
        (tmp_path / name).write_bytes((certificate / name).read_bytes())
    text = (tmp_path / "certificate.json").read_text()
    (tmp_path / "certificate.json").write_text(text.replace('"total": 256', '"total": 255'))
    assert exit_code(["recheck", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("rejected: ")
    assert captured.out == ""


def test_a_folder_without_a_certificate_exits_2(certified, tmp_path, capsys):
    for folder in (tmp_path / "nowhere", tmp_path):
        assert exit_code(["recheck", str(folder)]) == 2
        assert (
            f"{folder} holds no certificate: there is no certificate.json and no certificate.safetensors"
            in capsys.readouterr().err
        )
    assert exit_code(["recheck", str(certified[1]), "--network", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_help_says_the_exit_codes_and_needs_no_torch():
    asked = "import sys; from commute.cli.main import exit_code; exit_code(['{}', '--help']); "
    for command, said in (("prove", "Exit codes: 0 every set"), ("recheck", "Exit codes: 0 accepted, 1 rejected")):
        program = asked.format(command) + "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
        out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        assert said in " ".join(out.split())
        assert out.splitlines()[-1] == "[]"


def test_progress_has_a_line_for_each_proof_that_is_complete():
    console = Console(file=io.StringIO(), width=120)
    with cm.progress(console) as listen:
        for lower, upper, bounds in ((0.0, 1.0, 1), (0.25, 0.5, 1024), (0.4, 0.4, 2048)):
            listen(ProofAdvanced(("left", "right"), lower, upper, bounds, 7))
    lines = [line for line in console.file.getvalue().splitlines() if line]
    assert lines == ["  proof: left + right: [0.4000, 0.4000] after 2,048 bounds, 7 evaluated"]
