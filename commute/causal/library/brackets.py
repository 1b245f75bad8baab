"""Brackets that open and close."""

from commute.causal.domains import Finite
from commute.causal.library.parts import Over, check_count, numbered, running
from commute.causal.model import CausalModel


def bracket_balance(length: int = 6) -> CausalModel:
    """Does every bracket that opens close, and every one that closes close an open one?

    Variables:
        - `bracket0`, `bracket1`, …: each "(" or ")".
        - `depth0`, `depth1`, …: how many more brackets have opened than closed, up to and including that position.
        - `below0`, `below1`, …: whether the depth has been below zero, up to and including that position.
        - `balanced`, the output: whether the last depth is zero and no depth was below.

    Args:
        length: how many brackets there are; with an odd number they are never balanced.

    Raises:
        ModelError: unless `length` is a whole number of at least 1.
    """
    check_count("length", length)
    brackets, depths = numbered("bracket", length), numbered("depth", length)
    depth = running("depth", brackets, lambda before, bracket: before + (1 if bracket == "(" else -1), start=0)
    below = running("below", depths, lambda before, reached: before or reached < 0, start=False)
    last = (f"depth{length - 1}", f"below{length - 1}")
    return CausalModel(
        f"balance of {length} brackets",
        dict.fromkeys(brackets, Finite("()")),
        {**depth, **below, "balanced": Over(last, lambda reached, ever: reached == 0 and not ever)},
    )
