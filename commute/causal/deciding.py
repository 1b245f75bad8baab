"""Whether one causal model abstracts another, and whether two are the same function."""

from typing import TYPE_CHECKING, Any

from commute.causal.abstraction import Around, Decision, around, enumerated, unreached
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
    missed = unreached(a)
    if a.finite is not None:
        return enumerated(a, a.finite) if missed is None else _not_onto(a, missed)
    from commute.causal import solver  # sympy and z3 take their time to import

    missed = missed or solver.unreached(a, timeout)
    return solver.decided(a, timeout) if missed is None else _not_onto(a, missed)


def _not_onto(a: Around, missed: tuple[Any]) -> Decision:
    says = f"no low-level setting stands for {a.variable}={missed[0]!r}; leave values that do not occur out of its domain"
    return Decision(a.variable, "refuted", 0, 0, says)
