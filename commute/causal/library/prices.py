"""Is a price within bounds?"""

from commute.causal.domains import Domain, Finite
from commute.causal.model import CausalModel

QUARTERS = Finite(k / 4 for k in range(40))  # 0.00, 0.25, …, 9.75: fractions that floating point holds exactly


def price_tagging(amounts: Domain = QUARTERS) -> CausalModel:
    """Is an amount of money between a lower and an upper bound, both included? (2305.08809).

    Bounds may be in either order: no amount is between a lower bound and a smaller upper one.

    Variables:
        - `lower`, `upper`, `amount`: amounts of money.
        - `above_lower`: whether the amount is at least `lower`; `below_upper`: whether it is at most `upper`.
        - `in_bracket`, the output: whether both are true.

    Args:
        amounts: the domain of the three inputs, a Finite of numbers or an Interval; by default 0.00, 0.25, …, 9.75.

    Raises:
        ModelError: when `amounts` is not a domain, or its labels cannot be compared.
    """
    from sympy import And, Ge, Le, symbols  # takes its time to import

    lower, upper, amount, above, below = symbols("lower upper amount above_lower below_upper")
    return CausalModel(
        "price tagging",
        dict.fromkeys(("lower", "upper", "amount"), amounts),
        {
            "above_lower": Ge(amount, lower),
            "below_upper": Le(amount, upper),
            "in_bracket": And(above, below),
        },
    )
