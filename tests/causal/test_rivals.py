"""Pairs that tell two algorithms apart, and how far one model is from abstracting another."""

from itertools import product

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import commute as cm
from commute.causal.mechanisms import Coded
from commute.testing.strategies import LABELS, models, tables_over

BITS = [x for x in LABELS if len(x) == 2]


@st.composite
def rivals(draw):
    """A model, and the same with a mechanism changed."""
    first = draw(models(inputs=3, mechanisms=3, labels=BITS))
    variable = draw(st.sampled_from(list(first.equations)))
    equation = first.equations[variable]
    return first, first.extended({variable: draw(tables_over(equation.domains, first.domain(variable)))})


def rows_of(pairs):
    at = lambda batch, i: {v: x[i : i + 1].tolist()[0] for v, x in batch.items()}  # noqa: E731
    return [(at(pairs.base, i), {v: at(s, i) for v, s in pairs.sources.items()}) for i in range(len(pairs))]


def size(model, base, sources):
    moved = sum(source[v] != base[v] for source in sources.values() for v in model.inputs)
    return moved, sum(model.domain(v).values.index(x) for batch in (base, *sources.values()) for v, x in batch.items())


@examples(max_examples=300)
@given(rivals(), st.data())
def test_they_are_the_smallest_pairs_on_which_the_two_differ(both, data):
    first, second = both
    variable = data.draw(st.sampled_from(list(first.graph)))
    found = cm.distinguishing_pairs(first, second, [variable], 4)
    every = [dict(zip(first.inputs, row, strict=True)) for row in product(*(first.domain(v).values for v in first.inputs))]
    differ = [
        (base, {variable: source})
        for base in every
        for source in every
        if any(
            first.interchange(base, {variable: source})[v] != second.interchange(base, {variable: source})[v]
            for v in first.outputs
        )
    ]
    assert [size(first, *row) for row in rows_of(found)] == sorted(size(first, *row) for row in differ)[:4]
    assert all(row in differ for row in rows_of(found))


def test_two_circuits_with_one_function_are_told_apart_by_an_interchange():
    first, second = cm.library.xor_or_and_nand(), cm.library.xor_nand()
    assert cm.equivalent(first, second)
    found = cm.distinguishing_pairs(first, second, {"either": "left"}, 1)
    ((base, sources),) = rows_of(found)
    ours = first.interchange(base, sources)["xor"]
    assert ours == found.expected["xor"][0]
    assert ours != second.interchange(base, {"left": sources["either"]})["xor"]
    assert not len(cm.distinguishing_pairs(first, second, ["not_both"]))


def test_rivals_over_many_inputs_are_told_apart_by_small_pairs():
    many = cm.Finite(range(1000))
    first = cm.CausalModel("sum", {"a": many, "b": many}, {"s": lambda a, b: a + b, "out": lambda s: s % 10})
    second = cm.CausalModel("max", {"a": many, "b": many}, {"s": lambda a, b: a + 2 * b, "out": lambda s: s % 10})
    found = cm.distinguishing_pairs(first, second, ["s"], 3)
    assert [size(first, *row) for row in rows_of(found)[:1]] == [(0, 2)]  # b=1 in base and source: they differ at once
    assert len({str(row) for row in rows_of(found)}) == 3
    assert all(first.interchange(*row)["out"] != second.interchange(*row)["out"] for row in rows_of(found))
    same = cm.distinguishing_pairs(first, first, ["s"], 3)
    assert len(same) == 0


def test_the_condition_is_kept_and_continuous_rivals_are_told_apart():
    unit = cm.Interval(0, 1)
    x = sympy.Symbol("x")
    first = cm.CausalModel("one", {"x": unit}, {"high": x > 0.5, "out": sympy.Symbol("high")})
    second = cm.CausalModel("other", {"x": unit}, {"high": x > 0.75, "out": sympy.Symbol("high")})
    found = cm.distinguishing_pairs(first, second, ["high"], 5, given=lambda x: x < 0.7)
    assert len(found) == 5
    for base, sources in rows_of(found):
        assert base["x"] < 0.7
        assert 0.5 < sources["high"]["x"] < 0.7
        assert first.interchange(base, sources)["out"] != second.interchange(base, sources)["out"]


def test_what_cannot_be_told_apart_is_an_error():
    first = cm.library.xor_direct()
    with pytest.raises(cm.CommuteError) as caught:
        cm.distinguishing_pairs(first, cm.library.xor_nand(), ["not_both", "lft"], 0)
    for part in ("no variable 'not_both'", "no variable 'lft'", "did you mean 'left'", "n must be a whole number"):
        assert part in str(caught.value)
    with pytest.raises(cm.CommuteError, match="comparing 'xor"):
        cm.distinguishing_pairs(first, cm.library.maximum(), ["xor"])


def test_the_error_of_an_exact_abstraction_is_zero():
    low = cm.library.two_digit_addition(3)
    high, tau = low.marginalize(["carry"])
    found = cm.approximation(high, low, tau, variables=["ones", "tens"], n=5000)
    assert (found.expected, found.maximum, found.exact) == (0.0, 0.0, False)
    whole = cm.approximation(high, low, tau, variables=["a0"])
    assert (whole.expected, whole.maximum, whole.exact, whole.settings) == (0.0, 0.0, True, 81 * 81)


@examples(max_examples=300)
@given(st.data())
def test_expected_and_largest_error_are_those_of_the_definition(data):
    """One run at a time: a model against itself with one mechanism changed."""
    low = data.draw(models(inputs=2, mechanisms=3, labels=BITS))
    changed = data.draw(st.sampled_from(list(low.equations)))
    high = low.extended({changed: data.draw(tables_over(low.equations[changed].domains, low.domain(changed)))})
    variables = data.draw(st.lists(st.sampled_from(list(low.graph)), max_size=1))
    every = [dict(zip(low.inputs, row, strict=True)) for row in product(*(low.domain(v).values for v in low.inputs))]
    distances = []
    for base in every:
        for source in every if variables else [None]:
            do = {v: low.solve(source)[v] for v in variables}
            one, other = low.solve(base, do), high.solve(base, do)
            distances.append(sum(one[v] != other[v] for v in low.graph))
    count = lambda a, b: np.sum([a[v] != b[v] for v in low.graph], axis=0)  # noqa: E731
    found = cm.approximation(high, low, {v: v for v in low.graph}, variables=variables, distance=count)
    assert found.expected == pytest.approx(np.mean(distances))
    assert found.maximum == max(distances)
    assert found.interval == (found.expected, found.expected)
    if not found.maximum:
        assert found.worst == {}
        return
    worst = low.interchange(found.worst["base"], {v: found.worst[f"source of {v}"] for v in variables})
    assert worst == found.worst["mapped"]
    assert sum(worst[v] != found.worst["high"][v] for v in low.graph) == found.maximum


def test_a_sample_has_an_interval_where_the_distance_is_bounded():
    low = cm.library.modular_addition(7)
    high = low.extended({"answer": Coded({"sum": low.domain("sum")}, np.array([0, 1, 2, 3, 4, 5, 5]), low.domain("answer"))})
    same = {v: v for v in low.graph}
    found = cm.approximation(high, low, same, n=20_000, seed=3)
    assert found.interval[0] < 1 / 7 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.03
    assert found == cm.approximation(high, low, same, n=20_000, seed=3)
    far = lambda a, b: np.abs(a["answer"] - b["answer"])  # noqa: E731
    assert cm.approximation(high, low, same, n=100, distance=far).interval is None
    widths = [b - a for a, b in (cm.approximation(high, low, same, n=10**5, distance=far, largest=x).interval for x in (6, 60))]
    assert widths[1] > 5 * widths[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variables": ["summ"]}, "no variable 'summ'; did you mean 'sum'"),
        ({"n": 0}, "n must be a whole number"),
        ({"confidence": 1.0}, "confidence must lie between 0 and 1"),
        ({"largest": -1}, "largest must be a number of more than 0"),
        ({"largest": 3}, "largest is of a distance of your own"),
        (
            {"n": 10, "largest": 1, "distance": lambda a, b: np.full(len(a["sum"]), 5)},
            "a distance of 5.0 is more than the largest",
        ),
        ({"distance": lambda a, b: -np.ones(len(a["sum"]))}, "numbers of at least 0"),
        ({"distance": lambda a, b: 3}, "numbers of at least 0"),
    ],
)
def test_an_error_that_cannot_be_measured_is_an_error(options, said):
    model = cm.library.modular_addition(3)
    with pytest.raises(cm.CommuteError, match=said):
        cm.approximation(model, model, {v: v for v in model.graph}, **options)
