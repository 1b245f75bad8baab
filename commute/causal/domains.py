"""Domains: the values that a variable of a causal model can take."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from commute.causal.batches import Column, as_column
from commute.errors import ModelError

_SHOWN = 8  # labels that a message lists before it shortens


def _hashes(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class Finite:
    """An ordered set of hashable labels.

    Raises:
        ModelError: when there are no labels, one occurs twice or one is not hashable.
    """

    values: tuple[Hashable, ...]

    def __init__(self, values: Iterable[Hashable]) -> None:
        if not isinstance(values, Iterable):
            raise ModelError(f"a Finite domain is made from a list of labels; given {values!r}")
        labels = tuple(values)
        for label in labels:
            if not _hashes(label):
                raise ModelError(f"labels of a Finite domain must be hashable; {label!r} is not")
        if not labels:
            raise ModelError("a Finite domain needs at least one label; it was given none")
        if len(set(labels)) < len(labels):
            twice = next(v for i, v in enumerate(labels) if v in labels[:i])
            raise ModelError(f"a Finite domain lists each label once; {twice!r} occurs twice (1, 1.0 and True are equal)")
        object.__setattr__(self, "values", labels)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.values)

    def __contains__(self, value: object) -> bool:
        return _hashes(value) and value in self._codes

    def __str__(self) -> str:
        shown = ", ".join(repr(v) for v in self.values[:_SHOWN])
        return "{" + shown + (f", … {len(self)} in all" if len(self) > _SHOWN else "") + "}"

    @cached_property
    def _codes(self) -> dict[Hashable, int]:
        return {label: code for code, label in enumerate(self.values)}

    @cached_property
    def _labels(self) -> Column:
        return as_column(self.values)

    @cached_property
    def _sorted(self) -> tuple[Column, Column] | None:
        """The labels in order and the code of each, when they are numbers."""
        if self._labels.dtype.kind not in "biuf":
            return None
        order = np.argsort(self._labels, kind="stable")
        return self._labels[order], order

    def encode(self, column: Column) -> Column:
        """The code (place in the domain's order) of each label, [batch] of int64.

        Raises:
            ModelError: naming the first row whose label is not in the domain.
        """
        codes = self._search(column)
        if (codes < 0).any():
            row = int(np.argmax(codes < 0))
            raise ModelError(f"{_plain(column[row])!r} (row {row}) is not in its domain {self}")
        return codes

    def _search(self, column: Column) -> Column:
        if self._sorted is not None and column.dtype.kind in "biuf":
            labels, order = self._sorted
            places = np.searchsorted(labels, column).clip(max=len(labels) - 1)
            return np.where(labels[places] == column, order[places], -1)
        return np.fromiter(
            (self._codes.get(v, -1) if _hashes(v) else -1 for v in column.tolist()), dtype=np.int64, count=len(column)
        )

    def decode(self, codes: Column) -> Column:
        """The label of each code, [batch]."""
        return self._labels[codes]

    def sample(self, generator: np.random.Generator, n: int) -> Column:
        """Draw `n` codes uniformly, [n]."""
        return generator.integers(len(self), size=n)


@dataclass(frozen=True)
class Interval:
    """The real numbers from `low` to `high`, ends included.

    Raises:
        ModelError: unless both ends are finite numbers with `low` below `high`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not all(isinstance(end, (int, float, np.number)) for end in (self.low, self.high)):
            raise ModelError(f"the ends of an Interval are numbers; given low={self.low!r}, high={self.high!r}")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ModelError(f"an Interval needs finite ends with low < high; given low={self.low}, high={self.high}")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float, np.number)) and bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"[{self.low}, {self.high}]"

    def encode(self, column: Column) -> Column:
        """The numbers as float64, [batch].

        Raises:
            ModelError: naming the first row that is outside, or not a number.
        """
        if column.dtype.kind not in "biuf":
            raise ModelError(f"values of the interval {self} are numbers; given {column.dtype} ({_plain(column[0])!r}, …)")
        outside = ~((column >= self.low) & (column <= self.high))
        if outside.any():
            row = int(np.argmax(outside))
            raise ModelError(f"{_plain(column[row])!r} (row {row}) is not in its domain {self}")
        return column.astype(np.float64)

    def decode(self, column: Column) -> Column:
        """The numbers themselves, [batch]."""
        return column

    def sample(self, generator: np.random.Generator, n: int) -> Column:
        """Draw `n` numbers uniformly, [n]."""
        return generator.uniform(self.low, self.high, size=n)


Domain = Finite | Interval

Bool = Finite((False, True))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
