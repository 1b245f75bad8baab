"""Mechanisms: how a variable of a causal model follows from its parents."""

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from commute.causal.batches import Batch, Column, as_column
from commute.causal.domains import Domain, Finite
from commute.errors import ModelError

Mechanism = Callable[..., Any]
TABLE_ROWS = 2**17  # a mechanism with no more combinations of its parents' values is tabulated when its model is made


def named_mechanisms(
    mechanisms: Sequence[Mechanism | Mapping[str, Mechanism]] | Mapping[str, Mechanism],
) -> tuple[dict[str, Mechanism], list[str]]:
    """The mechanisms by the name of the variable that each sets, and what is wrong with the names."""
    named: dict[str, Mechanism] = {}
    problems: list[str] = []
    if not isinstance(mechanisms, (Mapping, list, tuple)):
        return {}, [f"mechanisms must be a list of functions or a mapping; given {mechanisms!r}"]
    for item in [mechanisms] if isinstance(mechanisms, Mapping) else mechanisms:
        entries = item.items() if isinstance(item, Mapping) else [(getattr(item, "__name__", "<lambda>"), item)]
        for name, function in entries:
            if not callable(function):
                problems.append(f"the mechanism of {name!r} must be a function of its parents; given {function!r}")
            elif name == "<lambda>":
                problems.append("a lambda has no name; give it as a mapping {'variable': lambda …}")
            elif name in named:
                problems.append(f"there are two mechanisms for {name!r}; each variable has one")
            else:
                named[name] = function
    return named, problems


def parents_of(name: str, function: Mechanism, variables: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """The parents that a function's parameters name, and what is wrong with the parameters.

    A parameter with a default that names no variable keeps its default (`lambda a, k=3: a + k` has the one parent `a`).
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return (), [f"the parameters of the mechanism of {name!r} cannot be read; wrap it in a function of its parents"]
    known = set(variables)
    parents, problems = [], []
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY):
            problems.append(f"the mechanism of {name!r} must name its parents; its parameter {str(p)!r} does not")
        elif p.default is p.empty or p.name in known:
            parents.append(p.name)
    return tuple(parents), problems


@dataclass(frozen=True, eq=False)
class Table:
    """A mechanism given by its values: `codes` holds the place in `domain` of the value for every combination of the parents'.

    `parents` are the parents' domains in the order of the axes of `codes`, [parent 1's values, parent 2's, …].
    """

    parents: Mapping[str, Finite]
    codes: Column
    domain: Finite

    @property
    def __signature__(self) -> inspect.Signature:
        """The parents as parameters, so that a table stands wherever a function does."""
        return inspect.Signature([inspect.Parameter(p, inspect.Parameter.KEYWORD_ONLY) for p in self.parents])

    def __call__(self, **given: Hashable) -> Hashable:
        """The value at one setting of the parents."""
        place = tuple(int(d.encode(as_column([given[p]]))[0]) for p, d in self.parents.items())
        return self.domain.values[int(self.codes[place])]


@dataclass(frozen=True, eq=False)
class Equation:
    """One variable's mechanism, ready to be evaluated on batches.

    `table` holds the code of the value for every combination of the parents' codes, [parent 1's values, parent 2's, …];
    without one the function is called row by row.
    """

    variable: str
    function: Mechanism
    parents: tuple[str, ...]
    domains: Mapping[str, Domain | None]  # the parents' and the variable's own
    table: Column | None = None

    def evaluate(self, columns: Batch, rows: int) -> Column:
        """The variable's column given its parents' columns, [batch] of `rows`."""
        if self.table is not None:
            return np.broadcast_to(self.table[tuple(columns[p] for p in self.parents)], (rows,))
        labels = [decoded(columns[p], self.domains[p]).tolist() for p in self.parents]
        values = [self.call(row) for row in zip(*labels, strict=True)]  # a table always serves where there are no parents
        own = self.domains[self.variable]
        try:
            return as_column(values) if own is None else own.encode(as_column(values))
        except ModelError as error:
            raise ModelError(f"the mechanism of {self.variable!r}: {error}") from None

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


def tabulated(equation: Equation) -> Equation:
    """The equation with its table and, where it had none, its own domain, if its parents are finite and few enough.

    Raises:
        ModelError: when the function raises, or gives a value that is unhashable or outside the declared domain.
    """
    shape = table_shape(equation)
    if shape is None:
        return equation
    parents = [equation.domains[p] for p in equation.parents]
    values = [equation.call(row) for row in product(*(d.values for d in parents if isinstance(d, Finite)))]
    own = equation.domains[equation.variable]
    try:
        own = own or Finite(_ordered(values))
        codes = own.encode(as_column(values))
    except (ModelError, TypeError) as error:
        raise ModelError(f"the mechanism of {equation.variable!r}: {error}") from None
    domains = {**equation.domains, equation.variable: own}
    return Equation(equation.variable, equation.function, equation.parents, domains, codes.reshape(shape))


def table_shape(equation: Equation) -> tuple[int, ...] | None:
    """The shape of the equation's table, or None when a parent is not finite or the table would be too large."""
    shape = []
    for parent in equation.parents:
        domain = equation.domains[parent]
        if not isinstance(domain, Finite):
            return None
        shape.append(len(domain))
    return tuple(shape) if prod(shape) <= TABLE_ROWS else None


def decoded(column: Column, domain: Domain | None) -> Column:
    """The labels of a column; a variable without a domain holds its values as they are."""
    return column if domain is None else domain.decode(column)


def _ordered(values: Sequence[Any]) -> list[Any]:
    distinct = list(dict.fromkeys(values))
    try:
        return sorted(distinct)
    except TypeError:  # labels that do not compare keep the order in which they occur
        return distinct
