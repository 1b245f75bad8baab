"""Whether one causal model abstracts another, and whether two are the same function."""

from typing import TYPE_CHECKING, Any

from commute.causal import solver
from commute.causal.abstraction import Around, Decision, around, enumerated, reached
from commute.causal.model import CausalModel
from commute.causal.tau import Tau

if TYPE_CHECKING:
    from collections.abc import Mapping


def decide(high: CausalModel, low: CausalModel, mapping: "Tau | Mapping[str, Any]", *, timeout: float) -> tuple[Decision, ...]:
    """For each high-level variable, whether it is right; together, whether `high` is a constructive abstraction of `low` under τ.

    Raises:
        ModelError: when the map does not fit the models.
    """
    tau = Tau(mapping)
    tau.fits(high, low)
    return tuple(_decide(around(high, low, tau, v), timeout) for v in high.graph)


def _decide(a: Around, timeout: float) -> Decision:
    reach = reached(a) or solver.reached(a, timeout)
    if reach.status == "refuted":
        return reach
    found = solver.decided(a, timeout) if a.finite is None else enumerated(a, a.finite)
    return reach if found.status == "holds" and reach.status == "inconclusive" else found
