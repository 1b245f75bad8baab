"""Whether one causal model abstracts another."""

from dataclasses import replace

from commute.causal import solver
from commute.causal.abstraction import Around, Decision, around, enumerated, is_onto
from commute.causal.model import CausalModel
from commute.causal.tau import Tau


def decide(high: CausalModel, low: CausalModel, tau: Tau, *, timeout: float) -> tuple[Decision, ...]:
    """For each high-level variable, whether it is right; together, whether `high` is a constructive abstraction of `low` under τ.

    Raises:
        ModelError: when the map does not fit the models.
    """
    tau.fits(high, low)
    return tuple(_decide(around(high, low, tau, v), timeout) for v in high.graph)


def _decide(a: Around, timeout: float) -> Decision:
    reach = is_onto(a) or solver.is_onto(a, timeout)
    if reach.status == "refuted":
        return reach
    if a.is_input and not a.cells:
        found = Decision(a.variable, "holds", 0, 0, f"{a.variable!r} is an input and reads no other cell")
    else:
        found = solver.decided(a, timeout) if a.finite is None else enumerated(a, a.finite)
    if found.status != "holds":
        return found
    return reach if reach.status == "inconclusive" else replace(found, solver=found.solver or reach.solver)
