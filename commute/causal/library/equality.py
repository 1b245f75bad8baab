"""Equality of equalities."""

from commute.causal.domains import Finite
from commute.causal.library.parts import check_count
from commute.causal.model import CausalModel


def hierarchical_equality(values: int = 8) -> CausalModel:
    """Two pairs of objects: are both pairs equal, or both unequal? (2301.04709, section 2.6).

    Variables:
        - `a`, `b`, `c`, `d`: the objects.
        - `left`: whether a and b are the same object; `right`: whether c and d are.
        - `same`, the output: whether `left` and `right` agree.

    Args:
        values: how many objects there are, labelled 0, 1, ….

    Raises:
        ModelError: unless `values` is a whole number of at least 1.
    """
    check_count("values", values)

    def left(a: int, b: int) -> bool:
        return a == b

    def right(c: int, d: int) -> bool:
        return c == d

    def same(left: bool, right: bool) -> bool:  # noqa: FBT001  # parameter names are the parents
        return left == right

    shapes = Finite(range(values))
    return CausalModel("hierarchical equality", dict.fromkeys("abcd", shapes), [left, right, same])
