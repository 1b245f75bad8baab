import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from commute.cli.main import exit_code

CLAIM = """
import commute as cm
from tests import planted

@cm.claim
def planted_claim(n: int = 1500, fault: str = "", at_least: float = 0.95, loud: bool = False) -> cm.Claim:
    assert loud in (True, False)
    return cm.Claim(planted.algorithm(), planted.network(fault), alignment=planted.alignment(), n=n, at_least=at_least)

@cm.claim
def {second}() -> cm.Claim:
    return cm.Claim(planted.algorithm(), planted.network("backup"), alignment=planted.alignment(), n=800)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "claims.py"
    path.write_text(CLAIM.replace("{second}", "broken_claim"))
    return path


def run(*arguments, tmp_path):
    return exit_code(["run", *map(str, arguments), "--runs", str(tmp_path / "runs")])


@pytest.mark.parametrize(
    ("name", "parameters", "code"),
    [
        ("planted_claim", (), 0),
        ("planted_claim", ("-P", "loud=yes", "-P", "at_least=0.9"), 0),
        ("planted_claim", ("-P", "fault=backup"), 1),
        ("planted_claim", ("-P", "n=40"), 4),
        ("planted_claim", ("-P", "fault=random"), 2),
        ("planted_claim", ("-P", "fault=nan"), 2),
        ("planted_claim", ("-P", "n=many"), 2),
        ("planted_claim", ("-P", "loud=maybe"), 2),
        ("planted_claim", ("-P", "m=3"), 2),
        ("planted_claim", ("-P", "n"), 2),
        ("planted_claim", ("-P", "n=0"), 2),
        ("broken_claim", (), 1),
        ("plantd_claim", (), 5),
    ],
)
def test_exit_codes(file, tmp_path, name, parameters, code):
    assert run(f"{file}::{name}", *parameters, tmp_path=tmp_path) == code


def test_all_claims_of_a_file_are_run_and_the_worst_decides(file, tmp_path, capsys):
    assert run(file, tmp_path=tmp_path) == 1
    out = capsys.readouterr().out
    assert "HOLDS" in out
    assert "REFUTED" in out
    reports = re.findall(r"report: (.*)", out)
    assert len(reports) == 2
    assert all(Path(r).read_text().startswith("<!doctype html>") for r in reports)


def test_a_second_run_reads_the_verdict_of_the_first(file, tmp_path, capsys):
    assert run(f"{file}::planted_claim", tmp_path=tmp_path) == 0
    assert "finished before" not in capsys.readouterr().out
    assert run(f"{file}::planted_claim", tmp_path=tmp_path) == 0
    assert "finished before" in capsys.readouterr().out
    assert run(f"{file}::planted_claim", "--seed", 1, tmp_path=tmp_path) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_json_is_one_verdict_a_line_and_nothing_else(file, tmp_path, capsys):
    assert run(file, "--json", tmp_path=tmp_path) == 1
    captured = capsys.readouterr()
    told = [json.loads(line) for line in captured.out.splitlines()]
    assert [(t["claim"], t["status"]) for t in told] == [("planted_claim", "holds"), ("broken_claim", "refuted")]
    assert captured.err == ""


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("import commute as cm\nx = (1,\n", 2, "SyntaxError"),
        ("import commute as cm\n\nx = 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("import commute as cm\ncm.Finite([])\n", 2, "needs at least one label"),
        ("import comute\n", 1, "ModuleNotFoundError"),
        ("import commute as cm\n@cm.claim\ndef c():\n    return 1 / 0\n", 4, "ZeroDivisionError"),
        ("import commute as cm\n@cm.claim\ndef c():\n    return cm.Claim(1, 2)\n", 4, "the claim has 3 problems"),
        ("import commute as cm\ncm.Clam\n", 2, "no attribute 'Clam'"),
        ("import sys\n\nsys.exit(0)\n", 3, "the file ended the program"),
        ("import commute as cm\n@cm.claim\ndef c():\n    raise SystemExit\n", 4, "the file ended the program"),
        ("import commute as cm\n@cm.claim\ndef c(x: Unknown = 1):\n    pass\n", 3, "NameError"),
        ("import commute as cm\ncm.claim(print)\n", 2, "@cm.claim marks a function"),
    ],
)
def test_a_broken_file_exits_2_with_file_and_line(tmp_path, capsys, text, line, said):
    path = tmp_path / "broken.py"
    path.write_text(text)
    assert run(path, tmp_path=tmp_path) == 2
    err = capsys.readouterr().err
    assert f"{path}:{line}: " in err
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"x = 1\x00\n", "SyntaxError"),
        (
            b"from __future__ import annotations\nimport commute as cm\n@cm.claim\ndef c(x: Unknown = 1): ...\n",
            "'Unknown' is not defined",
        ),
    ],
)
def test_a_file_that_breaks_without_a_line_exits_2(tmp_path, capsys, text, said):
    path = tmp_path / "broken.py"
    path.write_bytes(text)
    assert run(path, tmp_path=tmp_path) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_a_spoiled_run_exits_2(file, tmp_path, capsys):
    assert run(f"{file}::planted_claim", tmp_path=tmp_path) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    (folder / "verdict.json").unlink()
    (folder / "search.json").write_text("{")
    assert run(f"{file}::planted_claim", tmp_path=tmp_path) == 2
    assert "search.json is not as written" in capsys.readouterr().err


def test_an_error_in_the_users_encode_names_its_line(tmp_path, capsys):
    path = tmp_path / "encode.py"
    path.write_text(
        "import commute as cm\nfrom tests import planted\n\ndef encode(inputs):\n    return inputs['q']\n\n"
        "@cm.claim\ndef c():\n    net = cm.Network(planted.Planted(), encode=encode, decode=lambda x: x)\n"
        "    return cm.Claim(planted.algorithm(), net, alignment=planted.alignment())\n"
    )
    assert run(path, tmp_path=tmp_path) == 2
    assert f"{path}:5: " in capsys.readouterr().err


def test_a_file_is_a_module_with_its_neighbours(tmp_path):
    (tmp_path / "neighbour.py").write_text("from tests.planted import *\n")
    path = tmp_path / "claims.py"
    path.write_text(
        "from __future__ import annotations\nimport dataclasses\nimport commute as cm\n\n@dataclasses.dataclass\nclass Options:\n"
        "    n: int = 1500\n\n@cm.claim\ndef c(n: int | None = None) -> cm.Claim:\n    import neighbour as p\n"
        "    return cm.Claim(p.algorithm(), p.network(), alignment=p.alignment(), n=n or Options().n)\n"
    )
    assert run(path, tmp_path=tmp_path) == 0
    assert run(path, "-P", "n=40", tmp_path=tmp_path) == 4


def test_a_claim_that_fails_does_not_keep_others_from_running(tmp_path, capsys):
    path = tmp_path / "claims.py"
    path.write_text(CLAIM.replace("{second}", "second").replace("planted.network(fault)", "planted.network('nan')"))
    assert run(path, tmp_path=tmp_path) == 2
    captured = capsys.readouterr()
    assert "REFUTED" in captured.out
    assert "has NaN" in captured.err


def test_labels_that_a_table_has_no_type_for_do_not_lose_the_run(tmp_path):
    path = tmp_path / "claims.py"
    path.write_text(
        "import commute as cm, torch\nfrom tests import planted\nLABELS = (1, 'a', None, (1, 2))\n\n@cm.claim\ndef c():\n"
        "    labels = cm.Finite(LABELS)\n    left = lambda a, b: a == b\n    right = lambda c, d: c == d\n"
        "    same = lambda left, right: left == right\n"
        "    m = cm.CausalModel('m', dict.fromkeys('abcd', labels), {'left': left, 'right': right, 'same': same})\n"
        "    encode = lambda i: torch.tensor([[LABELS.index(i[v][r]) for v in 'abcd'] for r in range(len(i['a']))])\n"
        "    net = cm.Network(planted.Planted(), encode=encode, decode=lambda x: x.argmax(-1).bool())\n"
        "    return cm.Claim(m, net, alignment=planted.alignment(), n=1500)\n"
    )
    assert run(path, tmp_path=tmp_path) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "nowhere.py"], 2, "there is no file nowhere.py"),
        (["run", "examples"], 2, "examples is a folder; give a Python file of it, of which there is "),
        (["run", "README.md"], 2, "README.md is not a Python file"),
        (["run", "tests/planted.py"], 5, "no function is marked with @cm.claim"),
        (["run"], 2, "Missing argument"),
        (["rnu"], 2, "No such command"),
        (["run", "x.py", "--seed", "many"], 2, "not a valid integer"),
        (["run", "x.py", "--seed", "-1"], 2, "-1 is not in the range"),
        (["run", "x.py", "-P", "n"], 2, "-P takes KEY=VALUE"),
        (["run", "examples/hierarchical_equality.py", "--runs", "/dev/null/runs"], 2, "/dev/null/runs"),
    ],
)
def test_usage_errors(arguments, code, said, capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    assert exit_code(arguments) == code
    assert said in capsys.readouterr().err


def test_an_internal_error_exits_3(file, tmp_path, monkeypatch, capsys):
    def fail(*_args, **_options):
        raise RuntimeError("surprise")

    monkeypatch.setattr("commute.proofs.run.judge", fail)
    assert run(f"{file}::planted_claim", tmp_path=tmp_path) == 3
    assert "Internal error" in capsys.readouterr().err


def test_an_interrupt_exits_130(file, tmp_path, monkeypatch):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("commute.proofs.run.judge", interrupt)
    assert run(f"{file}::planted_claim", tmp_path=tmp_path) == 130


def python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_help_is_given_without_torch():
    asked = "import sys; from commute.cli.main import exit_code; exit_code(['--help']); "
    out = python(asked + "print(sorted({'torch', 'numpy'} & set(sys.modules)))")
    assert "Exit codes: 0 holds, 1 refuted" in out
    assert out.splitlines()[-1] == "[]"


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"torch", "pyvene", "transformers", "matplotlib", "pandas", "sympy", "hypothesis"}
    assert python(f"import sys, commute; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"
    loaded = python(f"import sys, commute as cm; cm.CausalModel; cm.pairs; print(sorted({heavy} & set(sys.modules)))")
    assert loaded.strip() == "[]"
    loaded = python(f"import sys, commute as cm; [getattr(cm, n) for n in cm.__all__]; print(sorted({heavy} & set(sys.modules)))")
    assert loaded.strip() == "['torch']"


def test_every_public_name_is_there():
    import commute as cm

    assert sorted(cm.__all__) == sorted(cm._HOMES)
    assert all(getattr(cm, name) is not None for name in cm.__all__)
    assert set(cm.__all__) <= set(dir(cm))
    with pytest.raises(AttributeError, match="no attribute 'Networks'"):
        cm.Networks  # noqa: B018
