"""Deciding abstraction between causal models, against the definition by brute force."""

from itertools import chain, combinations, product

import pytest
import sympy
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import commute as cm
from commute.alignments.binomial import Count
from commute.causal import abstraction, equivalence
from commute.causal.mechanisms import Coded
from commute.testing.strategies import LABELS, models
from tests.causal.test_algebra import OPERATIONS

BITS = [x for x in LABELS if len(x) == 2]


def commutes(high, low, tau):
    """τ(Solve(L_i)) = Solve(H_ω(i)) for every input and every intervention on whole cells: the definition, one run at a time."""
    every = product(*(low.domain(v).values for v in low.inputs))
    for inputs in (dict(zip(low.inputs, row, strict=True)) for row in every):
        start = tau(low.solve(inputs))
        if any(start[v] not in high.domain(v) for v in high.inputs):
            continue
        for cells in chain.from_iterable(combinations(high.graph, k) for k in range(len(high.graph) + 1)):
            members = [v for h in cells for v in tau.cell(h)]
            for values in product(*(low.domain(v).values for v in members)):
                do = dict(zip(members, values, strict=True))
                above = {h: tau.parts[h](**{v: do[v] for v in tau.cell(h)}) for h in cells}
                if any(above[h] not in high.domain(h) for h in cells):
                    continue
                if tau(low.solve(inputs, do)) != high.solve({v: start[v] for v in high.inputs}, above):
                    return False
    return True


def onto(high, low, tau):
    for h in high.graph:
        values = product(*(low.domain(v).values for v in tau.cell(h)))
        reached = {tau.parts[h](**dict(zip(tau.cell(h), row, strict=True))) for row in values}
        if not set(high.domain(h).values) <= reached:
            return False
    return True


@st.composite
def mutated(draw, high, low, tau):
    """The same question with one thing changed: the map of a variable, two variables exchanged, or an entry of a mechanism."""
    kind = draw(st.sampled_from(["map", "exchange", "mechanism", "none"]))
    parts = dict(tau.parts)
    variable = draw(st.sampled_from(list(high.graph)))
    if kind == "map":
        values = list(high.domain(variable).values)
        relabel = dict(
            zip(values, draw(st.lists(st.sampled_from(values), min_size=len(values), max_size=len(values))), strict=True)
        )
        cell, part = tau.cell(variable), parts[variable]
        keys = product(*(low.domain(v).values for v in cell))
        parts[variable] = cm.Table(cell, {k: relabel[part(**dict(zip(cell, k, strict=True)))] for k in keys})
    elif kind == "exchange":
        other = draw(st.sampled_from([v for v in high.graph if high.domain(v) == high.domain(variable)]))
        parts[variable], parts[other] = parts[other], parts[variable]
    elif kind == "mechanism" and variable in high.equations:
        equation, domain = high.equations[variable], high.domain(variable)
        codes = equation.table.copy()
        place = draw(st.integers(0, codes.size - 1))
        codes.flat[place] = (codes.flat[place] + 1) % len(domain)
        high = high.extended({variable: Coded(equation.domains, codes, domain)})
    return high, cm.Tau(parts)


@examples(max_examples=300)
@given(st.data())
def test_it_is_decided_as_the_definition_says(data):
    low = data.draw(models(inputs=2, mechanisms=2, parents=2, labels=BITS))
    high, tau = data.draw(data.draw(st.sampled_from(OPERATIONS))(low))
    high, tau = data.draw(mutated(high, low, tau))
    verdict = cm.abstracts(high, low, tau)
    assert verdict.status == ("holds" if commutes(high, low, tau) and onto(high, low, tau) else "refuted")
    shown = verdict.counterexample
    if shown is not None:
        assert tau(shown.base) == shown.answered != shown.expected
    elif not verdict:
        assert "no low-level setting stands for" in str(verdict)


def sums():
    digits = cm.Finite(range(10))
    low = cm.CausalModel("three digits", dict.fromkeys("abc", digits), {"ab": lambda a, b: a + b, "abc": lambda ab, c: ab + c})
    high = cm.CausalModel("two numbers", {"x": cm.Finite(range(19)), "c": digits}, {"total": lambda x, c: x + c})
    return high, low


def test_an_input_that_stands_for_a_computed_variable():
    high, low = sums()
    verdict = cm.abstracts(high, low, {"x": "ab", "c": "c", "total": "abc"})
    assert verdict
    assert [e.level for e in verdict.evidence] == ["exact"] * 3
    assert verdict.evidence[2].count.total == 190


def test_inputs_that_depend_on_each_other_below_are_no_inputs():
    low = cm.CausalModel("copy", {"p": cm.Bool}, {"v": lambda p: p, "both": lambda p, v: p and v})
    high = cm.CausalModel("and", {"p": cm.Bool, "v": cm.Bool}, {"both": lambda p, v: p and v})
    verdict = cm.abstracts(high, low, {v: v for v in ("p", "v", "both")})
    assert verdict.status == "refuted"
    assert verdict.counterexample.answered["v"] != verdict.counterexample.expected["v"]


def test_a_map_that_is_not_onto_is_refuted():
    """A constant map commutes with everything that keeps the constant, and says nothing."""
    model = cm.CausalModel("copy", {"a": cm.Bool}, {"b": lambda a: a})
    verdict = cm.abstracts(model, model, {"a": lambda a: a and False, "b": lambda b: b and False})
    assert verdict.status == "refuted"
    assert "no low-level setting stands for a=True" in str(verdict)


@pytest.mark.parametrize(
    ("domain", "low", "part", "status"),
    [
        (cm.Interval(0, 10), cm.Interval(0, 1), "x", "refuted"),
        (cm.Interval(0, 1), cm.Interval(0, 1), "x", "holds"),
        (cm.Interval(0, 1), cm.Interval(0, 2), sympy.Symbol("x") / 2, "holds"),
        (cm.Interval(0, 1), cm.Interval(0, 1), sympy.sin(sympy.Symbol("x")), "inconclusive"),
        (cm.Finite([0, 1, 2]), cm.Interval(0, 1), lambda x: int(x > 0.5), "inconclusive"),
        (cm.Finite([0, 1, 2]), cm.Interval(0, 1), sympy.Piecewise((1, sympy.Symbol("x") > 0.5), (0, True)), "refuted"),
        (cm.Finite([0, 1]), cm.Interval(0, 1), sympy.Piecewise((1, sympy.Symbol("x") > 0.5), (0, True)), "holds"),
        (cm.Interval(0, 1), cm.Finite([0, 1]), "x", "refuted"),
    ],
)
def test_every_value_must_be_reached(domain, low, part, status):
    below = cm.CausalModel("low", {"x": low}, {"y": sympy.Integer(0)})
    above = cm.CausalModel("high", {"X": domain}, {"Y": sympy.Integer(0)})
    verdict = cm.abstracts(above, below, {"X": part, "Y": "y"})
    assert verdict.status == status
    assert verdict.evidence[0].level == ("exact" if isinstance(low, cm.Finite) or (part == "x" and low == domain) else "sound")


@examples(max_examples=60)
@given(st.data())
def test_z3_decides_as_enumeration_does(data):
    """The same questions with nothing enumerated; tables, tuples and labels of merged values are told to z3."""
    numbers = [(False, True), (0, 1), (-1, 5)]
    low = data.draw(models(inputs=2, mechanisms=2, parents=2, labels=numbers))
    high, tau = data.draw(data.draw(st.sampled_from(OPERATIONS[:3]))(low))
    high, tau = data.draw(mutated(high, low, tau))
    expected = cm.abstracts(high, low, tau).status
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(abstraction, "ENUMERATED", 0)
        assert cm.abstracts(high, low, tau).status == expected


@examples(max_examples=60)
@given(st.data())
def test_z3_compares_functions_as_enumeration_does(data):
    first = data.draw(models(inputs=2, mechanisms=2, parents=2, labels=[(False, True), (0, 1), (-1, 5)]))
    second, _ = data.draw(mutated(first, first, cm.Tau({v: v for v in first.graph})))
    expected = cm.equivalent(first, second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equivalence, "ENUMERATED", 0)
        found = cm.equivalent(first, second)
    assert found.status == expected.status
    if not found:
        inputs = {v: found.counterexample.base[v] for v in first.inputs}
        ours, theirs = first.solve(inputs), second.solve(inputs)
        assert any(ours[v] != theirs[v] for v in first.outputs)


def test_settings_outside_of_a_domain_are_no_interventions_but_wrong_answers():
    four = cm.Finite(range(4))
    low = cm.CausalModel("count", {"a": four}, {"b": lambda a: a}, domains={"b": four})
    high = cm.CausalModel("small", {"a": cm.Finite(range(3))}, {"b": lambda a: a}, domains={"b": cm.Finite(range(3))})
    assert cm.abstracts(high, low, {"a": "a", "b": "b"})
    worse = low.extended({"b": lambda a: 3 if a == 2 else a})
    verdict = cm.abstracts(high, worse, {"a": "a", "b": "b"})
    assert verdict.status == "refuted"
    assert (verdict.counterexample.expected["b"], verdict.counterexample.answered["b"]) == (2, 3)
    assert verdict.evidence[1].count == Count(2, 3)


def test_everything_wrong_with_a_mapping_is_told_at_once():
    high, low = sums()
    with pytest.raises(cm.CommuteError) as caught:
        cm.abstracts(high, low, {"x": "a b", "c": "c", "sum": "abc"})
    said = str(caught.value)
    assert "the variable 'total' of 'two numbers' has no low-level variables" in said
    assert "no variable 'sum'" in said
    assert "no variable 'a b'; did you mean" in said


X, Y, S = sympy.symbols("x y s")
UNIT = cm.Interval(0, 10)


def threshold(formula, **domains):
    return cm.CausalModel("threshold", {"x": UNIT, "y": UNIT}, formula, domains=domains or None)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (sympy.Ge(X + Y, 10), sympy.Ge(Y, 10 - X), "holds"),
        (sympy.Ge(X + Y, 10), sympy.Gt(Y, 10 - X), "refuted"),
        (sympy.Eq(3 * X, 1), sympy.false, "refuted"),  # only at 1/3, which is no float
        (sympy.Max(X, Y), (X + Y + sympy.Abs(X - Y)) / 2, "holds"),
        (sympy.floor(X), X - sympy.Mod(X, 1), "holds"),
        (sympy.ceiling(X), sympy.floor(X) + 1, "refuted"),
        (sympy.Piecewise((X, X > Y), (Y, True)), sympy.Max(X, Y), "holds"),
        (sympy.Piecewise((1 / X, X > 0), (0, True)), sympy.Piecewise((0, X <= 0), (X**-1, True)), "holds"),
        (X**2 - Y**2, (X - Y) * (X + Y), "holds"),
        (sympy.Xor(X > 1, Y > 1), sympy.Ne(X > 1, Y > 1), "holds"),
        (sympy.sign(X - Y), sympy.Piecewise((1, X > Y), (-1, X < Y), (0, True)), "holds"),
        (X / Y * Y, X + 0 * Y, "holds"),
        (X / (Y - Y + X - 5), (X - 1) / (X - 5), "refuted"),
        (sympy.sin(X), sympy.cos(X), "inconclusive"),
    ],
)
def test_z3_decides_what_cannot_be_enumerated(first, second, status):
    one, other = threshold({"out": first}), threshold({"out": second})
    verdict = cm.equivalent(one, other)
    assert verdict.status == status, verdict
    assert bool(verdict) == (status == "holds")
    if status == "refuted":
        inputs = {v: verdict.counterexample.base.get(v, 0) for v in ("x", "y")}
        point = {sympy.Symbol(v): sympy.Rational(str(x)) if isinstance(x, float) else x for v, x in inputs.items()}
        assert first.subs(point) != second.subs(point)


def test_large_finite_models_are_decided_symbolically():
    big = cm.Finite(range(100_000))
    low = cm.CausalModel(
        "mod", {"x": big, "y": big}, {"s": sympy.Mod(X + Y, 7), "zero": sympy.Eq(S, 0)}, domains={"s": cm.Finite(range(7))}
    )
    week = cm.Finite(range(7))
    high = cm.CausalModel("residues", {"x": week, "y": week}, {"zero": sympy.Eq(sympy.Mod(X + Y, 7), 0)})
    residues = {"x": sympy.Mod(X, 7), "y": sympy.Mod(Y, 7), "zero": "zero"}
    verdict = cm.abstracts(high, low, residues)
    assert verdict
    assert verdict.evidence[-1].level == "sound"
    wrong = cm.abstracts(high, low, {**residues, "y": sympy.Mod(Y + 1, 7)})
    assert wrong.status == "refuted"
    assert wrong.counterexample.answered != wrong.counterexample.expected


def test_continuous_abstraction_with_an_internal_variable():
    low = threshold({"s": X + Y, "big": S >= 10}, s=cm.Interval(0, 20))
    high = cm.CausalModel("sum", {"s": cm.Interval(0, 20)}, {"big": S >= 10})
    assert cm.abstracts(high, low, {"s": "s", "big": "big"})
    half = cm.CausalModel("sum", {"s": cm.Interval(0, 10)}, {"big": S >= 5})
    assert cm.abstracts(half, low, {"s": S / 2, "big": "big"})
    assert cm.abstracts(half, low, {"s": S / 3, "big": "big"}).status == "refuted"
    assert (
        cm.abstracts(cm.CausalModel("sum", {"s": cm.Interval(0, 30)}, {"big": S >= 10}), low, {"s": "s", "big": "big"}).status
        == "refuted"
    )


def test_variables_without_a_declared_domain_are_set_to_any_number():
    low = threshold({"s": X + Y, "big": S >= 10, "out": sympy.Symbol("big")})
    assert low.domain("big") == cm.Bool
    mapping = {v: v for v in ("x", "y", "s", "big", "out")}
    assert cm.abstracts(low, low, mapping)
    sums = cm.CausalModel("sums", {"s": cm.Interval(0, 20)}, {"big": S >= 10})
    assert cm.abstracts(sums, low, {"s": "s", "big": "big"})
    other = threshold({"s": X + Y, "big": S >= 11, "out": sympy.Symbol("big")})
    assert cm.abstracts(other, low, mapping).status == "refuted"


def test_a_timeout_is_a_number_of_seconds():
    with pytest.raises(cm.CommuteError, match="timeout is a number of seconds above 0; given 'long'"):
        cm.equivalent(threshold({"out": X}), threshold({"out": X}), timeout="long")


def test_a_python_function_over_a_continuum_is_left_open():
    verdict = cm.equivalent(threshold({"out": lambda x: x > 1}), threshold({"out": X > 1}))
    assert verdict.status == "inconclusive"
    assert "write it in sympy" in str(verdict)


def test_z3_that_runs_out_of_time_leaves_it_open():
    hard = X**7 - 3 * X**5 * Y**3 + Y**9 * X - sympy.Rational(7, 3)
    again = sympy.floor(hard * 10**6) / 10**6
    assert cm.equivalent(threshold({"out": again >= Y}), threshold({"out": hard >= Y}), timeout=0.001).status == "inconclusive"


def test_equivalence_of_finite_models():
    assert cm.equivalent(cm.library.xor_direct(), cm.library.xor_nand())
    other = cm.library.xor_direct().extended({"xor": lambda a, b: a or b})
    verdict = cm.equivalent(cm.library.xor_direct(), other)
    assert verdict.status == "refuted"
    assert verdict.counterexample.base == {"a": True, "b": True}
    assert "differs for 1 of 4 inputs" in str(verdict)


def test_models_that_cannot_be_compared_say_how():
    first = cm.library.xor_direct()
    second = cm.CausalModel("other", {"a": cm.Finite([0, 1, 2]), "c": cm.Bool}, {"y": lambda a, c: a})
    with pytest.raises(cm.CommuteError) as caught:
        cm.equivalent(first, second)
    for part in ("'b' is an input of one", "'c' is an input of one", "'xor' is an output of one", "the domain of 'a' is"):
        assert part in str(caught.value)


def test_a_verdict_on_models_is_kept_and_shown(tmp_path):
    high, low = sums()
    verdict = cm.abstracts(high, low, {"x": lambda ab: ab, "c": "c", "total": lambda abc: (abc + 1) % 28})
    assert verdict.status == "refuted"
    verdict.save(tmp_path)
    assert cm.Verdict.load(tmp_path).to_json() == verdict.to_json()
    verdict.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "is a constructive abstraction of" in page
    said = str(verdict).splitlines()
    assert said[0] == "refuted: 'two numbers' is a constructive abstraction of 'three digits'"
    assert said[-1].endswith("gives total=1, not total=0")
    assert "no-op" not in page
    assert "Controls" not in page
