"""Verdicts about two causal models: decided, not sampled."""

from collections.abc import Mapping, Sequence
from typing import Any

from commute.alignments.binomial import Count
from commute.causal.abstraction import Decision, Disagreement, Status
from commute.causal.deciding import decide
from commute.causal.equivalence import compare
from commute.causal.model import CausalModel
from commute.causal.tau import Tau
from commute.errors import ModelError
from commute.proofs.counterexample import Counterexample
from commute.proofs.evidence import Evidence
from commute.proofs.shown import Role, Variable
from commute.proofs.verdict import Verdict


def abstracts(high: CausalModel, low: CausalModel, mapping: Tau | Mapping[str, Any], *, timeout: float = 60.0) -> Verdict:
    """Whether `high` is a constructive abstraction of `low` under `mapping` (2301.04709).

    That is: for every input and every intervention on whole low-level cells, what τ makes of the low-level run is the high-level
    run under the corresponding intervention. Settings for which τ is not defined, since some cell's value is outside of its
    variable's domain, are no such interventions; but every high-level value must be reached. Finite models are decided by
    enumeration around each variable, others by z3.

    Args:
        high: the model that abstracts.
        low: the model that is abstracted.
        mapping: τ, for each high-level variable its low-level ones and the value they stand for; see `Tau`.
        timeout: seconds given to z3 for each variable. Enumeration is bounded by its size: at most 2**28 settings a variable.

    Returns:
        A verdict with one piece of evidence a variable; `refuted` with two settings that should be one: in `counterexample`
        `base` is the low-level setting, `answered` what τ makes of it, and `expected` the high-level setting. There is none where
        a high-level value is never reached, which the reason then names.

    Raises:
        ModelError: listing what does not fit in the mapping; or when z3 is needed and not installed.
    """
    _check_timeout(timeout)
    tau = Tau(mapping)
    cells = {v: ", ".join(tau.cell(v)) for v in tau.parts}
    decisions = decide(high, low, tau, timeout=timeout)
    return _verdict(decisions, high, low, f"{high.name!r} is a constructive abstraction of {low.name!r}", cells)


def equivalent(first: CausalModel, second: CausalModel, *, timeout: float = 60.0) -> Verdict:
    """Whether two models with the same inputs and outputs are the same function, whatever lies between.

    Finite inputs are enumerated, others are decided by z3 within `timeout` seconds an output.

    Returns:
        A verdict with one piece of evidence an output; in its `counterexample` `base` are inputs, `expected` the first model's
        outputs and `answered` the second's.

    Raises:
        ModelError: when inputs, their domains or outputs differ; or when z3 is needed and not installed.
    """
    _check_timeout(timeout)
    decisions = compare(first, second, timeout=timeout)
    return _verdict(decisions, first, second, f"{first.name!r} and {second.name!r} are the same input-output function", {})


def _check_timeout(timeout: float) -> None:
    if not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ModelError(f"timeout is a number of seconds above 0; given {timeout!r}")


def _verdict(
    decisions: Sequence[Decision], high: CausalModel, low: CausalModel, stated: str, cells: Mapping[str, str]
) -> Verdict:
    statuses = {d.status for d in decisions}
    status: Status = "refuted" if "refuted" in statuses else "inconclusive" if "inconclusive" in statuses else "holds"
    deciding = sorted((d for d in decisions if d.status == status), key=lambda d: -d.settings)
    found = next((d.disagreement for d in deciding if d.disagreement is not None), None)
    return Verdict(
        status=status,
        reasons=tuple(d.says for d in deciding),
        evidence=tuple(_evidence(d) for d in decisions),
        accuracy=None,
        counterexample=None if found is None else _counterexample(found),
        algorithm=high.name,
        network=low.name,
        variables=tuple(Variable(v, _role(high, v), tuple(high.graph.predecessors(v)), cells.get(v)) for v in high.graph),
        sites=(),
        at_least=1.0,
        confidence=1.0,
        seed=0,
        stated=stated,
    )


def _counterexample(found: Disagreement) -> Counterexample:
    where = f"{found.variable} with {_told(found.do)}" if found.do else found.variable
    return Counterexample(where, found.low, {}, found.high, found.mapped, of_models=True)


def _evidence(d: Decision) -> Evidence:
    lower = 1.0 if d.status == "holds" else (d.settings - d.wrong) / d.settings if d.settings else 0.0
    upper = lower if d.settings else 1.0
    return Evidence(
        kind="slice",
        level="sound" if d.solver else "exact",
        name="every setting",
        variables=(d.variable,),
        count=Count(d.settings - d.wrong, d.settings) if d.settings else None,
        lower=lower,
        upper=upper,
        passed={"holds": True, "refuted": False, "inconclusive": None}[d.status],
        says=d.says,
    )


def _role(model: CausalModel, variable: str) -> Role:
    return "input" if variable in model.inputs else "output" if variable in model.outputs else "internal"


def _told(do: Mapping[str, Any]) -> str:
    return ", ".join(f"{v} set to {x!r}" for v, x in do.items())
