import io

import pytest
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

import commute as cm
from commute.runs.events import (
    ControlMeasured,
    Decided,
    ItemFitted,
    SearchStarted,
    SetVerified,
    SiteSkipped,
    VerificationStarted,
)
from tests import planted


@pytest.fixture
def bars(monkeypatch):
    """The bars that are drawn, as rich keeps them."""
    made, init = [], Progress.__init__

    def kept(self, *columns, **options):
        init(self, *columns, **options)
        made.append(self)

    monkeypatch.setattr(Progress, "__init__", kept)
    return made


def told(*events):
    """The lines that are left after events."""
    console = Console(file=io.StringIO(), width=120)
    with cm.progress(console) as listen:
        for event in events:
            listen(event)
    return [line for line in console.file.getvalue().splitlines() if line]


def drawn(tasks):
    return [(t.description, t.completed, t.total, t.finished) for t in tasks]


def test_of_hundreds_of_items_those_that_are_the_best_so_far_have_a_line():
    scores = [i * 37 % 400 / 400 for i in range(400)]
    lines = told(SearchStarted(400, None), *(ItemFitted(f"item {i}", x, None) for i, x in enumerate(scores)))
    best = [(i, x) for i, x in enumerate(scores) if all(x > y for y in scores[:i])]
    assert lines == [f"  best so far: item {i}: worst slice {x:.4f}" for i, x in best]
    assert len(lines) < 20


def test_each_search_has_its_own_bar_and_its_own_best(bars):
    lines = told(
        SearchStarted(2, None),
        ItemFitted("a", 0.9, None),
        ItemFitted("b", 0.5, None),
        SearchStarted(1, None),
        ItemFitted("b", 0.6, None),
        SearchStarted(2, "permuted algorithm"),
        ItemFitted("a", 0.95, "permuted algorithm"),
        SiteSkipped("c", "too narrow", "permuted algorithm"),
    )
    assert lines == ["  best so far: a: worst slice 0.9000", "  best so far: b: worst slice 0.6000"]
    assert drawn(bars[0].tasks) == [
        ("searching", 2, 2, True),
        ("searching", 1, 1, True),
        ("control: permuted algorithm", 2, 2, True),
    ]


def test_sites_skipped_before_a_search_starts_move_no_bar(bars):
    lines = told(
        SiteSkipped("x", "did not run", None),
        SearchStarted(1, None),
        ItemFitted("a", 0.9, None),
        SiteSkipped("y", "carries too little", None),  # before the next one
        SearchStarted(2, None),
        SiteSkipped("z, start 0", "too narrow", None),
        SiteSkipped("z, start 1", "too narrow", None),
    )
    assert [line for line in lines if "skipped" in line] == [
        "  skipped x: did not run",
        "  skipped y: carries too little",
        "  skipped z, start 0: too narrow",
    ]
    assert drawn(bars[0].tasks) == [("searching", 1, 1, True), ("searching", 2, 2, True)]


def test_of_many_reasons_to_skip_the_first_are_told():
    lines = told(SearchStarted(90, None), *(SiteSkipped(f"site {i}", f"only {i} of 100", None) for i in range(90)))
    assert lines == [*(f"  skipped site {i}: only {i} of 100" for i in range(5)), "  more is skipped, for other reasons"]


def test_a_search_that_ended_in_an_error_stops_its_bar(bars):
    told(SearchStarted(5, "a control"), ItemFitted("a", 0.1, "a control"), SearchStarted(1, None), ItemFitted("b", 0.2, None))
    first, second = bars[0].tasks
    assert (first.completed, first.stop_time is None) == (1, False)
    assert second.finished


def test_what_is_left_is_shown(bars):
    told(SearchStarted(3, None), ItemFitted("a", 0.1, None))
    assert any(isinstance(column, TimeRemainingColumn) for column in bars[0].columns)


def test_names_are_not_read_as_markup():
    lines = told(SearchStarted(1, "[red]shuffled"), SearchStarted(1, None), ItemFitted("layers[0][/red]", 0.25, None))
    assert lines == ["  best so far: layers[0][/red]: worst slice 0.2500"]


def test_what_is_measured_has_a_line():
    lines = told(
        VerificationStarted(12345), SetVerified(("left", "right"), 0.5), ControlMeasured("random", 0.25), Decided("holds")
    )
    assert lines == [
        "  verifying on 12,345 fresh pairs",
        "  left + right: IIA 0.5000",
        "  control, random: reached 0.2500",
    ]


def test_a_search_of_ones_own_is_drawn_on_standard_error(capsys, bars):
    sites = [planted.SITE, cm.Site("useless"), cm.Site("unused")]
    method = cm.DAS(dims=1, steps=3, restarts=2)
    with cm.progress() as listen:
        for seed in range(2):
            cm.search(
                planted.algorithm(),
                planted.network(),
                variables=["left", "right"],
                sites=sites,
                method=method,
                n=256,
                seed=seed,
                on_event=listen,
            )
    out, err = capsys.readouterr()
    assert out == ""
    assert "best so far: hidden, DAS" in err
    assert err.count("skipped unused") == 1
    assert drawn(bars[0].tasks) == [("searching", 4, 4, True)] * 2
