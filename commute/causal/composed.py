"""Mechanisms made from other mechanisms."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from commute.causal.batches import Column, as_column, rows_of
from commute.causal.equations import Equation, decoded
from commute.causal.mechanisms import Mechanism, parents_of


@dataclass(frozen=True, eq=False)
class Compiled:
    """An equation as a mechanism: its parents are fixed, and its table serves for arrays."""

    equation: Equation

    @property
    def parents(self) -> tuple[str, ...]:
        """The equation's parents."""
        return self.equation.parents

    def __call__(self, **given: Any) -> Any:
        """The value at one setting of the parents."""
        return self.equation.function(**given)

    def arrays(self, **given: Column) -> Column:
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

    def __call__(self, **given: Any) -> Any:
        """The variable's value."""
        return given[self.variable]


@dataclass(frozen=True, eq=False)
class Joint:
    """The values of several variables as a tuple."""

    parents: tuple[str, ...]

    def __call__(self, **given: Hashable) -> tuple[Hashable, ...]:
        """The values, in the order of `parents`."""
        return tuple(given[p] for p in self.parents)

    def arrays(self, **given: Column) -> Column:
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

    def __call__(self, **given: Any) -> Any:
        """The value at `place`."""
        return given[self.variable][self.place]

    def arrays(self, **given: Column) -> Column:
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

    def __call__(self, **given: Hashable) -> Hashable:
        """The new label."""
        value = given[self.variable]
        return self.labels.get(value, value)

    def arrays(self, **given: Column) -> Column:
        """The new labels at many settings."""
        return as_column([self.labels.get(x, x) for x in given[self.variable].tolist()])


@dataclass(frozen=True, eq=False)
class Composed:
    """A mechanism some of whose parents are computed by other mechanisms instead of given."""

    outer: Mechanism
    inner: Mapping[str, Mechanism]

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """What the inner mechanisms and the outer one read, each once."""
        read = [q for p in reads(self.outer) for q in (reads(self.inner[p]) if p in self.inner else (p,))]
        return tuple(dict.fromkeys(read))

    def __call__(self, **given: Any) -> Any:
        """The value at one setting of the parents."""
        return self._evaluate(lambda mechanism: mechanism, given)

    def arrays(self, **given: Column) -> Any:
        """The values at many settings, where all mechanisms take arrays."""
        return self._evaluate(lambda mechanism: getattr(mechanism, "arrays", mechanism), given)

    def _evaluate(self, form: Callable[[Mechanism], Mechanism], given: Mapping[str, Any]) -> Any:
        values = {
            p: form(self.inner[p])(**{q: given[q] for q in reads(self.inner[p])}) if p in self.inner else given[p]
            for p in reads(self.outer)
        }
        return form(self.outer)(**values)


def composed(outer: Mechanism, inner: Mapping[str, Mechanism]) -> Mechanism:
    """The mechanism with each parent in `inner` computed by that mechanism; of sympy expressions a sympy expression."""
    used = {p: inner[p] for p in reads(outer) if p in inner}
    return (_substituted(outer, used) or Composed(outer, used)) if used else outer


def reads(mechanism: Mechanism) -> tuple[str, ...]:
    """The parents that a mechanism names."""
    return parents_of("", mechanism, ())[0]


def named(equation: Equation) -> Mechanism:
    """The equation's mechanism with its parents fixed, whatever other variables there will be."""
    return equation.function if hasattr(equation.function, "formula") else Compiled(equation)


def _substituted(outer: Mechanism, inner: Mapping[str, Mechanism]) -> Mechanism | None:
    """The formula with formulas in place of symbols, where sympy can write it."""
    if not hasattr(outer, "formula"):
        return None
    from commute.causal.symbolic import Expression, symbol

    formulas = {p: symbol(m.variable) if isinstance(m, Same) else getattr(m, "formula", None) for p, m in inner.items()}
    if None in formulas.values():
        return None
    try:
        return Expression(outer.formula.xreplace({symbol(p): f for p, f in formulas.items()}))
    except TypeError:  # a truth value in the place of a number
        return None
