"""A verdict as one HTML page that needs nothing beside it."""

from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from commute.proofs.evidence import Evidence
from commute.proofs.verdict import Verdict
from commute.report.figures import graph_svg, sites_svg
from commute.report.rows import rows
from commute.runs.files import write_atomically


def page(verdict: Verdict) -> str:
    """The page's HTML; text from models and users is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("commute.report").joinpath("page.html.jinja").read_text())
    return template.render(
        verdict=verdict,
        rows=rows(verdict),
        graph=Markup(graph_svg(verdict.variables)),  # noqa: S704  # matplotlib escapes the text that it draws
        sites=Markup(sites_svg(verdict.sites, verdict.at_least)) if verdict.sites else "",  # noqa: S704
        mark=_mark,
    )


def write_page(verdict: Verdict, path: Path) -> None:
    """Write the page to a file."""
    write_atomically(path, page(verdict).encode())


def _mark(evidence: Evidence) -> str:
    if evidence.kind == "control" and evidence.count is None:
        return "not applicable"
    if evidence.passed is None:
        return "open"
    return "passed" if evidence.passed else "against"
