"""Batches: the values of variables for many rows at once, one array a variable."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from commute.errors import ModelError

Column = np.ndarray[Any, np.dtype[Any]]  # one variable's values, [batch]
Key = TypeVar("Key")
_FEW = 2**20  # kinds of rows up to which a table of them is kept
BLOCK = 2**16  # rows that are worked on at once, so that their columns stay in a processor's cache
Batch = dict[str, Column]  # labels at the public face of the package; inside `causal` codes of finite variables


def is_batch(value: Any) -> bool:
    """Whether a value given for a variable is an array of values and not one label."""
    return isinstance(value, list) or getattr(value, "ndim", 0) > 0


def as_column(values: Any) -> Column:
    """The values of one variable as an array of shape [batch]; a list of tuples stays a list of labels."""
    if isinstance(values, np.ndarray):
        column = values
    elif hasattr(values, "detach"):  # a torch tensor, without importing torch
        column = values.detach().cpu().numpy()
    else:
        listed = list(values)
        column = np.asarray(listed) if _alike(listed) else _objects(listed)
    if column.ndim != 1:
        raise ModelError(f"a batch holds one value a row, shape [batch]; this one has shape {list(column.shape)}")
    return column


def plain(value: Any) -> Any:
    """A numpy scalar as the Python value that it is."""
    return value.item() if isinstance(value, np.generic) else value


def _alike(listed: list[Any]) -> bool:
    """Whether numpy keeps labels as they are: it unpacks tuples, and makes 1.0 of 1 and True, or of integers beyond 64 bits."""
    kinds: set[type] = {type(x) for x in listed}
    if kinds == {int}:
        return all(-(2**63) <= x < 2**63 for x in listed)
    if kinds == {str}:
        return all(x[-1:] != "\0" for x in listed)
    return len(kinds) == 1 and all(kind in (bool, float) or issubclass(kind, np.generic) for kind in kinds)


def _objects(values: Iterable[Any]) -> Column:
    listed = list(values)
    column = np.empty(len(listed), dtype=object)
    for i, value in enumerate(listed):
        column[i] = value
    return column


def joined(columns: Sequence[Column]) -> Column:
    """Columns after each other; labels of different kinds stay what they are."""
    kinds = {column.dtype.kind for column in columns}
    return np.concatenate(columns if len(kinds) == 1 else [column.astype(object) for column in columns])


def take(batch: Mapping[Key, Any], rows: Any) -> dict[Key, Any]:
    """The given rows (indices, a mask or a slice) of every array."""
    return {v: column[rows] for v, column in batch.items()}


def rows_of(batch: Mapping[str, Any]) -> int:
    """How many rows the arrays have."""
    return len(next(iter(batch.values())))


def distinct(batch: Batch) -> tuple[Column, Column] | None:
    """The first row of each kind of equal rows, and for each row the place of its kind among them, [batch] each.

    None for columns other than of whole numbers, truth values and texts, whose equal labels may not be the same.
    """
    kinds, count = np.zeros(rows_of(batch), dtype=np.int64), 1
    for column in batch.values():
        if column.dtype.kind not in "biuU":
            return None
        codes, labels = _codes(column)
        kinds, count = kinds * labels + codes, count * labels
        if count > _FEW:
            kinds, count = _codes(np.unique(kinds, return_inverse=True)[1])
    first = np.full(count, -1, dtype=np.int64)
    first[kinds[::-1]] = np.arange(len(kinds))[::-1]  # of rows of one kind the first is written last
    there = first >= 0
    return first[there], (np.cumsum(there) - 1)[kinds]


def _codes(column: Column) -> tuple[Column, int]:
    """Whole numbers from 0 that tell the labels of a column apart, and how many numbers there are."""
    if column.dtype.kind != "U":
        numbers = column.astype(np.int64)
        low, high = int(numbers.min()), int(numbers.max())
        if high - low < _FEW:
            return numbers - low, high - low + 1
    labels, codes = np.unique(column, return_inverse=True)
    return codes, len(labels)
