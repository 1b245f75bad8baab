"""Rows of batches: single settings, repeated inputs, and labels put together."""

from collections.abc import Iterator, Sequence
from reprlib import repr as short
from typing import Any

import numpy as np

from commute.causal.batches import Batch, Column, as_column, distinct, is_batch, rows_of
from commute.causal.interventions import Setting
from commute.errors import NetworkError
from commute.models.sites import EachRow, Site

Labels = Column | dict[str, Column]

_SAMPLE = 4096  # rows of a batch among which distinct ones are chosen
_MANY = 256  # rows from which repeated ones are looked for


def batched(inputs: Setting) -> tuple[Batch, bool]:
    """The inputs as arrays, and whether they were a single setting.

    Raises:
        NetworkError: for anything else than a mapping to values, or to arrays of one length.
    """
    if not hasattr(inputs, "items"):  # which a table of pandas has, too
        raise NetworkError(f"inputs are a mapping from each input to a value, or to an array of values; given {short(inputs)}")
    arrays = {v: is_batch(x) for v, x in inputs.items()}
    if not arrays:
        raise NetworkError("the inputs are empty; give a value, or an array of values, for each input")
    if any(arrays.values()) and not all(arrays.values()):
        raise NetworkError(f"inputs are all single labels or all arrays; {[v for v, a in arrays.items() if not a]} are single")
    single = not any(arrays.values())
    batch = {v: as_column([x.item() if hasattr(x, "item") else x] if single else x) for v, x in inputs.items()}
    lengths = {v: len(x) for v, x in batch.items()}
    if len(set(lengths.values())) > 1 or not rows_of(batch):
        raise NetworkError(f"the arrays of a batch must have one length, at least 1; given {lengths}")
    return batch, single


def distinct_rows(batch: Batch) -> tuple[Column, Column] | None:
    """Where each distinct row of a batch stands first, and which of them each row is, if rows are repeated enough to matter."""
    if rows_of(batch) < _MANY:
        return None
    found = distinct(batch)
    return found if found is not None and len(found[0]) <= rows_of(batch) // 2 else None


def kinds_of(batch: Batch) -> tuple[Column, Column]:
    """As `distinct_rows`, however few are repeated; each row is its own kind where that cannot be told."""
    every = np.arange(rows_of(batch))
    return distinct(batch) or (every, every)


def spread(batch: Batch, most: int) -> Column:
    """Places of some rows, no two alike, from all over a batch."""
    n = rows_of(batch)
    looked_at = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int))
    first = np.sort(looked_at[kinds_of({v: x[looked_at] for v, x in batch.items()})[0]])
    places: Column = first[np.linspace(0, len(first) - 1, min(most, len(first))).astype(int)]
    return places


def blocks_of(lengths: Column, size: int) -> Iterator[tuple[Column, int]]:
    """The rows of one pass after the other, and how many of them are its own: one that is as long as any may follow them.

    Passes have at most `size` rows, and two where it is 1 and lengths differ.
    """
    n = len(lengths)
    if size < n:
        size = max(1, size - int(lengths.min() < lengths.max()))
    for start in range(0, n, size):
        rows = np.arange(start, min(start + size, n))
        yield with_longest(rows, lengths), len(rows)


def with_longest(rows: Column, lengths: Column) -> Column:
    """Some rows, and after them the longest of all where none of them is as long, so that all are filled up to its length."""
    longest = int(lengths.argmax())
    return rows if lengths[rows].max() == lengths[longest] else np.append(rows, longest)


def by_row(site: Site) -> bool:
    """Whether a site has a position for each row of the batch that is given, which makes rows with equal inputs distinct."""
    return isinstance(site.position, EachRow)


def at(labels: Labels, rows: Column) -> Labels:
    """The labels at some rows."""
    return {k: x[rows] for k, x in labels.items()} if isinstance(labels, dict) else labels[rows]


def joined(parts: Sequence[Labels], *, single: bool = False) -> Any:
    """The labels of batches that follow each other, as one array (or one an output); of a single setting its label."""
    first = parts[0]
    if isinstance(first, dict):
        return {k: joined([p[k] for p in parts if isinstance(p, dict)], single=single) for k in first}
    column = np.concatenate([p for p in parts if not isinstance(p, dict)])
    return column.tolist()[0] if single else column
