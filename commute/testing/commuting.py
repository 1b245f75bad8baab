"""Tests that a network runs an algorithm, by a search for a pair on which the two differ."""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any, TypeVar

from commute.errors import ClaimError, CommuteError

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.database import ExampleDatabase

    from commute.alignments.alignment import Alignment
    from commute.causal.inputs import Condition
    from commute.causal.model import CausalModel
    from commute.models.network import Network
    from commute.proofs.refute import Refutation

Made = TypeVar("Made")


def commutes(
    algorithm: "CausalModel | Callable[[], CausalModel]",
    network: "Network | Callable[[], Network]",
    alignment: "Alignment | Callable[[], Alignment]",
    *,
    variables: Sequence[str] | None = None,
    pairs: int = 100_000,
    given: "Condition | None" = None,
    seed: int = 0,
    database: "ExampleDatabase | str | Path | None" = None,
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Make a function a test that fails with a smallest pair on which the network and the algorithm differ, if one is found.

        @commutes(algorithm, network, alignment)
        def test_adder() -> None:
            "The network adds by way of its carry."

        @commutes(algorithm, network, alignment)
        def test_adder_without_carry(carry: bool) -> bool:
            return not carry

    A function without parameters is called before the search, so it can be empty, or skip the test. The parameters of any other
    name variables of the algorithm: it says of which inputs bases and sources are drawn, as `given` does. `self` is none of them,
    and the function may be a method of a class of tests.

    Args:
        algorithm: what is claimed. It, the network and the alignment may each be a function that makes it when the test runs.
        network: of which it is claimed.
        alignment: where.
        variables: sets of these are interchanged; all that are aligned if not given.
        pairs: to screen, at most.
        given: the inputs that bases and sources are drawn from, as for `cm.pairs`.
        seed: of the pairs.
        database: of Hypothesis, or a folder for one, in which failing pairs are kept for the next time.

    Raises:
        ClaimError: when the function says which inputs are drawn and `given` does so too.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        restricts = any(parameter != "self" for parameter in signature(function).parameters)
        if restricts and given is not None:
            raise ClaimError(f"{function.__name__!r} has parameters, so it says which inputs are drawn; then leave out given=")

        @wraps(function)
        def test(*instance: object) -> None:
            __tracebackhide__ = True
            from commute.alignments.alignment import Alignment
            from commute.causal.model import CausalModel
            from commute.models.network import Network
            from commute.proofs.refute import refute

            own = partial(function, *instance) if instance else function
            if not restricts:
                own()
            claimed = (
                _made("algorithm", algorithm, CausalModel),
                _made("network", network, Network),
                _made("alignment", alignment, Alignment),
            )
            drawn_from = own if restricts else given
            try:
                found = refute(*claimed, variables=variables, pairs=pairs, given=drawn_from, database=database, seed=seed)
            except CommuteError as error:  # what is wrong is in the message and not where it was noticed
                raise error.with_traceback(None) from None
            if found.counterexample is not None:
                raise AssertionError(_failure(found))

        test.__signature__ = Signature()  # type: ignore[attr-defined]  # pytest would take parameters for fixtures
        return test

    return decorate


def _made(name: str, given: Any, kind: type[Made]) -> Made:
    """What was given, or what the function that was given makes."""
    __tracebackhide__ = True
    made = given() if callable(given) and not isinstance(given, kind) else given
    if not isinstance(made, kind):
        raise ClaimError(f"@commutes: {name} must be a {kind.__name__}, or a function that makes one; given {made!r}")
    return made


def _failure(found: "Refutation") -> str:
    from commute.testing.telling import told

    assert found.counterexample is not None  # noqa: S101  # asked before
    screened = f"{found.failing:,} of {found.screened:,} pairs screened"
    on = "a pair kept from an earlier search" if found.remembered else screened
    differs = f"the network and the algorithm differ on {on}; a smallest one:"
    lines = [f"  {line}" for line in told(found.counterexample)]
    return "\n".join([differs, *lines, f"replay it: {found.counterexample.replayed_by}"])
