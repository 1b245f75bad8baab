from itertools import product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import commute as cm
from commute.testing.strategies import batches, models, settings

DIGITS = cm.Finite(range(3))


def sum_then_carry():
    return cm.CausalModel(
        "sum", {"a": DIGITS, "b": DIGITS}, {"sum": lambda a, b: a + b, "carry": lambda sum: sum > 2, "low": lambda sum: sum % 3}
    )


def test_parents_are_parameters_and_outputs_are_sinks():
    model = sum_then_carry()
    assert set(model.graph.edges) == {("a", "sum"), ("b", "sum"), ("sum", "carry"), ("sum", "low")}
    assert (model.inputs, model.internal, model.outputs) == (("a", "b"), ("sum",), ("carry", "low"))
    assert model.domain("sum") == cm.Finite(range(5))
    assert model.domain("carry") == cm.Bool


def test_solve_is_the_functions():
    model = sum_then_carry()
    for a, b in product(range(3), range(3)):
        solved = model.solve({"a": a, "b": b})
        assert solved == {"a": a, "b": b, "sum": a + b, "carry": a + b > 2, "low": (a + b) % 3}
        assert type(solved["carry"]) is bool


def test_do_sets_inputs_internals_and_outputs():
    model = sum_then_carry()
    assert model.solve({"a": 0, "b": 0}, do={"sum": 4})["low"] == 1
    assert model.solve({"a": 0, "b": 0}, do={"a": 2})["sum"] == 2
    assert model.solve({"a": 0, "b": 0}, do={"low": 2}) == {"a": 0, "b": 0, "sum": 0, "carry": False, "low": 2}
    assert model.solve({"a": [0, 1], "b": [0, 1]}, do={"sum": 4})["low"].tolist() == [1, 1]
    assert model.solve({"a": [0, 1], "b": [0, 1]}, do={"sum": [4, 3]})["low"].tolist() == [1, 0]


def test_a_soft_intervention_receives_the_old_mechanism():
    model = sum_then_carry()
    assert model.solve({"a": 1, "b": 1}, do={"sum": lambda old: lambda a, b: old(a=a, b=b) - 1})["low"] == 1
    solved = model.solve({"a": [1, 2], "b": [1, 2]}, do={"sum": lambda old: lambda a: a, "carry": True})
    assert solved["low"].tolist() == [1, 2]
    assert solved["carry"].tolist() == [True, True]
    assert model.solve({"a": 2, "b": 2}, do={"sum": lambda old: lambda a, b: old(a, b) + 100})["low"] == 104 % 3


@given(st.data())
def test_a_batch_is_its_rows(data):
    model = data.draw(models())
    batch = data.draw(batches(model))
    solved = model.solve(batch)
    for row in range(len(batch[model.inputs[0]])):
        alone = model.solve({v: batch[v][row] for v in model.inputs})
        assert alone == {v: solved[v][row : row + 1].tolist()[0] for v in model.graph}


@given(st.data())
def test_interchange_with_oneself_changes_nothing(data):
    model = data.draw(models())
    base = data.draw(settings(model))
    variables = data.draw(st.lists(st.sampled_from(sorted(model.graph)), unique=True))
    assert model.interchange(base, dict.fromkeys(variables, base)) == model.solve(base)


@given(st.data())
def test_interchange_is_solve_with_the_sources_values(data):
    """The definition of 2301.04709, computed variable by variable from the functions themselves."""
    model = data.draw(models())
    base = data.draw(settings(model))
    sources = {v: data.draw(settings(model)) for v in data.draw(st.lists(st.sampled_from(sorted(model.graph)), unique=True))}
    set_to = {v: _by_hand(model, source, {})[v] for v, source in sources.items()}
    assert model.interchange(base, sources) == _by_hand(model, base, set_to)


def _by_hand(model, inputs, set_to):
    values = {**inputs, **{v: x for v, x in set_to.items() if v in model.inputs}}
    for variable in nx.topological_sort(model.graph):
        if variable in model.inputs:
            continue
        equation = model.equations[variable]
        values[variable] = set_to.get(variable, equation.function(**{p: values[p] for p in equation.parents}))
    return {v: values[v] for v in model.graph}


def test_continuous_inputs_are_solved_as_they_are():
    model = cm.CausalModel("threshold", {"x": cm.Interval(0, 1)}, {"high": lambda x: x > 0.5, "twice": lambda x: 2 * x})
    solved = model.solve({"x": [0.25, 0.75]})
    assert solved["high"].tolist() == [False, True]
    assert solved["twice"].tolist() == [0.5, 1.5]
    with pytest.raises(cm.CommuteError, match="the domain of 'twice' is not known; give it as domains="):
        model.domain("twice")


def test_a_mechanism_without_parents_is_a_constant():
    model = cm.CausalModel("constant", {"a": DIGITS}, {"one": lambda: 1, "sum": lambda a, one: a + one})
    assert model.solve({"a": [0, 1, 2]})["sum"].tolist() == [1, 2, 3]


def test_a_default_that_is_no_variable_is_kept():
    model = cm.CausalModel("shift", {"a": DIGITS}, {f"plus{k}": lambda a, k=k: a + k for k in (1, 2)})
    assert model.solve({"a": 1}) == {"a": 1, "plus1": 2, "plus2": 3}


def test_every_problem_of_the_structure_is_reported_at_once():
    with pytest.raises(cm.CommuteError) as caught:
        cm.CausalModel(
            "bad",
            {"a": DIGITS, "b": 3},
            [lambda a: a, {"left": lambda rigth: rigth, "right": lambda left: left, "a": lambda b: b}, {"left": lambda a: a}],
            outputs=["sum"],
            domains={"lft": DIGITS},
        )
    said = str(caught.value)
    for part in (
        "the causal model 'bad' has 7 problems",
        "a lambda has no name",
        "two mechanisms for 'left'",
        "the domain of 'b' must be a Finite or an Interval; given 3",
        "'a' is an input and has a mechanism",
        "no variable 'rigth'; did you mean 'right'?",
        "no variable 'sum'",
        "no mechanism 'lft'; did you mean 'left'?",
    ):
        assert part in said, part


@pytest.mark.parametrize("inputs", [{}, ["a"], None])
def test_a_model_needs_inputs(inputs):
    with pytest.raises(cm.CommuteError, match="inputs maps the name of each input to its domain"):
        cm.CausalModel("none", inputs, {"v": lambda: 1})


def test_a_cycle_is_named():
    with pytest.raises(cm.CommuteError, match="there is a cycle: (v -> w -> v|w -> v -> w)"):
        cm.CausalModel("loop", {"a": DIGITS}, {"v": lambda w: w, "w": lambda v: v})


def test_every_mechanism_that_fails_is_reported_at_once():
    with pytest.raises(cm.CommuteError) as caught:
        cm.CausalModel(
            "bad",
            {"a": DIGITS},
            {"inverse": lambda a: 1 / a, "listed": lambda a: [a], "out": lambda a: a, "after": lambda inverse: inverse},
            domains={"out": cm.Bool},
        )
    said = str(caught.value)
    assert "has 3 problems" in said
    assert "'inverse' raised ZeroDivisionError: division by zero, at a=0" in said
    assert "'listed': " in said
    assert "hashable" in said or "unhashable" in said
    assert "'out': 2 (row 2) is not in its domain {False, True}" in said


@pytest.mark.parametrize(
    ("given_inputs", "do", "said"),
    [
        ({"a": 1}, {}, "the input 'b' is missing"),
        ({"a": 1, "b": 1, "summ": 0}, {}, "no input 'summ'"),
        ({"a": 1, "b": 1}, {"summ": 0}, "no variable 'summ'; did you mean 'sum'"),
        ({"a": 1, "b": 9}, {}, r"'b': 9 is not in its domain \{0, 1, 2\}"),
        ({"a": 1, "b": 1}, {"sum": 9}, "'sum': 9"),
        ({"a": 1, "b": [1, 2]}, {}, "'a' is one label and others are arrays"),
        ({"a": [1], "b": [1, 2]}, {}, "one length"),
        ({"a": 1, "b": 1}, {"summ": lambda old: old}, "no variable 'summ'; did you mean 'sum'"),
    ],
)
def test_a_setting_that_does_not_fit_is_an_error(given_inputs, do, said):
    with pytest.raises(cm.CommuteError, match=said):
        sum_then_carry().solve(given_inputs, do)


EQUALITY = cm.library.hierarchical_equality(3)
BASE = {"a": 1, "b": 1, "c": 2, "d": 2}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: EQUALITY.solve(BASE, {("left", "sme"): True}), "no edge 'left -> sme'; did you mean 'left -> same'?"),
        (lambda: EQUALITY.solve(BASE, {("left", "same"): 3}), r"left -> same: 3 is not in its domain"),
        (
            lambda: EQUALITY.solve(BASE, {("left", "same"): lambda old: old}),
            "a function changes a mechanism, but left -> same is",
        ),
        (lambda: EQUALITY.solve(BASE, {"a": lambda old: old}), "a function changes a mechanism, but 'a' is none"),
        (lambda: EQUALITY.interchange(BASE, {"lft": BASE}), "no variable 'lft'; did you mean 'left'?"),
        (lambda: EQUALITY.interchange(BASE, {"left": cm.Source(BASE, do={"rigt": True})}), "no variable 'rigt'"),
        (
            lambda: EQUALITY.interchange(BASE, {"left": cm.Source(BASE, do={"a": 1}, sources={"a": BASE})}),
            "'a' is both set and interchanged",
        ),
        (
            lambda: EQUALITY.interchange({v: [x, x] for v, x in BASE.items()}, {"left": {v: [x] * 3 for v, x in BASE.items()}}),
            "one length; given .*the source of 'left'.*3",
        ),
        (
            lambda: EQUALITY.solve({v: np.full(70_000, x) for v, x in BASE.items()} | {"a": np.arange(70_000) // 69_999 * 5}),
            "row 69999",
        ),
    ],
)
def test_an_intervention_that_does_not_fit_is_an_error(call, said):
    with pytest.raises(cm.CommuteError, match=said):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: EQUALITY.solve([1, 2]), "inputs maps variables to values"),
        (lambda: EQUALITY.solve(BASE, ["left"]), "do maps variables to values"),
        (lambda: EQUALITY.solve(BASE, {("a", "left", "same"): 0}), "no edge 'a -> left -> same'"),
        (lambda: EQUALITY.solve(BASE, only="same"), "given as a list of names; given 'same'"),
        (lambda: EQUALITY.solve(BASE, {"left": lambda old: 1 / 0}), "the intervention on 'left' raised ZeroDivisionError"),
        (lambda: EQUALITY.interchange(BASE, {"left": 5}), "the source of 'left' is a setting or a Source; given 5"),
        (lambda: EQUALITY.interchange(BASE, ["left"]), "sources maps variables"),
        (lambda: cm.CausalModel("m", {1: cm.Bool}, {"v": lambda: 1}), "the name of a variable is a text; given 1"),
        (lambda: cm.CausalModel("m", {"a": cm.Bool}, {"v": lambda a: a}, outputs=3), "outputs is a list of names; given 3"),
        (lambda: cm.CausalModel("m", {"a": cm.Bool}, {"v": lambda a: a}, outputs=["v", "v"]), "'v' is listed twice in outputs"),
        (lambda: cm.CausalModel("m", {"a": cm.Bool}, {"v": lambda a: a}, domains=["v"]), "domains maps variables"),
        (lambda: cm.CausalModel.from_graph(5, {}), "from_graph takes a networkx.DiGraph"),
        (lambda: cm.Interval(0, 10**400), "finite ends"),
        (lambda: cm.Finite([1.0, float("nan")]), "must equal themselves; nan does not"),
        (lambda: cm.Table(5, {}), "a list of names and a mapping"),
        (lambda: EQUALITY.solve({v: np.zeros(131072, int) for v in BASE}, {"left": np.ones(200000, bool)}), "one length"),
        (
            lambda: EQUALITY.interchange(
                {v: np.zeros(131072, int) for v in BASE}, {"left": {v: np.ones(200000, int) for v in BASE}}
            ),
            "one length",
        ),
    ],
)
def test_an_argument_that_is_something_else_is_an_error(call, said):
    with pytest.raises(cm.CommuteError, match=said):
        call()


def test_one_setting_with_a_batch_of_interventions_serves_every_row():
    assert EQUALITY.solve(BASE, {"left": [True, False]})["same"].tolist() == [True, False]
    assert EQUALITY.interchange(BASE, {"left": {v: [x, 0] for v, x in (BASE | {"a": 0}).items()}})["same"].tolist() == [
        False,
        True,
    ]


def test_an_empty_batch_has_an_empty_answer():
    model = cm.CausalModel("empty", {"a": cm.Interval(0, 1), "b": cm.Bool}, {"v": lambda a, b: a + b})
    assert model.solve({"a": [], "b": []})["v"].tolist() == []


def test_soft_hard_and_edge_interventions_together():
    chain = cm.CausalModel("chain", {"a": DIGITS}, {"b": lambda a: a, "c": lambda b: b, "o": lambda c: c})
    both = {"b": lambda old: old, ("c", "o"): 0, "o": 1}
    assert chain.solve({"a": 2}, both) == {"a": 2, "b": 2, "c": 2, "o": 1}
    changed = {"b": lambda old: lambda a: 5, ("b", "c"): 1}
    assert chain.solve({"a": 2}, {"c": lambda old: old, ("a", "b"): 0}) == {"a": 2, "b": 0, "c": 0, "o": 0}
    assert chain.solve({"a": 2}, changed) == {"a": 2, "b": 5, "c": 1, "o": 1}


def test_interventions_on_every_kind_of_variable_in_batches():
    batch = {v: [x, 0] for v, x in BASE.items()}
    assert EQUALITY.solve(batch, {"a": 0})["left"].tolist() == [False, True]
    assert EQUALITY.solve(batch, dict(BASE))["same"].tolist() == [True, True]
    assert EQUALITY.interchange(batch, {"left": {**BASE, "a": 0}})["same"].tolist() == [False, False]
    long = {v: np.tile(x, 50_000) for v, x in batch.items()}
    assert EQUALITY.solve(long, {"left": np.arange(100_000) % 2 == 0})["same"].tolist() == [True, False] * 50_000


def test_from_graph_takes_domains_from_the_nodes():
    graph = nx.DiGraph([("a", "sum"), ("b", "sum")], name="adder")
    graph.nodes["a"]["domain"] = graph.nodes["b"]["domain"] = DIGITS
    model = cm.CausalModel.from_graph(graph, {"sum": lambda a, b: a + b})
    assert model.name == "adder"
    assert model.solve({"a": 1, "b": 2})["sum"] == 3


def test_from_graph_reports_where_graph_and_mechanisms_differ():
    graph = nx.DiGraph([("a", "sum"), ("b", "sum"), ("sum", "odd")])
    graph.nodes["a"]["domain"] = DIGITS
    with pytest.raises(cm.CommuteError) as caught:
        cm.CausalModel.from_graph(graph, {"sum": lambda a: a, "even": lambda a: a})
    said = str(caught.value)
    assert "no variable in the graph 'even'" in said
    assert "the input 'b' needs a domain" in said
    assert "'sum' has parents ['a', 'b'] in the graph, ['a'] in its mechanism" in said
    assert "'odd' has parents ['sum'] in the graph but no mechanism" in said


def test_a_large_table_is_not_built_and_the_function_is_called_instead():
    many = cm.Finite(range(400))
    model = cm.CausalModel("large", {"a": many, "b": many}, {"sum": lambda a, b: a + b})
    assert model.equations["sum"].table is None
    assert model.solve({"a": np.array([1, 399]), "b": np.array([2, 399])})["sum"].tolist() == [3, 798]
