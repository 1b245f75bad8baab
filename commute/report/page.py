"""A verdict as one HTML page that needs nothing beside it and runs nothing."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from commute.proofs.evidence import Evidence
from commute.proofs.verdict import Verdict
from commute.report.citations import cited
from commute.report.costs import cost_rows
from commute.report.example import answers, inputs
from commute.report.figures import circuit_svg, curve_svg, graph_svg, proof_svg
from commute.report.grids import sites_grid, transition_grids
from commute.report.provenance import provenance_rows
from commute.report.rows import rows, stand_out
from commute.runs.files import write_atomically

# The parts of the page after the headline, each a template of its name: the heading, and which verdicts have it.
_SECTIONS: dict[str, tuple[str, Callable[[Verdict], object]]] = {
    "algorithm": ("The algorithm", lambda v: v.variables),
    "circuit": ("The circuit", lambda v: v.circuit),
    "variables": ("Variables", lambda v: v.slices and not v.circuit),
    "sites": ("IIA at each site", lambda v: v.sites),
    "controls": ("Controls beside the claim", lambda v: v.accuracy or v.circuit),
    "curve": ("IIA by number of dims", lambda v: len(v.curve) > 1),
    "slices": ("Slices", lambda v: v.slices),
    "proofs": ("Proved", lambda v: v.proved),
    "transitions": ("Transitions", lambda v: v.transitions or transition_grids(v.slices)),
    "distinctions": ("Values that no answer tells apart", lambda v: v.distinctions),
    "diagnostics": ("Diagnostics", lambda v: v.diagnostics),
    "region": ("Where it does answer as the algorithm", lambda v: v.region),
    "counterexample": ("Counterexample", lambda v: v.counterexample),
    "costs": ("Costs", lambda v: v.costs),
    "provenance": ("Provenance", lambda v: v.accuracy),
    "citations": ("How to cite", lambda _: True),
}


def page(verdict: Verdict, provenance: Mapping[str, Any] | None = None) -> str:
    """The page's HTML; text from models and users is escaped.

    Args:
        verdict: what is told.
        provenance: of the run that it came from, as in `run.json`.
    """
    loader = PackageLoader("commute.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"mark": partial(_mark, at_least=verdict.at_least), "repr": repr}
    grids = transition_grids((*verdict.slices, *verdict.transitions))
    return environment.get_template("page.html.jinja").render(
        verdict=verdict,
        told=_told(verdict),
        sections=[(name, title) for name, (title, shown) in _SECTIONS.items() if shown(verdict)],
        rows=rows(verdict),
        graph=Markup(graph_svg(verdict.variables)) if verdict.variables else "",  # noqa: S704  # matplotlib escapes its text
        circuit=Markup(circuit_svg(verdict.circuit)) if verdict.circuit else "",  # noqa: S704
        curve=Markup(curve_svg(verdict.curve, verdict.at_least)) if verdict.curve else "",  # noqa: S704
        proof_charts=[Markup(proof_svg(p.work, verdict.at_least)) for p in verdict.proofs],  # noqa: S704
        sites=sites_grid(verdict.sites),
        transitions=grids,
        other_transitions=[e for e in verdict.transitions if e.variables[0] not in grids],
        inputs=inputs(verdict.counterexample),
        answers=answers(verdict.counterexample),
        costs=cost_rows(verdict.costs),
        provenance=provenance_rows(verdict, provenance or {}),
        cited=cited(verdict),
    )


def write_page(verdict: Verdict, path: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write the page to a file; see `page`."""
    write_atomically(path, page(verdict, provenance).encode())


def _told(verdict: Verdict) -> list[str]:
    """What the terminal tells, but for the line that replays the counterexample: its section has it as code."""
    replay = None if verdict.counterexample is None else verdict.counterexample.replayed_by
    return [line for line in verdict.told if replay is None or replay not in line]


def _mark(evidence: Evidence, at_least: float) -> str:
    """What a piece of evidence says of the claim, in a word or two that are also its class in the page."""
    if evidence.kind == "diagnostic":
        return "warning" if evidence.warning else "no warning"
    if evidence.kind == "control" and evidence.count is None:
        return "not applicable"
    if evidence.kind == "transition" and evidence.passed is None:
        return "stands out" if stand_out(evidence, at_least) else "not bounded"
    if evidence.kind == "proof" and evidence.warning:
        return "not proved"
    if evidence.passed is None:
        return "open"
    return "passed" if evidence.passed else "against"
