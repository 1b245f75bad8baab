"""Variables, domains and mechanisms as terms of the SMT solver z3: sympy states, z3 decides (extra `proofs`).

Truth values are z3 booleans, whole numbers integers and other numbers reals, so nothing is rounded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import sympy
import z3

from commute.causal.composed import Compiled, Component, Composed, Joint, Relabelled, Same
from commute.causal.domains import Domain, Finite, Interval
from commute.causal.equations import Equation
from commute.causal.mechanisms import Mechanism
from commute.causal.symbolic import Algebra, Expression, Fold, fold

_TRUE = z3.BoolVal(True)  # noqa: FBT003
_TABLE = 2**12  # entries of a table that are written out for the solver at most


class Unsupported(Exception):  # noqa: N818  # a reason for an answer, not a fault
    """What the solver cannot be told, in words."""


@dataclass(frozen=True)
class Found:
    """What the solver found: `status` is `sat`, `unsat` or `unknown`; `values` meet the conditions where it is `sat`."""

    status: str
    values: Mapping[str, Any]
    why: str = ""


def constant(name: str, domain: Domain | None) -> Any:
    """A term that stands for a variable; for tuples a tuple of terms."""
    if isinstance(domain, Interval):
        return z3.Real(name)
    if domain is None:
        raise Unsupported(f"the domain of {name!r} is not known")
    kinds = {type(x) for x in domain}
    if kinds == {bool}:
        return z3.Bool(name)
    if kinds == {int}:
        return z3.Int(name)
    if kinds <= {bool, int, float, Fraction}:
        return z3.Real(name)
    parts = _components(domain)
    if parts is None:
        raise Unsupported(f"the values of {name!r} are not all numbers or truth values, or tuples of these")
    return tuple(constant(f"{name}[{i}]", part) for i, part in enumerate(parts))


def number(name: str) -> Any:
    """A term that stands for any number."""
    return z3.Real(name)


def inside(term: Any, domain: Domain | None) -> Any:
    """That a term is in a domain."""
    if domain is None:
        return _TRUE
    if isinstance(domain, Interval):
        return z3.And(_number(term) >= _term(domain.low), _number(term) <= _term(domain.high))
    parts = _components(domain)
    if parts is not None and isinstance(term, tuple) and prod(map(len, parts)) == len(domain):
        return z3.And(*(inside(x, part) for x, part in zip(term, parts, strict=True)))
    whole = [x for x in domain if type(x) is int]
    if len(whole) == len(domain) == max(whole) - min(whole) + 1 and z3.is_arith(term):
        bounded = z3.And(term >= min(whole), term <= max(whole))
        return bounded if term.is_int() else z3.And(bounded, z3.IsInt(term))
    return z3.Or(*(same(term, x) for x in domain))


def equal(a: Any, b: Any) -> Any:
    """That two terms are the same value, where False is 0 and True is 1."""
    if isinstance(a, tuple) or isinstance(b, tuple):
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return z3.Not(_TRUE)
        return z3.And(*(equal(x, y) for x, y in zip(a, b, strict=True)))
    return a == b if z3.is_bool(a) and z3.is_bool(b) else _number(a) == _number(b)


def different(a: Any, b: Any) -> Any:
    """That two terms are not the same value."""
    return z3.Not(equal(a, b))


def same(term: Any, label: Any) -> Any:
    """That a term is a label's value."""
    return equal(term, _term(label))


def solved(equations: Mapping[str, Equation], known: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The terms of the wanted variables, given those of known ones."""
    needed = set(wanted)
    for variable in reversed(list(equations)):
        if variable in needed and variable not in known:
            needed |= set(equations[variable].parents)
    terms = dict(known)
    for variable, equation in equations.items():
        if variable in needed and variable not in known:
            terms[variable] = value(equation, terms)
    return terms


def value(equation: Equation, terms: Mapping[str, Any]) -> Any:
    """The term of an equation's mechanism.

    Raises:
        Unsupported: when it is neither sympy that z3 can decide nor a small table of numbers and truth values.
    """
    try:
        found = _value(equation.function, terms)
    except (NotImplementedError, z3.Z3Exception) as error:
        raise Unsupported(f"the mechanism of {equation.variable!r} has {error}, which z3 does not decide") from None
    return _table(equation, terms) if found is None else found


def _value(function: Mechanism, terms: Mapping[str, Any]) -> Any:
    """The term of a mechanism; None of a function."""
    build = _MECHANISMS.get(type(function))
    return None if build is None else build(function, terms)


def _relabelled(function: Relabelled, terms: Mapping[str, Any]) -> Any:
    (*entries, (_, last)) = function.labels.items()  # every label is listed
    term, result = terms[function.variable], _term(last)
    for old, new in reversed(entries):
        result = _if(same(term, old), _term(new), result)
    return result


def _composed(function: Composed, terms: Mapping[str, Any]) -> Any:
    known = dict(terms)
    for variable, inner in function.inner.items():
        found = _value(inner, known if function.chained else terms)
        if found is None:
            return None
        known[variable] = found
    return _value(function.outer, known)


_MECHANISMS: Mapping[type, Callable[[Any, Mapping[str, Any]], Any]] = {
    Same: lambda function, terms: terms[function.variable],
    Joint: lambda function, terms: tuple(terms[p] for p in function.parents),
    Component: lambda function, terms: terms[function.variable][function.place],
    Relabelled: _relabelled,
    Compiled: lambda function, terms: value(function.equation, terms),
    Composed: _composed,
    Expression: lambda function, terms: fold(function.formula, terms, ALGEBRA),
}


def _table(equation: Equation, terms: Mapping[str, Any]) -> Any:
    """The term of a table: a case for each combination of the parents' values."""
    table, domain = equation.table, equation.domain
    if table is None or prod(table.shape) > _TABLE or not isinstance(domain, Finite):
        raise Unsupported(f"the mechanism of {equation.variable!r} is a function without a small table; write it in sympy")
    settings = product(*(d.values for d in equation.domains.values() if isinstance(d, Finite)))
    entries = [(key, _term(domain.values[int(code)])) for key, code in zip(settings, table.flat, strict=True)]
    result = entries[-1][1]
    for key, entry in reversed(entries[:-1]):
        here = z3.And(*(same(terms[p], x) for p, x in zip(equation.parents, key, strict=True)))
        result = _if(here, entry, result)
    return result


def ask(conditions: Sequence[Any], variables: Mapping[str, Any], domains: Mapping[str, Domain | None], timeout: float) -> Found:
    """Values of the variables that meet all conditions, sought for at most `timeout` seconds."""
    solver = z3.Solver()
    solver.set("timeout", max(int(timeout * 1000), 1))
    solver.add(*conditions)
    status = solver.check()
    if status == z3.unknown:
        return Found("unknown", {}, solver.reason_unknown())
    if status == z3.unsat:
        return Found("unsat", {})
    model = solver.model()
    values = {name: _label(_evaluated(model, term), domains[name]) for name, term in variables.items()}
    irrational = [name for name, x in values.items() if x is None]
    return Found("unknown", {}, f"it gives {irrational} values that are not rational") if irrational else Found("sat", values)


def unreached_number(
    conditions: Sequence[Any], variables: Mapping[str, Any], term: Any, domain: Interval, timeout: float
) -> Found:
    """A number of an interval, as `value`, that a term never is while the conditions hold."""
    sought = z3.Real("the value sought")
    never = z3.Implies(z3.And(*conditions), different(term, sought))
    everywhere = z3.ForAll([x for given in variables.values() for x in _flat(given)], never)
    return ask([inside(sought, domain), everywhere], {"value": sought}, {"value": domain}, timeout)


def _flat(term: Any) -> list[Any]:
    return [x for part in term for x in _flat(part)] if isinstance(term, tuple) else [term]


def _components(domain: Finite) -> list[Finite] | None:
    """The values at each place of a domain's tuples, if they are tuples of one length."""
    if not all(isinstance(x, tuple) and x and len(x) == len(domain.values[0]) for x in domain):  # type: ignore[arg-type]
        return None
    return [Finite(dict.fromkeys(column)) for column in zip(*domain.values, strict=True)]


def _evaluated(model: Any, term: Any) -> Any:
    """The Python value of a term in a model of the solver, numbers as fractions; None where one is irrational."""
    if isinstance(term, tuple):
        return tuple(_evaluated(model, x) for x in term)
    found = model.eval(term, model_completion=True)
    if z3.is_bool(found):
        return z3.is_true(found)
    if z3.is_int_value(found):
        return Fraction(found.as_long())
    return found.as_fraction() if z3.is_rational_value(found) else None


def _label(value: Any, domain: Domain | None) -> Any:
    """A value as a label of the domain, or as a number; None where it is neither."""
    if isinstance(domain, Finite):
        return next((x for x in domain if x == value), None)
    if isinstance(value, Fraction) and Fraction(float(value)) == value:
        return float(value)
    return value


def _term(label: Any) -> Any:
    if isinstance(label, tuple):
        return tuple(map(_term, label))
    if isinstance(label, bool):
        return z3.BoolVal(label)
    if isinstance(label, int):
        return z3.IntVal(label)
    if isinstance(label, (float, Fraction)):
        number = Fraction(label)
        return z3.RealVal(f"{number.numerator}/{number.denominator}")
    raise Unsupported(f"the value {label!r} is neither a number nor a truth value")


def _number(term: Any) -> Any:
    if isinstance(term, tuple):
        raise NotImplementedError("tuples in arithmetic")
    return z3.If(term, z3.IntVal(1), z3.IntVal(0)) if z3.is_bool(term) else term


def _real(term: Any) -> Any:
    number = _number(term)
    return z3.ToReal(number) if number.is_int() else number


def _truth(term: Any) -> Any:
    return term if z3.is_bool(term) else _number(term) != 0


def _if(condition: Any, yes: Any, no: Any) -> Any:
    if isinstance(yes, tuple) and isinstance(no, tuple) and len(yes) == len(no):
        return tuple(_if(condition, x, y) for x, y in zip(yes, no, strict=True))
    if z3.is_bool(yes) and z3.is_bool(no):
        return z3.If(condition, yes, no)
    yes, no = _number(yes), _number(no)
    return z3.If(condition, yes, no) if yes.sort() == no.sort() else z3.If(condition, _real(yes), _real(no))


def _floor(term: Any) -> Any:
    number = _number(term)
    return number if number.is_int() else z3.ToInt(number)


def _modulo(a: Any, b: Any) -> Any:
    a, b = _number(a), _number(b)
    if a.is_int() and z3.is_int_value(b) and b.as_long() > 0:
        return a % b
    quotient = z3.ToInt(_real(a) / _real(b))  # rounds down, so the remainder has the sign of b as in sympy
    return a - b * quotient if a.is_int() and b.is_int() else _real(a) - _real(b) * z3.ToReal(quotient)


def _power(node: sympy.Basic, value: Fold) -> Any:
    base, exponent = _number(value(node.base)), int(node.exp)
    power = reduce(lambda x, y: x * y, [base] * abs(exponent))
    return power if exponent > 0 else 1 / _real(power)


def _piecewise(node: sympy.Basic, value: Fold) -> Any:
    *cases, (last, otherwise) = node.args
    result = value(last)
    if otherwise != sympy.true:  # where no case applies there is no value: any will do, and a counterexample is checked
        result = _if(_truth(value(otherwise)), result, z3.FreshReal("undefined"))
    for case, condition in reversed(cases):
        result = _if(_truth(value(condition)), value(case), result)
    return result


def _numbers(function: Callable[..., Any]) -> Callable[[sympy.Basic, Fold], Any]:
    return lambda node, value: function(*(_number(value(a)) for a in node.args))


def _truths(function: Callable[..., Any]) -> Callable[[sympy.Basic, Fold], Any]:
    return lambda node, value: function(*(_truth(value(a)) for a in node.args))


def _chosen(better: Callable[[Any, Any], Any]) -> Callable[[sympy.Basic, Fold], Any]:
    return _numbers(lambda *xs: reduce(lambda x, y: _if(better(x, y), x, y), xs))


ALGEBRA: Algebra = {
    sympy.Rational: lambda node, _: _term(int(node) if node.q == 1 else Fraction(node.p, node.q)),
    sympy.Float: lambda node, _: _term(float(node)),
    sympy.logic.boolalg.BooleanTrue: lambda *_: _TRUE,
    sympy.logic.boolalg.BooleanFalse: lambda *_: z3.Not(_TRUE),
    sympy.Add: _numbers(lambda *xs: reduce(lambda x, y: x + y, xs)),
    sympy.Mul: _numbers(lambda *xs: reduce(lambda x, y: x * y, xs)),
    sympy.Pow: _power,
    sympy.Mod: _numbers(_modulo),
    sympy.floor: _numbers(_floor),
    sympy.ceiling: _numbers(lambda x: -_floor(-x)),
    sympy.Abs: _numbers(lambda x: _if(x >= 0, x, -x)),
    sympy.sign: _numbers(lambda x: z3.If(x > 0, z3.IntVal(1), z3.If(x < 0, z3.IntVal(-1), z3.IntVal(0)))),
    sympy.Max: _chosen(lambda x, y: x >= y),
    sympy.Min: _chosen(lambda x, y: x <= y),
    sympy.Piecewise: _piecewise,
    sympy.Eq: lambda node, value: equal(value(node.args[0]), value(node.args[1])),
    sympy.Ne: lambda node, value: z3.Not(equal(value(node.args[0]), value(node.args[1]))),
    sympy.Lt: _numbers(lambda x, y: x < y),
    sympy.Le: _numbers(lambda x, y: x <= y),
    sympy.Gt: _numbers(lambda x, y: x > y),
    sympy.Ge: _numbers(lambda x, y: x >= y),
    sympy.And: _truths(z3.And),
    sympy.Or: _truths(z3.Or),
    sympy.Not: _truths(z3.Not),
    sympy.Xor: _truths(lambda *xs: reduce(z3.Xor, xs)),
    sympy.Implies: _truths(z3.Implies),
    sympy.Equivalent: _truths(lambda first, *xs: z3.And(*(first == x for x in xs))),
    sympy.ITE: lambda node, value: _if(_truth(value(node.args[0])), value(node.args[1]), value(node.args[2])),
}
