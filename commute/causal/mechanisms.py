"""Mechanisms: how a variable of a causal model follows from its parents."""

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commute.causal.batches import Column, as_column
from commute.causal.domains import Finite
from commute.errors import ModelError

Mechanism = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Table:
    """A mechanism given by its values.

    Args:
        parents: the parents' names.
        values: the variable's value for each combination of the parents' values: a tuple in the order of `parents`, or the value
            itself where there is one parent. Combinations that cannot occur are ignored; one that is missing is an error.

    Raises:
        ModelError: when parents are no names, or a combination has another number of values than there are parents.
    """

    parents: tuple[str, ...]
    values: Mapping[Hashable, Hashable]

    def __init__(self, parents: Sequence[str], values: Mapping[Hashable, Hashable]) -> None:
        listed = isinstance(parents, Sequence) and not isinstance(parents, str) and all(isinstance(p, str) for p in parents)
        if not listed or not isinstance(values, Mapping):
            raise ModelError(f"a Table has a list of names and a mapping from their values; given {parents!r} and {values!r}")
        bare = len(parents) == 1 and not all(isinstance(key, tuple) and len(key) == 1 for key in values)
        entries = {(key,): x for key, x in values.items()} if bare else dict(values)
        wrong = next((k for k in entries if not isinstance(k, tuple) or len(k) != len(parents)), None)
        if wrong is not None:
            raise ModelError(f"a Table of {len(parents)} parents has tuples of {len(parents)} values as keys; given {wrong!r}")
        object.__setattr__(self, "parents", tuple(parents))
        object.__setattr__(self, "values", entries)

    def __call__(self, /, *places: Hashable, **given: Hashable) -> Hashable:
        """The value at one setting of the parents."""
        values = by_name(self.parents, places, given)
        key = tuple(values[p] for p in self.parents)
        if key not in self.values:
            raise LookupError(f"the table has no entry {key!r}")
        return self.values[key]


@dataclass(frozen=True, eq=False)
class Coded:
    """A mechanism whose value is looked up in an array: `codes` holds its place in `domain`, [parent 1's values, parent 2's, …].

    `parents` are the parents' domains in the order of the axes of `codes`.
    """

    parents: Mapping[str, Finite]
    codes: Column
    domain: Finite

    def __call__(self, /, *places: Hashable, **given: Hashable) -> Hashable:
        """The value at one setting of the parents."""
        values = by_name(self.parents, places, given)
        place = tuple(int(d.encode(as_column([values[p]]))[0]) for p, d in self.parents.items())
        return self.domain.values[int(self.codes[place])]


@dataclass(frozen=True, eq=False)
class Constant:
    """One value, whatever the parents are."""

    parents: tuple[str, ...]
    value: Any

    def __call__(self, /, *places: Any, **given: Any) -> Any:  # noqa: ARG002
        """The value."""
        return self.value


def by_name(parents: Iterable[str], places: Sequence[Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parents' values by name, of a call that gives the first ones by their places."""
    return {**dict(zip(parents, places, strict=False)), **given} if places else given


def named_mechanisms(
    mechanisms: Sequence[Mechanism | Mapping[str, Any]] | Mapping[str, Any],
) -> tuple[dict[str, Mechanism], list[str]]:
    """The mechanisms by the name of the variable that each sets, and what is wrong with them."""
    named: dict[str, Mechanism] = {}
    problems: list[str] = []
    if not isinstance(mechanisms, (Mapping, list, tuple)):
        return {}, [f"mechanisms must be a list of functions or a mapping; given {mechanisms!r}"]
    for item in [mechanisms] if isinstance(mechanisms, Mapping) else mechanisms:
        entries = item.items() if isinstance(item, Mapping) else [(getattr(item, "__name__", "<lambda>"), item)]
        for name, given in entries:
            try:
                mechanism = as_mechanism(given)
            except ModelError as error:
                problems.append(f"the mechanism of {name!r}: {error}")
                mechanism = Constant((), None)  # so that what reads it is not told that it does not exist
            if not isinstance(name, str):
                problems.append(f"the name of a variable is a text; given {name!r}")
            elif name == "<lambda>":
                problems.append("a lambda has no name; give it as a mapping {'variable': lambda …}")
            elif name in named:
                problems.append(f"there are two mechanisms for {name!r}; each variable has one")
            else:
                named[name] = mechanism
    return named, problems


def as_mechanism(given: Any) -> Mechanism:
    """A function, a table or a sympy expression as something to call with the parents' values.

    Raises:
        ModelError: when it is none of these.
    """
    if any((kind.__module__ or "").startswith("sympy.") for kind in type(given).__mro__):
        from commute.causal.symbolic import Expression  # whoever has an expression has paid for importing sympy

        return Expression(given)
    if isinstance(given, bool):
        raise ModelError(f"it is the constant {given}; sympy's Eq(x, y) compares values, where == compares expressions at once")
    if isinstance(given, Mapping):
        raise ModelError("a mapping does not name the parents; give it as cm.Table(parents, mapping)")
    if not callable(given):
        raise ModelError(f"it must be a function of its parents, a cm.Table or a sympy expression; given {given!r}")
    mechanism: Mechanism = given
    return mechanism


def parents_of(name: str, mechanism: Mechanism, variables: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """The parents that a mechanism names, for a function as its parameters, and what is wrong with them.

    A parameter with a default that names no variable keeps its default (`lambda a, k=3: a + k` has the one parent `a`).
    """
    named = getattr(mechanism, "parents", None)
    if named is not None:
        return tuple(named), []
    try:
        parameters = inspect.signature(mechanism).parameters.values()
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
