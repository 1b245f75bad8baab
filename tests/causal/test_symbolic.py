"""Mechanisms in sympy: exact for one setting, and the same on arrays."""

from decimal import Decimal
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import commute as cm
from commute.causal.symbolic import Expression

A, B, C, P, Q = sympy.symbols("a b c p q")
DIGIT = cm.Finite(range(10))
MANY = cm.Finite(range(1000))


def over(formula, domain=DIGIT):
    return cm.CausalModel("sympy", dict.fromkeys("abc", domain), {"v": formula})


def test_a_carry_is_not_lost_to_rounding():
    """0.7 + 0.1 + 0.2 is less than 1 in floating point, and sympy writes floor((a + b + c)/10) as such a sum."""
    carry = sympy.floor((A + B + C) / 10)
    small = over(carry)
    for row in product(range(10), repeat=3):
        assert small.solve(dict(zip("abc", row, strict=True)))["v"] == sum(row) // 10
    large = over(carry, MANY)
    drawn = {v: np.random.default_rng(i).integers(1000, size=5000) for i, v in enumerate("abc")}
    assert (large.solve(drawn)["v"] == sum(drawn.values()) // 10).all()


CASES = [
    (sympy.Ge(A + B, 10), lambda a, b: a + b >= 10),
    (sympy.Mod(A - B, 7), lambda a, b: (a - b) % 7),
    (sympy.Mod(A, -3), lambda a, b: a % -3),
    (sympy.Piecewise((1, A > B), (2, True)), lambda a, b: 1 if a > b else 2),
    (sympy.Piecewise((A / B, B > 0), (0, True)), lambda a, b: a / b if b else 0),
    (sympy.Xor(A > B, B > 3, A > 5), lambda a, b: ((a > b) + (b > 3) + (a > 5)) % 2 == 1),
    (sympy.Implies(A > B, B > 3), lambda a, b: not a > b or b > 3),
    (sympy.Equivalent(A > B, B > 3, A > 1), lambda a, b: (a > b) == (b > 3) == (a > 1)),
    (sympy.ITE(A > B, B > 3, A > 5), lambda a, b: b > 3 if a > b else a > 5),
    (sympy.And(A > B, sympy.Not(B > 3)), lambda a, b: a > b and b <= 3),
    (sympy.Or(sympy.Eq(A, B), sympy.Ne(A, 2)), lambda a, b: a == b or a != 2),
    (sympy.Max(A, B, 4) - sympy.Min(A, B), lambda a, b: max(a, b, 4) - min(a, b)),
    (sympy.Abs(A - B) * sympy.sign(A - B), lambda a, b: a - b),
    (sympy.ceiling(A / 3) + sympy.floor(-B / 2), lambda a, b: -(-a // 3) + -b // 2),
    (A**2 - 3 * B, lambda a, b: a**2 - 3 * b),
    ((A + B) / 4, lambda a, b: (a + b) / 4),
    (sympy.exp(-A) + sympy.sqrt(B), lambda a, b: np.exp(-a) + np.sqrt(b)),
    (sympy.Symbol("b"), lambda a, b: b),
    (sympy.true, lambda a, b: True),
    (sympy.Integer(3), lambda a, b: 3),
]


@pytest.mark.parametrize(("formula", "function"), CASES, ids=[str(f) for f, _ in CASES])
def test_a_formula_is_its_function_for_one_setting_in_tables_and_on_arrays(formula, function):
    expression = Expression(formula)
    rows = list(product(range(10), repeat=2))
    a, b = (np.array(x) for x in zip(*rows, strict=True))
    single = [expression(**{p: {"a": x, "b": y}[p] for p in expression.parents}) for x, y in rows]
    assert single == pytest.approx([function(x, y) for x, y in rows])
    tabulated = cm.CausalModel("s", {"a": DIGIT, "b": DIGIT}, {"v": formula}).solve({"a": a, "b": b})["v"]
    assert tabulated.tolist() == pytest.approx(single)
    if expression.parents and not formula.has(sympy.Piecewise):  # whose other case divides by zero
        arrays = expression.arrays(**{p: {"a": a, "b": b}[p] for p in expression.parents})
        assert arrays.tolist() == pytest.approx(single)
        assert arrays.dtype.kind == np.asarray(single).dtype.kind


@st.composite
def formulas(draw, depth=3):
    """Numbers from a, b, c by arithmetic, comparisons, cases and logic."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from([A, B, C, sympy.Integer(2), sympy.Rational(1, 3), sympy.Integer(-1)]))
    one, other = draw(formulas(depth=depth - 1)), draw(formulas(depth=depth - 1))
    compared = sympy.Piecewise((one, one > other), (other + 1, True))
    return draw(
        st.sampled_from(
            [one + other, one * other, one - other, sympy.floor(one), sympy.Max(one, other), compared, sympy.Mod(one, 5)]
        )
    )


@examples(max_examples=300)
@given(formulas())
def test_arrays_and_single_settings_agree_with_sympy_itself(formula):
    expression = Expression(formula)
    rng = np.random.default_rng(0)
    columns = {p: rng.integers(-4, 5, size=30) for p in expression.parents}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*(x.tolist() for x in columns.values()), strict=True)]
    by_sympy = [Fraction(int(x.p), int(x.q)) for x in (formula.subs(row) for row in rows)]
    assert [Fraction(expression(**row)).limit_denominator(10**6) for row in rows] == by_sympy
    if rows:
        assert expression.arrays(**columns).tolist() == pytest.approx([float(x) for x in by_sympy])


def test_truth_values_in_arithmetic_are_numbers():
    both = cm.CausalModel("count", {"p": cm.Bool, "q": cm.Bool}, {"n": P + Q, "both": sympy.Symbol("p") & Q, "copy": P})
    solved = both.solve({"p": [False, True, True], "q": [False, False, True]})
    assert solved["n"].tolist() == [0, 1, 2]
    assert solved["both"].tolist() == [False, False, True]
    assert both.domain("copy") == cm.Bool


def test_symbols_are_variables_by_name_whatever_is_assumed_of_them():
    whole = sympy.Symbol("a", integer=True)
    found = cm.CausalModel("s", {"a": DIGIT}, {"v": whole + A})
    assert found.solve({"a": 2})["v"] == 4


def test_labels_that_are_neither_whole_nor_floats_are_computed_with_as_they_are():
    halves = cm.Finite([Fraction(1, 2), Fraction(3, 2)])
    assert cm.CausalModel("f", {"a": halves}, {"v": A + 1}).solve({"a": Fraction(1, 2)})["v"] == 1.5
    decimals = cm.Finite([Decimal("0.5"), Decimal("1.5")])
    assert cm.CausalModel("d", {"a": decimals}, {"v": A + 1}).solve({"a": Decimal("0.5")})["v"] == 1.5
    small = cm.Finite(np.array([100, 27], dtype=np.int8))
    assert cm.CausalModel("i", {"a": small}, {"v": A * 2, "w": lambda a: a * 2}).solve({"a": 100}) == {
        "a": 100,
        "v": 200,
        "w": 200,
    }


def test_integers_beyond_64_bits_stay_integers():
    large = cm.Finite([*range(1, 10), 2**40, *range(10, 19)])
    found = cm.CausalModel("product", {"a": large, "b": large}, {"v": A * B, "w": lambda a, b: a * b})
    assert found.solve({"a": 2**40, "b": 2**40}) == {"a": 2**40, "b": 2**40, "v": 2**80, "w": 2**80}
    huge = cm.Finite([2**63, 2**63 + 1, -1])
    assert cm.CausalModel("odd", {"a": huge}, {"v": lambda a: a % 2}).solve({"a": [2**63 + 1, 2**63]})["v"].tolist() == [1, 0]


def test_a_comparison_of_what_is_undefined_is_an_error_in_a_large_table_too():
    hundred = cm.Finite(range(100))
    with pytest.raises(cm.CommuteError, match=r"no case of .* applies, at a=50"):
        cm.CausalModel("gap", {"a": hundred, "b": hundred}, {"v": sympy.Gt(sympy.Piecewise((B + 1, sympy.Ne(A, 50))), 0)}).domain(
            "v"
        )


@pytest.mark.parametrize("name", ["self", "lambda", "x y", "given", "places"])
def test_any_text_names_a_variable(name):
    symbol = sympy.Symbol(name)
    table = cm.Table([name], {x: x for x in range(10)})
    named = cm.CausalModel("n", {name: DIGIT}, {"v": symbol + 1, "t": table, "w": sympy.Symbol("t") * 2})
    assert named.solve({name: 3}) == {name: 3, "v": 4, "t": 3, "w": 6}
    assert named.marginalize(["t"])[0].solve({name: 3})["w"] == 6


def test_functions_formulas_and_tables_mix_in_one_model():
    mixed = cm.CausalModel(
        "mixed",
        {"a": DIGIT, "b": DIGIT},
        [
            total,
            {"carry": sympy.Ge(sympy.Symbol("total"), 10), "word": cm.Table(["carry"], {False: "no", True: "yes"})},
        ],
    )
    assert mixed.solve({"a": 7, "b": 5}) == {"a": 7, "b": 5, "total": 12, "carry": True, "word": "yes"}


def total(a, b):
    return a + b


def test_a_continuous_formula_takes_arrays_without_a_warning():
    unit = cm.Interval(0, 1)
    found = cm.CausalModel("c", {"a": unit, "b": unit}, {"v": sympy.Piecewise((A * B, A > B), (B - A, True)), "w": A / (B + 1)})
    rng = np.random.default_rng(0)
    a, b = rng.random(1000), rng.random(1000)
    solved = found.solve({"a": a, "b": b})
    assert np.allclose(solved["v"], np.where(a > b, a * b, b - a))
    assert np.allclose(solved["w"], a / (b + 1))


def test_a_case_that_does_not_apply_may_divide_by_zero():
    guarded = cm.CausalModel("guard", {"a": MANY, "b": MANY}, {"v": sympy.Piecewise((A / B, B > 0), (0, True))})
    given_rows = {"a": np.arange(100), "b": np.arange(100) % 3}
    with pytest.warns(cm.SlowWarning):
        found = guarded.solve(given_rows)["v"]
    assert found.tolist() == [a / b if b else 0 for a, b in zip(range(100), given_rows["b"].tolist(), strict=True)]


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (1 / A, r"'v' raised ZeroDivisionError: .* at a=0"),
        (sympy.Piecewise((1, A > 2)), "no case of .* applies, at a=0"),
        (sympy.log(A), "'v' raised ValueError: .*at a=0"),
        (sympy.Function("f")(A), r"f\(a\) in f\(a\) cannot be computed"),
        (sympy.I * A, "a real number or a truth value"),
        (sympy.oo, "a real number or a truth value"),
        (sympy.Matrix([A]), "a real number or a truth value"),
        (A == 3, "the constant False; sympy's Eq"),
        ({(0,): 1}, r"give it as cm.Table\(parents, mapping\)"),
        (sympy.MatrixSymbol("a", 2, 2)[0, 0], "plain symbols"),
        (3, "must be a function of its parents, a cm.Table or a sympy expression; given 3"),
        (A + sympy.Symbol("aa"), "no variable 'aa'; did you mean 'a'"),
    ],
)
def test_a_formula_that_cannot_be_a_mechanism_is_an_error(formula, said):
    with pytest.raises(cm.CommuteError, match=said):
        cm.CausalModel("bad", {"a": DIGIT}, {"v": formula})


def test_tables_say_what_they_lack():
    with pytest.raises(cm.CommuteError, match=r"the table has no entry \(2,\), at a=2"):
        cm.CausalModel("t", {"a": cm.Finite(range(3))}, {"v": cm.Table(["a"], {0: 1, 1: 0})})
    with pytest.raises(cm.CommuteError, match=r"tuples of 2 values as keys; given \(1, 2, 3\)"):
        cm.Table(["a", "b"], {(1, 2, 3): 0})
    with pytest.raises(cm.CommuteError, match="a list of names and a mapping"):
        cm.Table("ab", {})
