"""Pages opened in headless Chromium and measured there."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass

CHROMIUM = shutil.which("chromium")
_OPTIONS = ("quic", "background-networking", "component-update", "sync", "gpu", "extensions", "default-apps")

# Run in the page that holds the others, each in a frame as wide as a window would be: what every frame shows, and how wide it is.
_MEASURE = """
const shown = (style) => ({ink: style.color, page: style.backgroundColor});
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map((frame) => {
    const inside = frame.contentWindow, page = inside.document.documentElement, body = inside.document.body;
    const boxes = [...inside.document.querySelectorAll(".wide, pre")];
    const cells = [...inside.document.querySelectorAll(".grid td")];
    return {
      name: frame.name, inner: inside.innerWidth, scrolled: page.scrollWidth,
      dark: inside.matchMedia("(prefers-color-scheme: dark)").matches,
      text: body.innerText, ...shown(inside.getComputedStyle(body)),
      scrolling: boxes.filter((b) => b.scrollWidth > b.clientWidth).length,
      taller: boxes.filter((b) => b.scrollHeight > b.clientHeight + 1 && b.clientHeight > 0).length,
      outside: boxes.filter((b) => b.getBoundingClientRect().right > inside.innerWidth + 1).length,
      cells: [...new Set(cells.map((c) => JSON.stringify(shown(inside.getComputedStyle(c)))))].map(JSON.parse),
    };
  });
  document.getElementById("found").textContent = JSON.stringify(found);
});
"""


@dataclass(frozen=True)
class Seen:
    """How a page looks in a window of some width."""

    inner: int
    scrolled: int
    dark: bool
    text: str
    ink: str
    page: str
    scrolling: int
    taller: int
    outside: int
    cells: list[dict[str, str]]


def opened(pages, widths, folder, *, dark):
    """Each page, by its name, at each width: what is seen, and the lines of the browser's console."""
    frames = [
        f'<iframe name="{name} {width}" style="width: {width}px; height: 900px; border: 0" srcdoc="{html.escape(text)}"></iframe>'
        for name, text in pages.items()
        for width in widths
    ]
    scheme = "<style>:root { color-scheme: light dark; }</style>"
    wrapper = folder / "wrapper.html"
    wrapper.write_text(
        f'<!doctype html><meta charset="utf-8">{scheme}{"".join(frames)}<pre id="found"></pre><script>{_MEASURE}</script>'
    )
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{o}" for o in _OPTIONS)),
            *("--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}"),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            *("--virtual-time-budget=10000", "--dump-dom", wrapper.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1]))
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {tuple(f.pop("name").split()): Seen(**f) for f in found}, console
