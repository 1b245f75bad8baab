"""Causal models as JSON: tables, and sympy formulas as trees. Reading one runs no code."""

import json
from collections.abc import Callable, Hashable, Mapping
from math import isfinite
from typing import Any

import numpy as np

from commute.causal.domains import Domain, Finite, Interval
from commute.causal.equations import Equation
from commute.causal.mechanisms import Coded, Mechanism
from commute.causal.model import CausalModel
from commute.errors import ModelError, check, unknown

_VERSION = 1
_LARGEST_EXPONENT = 64
_LARGEST_NUMBER = 2**1024
_EXACT = frozenset(("Add", "Mul", "Pow", "Mod", "floor", "ceiling", "Abs", "sign", "Max", "Min", "Piecewise", "ExprCondPair")) | {
    *("Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan"),
    *("And", "Or", "Not", "Xor", "Implies", "Equivalent", "ITE"),
}  # what sympy computes of numbers without approximating
_DEEPEST = 200  # a formula's tree at most


def to_json(model: CausalModel) -> str:
    """The model as JSON: domains, and each mechanism as a table of codes or a sympy formula.

    A function over finite parents is written as its table.

    Raises:
        ModelError: listing mechanisms that are neither, and labels that JSON cannot hold.
    """
    problems: list[str] = []
    record = {
        "version": _VERSION,
        "name": model.name,
        "inputs": {v: _domain(v, model.domain(v), problems) for v in model.inputs},
        "mechanisms": {v: _mechanism(model, e, problems) for v, e in model.equations.items()},
        "outputs": list(model.outputs),
    }
    check(problems, ModelError, f"writing the causal model {model.name!r}")
    return json.dumps(record, ensure_ascii=False, indent=1) + "\n"


def from_json(text: str) -> CausalModel:
    """The model that `to_json` wrote.

    Raises:
        ModelError: when the text is not such a model.
    """
    try:
        record = json.loads(text)
        _check_version(record["version"])
        known: dict[str, Domain | None] = {v: _read_domain(d) for v, d in record["inputs"].items()}
        inputs = {v: d for v, d in known.items() if d is not None}
        own = {v: _read_domain(m["domain"]) for v, m in record["mechanisms"].items()}
        mechanisms = {v: _read_mechanism(m, {**known, **own}, own[v]) for v, m in record["mechanisms"].items()}
        declared = {v: d for v, d in own.items() if d is not None}
        return CausalModel(str(record["name"]), inputs, mechanisms, record["outputs"], declared)
    except ModelError as error:
        raise ModelError(f"this is no causal model in JSON: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        raise ModelError(f"this is no causal model in JSON: {type(error).__name__}: {error}") from error


def _check_version(version: object) -> None:
    if version != _VERSION:
        raise ModelError(f"it was written by another version of commute: {version!r}")


def _domain(variable: str, domain: Domain | None, problems: list[str]) -> Any:
    if domain is None:
        return None
    if isinstance(domain, Interval):
        return {"low": domain.low, "high": domain.high}
    try:
        return {"values": [_label(x) for x in domain]}
    except ModelError as error:
        problems.append(f"{variable!r}: {error}")
        return None


def _label(label: Hashable) -> Any:
    if isinstance(label, tuple):
        return [_label(x) for x in label]
    if isinstance(label, np.generic):
        return _label(label.item())
    if isinstance(label, int) and abs(label) > _LARGEST_NUMBER:
        raise ModelError("a whole number of more than 1024 bits is no label in JSON")
    if label is None or isinstance(label, (bool, int, str)) or (isinstance(label, float) and isfinite(label)):
        return label
    raise ModelError(f"the label {label!r} is no text, number, truth value, None or tuple of these")


def _mechanism(model: CausalModel, equation: Equation, problems: list[str]) -> dict[str, Any]:
    domain = _domain(equation.variable, model.known_domain(equation.variable), problems)
    if hasattr(equation.function, "formula"):
        return {"domain": domain, "formula": _tree(equation.function.formula, problems, equation.variable)}
    if equation.table is not None:
        return {"domain": domain, "parents": list(equation.parents), "codes": equation.table.tolist()}
    problems.append(f"the mechanism of {equation.variable!r} is a function without a table; write it in sympy")
    return {}


def _tree(node: Any, problems: list[str], variable: str) -> Any:
    if node.is_Symbol:
        return {"variable": node.name}
    if node.is_Rational:
        return [int(node.p), int(node.q)]
    if node.is_Float:
        return float(node)
    if node in (True, False):
        return bool(node)
    head = type(node).__name__
    if head not in _heads():
        problems.append(f"the mechanism of {variable!r} has {head}, which cannot be written")
    return {head: [_tree(a, problems, variable) for a in node.args]}


def _read_domain(record: Mapping[str, Any] | None) -> Domain | None:
    if record is None:
        return None
    return Finite(_read_label(x) for x in record["values"]) if "values" in record else Interval(record["low"], record["high"])


def _read_label(record: Any) -> Hashable:
    if isinstance(record, int) and abs(record) > _LARGEST_NUMBER:
        raise ModelError("a label is a whole number of more than 1024 bits")
    return tuple(_read_label(x) for x in record) if isinstance(record, list) else record


def _read_mechanism(record: Mapping[str, Any], domains: Mapping[str, Domain | None], own: Domain | None) -> Mechanism:
    if "formula" in record:
        from commute.causal.symbolic import Expression

        return Expression(_read_tree(record["formula"], 0))
    missing = [unknown("variable", p, domains) for p in record["parents"] if p not in domains]
    check(missing, ModelError, "a table's parents")
    parents = {p: d for p in record["parents"] if isinstance(d := domains[p], Finite)}
    codes = np.array(record["codes"])
    shape = tuple(map(len, parents.values()))
    if not isinstance(own, Finite) or len(parents) < len(record["parents"]) or codes.shape != shape or codes.dtype.kind != "i":
        raise ModelError(f"a table over {record['parents']} does not have whole numbers of shape {list(shape)}")
    if codes.min() < 0 or codes.max() >= len(own):
        raise ModelError(f"a table over {record['parents']} has codes outside of its domain's {len(own)}")
    return Coded(parents, codes, own)


def _read_tree(record: Any, depth: int) -> Any:
    import sympy

    if depth > _DEEPEST:
        raise ModelError(f"a formula is nested deeper than {_DEEPEST}")
    if isinstance(record, bool):
        return sympy.true if record else sympy.false
    if isinstance(record, float):
        return sympy.Float(record)
    if isinstance(record, list):
        return _read_fraction(*record)
    (head, args), *more = record.items()
    if more or (head == "variable") != isinstance(args, str):
        raise ModelError(f"a node of a formula is a variable, or one function of a list; given {record!r}")
    return sympy.Symbol(args) if head == "variable" else _read_function(head, [_read_tree(a, depth + 1) for a in args])


def _read_fraction(above: Any, below: Any) -> Any:
    import sympy

    if type(above) is not int or type(below) is not int or not max(abs(above), below) <= _LARGEST_NUMBER or below < 1:
        raise ModelError("a fraction is two whole numbers of at most 1024 bits, the second at least 1")
    return sympy.Rational(above, below)


def _read_function(head: str, args: list[Any]) -> Any:
    import sympy

    if head not in _heads():
        raise ModelError(unknown("function", head, _heads()))
    if head not in _EXACT and not any(x.free_symbols for x in args):  # which sympy might compute to any precision
        raise ModelError(f"{head} of a constant is written as the number that it is")
    if head == "Pow" and not _small(args[1]):
        raise ModelError(f"the exponent {args[1]} of a power is not a number up to {_LARGEST_EXPONENT}")
    made = _heads()[head](*args)
    if not all(_small(p.exp) for p in made.atoms(sympy.Pow)):  # powers of powers, which sympy makes one
        raise ModelError(f"an exponent of {head} grows beyond {_LARGEST_EXPONENT}")
    return made


def _small(exponent: Any) -> bool:
    return bool(exponent.is_Rational and max(abs(exponent.p), exponent.q) <= _LARGEST_EXPONENT)


def _heads() -> Mapping[str, Callable[..., Any]]:
    """The functions of a formula, by name: only these are ever called."""
    import sympy

    pair = sympy.functions.elementary.piecewise.ExprCondPair
    kinds = (
        *(sympy.Add, sympy.Mul, sympy.Pow, sympy.Mod, sympy.floor, sympy.ceiling, sympy.Abs, sympy.sign, sympy.Max, sympy.Min),
        *(sympy.Eq, sympy.Ne, sympy.Lt, sympy.Le, sympy.Gt, sympy.Ge, sympy.Piecewise, pair),
        *(sympy.And, sympy.Or, sympy.Not, sympy.Xor, sympy.Implies, sympy.Equivalent, sympy.ITE),
        *(sympy.exp, sympy.log, sympy.sin, sympy.cos, sympy.tan, sympy.tanh, sympy.atan),
    )
    return {kind.__name__: kind for kind in kinds}
