"""Mechanisms made from other mechanisms."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from commute.causal.batches import Column
from commute.causal.equations import Equation
from commute.causal.mechanisms import Mechanism, parents_of


@dataclass(frozen=True, eq=False)
class Named:
    """A function together with the parents that it reads."""

    function: Mechanism
    parents: tuple[str, ...]

    def __call__(self, **given: Any) -> Any:
        """The function's value."""
        return self.function(**given)


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
    function = equation.function
    return function if hasattr(function, "parents") else Named(function, equation.parents)


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
