from itertools import product

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

import commute as cm
from commute.testing.strategies import models

EQUALITY = cm.library.hierarchical_equality(4)


def diamond():
    """Two paths from one input: top = f(x), low = g(x), out = top and low."""
    return cm.CausalModel(
        "diamond",
        {"x": cm.Finite(range(8)), "y": cm.Bool},
        {"top": lambda x: x // 2, "low": lambda x: x % 2, "out": lambda top, low, y: (top + low) % 4 if y else 0},
    )


@given(st.data())
def test_expected_and_changed_are_the_models_own_answers(data):
    model = data.draw(models())
    variables = data.draw(st.lists(st.sampled_from(sorted(model.graph)), min_size=1, max_size=2, unique=True))
    pairs = cm.pairs(model, variables, 20, design="uniform", seed=data.draw(st.integers(0, 99)))
    for row in range(len(pairs)):
        base, *sources = ({v: x[row : row + 1].tolist()[0] for v, x in b.items()} for b in (pairs.base, *pairs.sources.values()))
        answer = model.interchange(base, dict(zip(pairs.sources, sources, strict=True)))
        assert {v: pairs.expected[v][row : row + 1].tolist()[0] for v in model.outputs} == {v: answer[v] for v in model.outputs}
        before = model.solve(base)
        assert pairs.changed[row] == any(before[v] != answer[v] for v in model.outputs)


@pytest.mark.parametrize("variables", [["left"], ["right"], ["left", "right"], ["same"], ["a"]])
def test_balanced_draws_values_and_changes_equally_often(variables):
    pairs = cm.pairs(EQUALITY, variables, 8000, seed=1)
    assert abs(pairs.changed.mean() - 0.5) < 0.03
    for variable in variables:
        values = EQUALITY.solve(pairs.sources[variable])[variable]
        assert chisquare(np.unique(values, return_counts=True)[1]).pvalue > 1e-4


def test_balanced_draws_bases_uniformly_among_those_that_fit():
    """Against brute force: of the bases with one value that change the answer (or do not) each is as likely as any other."""
    model = diamond()
    pairs = cm.pairs(model, ["top"], 40_000, seed=3)
    value = model.solve(pairs.sources["top"])["top"]
    cells = {}
    for x, y, top in product(range(8), (False, True), range(4)):
        before = model.solve({"x": x, "y": y})
        changes = model.solve({"x": x, "y": y}, {"top": top})["out"] != before["out"]
        cells.setdefault((top, changes, before["top"]), set()).add((x, y))
    assert len(cells) > 16
    own = model.solve(pairs.base)["top"]
    for (top, changes, from_), fitting in cells.items():
        rows = (value == top) & (pairs.changed == changes) & (own == from_)
        seen, counts = np.unique(np.stack([pairs.base["x"][rows], pairs.base["y"][rows]]), axis=1, return_counts=True)
        assert {(int(x), bool(y)) for x, y in seen.T} == fitting
        assert chisquare(counts).pvalue > 1e-4


def test_rare_values_are_tried_as_bases_too():
    """A value that one input in 4,096 has is on both ends of interchanges."""
    numbers = cm.Finite(range(64))
    model = cm.CausalModel(
        "rare",
        {"x": numbers, "y": numbers},
        {"v": lambda x, y: 2 if x == y == 0 else x % 2, "out": lambda v, y: v + y % 2},
    )
    pairs = cm.pairs(model, ["v"], 3000)
    before, after = (model.solve(b)["v"] for b in (pairs.base, pairs.sources["v"]))
    seen = np.unique(np.stack([before, after]), axis=1, return_counts=True)
    assert seen[0].shape == (2, 9)
    assert seen[1].min() > 100


@pytest.mark.parametrize("design", ["balanced", "uniform"])
def test_one_source_gives_every_variable_its_value(design):
    pairs = cm.pairs(EQUALITY, ["left", "right"], 2000, one_source=True, design=design)
    left, right = (pairs.sources[v] for v in ("left", "right"))
    assert all((left[v] == right[v]).all() for v in "abcd")
    if design == "balanced":
        solved = EQUALITY.solve(left)
        counts = np.unique(2 * solved["left"] + solved["right"], return_counts=True)[1]
        assert chisquare(counts).pvalue > 1e-4


def test_numpy_integers_are_integers():
    assert (
        cm.pairs(EQUALITY, ["left"], np.int64(5), seed=np.int64(3))
        .to_frame()
        .equals(cm.pairs(EQUALITY, ["left"], 5, seed=3).to_frame())
    )


def test_a_small_sample_is_not_an_impossible_one():
    """The only change needs a rare source; drawing one pair that lacks it is no error."""
    model = cm.CausalModel("and", {"x": cm.Finite(range(50)), "y": cm.Bool}, {"v": lambda x: x == 0, "out": lambda v, y: v and y})
    for seed in range(20):
        assert len(cm.pairs(model, ["v"], 1, seed=seed)) == 1


def test_a_requested_value_is_met_exactly_on_a_diamond():
    model = diamond()
    pairs = cm.pairs(model, ["low"], 2000, given={"low": 1, "y": True}, design="uniform")
    for batch in (pairs.base, pairs.sources["low"]):
        solved = model.solve(batch)
        assert (solved["low"] == 1).all()
        assert solved["y"].all()


def test_given_as_a_function_restricts_bases_and_sources():
    pairs = cm.pairs(EQUALITY, ["left"], 500, given=lambda a, left: a == 2 or not left)
    for batch in (pairs.base, pairs.sources["left"]):
        assert ((batch["a"] == 2) | (batch["a"] != batch["b"])).all()


def test_given_on_a_continuous_domain_is_met():
    model = cm.CausalModel("threshold", {"x": cm.Interval(0, 1)}, {"high": lambda x: x > 0.5}, domains={"high": cm.Bool})
    pairs = cm.pairs(model, ["high"], 200, given=lambda x: (x < 0.1) | (x > 0.9))
    assert ((pairs.base["x"] < 0.1) | (pairs.base["x"] > 0.9)).all()
    assert abs(pairs.changed.mean() - 0.5) < 0.15


def test_given_values_of_inputs_are_set_and_not_searched_for():
    """One setting in 10**18 meets the condition; what is left open is drawn, and listed where it is small."""
    huge = cm.Finite(range(10**6))
    model = cm.CausalModel("huge", dict.fromkeys("abc", huge), {"s": lambda a, b, c: a + b + c, "odd": lambda s: s % 2 == 1})
    drawn = cm.pairs(model, ["s"], 50, design="uniform", given={"a": 7, "b": 3, "c": 0, "odd": False})
    assert drawn.base["a"].tolist() == [7] * 50
    assert drawn.expected["odd"].tolist() == [False] * 50
    parity = cm.pairs(model, ["s"], 50, design="uniform", given={"a": 7, "odd": True})
    assert (sum(parity.sources["s"][v] for v in "abc") % 2 == 1).all()
    assert len(set(parity.base["b"].tolist())) > 40


def test_exhaustive_pairs_that_are_too_many_at_once_come_in_blocks():
    model = cm.library.maximum(length=4, values=10)
    with pytest.raises(cm.CommuteError, match="go through them with cm.exhaustive"):
        cm.pairs(model, ["largest1"], design="exhaustive")
    first = next(iter(cm.exhaustive(model, ["largest1"], rows=1000)))
    assert len(first) == 1000
    assert not first.independent
    assert first.base["x3"].tolist() == [0] * 1000
    with pytest.raises(cm.CommuteError, match="rows must be a whole number"):
        cm.exhaustive(model, ["largest1"], rows=0)


def test_exhaustive_lists_every_pair_once_in_order_and_claims_no_independence():
    model = diamond()
    pairs = cm.pairs(model, ["top"], design="exhaustive")
    listed = list(zip(pairs.base["x"], pairs.base["y"], pairs.sources["top"]["x"], pairs.sources["top"]["y"], strict=True))
    assert listed == list(product(range(8), (False, True), range(8), (False, True)))
    assert not pairs.independent


def test_the_same_seed_gives_the_same_pairs_and_another_gives_others():
    first, again, other = (cm.pairs(EQUALITY, ["left"], 100, seed=seed).to_frame() for seed in (5, 5, 6))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"variables": ["lft"], "n": 5}, "no variable 'lft'; did you mean 'left'"),
        ({"variables": ["left", "left"], "n": 5}, "named twice"),
        ({"variables": "left", "n": 5}, "variables is a list"),
        ({"variables": [], "n": 5}, "variables is a list"),
        ({"variables": ["left"]}, "n says how many"),
        ({"variables": ["left"], "n": 5, "design": "exhaustive"}, "n says how many"),
        ({"variables": ["left"], "design": "exhaustive", "one_source": True}, "one_source by another design"),
        ({"variables": ["left"], "n": 5, "design": "balance"}, "did you mean 'balanced'"),
        ({"variables": ["left"], "n": 0}, "at least 1"),
        ({"variables": ["left"], "n": 5, "given": {"a": 9}}, "'a': 9 is not in its domain"),
        ({"variables": ["left"], "n": 5, "given": lambda a: a > 9}, "no input .* meets the condition <lambda>$"),
        ({"variables": ["left"], "n": 5, "given": lambda z: z}, "given=<lambda> .*no variable 'z'; there is .*, same$"),
        ({"variables": ["left"], "n": 5, "given": lambda a, b: a != b}, "no interchange of left was found that changes"),
        ({"variables": ["left", "right", "same"], "design": "exhaustive"}, "4,294,967,296 pairs"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(arguments, said):
    with pytest.raises(cm.CommuteError, match=said):
        cm.pairs(EQUALITY, **arguments)


def test_a_frame_is_read_back():
    pairs = cm.pairs(EQUALITY, ["left", "right"], 50)
    again = cm.Pairs.from_frame(pairs.to_frame(), EQUALITY)
    assert again.to_frame().equals(pairs.to_frame())
    assert not again.independent
    assert cm.Pairs.from_frame(pairs.to_frame(), EQUALITY, independent=True).independent


def test_a_frame_that_is_wrong_says_all_that_is_wrong():
    frame = cm.pairs(EQUALITY, ["left"], 5).to_frame()
    with pytest.raises(cm.CommuteError, match=r"expected.same is .* in row 0; the algorithm answers"):
        cm.Pairs.from_frame(frame.assign(**{"expected.same": ~frame["expected.same"]}), EQUALITY)
    with pytest.raises(cm.CommuteError) as caught:
        cm.Pairs.from_frame(frame[["base.a", "changed"]].rename(columns={"base.a": "a"}), EQUALITY)
    assert "there is no column 'a'" in str(caught.value)
    assert "no columns base." in str(caught.value)
    assert "no columns source." in str(caught.value)


def test_names_with_dots_are_read_back():
    model = cm.CausalModel("dots", {"a.b": cm.Bool, "a": cm.Bool}, {"a.b.c": cm.Table(["a.b"], {False: 0, True: 1})})
    pairs = cm.pairs(model, ["a.b.c", "a.b"], 20, design="uniform")
    again = cm.Pairs.from_frame(pairs.to_frame(), model)
    assert again.to_frame().equals(pairs.to_frame())


def test_a_condition_is_a_truth_value_of_a_setting():
    a, c = sympy.symbols("a c")
    pairs = cm.pairs(EQUALITY, ["left"], 50, design="uniform", given=sympy.Eq(a, c))
    assert (pairs.base["a"] == pairs.base["c"]).all()
    with pytest.raises(cm.CommuteError, match="says True or False of a setting; it gave 'no'"):
        cm.pairs(EQUALITY, ["left"], 50, given=lambda a: "no")
    with pytest.raises(cm.CommuteError, match="the condition given=5 does not fit"):
        cm.pairs(EQUALITY, ["left"], 50, given=5)


def test_rows_of_pairs_are_pairs():
    pairs = cm.pairs(EQUALITY, ["left"], 50)
    changed = pairs[pairs.changed]
    assert len(changed) == pairs.changed.sum()
    assert changed.changed.all()
    assert (changed.base["a"] == pairs.base["a"][pairs.changed]).all()
