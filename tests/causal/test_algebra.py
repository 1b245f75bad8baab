"""The operations of abstraction: each gives a model that abstracts the first, under the map that it gives."""

import numpy as np
import pytest
import sympy
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import commute as cm
from commute.causal.library.parts import Over
from commute.causal.quotient import clash
from commute.testing.strategies import LABELS, models, settings

law = examples(max_examples=300)
BITS = [x for x in LABELS if len(x) == 2]


@st.composite
def marginalized(draw, model):
    inner = [v for v in model.equations if v not in model.outputs]
    return model.marginalize(draw(st.lists(st.sampled_from(inner), unique=True)) if inner else [])


@st.composite
def renamed(draw, model):
    fresh = [v for v in ("one", "two", "three") if v not in model.graph]
    names = draw(st.permutations([*model.graph, *fresh]))
    return model.rename(dict(zip(model.graph, names, strict=False)))


@st.composite
def variables_merged(draw, model):
    side = draw(st.sampled_from([list(model.inputs), list(model.equations)]))
    chosen = draw(st.lists(st.sampled_from(side), min_size=1, max_size=3, unique=True))
    try:
        return model.merge_variables({draw(st.sampled_from(["new", chosen[0]])): chosen})
    except cm.CommuteError as error:
        assume("makes a cycle" not in str(error))
        raise


@st.composite
def values_merged(draw, model):
    variable = draw(st.sampled_from(list(model.graph)))
    values = model.domain(variable).values
    labels = {x: draw(st.sampled_from([*values, "new"])) for x in draw(st.lists(st.sampled_from(values), unique=True))}
    try:
        return model.merge_values({variable: labels})
    except cm.CommuteError as error:
        assume("not a congruence" not in str(error))
        raise


OPERATIONS = [marginalized, renamed, variables_merged, values_merged]


@pytest.mark.parametrize("operation", OPERATIONS)
@law
@given(st.data())
def test_each_operation_abstracts(operation, data):
    model = data.draw(models(labels=BITS))
    high, tau = data.draw(operation(model))
    verdict = cm.abstracts(high, model, tau)
    assert verdict.status == "holds", verdict
    setting = data.draw(settings(model))
    low = model.solve(setting)
    mapped = tau(low)
    assert high.solve({v: mapped[v] for v in high.inputs}) == mapped


@law
@given(st.data())
def test_composition_composes(data):
    model = data.draw(models(inputs=2, mechanisms=3, labels=BITS))
    middle, first = data.draw(data.draw(st.sampled_from(OPERATIONS))(model))
    high, second = data.draw(data.draw(st.sampled_from(OPERATIONS))(middle))
    both = first.then(second)
    low = model.solve(data.draw(settings(model)))
    assert both(low) == second(first(low))
    assert cm.abstracts(high, model, both).status == "holds"


def adder(base=3):
    return cm.library.two_digit_addition(base)


def test_marginalizing_passes_parents_on():
    high, tau = adder().marginalize(["carry"])
    assert set(high.graph.predecessors("tens")) == {"a1", "b1", "a0", "b0"}
    assert high.outputs == ("hundreds", "tens", "ones")
    assert high.solve({"a1": 1, "a0": 2, "b1": 0, "b0": 2})["tens"] == 2
    assert tau.cell("tens") == ("tens",)


def test_sympy_stays_sympy_under_marginalizing_and_renaming():
    a, b, total = sympy.symbols("a b total")
    model = cm.CausalModel("sum", dict.fromkeys("ab", cm.Finite(range(10))), {"total": a + b, "carry": sympy.Ge(total, 10)})
    high, _ = model.marginalize(["total"])
    high, _ = high.rename({"a": "x"})
    assert high.equations["carry"].function.formula == sympy.Ge(sympy.Symbol("x") + b, 10)


def test_a_truth_value_is_put_into_arithmetic():
    a, carry = sympy.symbols("a carry")
    model = cm.CausalModel("sum", {"a": cm.Finite(range(10))}, {"carry": a > 4, "out": 2 * carry + a})
    high, tau = model.marginalize(["carry"])
    assert [high.solve({"a": x})["out"] for x in (4, 5)] == [4, 7]
    assert cm.abstracts(high, model, tau)


A, B, V, W = sympy.symbols("a b v w")
FOUR = cm.Finite(range(4))


@pytest.mark.parametrize(
    "formulas",
    [
        {"v": sympy.Ge(A, 3), "w": sympy.Eq(V, 1)},  # sympy says that no truth value is 1
        {"v": sympy.Ge(A, 3), "w": sympy.Max(V, B)},  # sympy does not compare truth values
        {"v": A * 0.1, "w": V * 10},  # rounded in between
        {"v": sympy.sqrt(A), "w": V**2},
        {"v": A / 3, "w": sympy.floor(V * 3)},
        {"v": A - A + B, "w": sympy.Piecewise((A / V, V > 0), (0, True))},
        {"v": A + 2 * B, "w": V**2 - V},
        {"v": sympy.And(A > 1, sympy.Eq(B, 2)), "w": sympy.Piecewise((A, V), (B, True))},
    ],
    ids=str,
)
def test_formulas_are_put_into_each_other_without_changing_the_function(formulas):
    model = cm.CausalModel("formulas", {"a": FOUR, "b": FOUR}, formulas)
    for high, tau in (
        model.marginalize(["v"]),
        model.merge_variables({"z": ["v", "w"]}),
        model.merge_variables({"z": ["a", "b"]}),
    ):
        assert cm.abstracts(high, model, tau)
        for a in range(4):
            for b in range(4):
                low = model.solve({"a": a, "b": b})
                inputs = {v: tau(low)[v] for v in high.inputs}
                assert high.solve(inputs) == tau(low)


def test_a_merge_of_inputs_of_a_conjunction_keeps_its_only_true_setting():
    many = cm.Finite(range(10))
    model = cm.CausalModel("and", dict.fromkeys("abc", many), {"f": lambda a, b, c: (a == 3) & (c == 7) & (b == 0)})
    high, tau = model.merge_variables({"ab": ["a", "b"]})
    assert high.solve({"ab": (3, 0), "c": 7})["f"]
    assert cm.abstracts(high, model, tau)


def test_what_is_left_out_is_computed_once_however_often_it_is_read():
    calls = []

    def counted(p, q):
        calls.append((p, q))
        return (p + q) % 3

    names = ["x0", "x1", *(f"v{i}" for i in range(25))]
    chain = {v: _over(counted, names[i], names[i + 1]) for i, v in enumerate(names[2:])}
    model = cm.CausalModel("fibonacci", {"x0": cm.Finite(range(3)), "x1": cm.Finite(range(3))}, chain)
    high, _ = model.marginalize(model.internal)
    calls.clear()
    assert high.equations["v24"].call([1, 2]) == model.solve({"x0": 1, "x1": 2})["v24"]
    assert len(calls) == 25


def test_a_long_chain_is_left_out():
    names = ["x", *(f"v{i}" for i in range(1500))]
    model = cm.CausalModel("chain", {"x": FOUR}, {v: _over(lambda p: (p + 1) % 4, names[i]) for i, v in enumerate(names[1:])})
    high, tau = model.marginalize(model.internal)
    assert high.solve({"x": 1})["v1499"] == (1 + 1500) % 4
    assert cm.abstracts(high, model, tau)


def _over(function, *parents):
    return Over(parents, function)


def test_a_soft_intervention_on_a_derived_model_is_given_its_mechanism():
    high, _ = adder().marginalize(["carry"])
    start = {"a1": 1, "a0": 2, "b1": 0, "b0": 2}
    changed = high.solve(start, do={"tens": lambda old: lambda a1, b1, a0, b0: (old(a1=a1, b1=b1, a0=a0, b0=b0) + 1) % 3})
    assert changed["tens"] == (high.solve(start)["tens"] + 1) % 3
    renamed, _ = adder().rename({"carry": "c"})
    assert renamed.solve(start, do={"c": lambda old: lambda a0, b0: not old(a0, b0)})["tens"] == 1


def test_merging_digits_into_numbers():
    """Pairs of digits become tuples, tuples become numbers, and then the model is addition."""
    tuples, first = adder().merge_variables({"a": ["a1", "a0"], "b": ["b1", "b0"], "sum": ["hundreds", "tens", "ones"]})
    assert tuples.outputs == ("sum",)
    number = {v: {t: sum(d * 3**i for i, d in enumerate(reversed(t))) for t in tuples.domain(v)} for v in ("a", "b", "sum")}
    alone, second = tuples.marginalize(["carry"])
    numbers, third = alone.merge_values(number)
    for a in range(9):
        for b in range(9):
            assert numbers.solve({"a": a, "b": b})["sum"] == a + b
    assert cm.abstracts(numbers, adder(), first.then(second).then(third))


def test_a_merge_that_is_no_congruence_names_two_settings_and_they_show_it():
    model = cm.CausalModel("low digit", {"a": cm.Finite(range(4))}, {"half": lambda a: a // 2, "odd": lambda a: a % 2})
    with pytest.raises(cm.CommuteError) as caught:
        model.merge_values({"a": {1: 0, 3: 2}})
    assert str(caught.value) == (
        "merging values of 'low digit': it is not a congruence: a=0 and a=1 become the same setting, but 'odd' is 0 at the one "
        "and 1 at the other; merge those as well, or keep the two apart"
    )
    merged, _ = model.merge_values({"a": {1: 0, 3: 2}, "odd": {1: 0}})
    assert merged.solve({"a": 2}) == {"a": 2, "half": 1, "odd": 0}
    assert merged.domain("odd") == cm.Finite([0])


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (lambda m: m.marginalize(["cary"]), "no variable 'cary'; did you mean 'carry'?"),
        (lambda m: m.marginalize(["a0"]), "'a0' is an input"),
        (lambda m: m.marginalize("carry"), "a list of names; given"),
        (lambda m: m.marginalize(5), "a list of names; given"),
        (lambda m: m.merge_variables(["carry"]), "a mapping from their names"),
        (lambda m: m.merge_variables({"x": 5}), "a list of names; given"),
        (lambda m: m.merge_values(["carry"]), "a mapping from their names"),
        (lambda m: m.merge_values({"carry": {True: [1]}}), "not hashable"),
        (lambda m: m.rename(["carry"]), "a mapping from their names"),
        (lambda m: m.rename({"carry": 5}), "the name of a variable is a text; given 5"),
        (lambda m: m.marginalize(["hundreds", "tens", "ones"]), "no output would be left"),
        (lambda m: m.merge_variables({"x": ["a0", "carry"]}), "'x' merges inputs with variables that mechanisms set"),
        (lambda m: m.merge_variables({"x": ["a0"], "y": ["a0"]}), "'a0' is merged twice"),
        (lambda m: m.merge_variables({"b0": ["a0", "a1"]}), "the name 'b0' is in use"),
        (lambda m: m.merge_variables({"x": []}), "'x' merges no variables"),
        (lambda m: m.merge_values({"carry": {"yes": 1}}), "no value 'yes'; there is False, True of 'carry'"),
        (lambda m: m.merge_values({"cary": {}}), "did you mean 'carry'"),
        (lambda m: m.merge_values({"carry": 3}), "a mapping from its values to new ones; given 3"),
        (lambda m: m.rename({"cary": "c"}), "did you mean 'carry'"),
        (lambda m: m.rename({"carry": "tens"}), "there would be two variables 'tens'"),
    ],
)
def test_what_cannot_be_done_is_an_error(operation, said):
    with pytest.raises(cm.CommuteError, match="(?s)" + said.replace("?", r"\?")):
        operation(adder())


def test_a_merge_around_a_variable_makes_a_cycle():
    model = cm.CausalModel("chain", {"a": cm.Bool}, {"b": lambda a: a, "c": lambda b: b, "d": lambda c: c})
    with pytest.raises(
        cm.CommuteError, match="the merge makes a cycle: (x -> c -> x|c -> x -> c); merge what lies between as well"
    ):
        model.merge_variables({"x": ["b", "d"]})


@law
@given(st.data())
def test_clash_finds_two_rows_of_one_class_wherever_there_are_some(data):
    rows = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=30))
    cut = data.draw(st.integers(1, 10))
    parts = [rows[i : i + cut] for i in range(0, len(rows), cut)]
    found = clash((tuple(np.array(part).T) for part in parts), 5)
    differ = {(x, y) for x in range(len(rows)) for y in range(x) if rows[x][0] == rows[y][0] and rows[x][1] != rows[y][1]}
    assert (found is None) == (not differ)
    assert found is None or found[::-1] in differ


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"x": "a", "y": "a"}, "'a' stands for both 'x' and 'y'"),
        ({"x": 3}, "'x': it must be a function"),
        ({"x": lambda *a: a}, "must name its parents"),
        (["x"], "maps each high-level variable"),
    ],
)
def test_a_map_that_is_none_is_an_error(parts, said):
    with pytest.raises(cm.CommuteError, match=said):
        cm.Tau(parts)


def test_maps_compose_only_where_one_gives_what_the_other_reads():
    with pytest.raises(cm.CommuteError, match="no variable 'left'"):
        cm.Tau({"right": "r"}).then(cm.Tau({"x": "left"}))
