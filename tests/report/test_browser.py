"""The pages as a browser shows them."""

import re

import pytest

from commute.report.page import page
from tests.report import verdicts
from tests.report.browser import CHROMIUM, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PAGES = ("holds", "refuted", "abstracted", "long_names", "many_sites")
WIDTHS = (400, 1400)


@pytest.fixture(scope="module")
def pages():
    return {name: page(getattr(verdicts, name)(), verdicts.RUN) for name in PAGES}


@pytest.fixture(scope="module", params=[False, True], ids=["light", "dark"])
def seen(request, pages, tmp_path_factory):
    shown, console = opened(pages, WIDTHS, tmp_path_factory.mktemp("browser"), dark=request.param)
    assert all(s.dark is request.param for s in shown.values())
    return shown, console


def test_no_page_is_wider_than_its_window(seen):
    for (name, width), s in seen[0].items():
        assert (s.inner, s.scrolled <= s.inner, s.outside) == (int(width), True, 0), (name, width, s.scrolled)


def test_what_is_wide_or_long_scrolls_in_its_own_box(seen):
    shown, _ = seen
    assert shown["many_sites", "400"].scrolling > shown["holds", "1400"].scrolling == 0
    assert shown["many_sites", "1400"].taller > 0


def test_the_console_is_silent(seen):
    assert seen[1] == []


def test_text_stands_out_from_what_is_behind_it(seen):
    for s in seen[0].values():
        assert contrast(s.ink, s.page) > 7
        assert (luminance(rgb(s.page)) < 0.5) is s.dark
        for cell in s.cells:
            assert contrast(cell["ink"], over(cell["page"], s.page)) > 4.5, cell
    assert len(seen[0]["many_sites", "1400"].cells) > 5  # a scale


def test_everything_is_told(seen):
    text = {name: " ".join(seen[0][name, "1400"].text.split()) for name in PAGES}
    for part in ("HOLDS · hierarchical equality", "Controls beside the claim", "re-initialised network 0.6100", "not applicable"):
        assert part in text["holds"], part
    for part in ("blocks.2.mlp 0.998 0.998 0.988", "dims of all variables together", "0.910", "all together 1.4e+07 3.50"):
        assert part in text["holds"], part
    for part in (
        f"{'d4' * 20} with uncommitted changes",
        "torch.float32",
        "b2b2",
        "package torch 2.9.1",
        "@inproceedings{geiger2024",
    ):
        assert part in text["holds"], part
    for part in (
        "REFUTED",
        "False – 1.000 of 250",
        "True 0.200 of 250 –",
        "Where it does answer as the algorithm",
        "source left ≤ 3",
        "cm.replay(",
    ):
        assert part in text["refuted"], part
    assert "warning the effect goes through" in re.sub(r" (statistical|survived)", "", text["refuted"])
    assert "'high' is a constructive abstraction of 'low'" in text["abstracted"]
    assert "x" * 120 in text["long_names"].replace(" ", "")
    assert "layers.199 at -1" in text["many_sites"]
    for name in ("sites", "controls", "IIA of at least", "replay"):
        assert name not in text["abstracted"]


def rgb(colour):
    """Red, green, blue and opacity of a computed colour, each from 0 to 1."""
    numbers = [float(x) for x in re.findall(r"[\d.]+", colour)]
    return [x / 255 for x in numbers[:3]] + (numbers[3:] or [1.0])


def over(colour, behind):
    *front, opacity = rgb(colour)
    return [opacity * f + (1 - opacity) * b for f, b in zip(front, rgb(behind), strict=False)]


def luminance(channels):
    """Relative luminance, as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels[:3]]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(front, behind):
    """The contrast ratio of WCAG 2, from 1 to 21."""
    bright = sorted(luminance(rgb(c) if isinstance(c, str) else c) for c in (front, behind))
    return (bright[1] + 0.05) / (bright[0] + 0.05)
