"""Exclusive or, as three circuits: one function of the inputs, three sets of internal variables."""

from commute.causal.domains import Bool
from commute.causal.model import CausalModel


def xor_direct() -> CausalModel:
    """Exclusive or in one step.

    Variables:
        - `a`, `b`: true or false.
        - `xor`, the output: whether exactly one of them is true.
    """
    return CausalModel("xor", {"a": Bool, "b": Bool}, {"xor": lambda a, b: a != b})


def xor_or_and_nand() -> CausalModel:
    """Exclusive or as: one or the other, and not both.

    Variables:
        - `a`, `b`: true or false.
        - `either`: a or b; `not_both`: not (a and b).
        - `xor`, the output: `either` and `not_both`.
    """
    return CausalModel(
        "xor from or, and, nand",
        {"a": Bool, "b": Bool},
        {
            "either": lambda a, b: a or b,
            "not_both": lambda a, b: not (a and b),
            "xor": lambda either, not_both: either and not_both,
        },
    )


def xor_nand() -> CausalModel:
    """Exclusive or from four nand gates.

    `not_both` does here what it does in `xor_or_and_nand`, under every intervention on it alone; `left` and `right` have no
    counterpart there.

    Variables:
        - `a`, `b`: true or false.
        - `not_both`: not (a and b); `left`: not (a and `not_both`); `right`: not (b and `not_both`).
        - `xor`, the output: not (`left` and `right`).
    """
    return CausalModel(
        "xor from four nand gates",
        {"a": Bool, "b": Bool},
        {
            "not_both": lambda a, b: not (a and b),
            "left": lambda a, not_both: not (a and not_both),
            "right": lambda b, not_both: not (b and not_both),
            "xor": lambda left, right: not (left and right),
        },
    )
