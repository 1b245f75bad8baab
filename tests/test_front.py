"""What a newcomer meets first: the README, the Makefile and the examples."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import commute as cm
from commute.cli.main import exit_code

ROOT = Path(__file__).parents[1]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # the tests share two cores


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench"])
def test_make_targets_make_their_environment_first(target):
    done = subprocess.run(["make", "-n", "-W", "pyproject.toml", target], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    made = next(i for i, line in enumerate(lines) if "pip install" in line)
    assert "--constraint constraints.txt" in lines[made]
    assert any(line.startswith(".venv/bin/") for line in lines[made + 2 :])


def test_ci_runs_lint_and_tests():
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert script.index("make lint") < script.index("make test")


def readme_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readmes_quickstart_is_the_example():
    assert (ROOT / "examples" / "hierarchical_equality.py").read_text() in readme_blocks("python")


@pytest.mark.slow
def test_the_readmes_quickstart_runs(tmp_path, capsys):
    path = tmp_path / "quickstart.py"
    path.write_text(readme_blocks("python")[0])
    assert exit_code(["run", f"{path}::hierarchical_equality", "--runs", str(tmp_path / "runs")]) == 0
    assert "HOLDS" in capsys.readouterr().out


def test_the_readmes_own_module_runs(tmp_path):
    """The ten lines for a module of one's own, as they stand there."""
    program = readme_blocks("python")[1]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path, env=ONE_THREAD
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"(holds|refuted|inconclusive): ", done.stdout)


@pytest.mark.slow
def test_the_readmes_search_runs(capsys):
    exec(compile(readme_blocks("python")[2], "README.md", "exec"), {})
    assert re.search(r"dims +worst +iia +site\n(.*\n){4}IIA [01]\.\d+ \[", capsys.readouterr().out)


def test_the_readmes_verdicts_run(capsys):
    exec(compile(readme_blocks("python")[3], "README.md", "exec"), {})
    refuted, search, honest = re.fullmatch(
        r"(refuted: .*)\n(left: counterexample search: .*)\n(.*)\n", capsys.readouterr().out, re.DOTALL
    ).groups()
    assert "left: changed: IIA is at most" in refuted
    assert "the algorithm says same=" in search
    assert honest.startswith("holds [('left: rival rival'")


def test_the_readmes_models_run(capsys):
    """The lines about causal models by themselves say what they print."""
    program = readme_blocks("python")[9]
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*# (.*)", program)


@pytest.mark.slow
def test_the_demo_holds_with_controls_well_below(tmp_path, capsys):
    assert exit_code(["demo", "--runs", str(tmp_path)]) == 0
    assert "HOLDS" in capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    verdict = cm.Verdict.load(folder)
    assert (verdict.at_least, verdict.confidence) == (0.95, 0.99)
    assert {e.variables for e in verdict.slices} == {(), ("left",), ("right",), ("left", "right")}
    assert min(e.lower for e in verdict.slices) >= 0.95
    assert max(e.upper for e in verdict.controls) < 0.8
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_the_zoo_network_does_not_run_a_wrong_algorithm_with_as_many_variables():
    shapes = cm.Finite(range(8))
    wrong = cm.CausalModel(
        "wrong",
        dict.fromkeys("abcd", shapes),
        {"left": lambda a, b: a == b, "right": lambda c, a: c != a, "same": lambda left, right: left == right},
    )
    network = cm.zoo.hierarchical_equality()
    search = cm.Search(["left", "right"], network.sites("relu1"), cm.DAS(dims=8, steps=200, restarts=1))
    assert cm.Claim(wrong, network, search=search, n=1000).verify().status == "refuted"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["apollo_modadd113_seed0", "apollo_modadd113_seed2"])
def test_the_sum_sits_in_twelve_dimensions_of_networks_that_others_trained(name, shared_models, tmp_path):
    example = ROOT / "examples" / "modular_addition.py"
    assert exit_code(["run", str(example), "-P", f"folder={shared_models / name}", "--runs", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    verdict = cm.Verdict.load(folder)
    feature = cm.Alignment.load(folder / "alignment")["sum"]
    assert len(feature.dims) <= 12
    assert verdict.accuracy.interval[0] >= 0.99
    assert verdict.at_least == 0.99
    random = next(e for e in verdict.controls if e.name == "random subspace")
    assert random.upper < 0.6


def test_an_example_without_its_network_says_what_to_give(tmp_path, capsys):
    example = ROOT / "examples" / "modular_addition.py"
    assert exit_code(["run", str(example), "-P", f"folder={tmp_path}"]) == 2
    assert "has no model.safetensors; give a folder of trained weights" in capsys.readouterr().err
    assert exit_code(["run", str(example)]) == 2
    assert "the parameter 'folder' is missing; give it with -P folder=" in capsys.readouterr().err


@pytest.mark.slow
def test_the_readmes_proof_is_one(capsys, tmp_path, monkeypatch):
    """Every pair is proved, and the certificate is written where the command that rechecks it looks."""
    monkeypatch.chdir(tmp_path)
    exec(compile(readme_blocks("python")[4], "README.md", "exec"), {})
    assert capsys.readouterr().out == "1 1\n"
    assert {path.name for path in (tmp_path / "certificate").iterdir()} == {"certificate.json", "certificate.safetensors"}


@pytest.mark.slow
def test_the_readmes_circuit_is_found_and_judged(capsys):
    names: dict[str, object] = {}
    exec(compile(readme_blocks("python")[5], "README.md", "exec"), names)
    assert capsys.readouterr().out == "holds\nrefuted\n"
    exec(compile(readme_blocks("python")[6], "README.md", "exec"), names)
    kept, minimal = capsys.readouterr().out.splitlines()
    assert re.match(r"8 of 81 edges keep (0.9|1.0)\d\d .* of the logit difference on 500 rows", kept)
    assert "edges are each shown to raise the logit difference on 500 rows" in minimal


def test_the_readmes_graph_of_a_module_is_what_it_says(capsys):
    program = readme_blocks("python")[8]
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*# (.*)", program)


def test_the_readmes_known_circuit_is_proved_and_scrubbed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(readme_blocks("python")[7], "README.md", "exec"), {})
    assert capsys.readouterr().out == "Circuit(7 of 26 edges, 8 nodes)\n1\n1.000 [0.995, 1.000]\n"
    assert len((tmp_path / "circuit.txt").read_text().split()) == 7
