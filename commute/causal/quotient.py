"""Whether a function passes to classes: hashing classes instead of comparing pairs."""

from collections.abc import Iterable

import numpy as np

from commute.causal.batches import Column


def clash(blocks: Iterable[tuple[Column, Column]], classes: int) -> tuple[int, int] | None:
    """Two rows of one class whose values differ, or None where the value follows from the class.

    This is the test for a mechanism between merged values: settings of one class must give values of one class. Each block has
    the class of each row, in range(`classes`), and its value, a whole number of at least 0. Memory grows with the classes alone.
    """
    value = np.full(classes, -1, dtype=np.int64)
    seen = np.zeros(classes, dtype=np.int64)  # the row that the value is from
    start = 0
    for of, values in blocks:
        fresh = value[of] < 0
        value[of[fresh]] = values[fresh]  # of the rows of a new class the last one counts, here and in `seen`
        seen[of[fresh]] = start + np.flatnonzero(fresh)
        wrong = value[of] != values
        if wrong.any():
            row = int(np.argmax(wrong))
            return tuple(sorted((int(seen[of[row]]), start + row)))  # type: ignore[return-value]
        start += len(of)
    return None
