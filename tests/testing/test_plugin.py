import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
CLAIMS = """\
import pytest

import commute as cm
from tests import planted

def planted_claim(fault, n, battery="quick"):
    return cm.Claim(planted.algorithm(), planted.network(fault), alignment=planted.alignment(), n=n, battery=battery)

@cm.claim
def holds(n: int = 1500) -> cm.Claim:
    return planted_claim("", n, battery="standard")

@cm.claim
def refuted() -> cm.Claim:
    return planted_claim("backup", 300)
"""
MORE = """
@cm.claim
def inconclusive() -> cm.Claim:
    return planted_claim("", 40)

@cm.claim
def not_a_number() -> cm.Claim:
    return planted_claim("nan", 40)

@cm.claim
def not_a_claim() -> cm.Claim:
    return cm.Claim(1, 2)

@cm.claim
def asks(n: int, fault: str = "") -> cm.Claim:
    return planted_claim(fault, n)

@cm.claim
def broken() -> cm.Claim:
    return planted_claim(1 / 0, 40)

@cm.claim
@pytest.mark.skip(reason="not today")
def skipped() -> cm.Claim:
    return planted_claim("", 40)
"""
TESTS = '''\
from claims_planted import holds  # runs where it is defined
import commute as cm
from commute.testing import commutes
from tests import planted

@cm.claim
def in_a_test_file() -> cm.Claim:
    return cm.Claim(planted.algorithm(), planted.network("nan"), alignment=planted.alignment())

@commutes(planted.algorithm, lambda: planted.network("backup"), planted.alignment, pairs=1000)
def test_differs() -> None:
    """A search finds the fault."""

@commutes(planted.algorithm, planted.network, planted.alignment, pairs=0)
def test_no_pairs() -> None:
    """Not a number of pairs."""

class TestPlanted:
    @commutes(planted.algorithm, planted.network, planted.alignment, pairs=100)
    def test_method(self, a):
        return a != 0
'''


def run_pytest(folder, *arguments):
    """Run pytest in a process of its own, as a user does; the exit code and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Run in two processes: by name the message of each test that did not pass, None for others; and all that was said."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "claims_planted.py").write_text(CLAIMS + MORE)
    (folder / "test_more.py").write_text(TESTS)
    code, said = run_pytest(folder, "-n", "2", "--junitxml=junit.xml", "-v")
    assert code == 1, said
    cases = ET.parse(folder / "junit.xml").iter("testcase")
    return {c.get("name"): c[0].get("message") + "\n" + (c[0].text or "") if len(c) else None for c in cases}, said


def test_claims_are_collected_once_each_where_they_are_defined(outcome):
    assert sorted(outcome[0]) == sorted(
        [
            "holds",
            "refuted",
            "inconclusive",
            "not_a_number",
            "not_a_claim",
            "asks",
            "broken",
            "skipped",
            "in_a_test_file",
            "test_differs",
            "test_no_pairs",
            "test_method",
        ]
    )


def test_a_claim_that_holds_passes(outcome):
    assert outcome[0]["holds"] is None
    assert "PASSED claims_planted.py::holds" in outcome[1]


def test_a_refuted_claim_fails_with_its_table(outcome):
    message = outcome[0]["refuted"]
    assert "REFUTED 'hierarchical equality' in 'Planted': IIA ≥ 0.95" in message
    assert re.search(r"left \+ right +hidden .* refuted", message)
    assert "counterexample: " in message
    assert "Traceback" not in message
    assert "\x1b" not in message


def test_an_inconclusive_claim_fails_and_says_that_it_is_neither(outcome):
    message = outcome[0]["inconclusive"]
    assert message.startswith("The claim is neither shown to hold nor refuted")
    assert "INCONCLUSIVE 'hierarchical equality'" in message


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("not_a_claim", CLAIMS + MORE, "cm.Claim(1, 2)", "the claim has 3 problems"),
        ("not_a_number", CLAIMS + MORE, "@cm.claim\ndef not_a_number", "has NaN"),  # shows when the claim is run
        ("asks", CLAIMS + MORE, "@cm.claim\ndef asks", "no default for n,"),
        ("in_a_test_file", TESTS, "@cm.claim\ndef in_a_test_file", "has NaN"),
    ],
)
def test_a_claim_that_cannot_be_checked_names_file_and_line(outcome, name, text, line, said):
    message = outcome[0][name]
    file = "test_more.py" if text is TESTS else "claims_planted.py"
    where = f"{file}:{text[: text.index(line)].count(chr(10)) + 1}: "
    assert where in message.splitlines()[0]
    assert said in message
    assert ".py:" not in message.replace(where, "").replace(f"{file}::", "")  # no line of a traceback


def test_an_error_in_the_users_code_has_its_traceback(outcome):
    assert "ZeroDivisionError" in outcome[0]["broken"]
    assert "planted_claim(1 / 0, 40)" in outcome[0]["broken"]
    assert "pluggy" not in outcome[0]["broken"]
    assert "plugin.py" not in outcome[0]["broken"]


def test_marks_of_a_claim_are_heeded(outcome):
    assert "not today" in outcome[0]["skipped"]


def test_a_search_that_finds_a_pair_fails_a_test(outcome):
    assert "pairs screened; a smallest one:" in outcome[0]["test_differs"]
    assert "FAILED test_more.py::test_differs" in outcome[1]


def test_a_bad_argument_is_told_in_a_line(outcome):
    assert "pairs must be a whole number of at least 1; given 0" in outcome[0]["test_no_pairs"]
    assert "refute" not in outcome[0]["test_no_pairs"]
    assert len(set(outcome[0]["test_no_pairs"].splitlines())) < 5


def test_a_method_of_a_class_is_a_test(outcome):
    assert outcome[0]["test_method"] is None


def test_a_folder_for_runs_that_cannot_be_made_is_told(tmp_path):
    code, said = run_pytest(tmp_path, "--commute-runs=/dev/null/kept")
    assert code == 4
    assert "--commute-runs=/dev/null/kept: Not a directory" in said
    assert "Traceback" not in said


def test_chosen_claims_run_with_a_seed_and_their_runs_are_kept(tmp_path):
    (tmp_path / "claims_planted.py").write_text(CLAIMS + MORE)
    options = ("--commute-runs", "kept", "--commute-seed", "3", "-o", "python_files=claims_*.py")
    code, said = run_pytest(tmp_path, "-k", "inconclusive or not_a_claim", *options)
    assert code == 1, said
    assert "2 failed, 6 deselected" in said
    assert "INCONCLUSIVE 'hierarchical equality'" in said
    assert "the claim has 3 problems" in said
    (run,) = (tmp_path / "kept").iterdir()
    assert run.name.startswith("inconclusive-")
    assert json.loads((run / "verdict.json").read_text())["seed"] == 3
    assert (run / "report.html").is_file()


def test_nothing_heavy_is_imported_and_no_other_file_is_collected_where_there_is_no_claim(tmp_path):
    (tmp_path / "claims_of_accidents.py").write_text("raise RuntimeError('imported')\n")
    heavy = {"torch", "pandas", "hypothesis", "rich", "commute.proofs.claim"}
    loaded = f"'commute.testing.plugin' in sys.modules and not {heavy} & set(sys.modules)"
    (tmp_path / "test_own.py").write_text(f"import sys\n\ndef test_light():\n    assert {loaded}\n")
    code, said = run_pytest(tmp_path)
    assert code == 0, said
    assert "1 passed" in said
