"""Which variables are set together."""

from collections.abc import Sequence
from itertools import combinations

_ALL_SETS = 4  # variables up to which every set is taken


def variable_sets(variables: Sequence[str]) -> list[tuple[str, ...]]:
    """Every variable alone and every set jointly; of more than four variables only single ones, pairs and all together."""
    n = len(variables)
    sizes = range(1, n + 1) if n <= _ALL_SETS else (1, 2, n)
    return [chosen for size in sizes for chosen in combinations(variables, size)]
