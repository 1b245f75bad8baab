"""Mechanisms written as sympy expressions, whose free symbols are the parents."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import sympy
from sympy.logic.boolalg import Boolean
from sympy.printing.numpy import NumPyPrinter

from commute.causal.batches import Column
from commute.causal.equations import Equation
from commute.causal.mechanisms import by_name
from commute.errors import ModelError

_MOST_BITS = 2**16  # of a power
symbol = sympy.Symbol  # plain, so that it is the variable of its name whatever is assumed of it
Fold = Callable[[sympy.Basic], Any]
Algebra = Mapping[type, Callable[[sympy.Basic, Fold], Any]]  # for each kind of node, what to do


@dataclass(frozen=True, eq=False)
class Expression:
    """A sympy expression as a mechanism; a symbol stands for the variable of its name.

    One setting is computed exactly, with fractions, where the formula has only arithmetic, comparisons, cases and logic, and in
    floating point otherwise. Numbers are whole where the expression is whole for whole parents, and floats otherwise.

    Raises:
        ModelError: when it is not a number or truth value, or has functions without a definition.
    """

    formula: sympy.Basic

    def __init__(self, formula: sympy.Basic) -> None:
        if not isinstance(formula, (sympy.Expr, Boolean)) or formula.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.I):
            raise ModelError(f"a sympy mechanism is a real number or a truth value; given {formula}")
        if not all(type(s) in (sympy.Symbol, sympy.Dummy) for s in formula.free_symbols):
            raise ModelError(f"the free symbols of a sympy mechanism are plain symbols; given {formula}")
        undefined = formula.atoms(sympy.core.function.AppliedUndef, sympy.Integral, sympy.Derivative)
        if undefined:
            raise ModelError(f"{', '.join(sorted(map(str, undefined)))} in {formula} cannot be computed")
        # symbols that differ in their assumptions alone are the same variable
        object.__setattr__(self, "formula", formula.xreplace({s: sympy.Symbol(s.name) for s in formula.free_symbols}))

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """The names of the free symbols, sorted."""
        return tuple(sorted(s.name for s in self.formula.free_symbols))

    def __call__(self, /, *places: Any, **given: Any) -> Any:
        """The value at one setting of the parents."""
        values = by_name(self.parents, places, given)
        if isinstance(self.formula, sympy.Symbol):
            return values[self.formula.name]
        if self._exact:
            value = fold(self.formula, {v: _exactly(x) for v, x in values.items()}, EXACT)
        else:
            value = self._scalar(*(values[p] for p in self.parents))
        if isinstance(value, (bool, np.bool_)) or isinstance(self.formula, Boolean):
            return bool(value)
        whole = self.is_whole and all(isinstance(x, (int, np.integer)) for x in values.values())
        return round(value) if whole else _finite(float(value))

    def arrays(self, /, **given: Column) -> Column:
        """The values at many settings, [batch], in floating point unless all is whole.

        Raises:
            FloatingPointError: when some value is undefined.
        """
        if isinstance(self.formula, sympy.Symbol):
            return given[self.formula.name]
        if self._partial:
            raise FloatingPointError(f"{self.formula} is not defined everywhere")
        numbers = [x.astype(np.int64) if x.dtype.kind == "b" else x for x in (given[p] for p in self.parents)]
        rows = len(numbers[0]) if numbers else 1
        values = np.broadcast_to(np.asarray(self._vector(*numbers)), (rows,))
        if isinstance(self.formula, Boolean):
            return values.astype(bool)
        if not np.isfinite(values).all():
            raise FloatingPointError(f"{self.formula} is not defined everywhere")
        whole = self.is_whole and all(x.dtype.kind in "iu" for x in numbers)
        return np.rint(values).astype(np.int64) if whole else values.astype(np.float64)

    @property
    def is_truth(self) -> bool:
        """Whether it is a truth value."""
        return isinstance(self.formula, Boolean) and not isinstance(self.formula, sympy.Symbol)

    @cached_property
    def is_plain(self) -> bool:
        """Whether it is a number that is defined everywhere, and nothing in it is rounded or divides."""
        divides = any(p.exp.is_negative for p in self.formula.atoms(sympy.Pow))
        remainders = all(m.args[1].is_number for m in self.formula.atoms(sympy.Mod))
        return self._exact and not self._partial and not divides and remainders and not self.formula.has(sympy.Float)

    @cached_property
    def _partial(self) -> bool:
        """Whether it has cases none of which may apply."""
        return any(cases.args[-1][1] != sympy.true for cases in self.formula.atoms(sympy.Piecewise))

    @cached_property
    def is_whole(self) -> bool:
        """Whether the value is an integer wherever the parents are."""
        integers = {s: sympy.Symbol(s.name, integer=True) for s in self.formula.free_symbols}
        return self.formula.xreplace(integers).is_integer is True

    @cached_property
    def _exact(self) -> bool:
        return all(_handler(node, EXACT) is not None for node in sympy.preorder_traversal(self.formula))

    @property
    def _symbols(self) -> list[sympy.Symbol]:
        return [sympy.Symbol(p) for p in self.parents]

    @cached_property
    def _vector(self) -> Callable[..., Any]:
        printer = _OneDivision({"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True})
        return _lambdified(self._symbols, self.formula, "numpy", printer)

    @cached_property
    def _scalar(self) -> Callable[..., Any]:
        return _lambdified(self._symbols, self.formula, "math", None)


def _lambdified(symbols: list[sympy.Symbol], formula: sympy.Basic, modules: str, printer: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = sympy.lambdify(symbols, formula, modules=modules, printer=printer, dummify=True)
    return made


class _OneDivision(NumPyPrinter):  # type: ignore[misc]  # sympy has no types
    """Writes a sum of fractions over one denominator: 0.7 + 0.1 + 0.2 in floating point is below 1, (7 + 1 + 2) / 10 is not."""

    def _print_Add(self, expr: sympy.Expr) -> str:  # noqa: N802
        return self._quotient(expr) or str(super()._print_Add(expr))

    def _print_Mul(self, expr: sympy.Expr) -> str:  # noqa: N802
        return self._quotient(expr) or str(super()._print_Mul(expr))

    def _print_Xor(self, expr: sympy.Basic) -> str:  # noqa: N802
        return f"logical_xor.reduce(({','.join(self._print(a) for a in expr.args)}))"

    def _quotient(self, expr: sympy.Expr) -> str | None:
        above, below = sympy.fraction(sympy.together(expr))
        return None if below == 1 else f"(({self._print(above)})/({self._print(below)}))"


def size(formula: sympy.Basic) -> int:
    """How many nodes a formula has."""
    return sum(1 for _ in sympy.preorder_traversal(formula))


def fold(formula: sympy.Basic, symbols: Mapping[str, Any], algebra: Algebra) -> Any:
    """The value of a formula in an algebra: symbols as given, each other node by its handler.

    Raises:
        NotImplementedError: naming a function that the algebra lacks.
    """

    def value(node: sympy.Basic) -> Any:
        if isinstance(node, sympy.Symbol):
            return symbols[node.name]
        handler = _handler(node, algebra)
        if handler is None:
            raise NotImplementedError(f"{type(node).__name__} in {node}")
        return handler(node, value)

    return value(formula)


def _handler(node: sympy.Basic, algebra: Algebra) -> Callable[[sympy.Basic, Fold], Any] | None:
    if isinstance(node, sympy.Pow) and not node.exp.is_Integer:
        return None  # roots and exponentials
    return next((algebra[kind] for kind in type(node).__mro__ if kind in algebra), None)


def _piece(node: sympy.Basic, value: Fold) -> Any:
    for result, condition in node.args:
        if value(condition):
            return value(result)
    raise ValueError(f"no case of {node} applies")


def _power(node: sympy.Basic, value: Fold) -> Any:
    exponent, base = int(node.exp), value(node.base)
    fraction = Fraction(base)
    if max(fraction.numerator.bit_length(), fraction.denominator.bit_length()) * abs(exponent) > _MOST_BITS:
        raise ArithmeticError(f"{node} is too large")
    return base**exponent if exponent >= 0 else Fraction(1) / base**-exponent


def _compare(by: Callable[[Any, Any], bool]) -> Callable[[sympy.Basic, Fold], bool]:
    return lambda node, value: by(value(node.args[0]), value(node.args[1]))


def _of_all(function: Callable[[list[Any]], Any]) -> Callable[[sympy.Basic, Fold], Any]:
    return lambda node, value: function([value(a) for a in node.args])


EXACT: Algebra = {
    sympy.Symbol: lambda node, value: value(node),
    sympy.Rational: lambda node, _: Fraction(node.p, node.q) if node.q != 1 else int(node.p),
    sympy.Float: lambda node, _: Fraction(float(node)),
    sympy.logic.boolalg.BooleanTrue: lambda *_: True,
    sympy.logic.boolalg.BooleanFalse: lambda *_: False,
    sympy.Add: _of_all(sum),
    sympy.Mul: _of_all(math.prod),
    sympy.Pow: _power,
    sympy.Mod: _of_all(lambda xs: operator.mod(*xs)),
    sympy.floor: _of_all(lambda xs: math.floor(xs[0])),
    sympy.ceiling: _of_all(lambda xs: math.ceil(xs[0])),
    sympy.Abs: _of_all(lambda xs: abs(xs[0])),
    sympy.sign: _of_all(lambda xs: (xs[0] > 0) - (xs[0] < 0)),
    sympy.Max: _of_all(max),
    sympy.Min: _of_all(min),
    sympy.Piecewise: _piece,
    sympy.functions.elementary.piecewise.ExprCondPair: lambda node, value: value(node.args[0]),
    sympy.Eq: _compare(operator.eq),
    sympy.Ne: _compare(operator.ne),
    sympy.Lt: _compare(operator.lt),
    sympy.Le: _compare(operator.le),
    sympy.Gt: _compare(operator.gt),
    sympy.Ge: _compare(operator.ge),
    sympy.And: lambda node, value: all(value(a) for a in node.args),
    sympy.Or: lambda node, value: any(value(a) for a in node.args),
    sympy.Not: lambda node, value: not value(node.args[0]),
    sympy.Xor: _of_all(lambda xs: sum(map(bool, xs)) % 2 == 1),
    sympy.Implies: lambda node, value: not value(node.args[0]) or bool(value(node.args[1])),
    sympy.Equivalent: _of_all(lambda xs: len(set(map(bool, xs))) == 1),
    sympy.ITE: lambda node, value: value(node.args[1] if value(node.args[0]) else node.args[2]),
}


def exact(equation: Equation, given: Mapping[str, Any]) -> Any:
    """The value of a mechanism with nothing rounded, where it has only arithmetic, comparisons, cases and logic."""
    function = equation.function
    if isinstance(function, Expression):
        return fold(function.formula, {p: _exactly(given[p]) for p in function.parents}, EXACT)
    return equation.call([given[p] for p in equation.parents])


def _exactly(value: Any) -> Any:
    """A float as the fraction that it is, so that nothing is rounded on the way."""
    return Fraction(value) if isinstance(value, (float, Decimal)) else value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("the value is not a finite number")
    return value
