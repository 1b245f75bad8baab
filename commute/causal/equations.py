"""Equations: mechanisms compiled, so that a batch is answered by one look-up or one call on arrays."""

import inspect
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np

from commute.causal.batches import Batch, Column, as_column, plain
from commute.causal.domains import Bool, Domain, Finite
from commute.causal.mechanisms import Coded, Mechanism
from commute.errors import ModelError, SlowWarning

TABLE_ROWS = 2**17  # combinations of the parents' values that a table holds at most: one MiB of codes a mechanism
_CHECKED = 16  # rows, besides extreme values, on which a call on arrays is held against calls on one setting
_CORNERS = 5  # parents whose extremes are combined in all ways
_AXES = 32  # parents of a table at most, since an array has no more axes than 64
_CLOSE = 1e-12  # relative difference of floats that summation in another order may make
_NUMBERS = "biuf"


@dataclass(frozen=True, eq=False)
class Equation:
    """One variable's mechanism, ready to be evaluated on batches.

    Compiled when first needed: where the parents are finite and few enough to a table of codes, otherwise a batch is given to the
    function as arrays, if that gives what single calls give on a sample of the batch, and else row by row.

    Attributes:
        variable: the variable that is set.
        function: its mechanism.
        near: each parent's domain or, where a mechanism sets the parent, its equation.
        declared: the variable's domain, if one was declared.
    """

    variable: str
    function: Mechanism
    near: Mapping[str, "Domain | Equation"]
    declared: Domain | None

    def is_same(self, other: "Equation") -> bool:
        """Whether the other was made from the same parts, so that what one has compiled serves both."""
        return (
            self.function is other.function
            and self.declared == other.declared
            and list(self.near) == list(other.near)
            and all(
                a is b or (not isinstance(a, Equation) and a == b)
                for a, b in zip(self.near.values(), other.near.values(), strict=True)
            )
        )

    @property
    def parents(self) -> tuple[str, ...]:
        """The parents' names, in the order of the table's axes."""
        return tuple(self.near)

    @cached_property
    def domains(self) -> dict[str, Domain | None]:
        """The parents' domains, None where one is not known."""
        return {p: d.domain if isinstance(d, Equation) else d for p, d in self.near.items()}

    @cached_property
    def shape(self) -> tuple[int, ...] | None:
        """How many values each parent has, or None when one is not finite."""
        sizes = [len(d) for d in self.domains.values() if isinstance(d, Finite)]
        return tuple(sizes) if len(sizes) == len(self.domains) else None

    @property
    def domain(self) -> Domain | None:
        """The variable's domain: the declared one, or the values that the table holds; of a sympy truth value, both."""
        if self.declared is not None:
            return self.declared
        return self._compiled[1] or (Bool if getattr(self.function, "is_truth", False) else None)

    @property
    def table(self) -> Column | None:
        """The code of the value for every combination of the parents' codes, [parent 1's values, parent 2's, …], if tabulated."""
        return self._compiled[0]

    @property
    def _compiled(self) -> tuple[Column | None, Domain | None]:
        waiting = [self]  # no recursion: a chain of mechanisms may be long
        while waiting:
            pending = [e for e in waiting[-1].near.values() if isinstance(e, Equation) and e.declared is None and not e.is_made]
            if pending and not waiting[-1].is_made:
                waiting += pending
            else:
                _ = waiting.pop().made
        return self.made

    @property
    def is_made(self) -> bool:
        """Whether it has been compiled."""
        return "made" in self.__dict__

    @cached_property
    def made(self) -> tuple[Column | None, Domain | None]:
        """The table and the domain that it reveals; those of the parents are made first."""
        function = self.function
        if isinstance(function, Coded) and self.declared in (None, function.domain) and self.domains == dict(function.parents):
            return function.codes.astype(function.domain.code_type), function.domain
        if self.shape is None or prod(self.shape) > TABLE_ROWS or len(self.shape) > _AXES:
            return None, None
        labels = [d.values for d in self.domains.values() if isinstance(d, Finite)]
        try:
            values = self._tabulated(list(product(*labels)))
            own = self.declared or Finite(_ordered(values.tolist()))
            return own.encode(values).reshape(self.shape), own
        except ModelError as error:
            raise self._named(error) from None

    def _tabulated(self, settings: Sequence[Sequence[Hashable]]) -> Column:
        arrays = getattr(self.function, "arrays", None)
        if arrays is not None and self.near and len(settings) > _CHECKED:
            found = self._at_once(arrays, [as_column(column) for column in zip(*settings, strict=True)])
            if found is not None:
                return found
        return as_column([self.call(row) for row in settings])

    @cached_property
    def _flat(self) -> tuple[Column, dict[str, Any]] | None:
        """The table as one axis, and how far apart on it the values of each parent are; codes are too narrow for places on it."""
        if self.table is None:
            return None
        wide = np.min_scalar_type(self.table.size)
        return self.table.reshape(-1), {p: wide.type(prod(self.table.shape[i + 1 :])) for i, p in enumerate(self.parents)}

    def evaluate(self, columns: Batch, rows: int) -> Column:
        """The variable's column given its parents' columns, [batch] of `rows`."""
        if self._flat is not None:
            table, strides = self._flat
            if not self.near:
                return np.broadcast_to(table, (rows,))
            return table.take(reduce(np.add, (_scaled(columns[p], stride) for p, stride in strides.items())))
        values = self._values([decoded(columns[p], d) for p, d in self.domains.items()], rows)
        own = self.domain
        try:
            return values if own is None else own.encode(values)
        except ModelError as error:
            raise self._named(error) from None

    def _values(self, labels: list[Column], rows: int) -> Column:
        if rows > _CHECKED:
            found = self._at_once(getattr(self.function, "arrays", self.function), labels)
            if found is not None:
                return found
            _ = self._warned
        try:
            return as_column([self.call(row) for row in zip(*(x.tolist() for x in labels), strict=True)])
        except ModelError as error:
            raise self._named(error) from None

    def _at_once(self, function: Callable[..., Any], labels: list[Column]) -> Column | None:
        """The function of whole columns, or None where it does not take them or answers otherwise than for single settings."""
        views = [column.view() for column in labels]
        for view in views:
            view.flags.writeable = False
        try:
            with np.errstate(divide="raise", invalid="raise", over="raise"), warnings.catch_warnings():
                warnings.simplefilter("error")
                found = function(**dict(zip(self.parents, views, strict=True)))
        except Exception:  # noqa: BLE001  # a function for single settings may raise anything when it is given arrays
            return None
        if not isinstance(found, np.ndarray) or found.shape != views[0].shape:
            return None
        rows = np.linspace(0, len(labels[0]) - 1, _CHECKED).astype(np.int64)
        single = as_column([self.call(row) for row in zip(*(x[rows].tolist() for x in labels), strict=True)])
        return found if _agree(found[rows], single) and self._right_at_corners(function, labels) else None

    def _right_at_corners(self, function: Callable[..., Any], labels: list[Column]) -> bool:
        """Whether the function is right where integers are most likely to overflow: at the parents' extremes, in combination."""
        ends = [[x.min(), x.max()] if x.dtype.kind in _NUMBERS else [x[0], x[-1]] for x in labels]
        corners = list(product(*ends)) if len(ends) <= _CORNERS else list(zip(*ends, strict=True))
        settings = [(row, value) for row in corners for value in self._defined([plain(x) for x in row])]
        if not settings:
            return True
        arrays = [np.array([row[i] for row, _ in settings], dtype=x.dtype) for i, x in enumerate(labels)]
        try:
            with np.errstate(all="ignore"):
                found = function(**dict(zip(self.parents, arrays, strict=True)))
        except Exception:  # noqa: BLE001  # as above
            return False
        return _agree(np.asarray(found), as_column([value for _, value in settings]))

    def _defined(self, row: Sequence[Any]) -> list[Any]:
        """The value at one setting, which may be none that ever occurs, if there is one."""
        try:
            return [self.call(row)]
        except ModelError:
            return []

    @cached_property
    def _warned(self) -> None:
        place = _caller()
        warnings.warn_explicit(
            f"the mechanism of {self.variable!r} is called once a row: it has no table, since its parents' values are not finite "
            f"or have more than {TABLE_ROWS:,} combinations, and does not take arrays as it takes single values; where it can, "
            "write it for arrays (np.where instead of if, & instead of and) or in sympy",
            SlowWarning,
            *place,
        )

    def call(self, row: Sequence[Any]) -> Any:
        """The value at one setting of the parents; an exception is reported with that setting."""
        given = dict(zip(self.parents, row, strict=True))
        try:
            return self.function(**given)
        except Exception as error:  # whatever the user's function raises
            at = ", ".join(f"{k}={v!r}" for k, v in given.items())
            raise ModelError(
                f"the mechanism of {self.variable!r} raised {type(error).__name__}: {error}, at {at or 'no parents'}"
            ) from error

    def _named(self, error: ModelError) -> ModelError:
        said = str(error)
        own = f"the mechanism of {self.variable!r}"
        return error if said.startswith(own) else ModelError(f"{own}: {said}")


def _caller() -> tuple[str, int]:
    """The file and line that called the package, which is where something can be changed."""
    frame: Any = inspect.currentframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(("commute.", "functools")):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _scaled(codes: Column, stride: Any) -> Column:
    wide = codes.astype(stride.dtype)
    return wide if stride == 1 else np.multiply(wide, stride, out=wide)


def decoded(column: Column, domain: Domain | None) -> Column:
    """The labels of a column; a variable without a domain holds its values as they are."""
    return column if domain is None else domain.decode(column)


def _agree(found: Column, single: Column) -> bool:
    if found.shape != single.shape or found.dtype.kind != single.dtype.kind:
        return False
    if found.dtype.kind == "f":
        return bool(np.allclose(found, single, rtol=_CLOSE, atol=0, equal_nan=True))
    return bool((found == single).all())


def _ordered(values: Iterable[Hashable]) -> list[Hashable]:
    """The distinct values, sorted where they have an order, else as they first come."""
    try:
        distinct = list(dict.fromkeys(values))
    except TypeError as error:
        raise ModelError(str(error)) from None
    try:
        return sorted(distinct)  # type: ignore[type-var]
    except TypeError:
        return distinct
