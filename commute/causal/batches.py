"""Batches: the values of variables for many rows at once, one array a variable."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from commute.errors import ModelError

Column = np.ndarray[Any, np.dtype[Any]]  # one variable's values, [batch]
Key = TypeVar("Key")
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
        kinds = {type(v) for v in listed}
        plain = len(kinds) == 1 and (kinds <= {bool, int, float, str} or issubclass(kinds.pop(), np.generic))
        column = np.asarray(listed) if plain else _objects(listed)  # numpy would unpack tuples and turn 1 and True into 1.0
    if column.ndim != 1:
        raise ModelError(f"a batch holds one value a row, shape [batch]; this one has shape {list(column.shape)}")
    return column


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
