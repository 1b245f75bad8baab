"""A verdict in the terminal."""

import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from commute.report.table import show
from tests.report import verdicts


def printed(verdict, width=80):
    out = StringIO()
    show(verdict, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("name", ["holds", "refuted", "abstracted", "long_names", "many_sites"])
def test_it_fits_eighty_columns(name):
    text = printed(getattr(verdicts, name)())
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(getattr(verdicts, name)().status.upper())


def test_each_set_of_variables_has_a_row_with_its_numbers():
    text = printed(verdicts.refuted())
    assert [line.split()[0] for line in text.splitlines() if re.match(r" (\(left|left|right) ", line)] == [
        "(left",
        "left",
        "right",
        "left",
    ]
    assert "[0.995, 1.000]  [0.993, 1.000]  re-initialised" in text
    assert re.search(r"^ left .* refuted", text, re.MULTILINE)


def test_numbers_stay_whole_beside_long_names():
    assert "[0.995, 1.000]  [0.993, 1.000]" in printed(verdicts.long_names())


def test_everything_told_is_there_with_its_lines_below_one_another():
    told = verdicts.refuted()
    text = printed(told)
    lines = text[text.index(" • ") :].splitlines()
    assert all(line.startswith((" • ", "   ")) for line in lines)
    assert " ".join(line[3:].strip() for line in lines) == " ".join(told.told)
    for part in (
        "warning: left: null space",
        "left: the network does answer as the algorithm where base a = 1",
        "counterexample: left",
        "replay it: cm.replay(",
    ):
        assert f" • {part}" in text, part


def test_labels_with_markup_are_printed_as_they_are():
    assert "[bold]loud[/bold]" in printed(replace(verdicts.holds(), reasons=("[bold]loud[/bold]",)))
