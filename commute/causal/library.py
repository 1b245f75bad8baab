"""Well-known algorithms, ready to be claimed of a network."""

from commute.causal.domains import Finite
from commute.causal.model import CausalModel


def hierarchical_equality(values: int = 8) -> CausalModel:
    """Two pairs of objects: are both pairs equal, or both unequal? (2301.04709, section 2.6).

    Args:
        values: how many objects there are, labelled 0, 1, ….
    """

    def left(a: int, b: int) -> bool:
        return a == b

    def right(c: int, d: int) -> bool:
        return c == d

    def same(left: bool, right: bool) -> bool:  # noqa: FBT001  # parameter names are the parents
        return left == right

    shapes = Finite(range(values))
    return CausalModel("hierarchical equality", dict.fromkeys("abcd", shapes), [left, right, same])


def modular_addition(modulus: int) -> CausalModel:
    """The sum of two numbers modulo another (2301.05217); the answer is the sum."""
    residues = Finite(range(modulus))
    return CausalModel(
        f"addition modulo {modulus}",
        {"a": residues, "b": residues},
        {"sum": lambda a, b: (a + b) % modulus, "answer": lambda sum: sum},  # noqa: A006  # the parent's name
    )
