import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

import commute as cm
from commute.proofs.verdict import SearchedSite
from commute.report.page import page
from commute.report.table import show
from tests import planted


@pytest.fixture(scope="module")
def verdict():
    found = cm.verify(planted.algorithm(), planted.network("backup"), planted.alignment(), n=500)
    sites = tuple(SearchedSite(site, v, iia, iia) for site, iia in (("hidden", 1.0), ("later", 0.5)) for v in ("left", "right"))
    return replace(found, sites=sites)


class Outside(HTMLParser):
    """Collects what a page would load from elsewhere, its tags and its text."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.tags, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [v for k, v in attrs if k in ("src", "href", "xlink:href") and not v.startswith("#")]

    def handle_data(self, data):
        self.text.append(data.strip())


def test_the_page_tells_the_verdict_and_needs_nothing_beside_it(verdict):
    read = Outside(page(verdict))
    assert read.loaded == []
    assert "script" not in read.tags
    assert read.tags.count("svg") == 2
    text = " ".join(read.text)
    for part in (
        "refuted",
        "left + right: changed",
        "random subspace",
        "counterexample: left + right: ",
        "no-op baseline",
        "later",
    ):
        assert part in text, part
    assert {"a", "b", "c", "d", "left", "right", "same"} <= set(read.text)


def test_text_from_outside_is_escaped(verdict):
    attack = "<script>alert('$x_1$ & more')</script>"
    variables = tuple(replace(v, feature=attack if v.feature else None) for v in verdict.variables)
    sites = tuple(replace(s, site=attack) for s in verdict.sites)
    written = page(replace(verdict, network=attack, algorithm=attack, variables=variables, sites=sites, reasons=(attack,)))
    assert "<script" not in written
    assert written.count("alert(") >= 6
    assert "$x_1$" in written


def test_the_page_is_the_same_bytes_again_and_is_written_to_a_file(verdict, tmp_path):
    verdict.to_html(tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text() == page(verdict) == page(verdict)


def test_a_verdict_without_a_search_has_no_plot_of_sites(verdict):
    assert page(replace(verdict, sites=())).count("<svg") == 1


def test_the_table_fits_eighty_columns(verdict):
    out = StringIO()
    show(verdict, Console(file=out, width=80))
    text = out.getvalue()
    assert text.startswith("REFUTED 'hierarchical equality'")
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split()[0] for line in text.splitlines() if re.match(r" (\(left|left|right) ", line)]
    assert rows == ["(left", "left", "right", "left"]
    assert "counterexample: left + right: " in " ".join(text.split())


def test_labels_with_markup_are_printed_as_they_are(verdict):
    out = StringIO()
    show(replace(verdict, reasons=("[bold]loud[/bold]",)), Console(file=out, width=80))
    assert "[bold]loud[/bold]" in out.getvalue()
