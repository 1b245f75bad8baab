"""Sums: modulo a number, and digit by digit."""

from commute.causal.domains import Bool, Finite
from commute.causal.library.parts import check_count
from commute.causal.model import CausalModel


def modular_addition(modulus: int) -> CausalModel:
    """The sum of two numbers modulo another (2301.05217).

    Variables:
        - `a`, `b`: the numbers.
        - `sum`: their sum modulo `modulus`.
        - `answer`, the output: the sum, so that the sum can also be set before it is told.

    Args:
        modulus: the numbers and their sum are 0, 1, …, modulus - 1.

    Raises:
        ModelError: unless `modulus` is a whole number of at least 1.
    """
    check_count("modulus", modulus)
    residues = Finite(range(modulus))
    return CausalModel(
        f"addition modulo {modulus}",
        {"a": residues, "b": residues},
        {"sum": lambda a, b: (a + b) % modulus, "answer": lambda sum: sum},  # noqa: A006  # the parent's name
        domains={"sum": residues, "answer": residues},
    )


def two_digit_addition(base: int = 10) -> CausalModel:
    """The sum of two numbers of two digits, as written by hand (the addition task of 2504.13151).

    Variables:
        - `a1`, `a0`, `b1`, `b0`: the tens and ones of the two numbers.
        - `carry`: whether the ones add up to `base` or more.
        - `hundreds`, `tens`, `ones`, the outputs: the digits of the sum; `hundreds` is 0 or 1.

    Args:
        base: digits are 0, 1, …, base - 1.

    Raises:
        ModelError: unless `base` is a whole number of at least 2.
    """
    check_count("base", base, least=2)
    digits = Finite(range(base))
    return CausalModel(
        f"two-digit addition in base {base}",
        dict.fromkeys(("a1", "a0", "b1", "b0"), digits),
        {
            "carry": lambda a0, b0: a0 + b0 >= base,
            "hundreds": lambda a1, b1, carry: (a1 + b1 + carry) // base,
            "tens": lambda a1, b1, carry: (a1 + b1 + carry) % base,
            "ones": lambda a0, b0: (a0 + b0) % base,
        },
        domains={"carry": Bool, "hundreds": Finite((0, 1)), "tens": digits, "ones": digits},
    )
