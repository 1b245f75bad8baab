"""Models as JSON: what is read back, and what is refused."""

import json

import numpy as np
import pytest
import sympy

import commute as cm

X, Y = sympy.symbols("x y")


def written():
    odd = cm.Finite(("a", (1, None), 2.5, True))
    formula = sympy.Piecewise((X / 3, sympy.Rational(1, 2) < X), (sympy.exp(X) + 0.25, True))
    return cm.CausalModel("model <1>", {"x": cm.Interval(0, 1), "y": odd}, {"p": formula, "q": lambda y: y == "a"}, outputs=["q"])


def test_formulas_tables_domains_and_outputs_are_read_back():
    model = written()
    again = cm.CausalModel.from_json(model.to_json())
    assert again.to_json() == model.to_json()
    assert (again.name, again.inputs, again.outputs) == (model.name, model.inputs, model.outputs)
    assert again.equations["p"].function.formula == model.equations["p"].function.formula
    for x, y in ((0.2, "a"), (0.9, (1, None)), (0.5, True)):
        assert again.solve({"x": x, "y": y}) == model.solve({"x": x, "y": y})


@pytest.mark.parametrize("name", ["two_digit_addition", "indirect_object_identification", "bracket_balance", "price_tagging"])
def test_the_library_is_read_back(name):
    model = getattr(cm.library, name)()
    again = cm.CausalModel.from_json(model.to_json())
    drawn = cm.pairs(model, model.internal[:1], 200)
    found = again.interchange(drawn.base, drawn.sources)
    assert all(found[v].tolist() == x.tolist() for v, x in drawn.expected.items())


def test_what_cannot_be_written_is_told_at_once():
    class Label:
        pass

    model = cm.CausalModel(
        "bad",
        {"x": cm.Interval(0, 1), "y": cm.Finite([Label()])},
        {"f": lambda x: x + 1, "g": sympy.gamma(X)},
    )
    with pytest.raises(cm.CommuteError) as caught:
        model.to_json()
    for part in (
        "has 3 problems",
        "'y': the label",
        "the mechanism of 'f' is a function",
        "'g' has gamma, which cannot be written",
    ):
        assert part in str(caught.value)


def changed(path, value):
    """The text of a model with one thing in it changed."""
    record = json.loads(written().to_json())
    *way, last = path
    place = record
    for step in way:
        place = place[step]
    place[last] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'version'"),
        (changed(["version"], 2), "another version"),
        (changed(["inputs", "x"], {"low": 1, "high": 0}), "needs finite ends"),
        (changed(["inputs", "y", "values"], []), "at least one label"),
        (changed(["inputs", "y", "values"], [{}]), "hashable"),
        (changed(["mechanisms", "q", "codes"], [0, 0, 0]), r"whole numbers of shape \[4\]"),
        (changed(["mechanisms", "q", "codes"], [0, 0, 0, 2]), "codes outside of its domain's 2"),
        (changed(["mechanisms", "q", "codes"], [0, 0, 0, 0.5]), "whole numbers"),
        (changed(["mechanisms", "q", "parents"], ["z"]), "no variable 'z'"),
        (changed(["mechanisms", "p", "formula"], {"eval": [[1, 1]]}), "no function 'eval'"),
        (changed(["mechanisms", "p", "formula"], {"variable": "z"}), "no variable 'z'"),
        (changed(["mechanisms", "p", "formula"], {"Add": "x", "Mul": []}), "one function of a list"),
        (changed(["mechanisms", "p", "formula"], "__import__('os')"), "no causal model in JSON"),
        (changed(["mechanisms", "p", "formula"], {"Pow": [[10, 1], [10**9, 1]]}), "not a number up to 64"),
        (changed(["mechanisms", "p", "formula"], {"Pow": [{"variable": "x"}, [10**9, 1]]}), "not a number up to 64"),
        (changed(["mechanisms", "p", "formula"], {"Pow": [{"variable": "x"}, {"variable": "x"}]}), "not a number up to 64"),
        (changed(["mechanisms", "p", "formula"], {"Pow": [{"Pow": [{"variable": "x"}, [60, 1]]}, [60, 1]]}), "grows beyond 64"),
        (changed(["mechanisms", "p", "formula"], {"floor": [{"exp": [[10**8, 1]]}]}), "exp of a constant"),
        (changed(["mechanisms", "p", "formula"], {"Mod": [[5, 1], [0, 1]]}), "ZeroDivisionError"),
        (changed(["mechanisms", "p", "formula"], [10**400, 1]), "at most 1024 bits"),
        (changed(["inputs", "y", "values"], [10**400, 1, 2, 3]), "more than 1024 bits"),
        (changed(["mechanisms", "p", "formula"], {"Pow": [{"variable": "x"}, [0.5, 1]]}), "two whole numbers"),
        (changed(["mechanisms", "p", "formula"], [1, 0]), "the second at least 1"),
        (changed(["outputs"], ["z"]), "no variable 'z'"),
    ],
)
def test_a_text_that_is_no_model_is_an_error(text, said):
    with pytest.raises(cm.CommuteError, match=said):
        cm.CausalModel.from_json(text)


def test_a_formula_nested_too_deeply_is_refused():
    for depth, said in ((150, "nested deeper than"), (100_000, "RecursionError")):
        tree = '{"Abs":[{"Add":[[1,1],' * depth + '{"variable":"x"}' + "]}]}" * depth
        with pytest.raises(cm.CommuteError, match=said):
            cm.CausalModel.from_json(changed(["mechanisms", "p", "formula"], "tree").replace('"tree"', tree))


def test_numpy_labels_are_written_as_plain_ones():
    model = cm.CausalModel("numpy", {"a": cm.Finite(np.arange(3))}, {"b": lambda a: a + 1})
    assert json.loads(model.to_json())["inputs"]["a"] == {"values": [0, 1, 2]}
