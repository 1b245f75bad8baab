"""Domains: the values that a variable of a causal model can take."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from commute.causal.batches import Column, as_column, plain
from commute.errors import ModelError

_SPREAD, _SMALL = 4, 1024  # whole labels that lie no further apart than this times their number, and this, are looked up
_SHORT = 2**15  # codes that two signed bytes hold
_LARGEST = float(np.finfo(np.float64).max)
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
        labels = tuple(map(plain, values))
        for label in labels:
            if not _hashes(label):
                raise ModelError(f"labels of a Finite domain must be hashable; {label!r} is not")
            if not (label == label):  # noqa: PLR0124  # NaN does not
                raise ModelError(f"labels of a Finite domain must equal themselves; {label!r} does not")
        if not labels:
            raise ModelError("a Finite domain needs at least one label; it was given none")
        if len(set(labels)) < len(labels):
            first = {label: place for place, label in reversed(list(enumerate(labels)))}
            twice = next(label for place, label in enumerate(labels) if first[label] < place)
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

    @cached_property
    def _direct(self) -> tuple[int, Column] | None:
        """The lowest label, and the code of each number from there on (-1 where it is no label), when the labels are whole."""
        if self._labels.dtype.kind not in "bi":
            return None
        labels = self._labels.astype(np.int64)
        low, high = int(labels.min()), int(labels.max())
        if high - low > _SPREAD * len(self) + _SMALL:
            return None
        codes = np.full(high - low + 1, -1, dtype=np.int64 if len(self) > _SHORT else np.int16)
        codes[labels - low] = np.arange(len(self))
        return low, codes

    @cached_property
    def _counting(self) -> bool:
        """Whether the labels are 0, 1, 2, …, or False and True, and so their own codes."""
        return self._labels.dtype.kind in "bi" and bool((self._labels == np.arange(len(self))).all())

    @cached_property
    def code_type(self) -> np.dtype[Any]:
        """The smallest unsigned integers that hold the codes; arithmetic on codes needs wider ones."""
        return np.min_scalar_type(len(self) - 1)

    def encode(self, column: Column) -> Column:
        """The code (place in the domain's order) of each label, [batch] of `code_type`.

        Raises:
            ModelError: naming the first row whose label is not in the domain.
        """
        codes = self._search(column)
        if codes.dtype.kind == "i" and (codes < 0).any():
            raise ModelError(f"{_told(column, int(np.argmax(codes < 0)))} is not in its domain {self}")
        return codes.astype(self.code_type, copy=False)

    def find(self, column: Column) -> Column:
        """The code of each label, [batch] of int64, -1 where it is not in the domain."""
        return self._search(column).astype(np.int64, copy=False)

    def _search(self, column: Column) -> Column:
        """The code of each label, -1 where it has none; unsigned where all have one."""
        if self._direct is not None and column.dtype.kind in "biu" and len(column):
            low, codes = self._direct
            if (
                self._counting and column.dtype == np.int64
            ):  # the usual case in one pass: a negative number is a huge unsigned one
                if column.view(np.uint64).max() < len(self):
                    return column.astype(self.code_type)
            elif column.min() >= low and column.max() < low + len(codes):
                return codes.take(column.astype(np.int64) - low)
        if self._sorted is not None and column.dtype.kind in "biuf":
            labels, order = self._sorted
            places = np.searchsorted(labels, column).clip(max=len(labels) - 1)
            return np.where(labels[places] == column, order[places], -1)
        return np.fromiter(
            (self._codes.get(v, -1) if _hashes(v) else -1 for v in column.tolist()), dtype=np.int64, count=len(column)
        )

    def decode(self, codes: Column) -> Column:
        """The label of each code, [batch]."""
        return codes.astype(self._labels.dtype) if self._counting else self._labels.take(codes)

    def united(self, other: "Finite") -> "Finite":
        """The labels of both."""
        return Finite(dict.fromkeys([*self.values, *other.values]))

    def sample(self, generator: np.random.Generator, n: int) -> Column:
        """Draw `n` codes uniformly, [n]."""
        return generator.integers(len(self), size=n).astype(self.code_type)

    def grid(self, shape: tuple[int, ...], axis: int) -> Column:
        """Every code along one axis of a grid of settings, as a column in the grid's order, [prod(shape)]."""
        along = np.arange(len(self), dtype=self.code_type).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return np.broadcast_to(along, shape).reshape(-1)


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
        if not -_LARGEST <= self.low < self.high <= _LARGEST:
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
        if column.dtype.kind not in "biuf" and len(column):
            raise ModelError(f"values of the interval {self} are numbers; given {column.dtype} ({plain(column[0])!r}, …)")
        column = column.astype(np.float64)
        outside = ~((column >= self.low) & (column <= self.high))
        if outside.any():
            raise ModelError(f"{_told(column, int(np.argmax(outside)))} is not in its domain {self}")
        return column

    def find(self, column: Column) -> Column:
        """The numbers as float64, [batch], NaN where one is outside, or not a number."""
        if column.dtype.kind not in "biuf":
            return np.array([float(x) if x in self else np.nan for x in column.tolist()])
        return np.where((column >= self.low) & (column <= self.high), column.astype(np.float64), np.nan)

    def decode(self, column: Column) -> Column:
        """The numbers themselves, [batch]."""
        return column

    def sample(self, generator: np.random.Generator, n: int) -> Column:
        """Draw `n` numbers uniformly, [n]."""
        return generator.uniform(self.low, self.high, size=n)


Domain = Finite | Interval


def _told(column: Column, row: int) -> str:
    """A label of a column, with its row where there are several."""
    return f"{plain(column[row])!r} (row {row})" if len(column) > 1 else repr(plain(column[row]))


def any_label(domain: Domain) -> Any:
    """The first label of a domain."""
    return domain.values[0] if isinstance(domain, Finite) else domain.low


Bool = Finite((False, True))
