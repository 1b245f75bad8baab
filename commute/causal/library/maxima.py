"""The largest of several numbers."""

import numpy as np

from commute.causal.domains import Finite
from commute.causal.library.parts import Over, check_count, numbered, running
from commute.causal.model import CausalModel


def maximum(length: int = 4, values: int = 10) -> CausalModel:
    """The largest number of a list, found from left to right.

    Variables:
        - `x0`, `x1`, …: the numbers.
        - `largest0`, `largest1`, …: the largest number up to and including that position.
        - `maximum`, the output: the last of these.

    Args:
        length: how many numbers there are.
        values: the numbers are 0, 1, …, values - 1.

    Raises:
        ModelError: unless `length` and `values` are whole numbers of at least 1.
    """
    check_count("length", length)
    check_count("values", values)
    numbers, items = Finite(range(values)), numbered("x", length)
    largest = running("largest", items, np.maximum, start=0)  # numpy's takes whole batches where a table would be too large
    mechanisms = {**largest, "maximum": Over((f"largest{length - 1}",), lambda last: last)}
    return CausalModel(
        f"maximum of {length}", dict.fromkeys(items, numbers), mechanisms, domains=dict.fromkeys(mechanisms, numbers)
    )
