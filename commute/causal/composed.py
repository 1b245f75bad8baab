"""Mechanisms made from other mechanisms."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from commute.causal.batches import Column, as_column, rows_of
from commute.causal.equations import Equation, decoded
from commute.causal.mechanisms import Mechanism, by_name, parents_of
from commute.errors import ModelError

_LARGEST = 500  # nodes of a formula up to which formulas are put into each other


@dataclass(frozen=True, eq=False)
class Compiled:
    """An equation as a mechanism: its parents are fixed, and its table serves for arrays."""

    equation: Equation

    @property
    def parents(self) -> tuple[str, ...]:
        """The equation's parents."""
        return self.equation.parents

    def __call__(self, /, *places: Any, **given: Any) -> Any:
        """The value at one setting of the parents."""
        return self.equation.function(**by_name(self.parents, places, given))

    def arrays(self, /, **given: Column) -> Column:
        """The values at many settings."""
        domains = self.equation.domains
        columns = {p: x if (d := domains[p]) is None else d.encode(as_column(x)) for p, x in given.items()}
        return decoded(self.equation.evaluate(columns, rows_of(columns)), self.equation.domain)


@dataclass(frozen=True, eq=False)
class Same:
    """The value of one variable as it is."""

    variable: str

    @property
    def parents(self) -> tuple[str, ...]:
        """The variable."""
        return (self.variable,)

    def __call__(self, /, *places: Any, **given: Any) -> Any:
        """The variable's value."""
        return by_name(self.parents, places, given)[self.variable]


@dataclass(frozen=True, eq=False)
class Joint:
    """The values of several variables as a tuple."""

    parents: tuple[str, ...]

    def __call__(self, /, *places: Hashable, **given: Hashable) -> tuple[Hashable, ...]:
        """The values, in the order of `parents`."""
        return tuple(by_name(self.parents, places, given)[p] for p in self.parents)

    def arrays(self, /, **given: Column) -> Column:
        """The tuples at many settings."""
        return as_column(list(zip(*(given[p].tolist() for p in self.parents), strict=True)))


@dataclass(frozen=True, eq=False)
class Component:
    """One value out of a variable whose values are tuples."""

    variable: str
    place: int

    @property
    def parents(self) -> tuple[str, ...]:
        """The variable."""
        return (self.variable,)

    def __call__(self, /, *places: Any, **given: Any) -> Any:
        """The value at `place`."""
        return by_name(self.parents, places, given)[self.variable][self.place]

    def arrays(self, /, **given: Column) -> Column:
        """The values at many settings."""
        return as_column([x[self.place] for x in given[self.variable].tolist()])


@dataclass(frozen=True, eq=False)
class Relabelled:
    """The value of one variable under other labels; a label that is not listed stays."""

    variable: str
    labels: Mapping[Hashable, Hashable]

    @property
    def parents(self) -> tuple[str, ...]:
        """The variable."""
        return (self.variable,)

    def __call__(self, /, *places: Any, **given: Any) -> Any:
        """The new label."""
        value = by_name(self.parents, places, given)[self.variable]
        return self.labels.get(value, value)

    def arrays(self, /, **given: Column) -> Column:
        """The new labels at many settings."""
        return as_column([self.labels.get(x, x) for x in given[self.variable].tolist()])


@dataclass(frozen=True, eq=False)
class Composed:
    """A mechanism some of whose parents are computed by other mechanisms instead of given.

    The inner mechanisms read what is given, or with `chained` also those before them.
    """

    outer: Mechanism
    inner: Mapping[str, Mechanism]
    chained: bool = False

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """What the inner mechanisms and the outer one read, each once."""
        read = [q for m in self.inner.values() for q in reads(m) if not (self.chained and q in self.inner)]
        return tuple(dict.fromkeys([*read, *(p for p in reads(self.outer) if p not in self.inner)]))

    def __call__(self, /, *places: Any, **given: Any) -> Any:
        """The value at one setting of the parents."""
        return self._evaluate(by_name(self.parents, places, given), arrays=False)

    def arrays(self, /, **given: Column) -> Any:
        """The values at many settings, where all mechanisms take arrays."""
        return self._evaluate(given, arrays=True)

    def _evaluate(self, given: Mapping[str, Any], *, arrays: bool) -> Any:
        computed: dict[str, Any] = {}
        for variable, mechanism in self.inner.items():
            known = {**given, **computed} if self.chained else given
            computed[variable] = _value(mechanism, known, arrays=arrays)
        return _value(self.outer, {**given, **computed}, arrays=arrays)


def _value(mechanism: Mechanism, known: Mapping[str, Any], *, arrays: bool) -> Any:
    form = getattr(mechanism, "arrays", mechanism) if arrays else mechanism
    return form(**{p: known[p] for p in reads(mechanism)})


def composed(outer: Mechanism, inner: Mapping[str, Mechanism]) -> Mechanism:
    """The mechanism with each parent in `inner` computed by that mechanism from what is given."""
    if isinstance(outer, Same):
        return inner.get(outer.variable, outer)
    used = {p: inner[p] for p in reads(outer) if p in inner}
    return (_substituted(outer, used) or Composed(outer, used)) if used else outer


def chained(outer: Mechanism, inner: Mapping[str, Mechanism]) -> Mechanism:
    """The mechanism with what it needs of `inner`, which is in causal order, computed first."""
    needed = set(reads(outer))
    for variable in reversed(list(inner)):
        if variable in needed:
            needed |= set(reads(inner[variable]))
    used = {v: m for v, m in inner.items() if v in needed}
    if not used:
        return outer
    formulas: dict[str, Mechanism] = {}
    for variable, mechanism in used.items():
        formula = _substituted(mechanism, {p: formulas[p] for p in reads(mechanism) if p in formulas})
        if formula is None:
            return Composed(outer, used, chained=True)
        formulas[variable] = formula
    return _substituted(outer, {p: formulas[p] for p in reads(outer) if p in formulas}) or Composed(outer, used, chained=True)


def reads(mechanism: Mechanism) -> tuple[str, ...]:
    """The parents that a mechanism names."""
    return parents_of("", mechanism, ())[0]


def named(equation: Equation) -> Mechanism:
    """The equation's mechanism with its parents fixed, whatever other variables there will be."""
    return equation.function if hasattr(equation.function, "formula") else Compiled(equation)


def _substituted(outer: Mechanism, inner: Mapping[str, Mechanism]) -> Mechanism | None:
    """The formula with formulas in place of symbols, where that is the same function without doubt.

    That is so for other symbols, and for whole numbers in formulas that are defined everywhere and round nothing.
    """
    if not hasattr(outer, "formula"):
        return None
    if not inner:
        return outer
    from commute.causal.symbolic import Expression, size, symbol

    read = {p: Expression(symbol(m.variable)) if isinstance(m, Same) else m for p, m in inner.items()}
    expressions = {p: m for p, m in read.items() if isinstance(m, Expression)}
    renamed = all(e.formula.is_Symbol for e in expressions.values())
    plain = renamed or (
        isinstance(outer, Expression) and outer.is_plain and all(e.is_plain and e.is_whole for e in expressions.values())
    )
    if len(expressions) < len(inner) or not plain or sum(size(e.formula) for e in expressions.values()) > _LARGEST:
        return None
    try:
        return Expression(outer.formula.xreplace({symbol(p): e.formula for p, e in expressions.items()}))
    except (TypeError, ValueError, ModelError):
        return None
