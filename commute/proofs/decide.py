"""From counts to a verdict: the rules by which evidence decides."""

from collections.abc import Iterator, Sequence

from commute.causal.abstraction import Status
from commute.proofs.battery import DECIDING, Item
from commute.proofs.bounds import FEWEST, FIXED, Inference, bound, stands_out
from commute.proofs.control import Control
from commute.proofs.controls import control_level
from commute.proofs.distinctions import Distinction
from commute.proofs.evidence import Evidence, Kind
from commute.proofs.slices import Slice

_KINDS: dict[bool, Kind] = {True: "slice", False: "transition"}


def judged_slices(slices: Sequence[Slice], *, at_least: float, confidence: float, by: Inference = FIXED) -> list[Evidence]:
    """Each slice with bounds that hold for all at once: it passes when its lower bound reaches the claim."""
    bounds = bound(slices, at_least=at_least, confidence=confidence, by=by)
    return [
        Evidence(_KINDS[s.bounded], "statistical", s.kind, s.variables, s.count, b.lower, b.upper, b.passed, s.says)
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
        judged.append(Evidence("control", "statistical", c.name, (c.variable,), c.count, lower, upper, passed, c.says, c.failed))
    return judged


def decide(evidence: Sequence[Evidence], items: Sequence[Item], *, at_least: float) -> tuple[Status, tuple[str, ...]]:
    """The status, and a sentence for each piece of evidence that it rests on.

    A slice, transition or proof that is refuted refutes the claim. Each of these leaves it inconclusive: a slice that is open, a
    transition that stands out, values that neither an answer nor the feature tells apart, a control that is not below the claim,
    a variable without any control, and an item left out that a claim cannot hold without. Diagnostics decide nothing, and neither
    does a proof that is not against the claim: it makes up for nothing that was sampled.
    """
    refuted = [_against(e, at_least) for e in evidence if e.kind in ("slice", "transition", "proof") and e.passed is False]
    if refuted:
        return "refuted", tuple(refuted)
    unsettled = [*_open(evidence, at_least), *_uncontrolled(evidence)]
    unsettled += [f"{item} was left out of the battery, and without it no claim holds" for item in DECIDING if item not in items]
    return ("inconclusive", tuple(unsettled)) if unsettled else ("holds", _grounds(evidence))


def _against(e: Evidence, at_least: float) -> str:
    """What refutes the claim."""
    if e.kind == "proof":
        return f"{e.title}: IIA is proved to be at most {e.upper:.6f}, the claim is {at_least}"
    return f"{e.title}: IIA is at most {e.upper:.4f} ({e.count} right), the claim is {at_least}"


def _open(evidence: Sequence[Evidence], at_least: float) -> Iterator[str]:
    """What is not settled by the claim's own pairs."""
    for e in evidence:
        bounds = f"IIA lies between {e.lower:.4f} and {e.upper:.4f} ({e.count} right)"
        if e.kind == "slice" and not e.passed:
            yield f"{e.title}: {bounds}; more pairs are needed"
        if e.kind == "transition" and e.count and stands_out(e.count, at_least):
            too_few = e.count.total < FEWEST
            yield f"{e.title}: {'too few pairs to tell' if too_few else 'it stands out'}: {bounds}; more pairs are needed"
        if e.kind == "distinction" and not e.passed:
            yield (
                f"{e.variables[0]}: some of its values never change an answer, and its feature does not tell them apart "
                f"({e.count} read rightly); the variable may be finer than what the network encodes, so merge such values"
            )


def _uncontrolled(evidence: Sequence[Evidence]) -> Iterator[str]:
    """Controls that may reach the claim, and variables that have none."""
    controls = [e for e in evidence if e.kind == "control"]
    for e in controls:
        if e.passed is False:
            reached = f"up to {e.upper:.4f}, {e.count} right"
            yield f"{e.title}: this control may reach the claim ({reached}), so the claim says too little"
        if e.warning:
            yield f"{e.title}: this control could not be made ({e.says}), and without it no claim holds"
    measured = {e.variables[0] for e in controls if e.count and e.name in DECIDING}
    for v in dict.fromkeys(v for e in evidence if e.kind == "slice" for v in e.variables):
        if v not in measured:
            yield f"{v}: no control was measured, and without one no claim holds"


def _grounds(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """What a claim that holds rests on."""
    controls = [e for e in evidence if e.kind == "control"]
    worst = min((e for e in evidence if e.kind == "slice"), key=lambda e: e.lower)
    best = max((e for e in controls if e.passed), key=lambda e: e.upper)
    screened = [e for e in evidence if e.kind == "transition" and not e.passed]
    return (
        f"the worst slice, {worst.title}, has IIA at least {worst.lower:.4f}",
        f"the best control, {best.title}, at most {best.upper:.4f}",
        *([f"{len(screened)} transitions have too few pairs for a bound of their own; none stands out"] if screened else []),
        *(f"not measured: {e.title}, since {e.says}" for e in controls if not e.count),
    )
