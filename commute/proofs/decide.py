"""From counts to a verdict: the rules by which evidence decides."""

from collections.abc import Sequence

from commute.causal.abstraction import Status
from commute.proofs.controls import Control, control_level
from commute.proofs.distinctions import Distinction
from commute.proofs.evidence import Evidence
from commute.proofs.slices import Slice, bound


def judged_slices(slices: Sequence[Slice], *, at_least: float, confidence: float) -> list[Evidence]:
    """Each slice with bounds that hold for all at once: it passes when its lower bound reaches `at_least`."""
    bounds = bound(slices, at_least=at_least, confidence=confidence)
    return [
        Evidence("slice", "statistical", s.kind, s.variables, s.count, b.lower, b.upper, b.passed, s.says)
        for s, b in zip(slices, bounds, strict=True)
    ]


def judged_distinctions(found: Sequence[Distinction], *, at_least: float, confidence: float) -> list[Evidence]:
    """Each variable with values that no answer tells apart: it passes when its feature does; nothing is refuted by it."""
    level = 1 - (1 - confidence) / max(len(found), 1)
    judged = []
    for d in found:
        lower, upper = d.count.lower(level), d.count.upper(level)
        says = f"the values {', '.join(d.values)}, some of which never act differently, are read from the nearest other input"
        name, passed = "values read from the feature", True if lower >= at_least else None
        judged.append(Evidence("distinction", "statistical", name, (d.variable,), d.count, lower, upper, passed, says))
    return judged


def judged_controls(controls: Sequence[Control], *, at_least: float, confidence: float) -> list[Evidence]:
    """Each control with its bounds: it passes when its upper bound, over all controls at once, stays below `at_least`."""
    level = control_level(confidence, len({c.variable for c in controls}))
    judged = []
    for c in controls:
        lower, upper = (c.count.lower(level), c.count.upper(level)) if c.count else (0.0, 1.0)
        passed = upper < at_least if c.count else None
        judged.append(Evidence("control", "statistical", c.name, (c.variable,), c.count, lower, upper, passed, c.says))
    return judged


def decide(evidence: Sequence[Evidence], *, at_least: float) -> tuple[Status, tuple[str, ...]]:
    """The status, and a sentence for each piece of evidence that it rests on.

    A slice that is refuted refutes the claim. A slice that is open, values that neither an answer nor the feature tells apart, a
    control that is not below the claim, and a variable without any control each leave it inconclusive.
    """
    slices = [e for e in evidence if e.kind == "slice"]
    refuted = [
        f"{e.title}: IIA is at most {e.upper:.4f} ({e.count} right), the claim is {at_least}" for e in slices if e.passed is False
    ]
    if refuted:
        return "refuted", tuple(refuted)
    unsettled = [
        f"{e.title}: IIA lies between {e.lower:.4f} and {e.upper:.4f} ({e.count} right); more pairs are needed"
        for e in slices
        if not e.passed
    ]
    unsettled += [
        f"{e.variables[0]}: some of its values never change an answer, and its feature does not tell them apart ({e.count} read "
        "rightly); the variable may be finer than what the network encodes, so merge such values"
        for e in evidence
        if e.kind == "distinction" and not e.passed
    ]
    controls = [e for e in evidence if e.kind == "control"]
    unsettled += [
        f"{e.title}: this control may reach the claim (up to {e.upper:.4f}, {e.count} right), so the claim says too little"
        for e in controls
        if e.passed is False
    ]
    measured = {e.variables[0] for e in controls if e.count}
    claimed = dict.fromkeys(v for e in slices for v in e.variables)
    unsettled += [f"{v}: no control was measured, and without one no claim holds" for v in claimed if v not in measured]
    if unsettled:
        return "inconclusive", tuple(unsettled)
    worst = min(slices, key=lambda e: e.lower)
    best = max((e for e in controls if e.passed), key=lambda e: e.upper)
    return "holds", (
        f"the worst slice, {worst.title}, has IIA at least {worst.lower:.4f}",
        f"the best control, {best.title}, at most {best.upper:.4f}",
        *(f"not measured: {e.title}, since {e.says}" for e in controls if not e.count),
    )
