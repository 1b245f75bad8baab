"""Deciding with a solver what cannot be enumerated: continuous domains, and finite ones that are too large."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from commute.causal.abstraction import Around, Decision, Disagreement, disagreement, missed, onto
from commute.causal.domains import Finite
from commute.causal.equations import Equation
from commute.causal.model import CausalModel
from commute.errors import ModelError

_OTHER = "'"  # marks the second of two values of a variable


def decided(a: Around, timeout: float) -> Decision:
    """Whether one high-level variable is right, decided by z3 within `timeout` seconds.

    Raises:
        ModelError: when z3 is not installed.
    """
    smt = _smt()
    try:
        known = {v: _constant(smt, a.low, v) for v in a.domains}
        conditions, mapped, values = _read(smt, a, known)
        if a.is_input:  # its cell must stand for the same whatever the other cells are
            other = {v: _constant(smt, a.low, v, _OTHER) if v in a.fixed else x for v, x in known.items()}
            again, expected, _ = _read(smt, a, other)
            conditions += again
            known |= {v + _OTHER: other[v] for v in a.fixed}
        else:
            expected = smt.value(a.high.equations[a.variable], values)
        domains = {v: a.domains[v.removesuffix(_OTHER)] for v in known}
        found = smt.ask([*conditions, smt.different(mapped, expected)], known, domains, timeout)
    except smt.Unsupported as reason:
        return _open(a.variable, str(reason))
    return _told(a.variable, found, lambda: _shown(a, found.values), "is right in every setting", "is wrong in a setting")


def same_output(first: CausalModel, second: CausalModel, output: str, timeout: float) -> Decision:
    """Whether two models give the same output for every input, decided by z3 within `timeout` seconds.

    Raises:
        ModelError: when z3 is not installed.
    """
    smt = _smt()
    domains = {v: first.domain(v) for v in first.inputs}
    try:
        known = {v: smt.constant(v, d) for v, d in domains.items()}
        answers = [smt.solved(model.equations, known, [output])[output] for model in (first, second)]
        conditions = [smt.inside(known[v], d) for v, d in domains.items()]
        found = smt.ask([*conditions, smt.different(*answers)], known, domains, timeout)
    except smt.Unsupported as reason:
        return _open(output, str(reason))

    def differ() -> Disagreement | None:
        ours, theirs = (exactly(model, found.values, [output]) for model in (first, second))
        if ours[output] == theirs[output]:
            return None
        return Disagreement(output, {}, found.values, {output: theirs[output]}, {output: ours[output]})

    return _told(output, found, differ, "is the same for every input", "differs for an input")


def _told(variable: str, found: Any, confirmed: Callable[[], Disagreement | None], right: str, wrong: str) -> Decision:
    """What the solver found, with a counterexample only where one is confirmed without it: it may have divided by zero."""
    if found.status == "unsat":
        return Decision(variable, "holds", 0, 0, f"{variable!r} {right}, as z3 shows", solver=True)
    if found.status == "unknown":
        return _open(variable, f"z3 gives up ({found.why})")
    try:
        shown = confirmed()
    except (ModelError, ValueError, ArithmeticError, NotImplementedError):
        shown = None
    if shown is None:
        return _open(variable, "what z3 found is not confirmed, since something is undefined there")
    return Decision(variable, "refuted", 0, 0, f"{variable!r} {wrong} that z3 found", shown, solver=True)


def _open(variable: str, why: str) -> Decision:
    return Decision(variable, "inconclusive", 0, 0, f"{variable!r} is not decided: {why}", solver=True)


def is_onto(a: Around, timeout: float) -> Decision:
    """Whether the variable's cell stands for each of its values, decided by z3."""
    smt, domain = _smt(), a.high.domain(a.variable)
    cell = {v: a.low.known_domain(v) for v in a.tau.cell(a.variable)}
    try:
        known = {v: _constant(smt, a.low, v) for v in cell}
        mapped = smt.value(a.readers[a.variable], known)
        conditions = [smt.inside(known[v], d) for v, d in cell.items()]
        if not isinstance(domain, Finite):
            found = smt.unreached_number(conditions, known, mapped, domain, timeout)
            if found.status == "sat":
                return replace(missed(a, found.values["value"]), solver=True)
            if found.status == "unknown":
                return _open(a.variable, f"whether each value is reached: {found.why}")
            return replace(onto(a), solver=True)
        for value in domain:
            status = smt.ask([*conditions, smt.same(mapped, value)], {}, {}, timeout).status
            if status != "sat":
                missing = replace(missed(a, value), solver=True)
                return missing if status == "unsat" else _open(a.variable, f"whether {value!r} is reached")
    except smt.Unsupported as reason:
        return _open(a.variable, f"whether each value is reached: {reason}")
    return replace(onto(a), solver=True)


def _constant(smt: ModuleType, low: CausalModel, variable: str, mark: str = "") -> Any:
    """A term for a low-level variable; one that a formula of numbers sets, without a domain, can be set to any number."""
    domain = low.known_domain(variable)
    if domain is None and hasattr(low.equations[variable].function, "formula"):
        return smt.number(variable + mark)
    return smt.constant(variable + mark, domain)


def _read(smt: ModuleType, a: Around, known: Mapping[str, Any]) -> tuple[list[Any], Any, dict[str, Any]]:
    """That settings are in their domains and stand for high-level ones; what the variable's cell stands for; the others."""
    terms = smt.solved(a.low.equations, known, [v for h in (a.variable, *a.cells) for v in a.tau.cell(h)])
    values = {h: smt.value(a.readers[h], terms) for h in a.cells}
    conditions = [smt.inside(x, a.domains[v]) for v, x in known.items()]
    conditions += [smt.inside(x, a.high.known_domain(h)) for h, x in values.items()]
    return conditions, smt.value(a.readers[a.variable], terms), values


def _shown(a: Around, values: Mapping[str, Any]) -> Disagreement | None:
    """The two settings that differ, computed anew without the solver."""
    found = {v: x for v, x in values.items() if not v.endswith(_OTHER)}
    other = {v.removesuffix(_OTHER): x for v, x in values.items() if v.endswith(_OTHER)}
    try:
        return disagreement(a, found, other) or _local(a, found, other)
    except ModelError:  # a fraction that no float is
        return _local(a, found, other)


def _local(a: Around, found: Mapping[str, Any], other: Mapping[str, Any]) -> Disagreement | None:
    """The variables around one, in fractions: a float may not hold the value that makes the difference."""
    low = exactly(a.low, found, a.tau.cell(a.variable))
    high = {h: _exact(a.readers[h], low) for h in a.cells}
    mapped = _exact(a.readers[a.variable], low)
    if a.is_input:
        expected = _exact(a.readers[a.variable], exactly(a.low, {**found, **other}, a.tau.cell(a.variable)))
    else:
        expected = _exact(a.high.equations[a.variable], high)
    if mapped == expected:
        return None
    do = {v: found[v] for v in a.fixed}
    return Disagreement(a.variable, do, low, {**high, a.variable: mapped}, {**high, a.variable: expected})


def exactly(model: CausalModel, given: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The values of wanted variables, and of what they need, from those given, with nothing rounded."""
    values = dict(given)
    needed = model.needed(wanted, given)
    for variable, equation in model.equations.items():
        if variable in needed:
            values[variable] = _exact(equation, values)
    return values


def _exact(equation: Equation, given: Mapping[str, Any]) -> Any:
    from commute.causal.symbolic import exact  # sympy takes its time to import

    return exact(equation, given)


def _smt() -> ModuleType:
    try:
        from commute.causal import smt
    except ModuleNotFoundError as error:
        raise ModelError("this cannot be enumerated, and deciding it needs z3: pip install '.[proofs]', or z3-solver") from error
    return smt
