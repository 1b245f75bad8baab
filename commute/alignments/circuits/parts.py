"""The two parts of the inputs of a search, one to search on and one to judge on, and what edges carry instead in each."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from commute.causal.batches import Batch, Column, distinct, rows_of, take
from commute.causal.interventions import Setting
from commute.errors import AlignmentError
from commute.models.ablations import Mean, Resample, Zero
from commute.models.circuits.instead import Instead
from commute.models.rows import batched
from commute.runs.seeds import stream as seeded


def split(batch: Batch, n: int, seed: int) -> tuple[Column, Column]:
    """The rows to search on and those to judge on, no input in both.

    Raises:
        AlignmentError: when all inputs are equal, or none is left to judge on.
    """
    kinds = _kinds(batch)
    order = seeded(seed, "circuits", "split").permutation(int(kinds.max()) + 1)
    place = np.argsort(order)[kinds]  # of each row's kind in the order
    counts = np.bincount(place)
    taken = int(np.searchsorted(np.cumsum(counts), n)) + 1
    if taken >= len(counts):
        raise AlignmentError(
            f"there are {rows_of(batch)} rows of {len(counts)} different inputs, and with {n} to search on none is left to judge "
            "on; give more inputs, or a smaller n"
        )
    return np.flatnonzero(place < taken), np.flatnonzero(place >= taken)


def of_rows(instead: Instead, batch: Batch, rows: Column, seed: int, purpose: str) -> Instead:
    """What edges of some rows carry; a sample of inputs is drawn anew for each purpose, and not from the other rows."""
    if isinstance(instead, Mean):
        return replace(instead, inputs=_apart(instead.inputs, batch, rows))
    if isinstance(instead, Resample):
        draws = seeded(seed, "circuits", "resample", purpose, str(instead.seed))
        return replace(instead, inputs=_apart(instead.inputs, batch, rows), seed=int(draws.integers(2**31)))
    return instead if isinstance(instead, Zero) else take(batched(instead)[0], rows)


def _apart(pool: Setting, batch: Batch, rows: Column) -> Batch:
    """Those inputs of a pool that are not among the inputs outside of `rows`.

    Raises:
        AlignmentError: when there are none.
    """
    others, _ = batched(pool)
    names = [v for v in batch if v in others]
    outside = set(_texts(take(batch, np.delete(np.arange(rows_of(batch)), rows)), names))
    own = [i for i, text in enumerate(_texts(others, names)) if text not in outside]
    if names and not own:
        raise AlignmentError(
            f"what edges carry instead is of {rows_of(others)} inputs, all of them among those of one part, so searching and "
            "judging would share them; give more, or ones that are not among the inputs"
        )
    return take(others, np.array(own)) if names else others


def _kinds(batch: Batch) -> Column:
    """A number for each row, the same for equal ones, [batch]."""
    found = distinct(batch)
    if found is not None:
        return found[1]
    kinds: dict[tuple[str, ...], int] = {}
    return np.array([kinds.setdefault(text, len(kinds)) for text in _texts(batch, list(batch))])


def _texts(batch: Batch, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Each row as text, since labels need not be hashable, and 1 and True are not the same."""
    return zip(*(map(repr, batch[v].tolist()) for v in names), strict=True)
