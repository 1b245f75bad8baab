"""Every setting of some finite variables, in blocks."""

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

import numpy as np

from commute.causal.batches import BLOCK, Batch
from commute.causal.domains import Finite


def blocks(domains: Mapping[str, Finite], *, rows: int = BLOCK) -> Iterator[Batch]:
    """The codes of every combination of the variables' values, in order (the last varies fastest), at most `rows` at a time.

    Blocks are whole stretches of the last variables, except for the one that `rows` cuts, so memory does not grow with the number
    of settings.
    """
    names, sizes = list(domains), [len(d) for d in domains.values()]
    cut = len(names)
    while cut and prod(sizes[cut - 1 :]) <= rows:
        cut -= 1
    inner = {v: domains[v].grid(tuple(sizes[cut:]), i) for i, v in enumerate(names[cut:])}
    length = prod(sizes[cut:])
    step = max(rows // length, 1)  # values of the variable before the stretch that fit in a block
    for outer in product(*(range(n) for n in sizes[: max(cut - 1, 0)])):
        for start in range(0, sizes[cut - 1] if cut else 1, step):
            split = np.arange(start, min(start + step, sizes[cut - 1]) if cut else 1)
            columns = {v: np.full(len(split) * length, c, domains[v].code_type) for v, c in zip(names, outer, strict=False)}
            if cut:
                columns[names[cut - 1]] = np.repeat(split, length).astype(domains[names[cut - 1]].code_type)
            yield columns | {v: np.tile(column, len(split)) for v, column in inner.items()}


def setting(domains: Mapping[str, Finite], row: int) -> dict[str, object]:
    """The labels of one row of the settings in order."""
    places = np.unravel_index(row, [len(d) for d in domains.values()])
    return {v: d.values[int(place)] for (v, d), place in zip(domains.items(), places, strict=True)}
