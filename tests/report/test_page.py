"""The page's HTML; what a browser makes of it is in test_browser."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import commute as cm
from commute.alignments.binomial import Count
from commute.cli.main import exit_code
from commute.proofs.counterexample import Counterexample
from commute.proofs.shown import Variable
from commute.report.page import page, write_page
from tests.report import verdicts


class Read(HTMLParser):
    """Collects what a page would load or run, its tags, the headings of its sections and its text."""

    def __init__(self, written):
        super().__init__()
        self.loaded, self.run, self.tags, self.text, self.headings = [], [], [], [], []
        self.feed(written)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "data") and not v.startswith("#")]
        self.run += [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data):
        self.text.append(data.strip())
        if self.tags and self.tags[-1] == "h2" and data.strip():
            self.headings.append(data.strip())


WITHOUT = {
    "IIA at each site": {"sites": ()},
    "IIA by number of dims": {"curve": verdicts.holds().curve[:1]},
    "Where it does answer as the algorithm": {"region": None},
    "Counterexample": {"counterexample": None},
    "Costs": {"costs": ()},
}
KINDS = {
    "Transitions": ("transition",),
    "Values that no answer tells apart": ("distinction",),
    "Diagnostics": ("diagnostic",),
    "Proved": ("proof",),
}


def test_a_page_has_every_part_and_loads_and_runs_nothing():
    written = page(verdicts.refuted(), verdicts.RUN)
    read = Read(written)
    assert (read.loaded, read.run) == ([], [])
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert not re.search(r"@import|url\((?!#)", written)
    assert len(read.headings) == 15
    assert set(read.headings) > {*WITHOUT, *KINDS, "Controls beside the claim", "Provenance", "How to cite"}
    assert {"a", "b", "c", "d", "left", "right", "same"} <= set(read.text)


@pytest.mark.parametrize("heading", [*WITHOUT, *KINDS])
def test_a_verdict_without_something_has_no_part_for_it(heading):
    told = verdicts.refuted()
    evidence = tuple(e for e in told.evidence if e.kind not in KINDS.get(heading, ()) and " → " not in e.name)
    lacking = replace(told, **WITHOUT[heading]) if heading in WITHOUT else replace(told, evidence=evidence)
    assert heading in Read(page(told)).headings
    assert heading not in Read(page(lacking)).headings


def test_two_causal_models_are_told_without_what_only_sampling_gives():
    read = Read(page(verdicts.abstracted()))
    assert read.headings == ["The algorithm", "Variables", "Slices", "Counterexample", "How to cite"]
    assert "high says" in read.text
    assert "IIA" not in " ".join(read.text).replace("IIA is", "")


ATTACK = "<script>alert('$x_1$ & more')</script>"


def test_text_from_outside_is_escaped():
    told = verdicts.refuted()
    source = {ATTACK: ATTACK, "b": 2}
    hostile = replace(
        told,
        algorithm=ATTACK,
        network=ATTACK,
        reasons=(ATTACK,),
        method=ATTACK,
        battery=(ATTACK,),
        evidence=tuple(replace(e, name=f"{ATTACK}{e.name}", says=ATTACK, unit=ATTACK if e.unit else "") for e in told.evidence),
        counterexample=Counterexample(ATTACK, source, {ATTACK: source}, {ATTACK: ATTACK}, ATTACK, ATTACK, (f"base.{ATTACK}",)),
        variables=(*told.variables, Variable(ATTACK, "internal", ("a",), ATTACK)),
        sites=tuple(replace(s, site=ATTACK, variable=ATTACK) for s in told.sites),
        region=replace(told.region, conditions=(ATTACK,)),
        costs=tuple(replace(c, item=ATTACK) for c in told.costs),
    )
    written = page(hostile, {"file": ATTACK, ATTACK: ATTACK, "parameters": {ATTACK: ATTACK}})
    assert "<script" not in written
    assert written.count("alert(") > 60
    assert "$x_1$" in written
    quoted = [f'"><script>{x}' for x in ("x", "y")]
    assert "<script" not in page(replace(told, sites=tuple(replace(s, site=quoted[0], variable=quoted[1]) for s in told.sites)))


def test_labels_of_any_script_are_drawn_without_a_warning():
    told = verdicts.holds()
    variables = (*told.variables, Variable("変数", "internal", ("a",), "слой 3 🙂"))
    assert "変数" in page(replace(told, variables=variables))


def test_long_labels_are_shortened_in_the_graph_and_whole_in_the_table():
    written = page(verdicts.long_names())
    graph = written[written.index("<svg") : written.index("</svg>")]
    assert "x" * 20 in graph
    assert "x" * 41 not in graph
    assert f"{'x' * 120}.left" in written
    assert float(re.search(r'width="([\d.]+)pt"', graph)[1]) < 1000


def test_the_page_is_the_same_bytes_again_and_is_written_to_a_file(tmp_path):
    told = verdicts.refuted()
    told.to_html(tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text() == page(told) == page(told)
    write_page(told, tmp_path / "report.html", verdicts.RUN)
    assert (tmp_path / "report.html").read_text() == page(told, verdicts.RUN) != page(told)


def test_all_reasons_are_there_where_the_headline_tells_some():
    many = tuple(f"reason {i}" for i in range(40))
    assert "reason 39" in page(replace(verdicts.refuted(), reasons=many))
    assert "<details>" not in page(verdicts.refuted())


def test_what_matters_in_a_counterexample_is_marked():
    told = verdicts.refuted()

    def marked(example):
        return re.findall(r'<td class="value differs">(.*?)</td>', page(replace(told, counterexample=example)))

    example = told.counterexample
    assert marked(example) == ["1", "3"]
    assert marked(replace(example, matters=None)) == marked(replace(example, matters=())) == []
    both = {"left": {"a": 7, "b": 8}, "right": {"a": 7, "b": 8}}
    assert marked(replace(example, sources=both, matters=("source.a",))) == ["7", "7"]
    assert "nothing by itself" in page(replace(told, counterexample=replace(example, matters=())))


def test_the_replay_line_is_code():
    told = verdicts.refuted()
    written = page(replace(told, counterexample=replace(told.counterexample, read_out="left")))
    assert written.count("cm.replay(") == 1
    assert "<code>cm.replay(algorithm, network, alignment, {&#39;a&#39;: 1," in written
    assert "read_out=&#39;left&#39;" in written


def test_a_warning_is_marked_and_no_other_diagnostic():
    row = r'<td>left: (null space|divergence)</td><td class="number">[^<]*</td><td class="number">[^<]*</td>\s*<td class="(.*?)">'
    marks = dict(re.findall(row, page(verdicts.holds())))
    assert marks == {"null space": "warning", "divergence": "no-warning"}


def test_a_rate_has_no_bounds_where_the_number_of_pairs_was_not_fixed():
    told = verdicts.holds()
    assert "0.9980 [0.994, 1.000]" in page(told)
    assert "0.9980 [" not in page(replace(told, accuracy=replace(told.accuracy, independent=False)))


def test_slices_and_controls_of_nothing_are_told():
    told = verdicts.holds()
    empty = tuple(replace(e, count=Count(0, 0), lower=0.0, upper=1.0, passed=None) for e in told.evidence)
    written = page(replace(told, evidence=empty))
    assert not re.search(r"\bnan\b", written)
    assert "no pair" in written


CLAIM = """
import commute as cm
from tests import planted

@cm.claim
def planted_claim(n: int = 300) -> cm.Claim:
    return cm.Claim(planted.algorithm(), planted.network("backup"), alignment=planted.alignment(), n=n, battery="quick")
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of a run from the command line."""
    tmp_path = tmp_path_factory.mktemp("run")
    (tmp_path / "claims.py").write_text(CLAIM)
    assert exit_code(["run", str(tmp_path / "claims.py"), "-P", "n=250", "--runs", str(tmp_path / "runs")]) == 1
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def test_a_run_from_the_command_line_tells_where_it_comes_from(ran):
    text = " ".join(Read((ran / "report.html").read_text()).text)
    for part in ("parameter n", "torch.float32", "SHA-256 of the network", "SHA-256 of the file", "package torch", "claims.py"):
        assert part in text, part


def test_a_verdict_that_was_measured_is_told_whole(ran):
    found = cm.Verdict.load(ran)
    read = Read((ran / "report.html").read_text())
    for e in (*found.slices, *found.diagnostics):
        assert e.title in read.text
    for e in found.transitions:
        assert all(value in read.text for value in e.name.split(" → "))
        assert f"of {e.count.total}" in read.text
    assert all(c.item in read.text for c in found.costs)
    assert {"interchange", "remainder exchanged", "all together"} <= set(read.text)
    assert "left + right: remainder exchanged, unchanged" in read.text
