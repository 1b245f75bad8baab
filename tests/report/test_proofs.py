"""Proofs on the page and in the terminal."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import StringIO

from rich.console import Console

from commute.proofs.evidence import Evidence
from commute.proofs.shown import ProvedAt
from commute.report.figures import proof_svg
from commute.report.page import page
from commute.report.rows import rows
from commute.report.table import show
from tests.report import verdicts
from tests.report.test_page import Read


def section(verdict):
    return re.search(r'<section id="proofs">.*?</section>', page(verdict), re.DOTALL)[0]


def test_each_set_has_its_bounds_counts_and_chart():
    written = section(verdicts.holds())
    read = Read(written)
    for told in ("[0.976562, 0.976563]", "[0.750000, 1.000000]", "1,234", "567", "16 × 16", "16 × 16 × 16", "exact", "sound"):
        assert told in read.text, told
    assert {"passed", "open"} <= set(read.text)
    assert read.tags.count("svg") == 2
    assert "The first wrong pair: base a=1, left from a=2." in read.text


def test_a_proof_without_work_has_no_chart():
    told = verdicts.holds()
    assert Read(section(replace(told, proofs=tuple(replace(p, work=()) for p in told.proofs)))).tags.count("svg") == 0


def test_text_of_a_proof_is_escaped():
    told = verdicts.holds()
    attack = "<script>alert('x')</script>"
    proofs = (replace(told.proofs[0], variables=(attack,), first=attack), told.proofs[1])
    assert "<script" not in page(replace(told, proofs=proofs))


def test_what_was_not_proved_says_why():
    told = verdicts.holds()
    line = Evidence("proof", "sound", "every pair", ("left",), None, 0.0, 1.0, None, "aten.gt has <no> rule", warning=True)
    evidence = (*(e for e in told.evidence if e.kind != "proof"), line)
    written = section(replace(told, evidence=evidence, proofs=()))
    assert "aten.gt has &lt;no&gt; rule" in written
    assert "not proved" in Read(written).text


def test_a_chart_has_both_bounds_against_work_on_a_logarithmic_scale():
    work = [ProvedAt(10**i, i / 10, 1 - i / 20) for i in range(5)]
    drawn = proof_svg(work, 0.95)
    ET.fromstring(drawn)
    assert {"cells bounded and pairs evaluated", "bounds on IIA", "1", "100", "10,000"} <= set(
        re.findall(r">([^<>]+)</text>", drawn)
    )
    assert "mathdefault" not in drawn + proof_svg(work[:1], 0.95) + proof_svg([], 0.95)
    assert "currentColor" in drawn
    assert drawn == proof_svg(work, 0.95)
    assert (
        drawn != proof_svg([replace(p, lower=0.0) for p in work], 0.95) != proof_svg([replace(p, upper=1.0) for p in work], 0.95)
    )


def test_a_set_that_a_proof_refutes_is_refuted_in_its_row():
    told = verdicts.holds()
    against = [replace(e, passed=False) if e.kind == "proof" and e.variables == ("left",) else e for e in told.evidence]
    status = {r.variables: r.status for r in rows(replace(told, evidence=tuple(against)))}
    assert (status["left"], status["right"], status["left + right"]) == ("refuted", "holds", "holds")


def test_the_terminal_tells_proofs_before_what_was_sampled():
    out = StringIO()
    show(verdicts.holds(), Console(file=out, width=100))
    told = [line for line in out.getvalue().splitlines() if line.startswith(" • ")]
    assert told[0].startswith(" • exact: left: every pair: how it was proved")
    assert told[1].startswith(" • sound: left + right: every pair: how far it was proved")
    assert told[2].startswith(" • the worst slice")
