"""Mechanisms compiled to tables, called on arrays or called row by row: always the same answers."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import commute as cm
from commute.causal.equations import TABLE_ROWS

MANY = cm.Finite(range(1000))
REAL = cm.Interval(-2, 2)


def counted(function):
    """The function, and a list that grows with each call."""
    calls = []

    def mechanism(a, b):
        calls.append((a, b))
        return function(a, b)

    return mechanism, calls


def batch(rows=2000, domain=MANY):
    draw = [domain.sample(np.random.default_rng(seed), rows) for seed in (1, 2)]
    return {v: domain.decode(x) for v, x in zip("ab", draw, strict=True)}


def by_rows(function, given):
    return [function(a, b) for a, b in zip(given["a"].tolist(), given["b"].tolist(), strict=True)]


TAKES_ARRAYS = [
    lambda a, b: a + b,
    lambda a, b: a // 7 - b,
    lambda a, b: (a > b) & (b > 3),
    lambda a, b: np.where(a > b, a, b) + 0,
]


@pytest.mark.parametrize("function", TAKES_ARRAYS)
def test_a_function_that_takes_arrays_is_called_on_arrays(function):
    mechanism, calls = counted(function)
    model = cm.CausalModel("large", {"a": MANY, "b": MANY}, {"v": mechanism})
    given = batch()
    assert model.solve(given)["v"].tolist() == by_rows(function, given)
    assert len(calls) < 30


NOT_ON_ARRAYS = [
    (lambda a, b: max(b, a)),  # raises on arrays
    (lambda a, b: (a > 500) + (b > 500)),  # numbers of truth values, which numpy would or
    (lambda a, b: (a + 1) ** 8 * b),  # beyond 64 bits
    (lambda a, b: max(a, b, 3)),
    (lambda a, b: 7),
    (lambda a, b: a / (b - 500) if b != 500 else 0.0),
    (lambda a, b: f"{a}{b}"),
]


@pytest.mark.parametrize("function", NOT_ON_ARRAYS)
def test_a_function_that_differs_on_arrays_is_called_row_by_row_and_says_so_once(function):
    model = cm.CausalModel("large", {"a": MANY, "b": MANY}, {"v": function})
    given = batch()
    with pytest.warns(cm.SlowWarning, match="the mechanism of 'v' is called once a row"):
        assert model.solve(given)["v"].tolist() == by_rows(function, given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.solve(given)


def test_a_function_cannot_change_the_batch_it_is_given():
    def doubled(a):
        a += a
        return a

    model = cm.CausalModel("in place", {"a": REAL}, {"v": doubled})
    given = np.linspace(-1, 1, 100)
    with pytest.warns(cm.SlowWarning):
        assert (model.solve({"a": given})["v"] == 2 * given).all()
    assert (given == np.linspace(-1, 1, 100)).all()


def test_an_error_in_a_large_batch_names_the_setting():
    model = cm.CausalModel("inverse", {"a": MANY, "b": MANY}, {"v": lambda a, b: 1 / (a - b)})
    with (
        pytest.warns(cm.SlowWarning),
        pytest.raises(cm.CommuteError, match=r"'v' raised ZeroDivisionError: .*, at a=5, b=5"),
    ):
        model.solve({"a": np.full(50, 5), "b": np.arange(50)})


def test_a_value_outside_of_the_declared_domain_is_an_error_on_every_path():
    small = cm.Finite(range(10))
    for inputs, function in (
        (cm.Finite(range(5)), lambda a, b: a * b),  # tabulated when the model is made
        (cm.Finite(range(200)), lambda a, b: a * b),  # tabulated when it is needed
        (MANY, lambda a, b: a * b),  # on arrays
    ):
        with pytest.raises(cm.CommuteError, match=r"the mechanism of 'v': \d+ \(row \d+\) is not in its domain \{0, 1, 2"):
            cm.CausalModel("narrow", {"a": inputs, "b": inputs}, {"v": function}, domains={"v": small}).solve(
                {"a": np.full(20, 4), "b": np.full(20, 3)}
            )


def test_a_large_table_is_made_when_it_is_needed_and_once():
    mechanism, calls = counted(lambda a, b: (a + b) % 300)
    side = cm.Finite(range(300))
    model = cm.CausalModel("lazy", {"a": side, "b": side}, {"v": mechanism, "odd": lambda v: v % 2 == 1})
    assert not calls
    assert model.solve({"a": 299, "b": 2}) == {"a": 299, "b": 2, "v": 1, "odd": True}
    assert len(calls) == 300 * 300 <= TABLE_ROWS
    model.solve(batch(domain=side))
    model.extended({"even": lambda v: v % 2 == 0}).solve(batch(domain=side))
    model.solve(batch(domain=side), do={"odd": lambda _: lambda v: v > 3})
    assert len(calls) == 300 * 300


def test_no_table_is_larger_than_the_cap():
    side = cm.Finite(range(363))
    model = cm.CausalModel("large", {"a": side, "b": side}, {"v": lambda a, b: a + b})
    assert model.equations["v"].table is None
    assert 362**2 <= TABLE_ROWS < 363**2


def test_only_what_is_asked_for_is_computed_and_returned():
    mechanism, calls = counted(lambda a, b: a + b)
    model = cm.CausalModel("two", {"a": REAL, "b": REAL}, {"v": mechanism, "w": lambda b: b + 1})
    assert model.solve({"a": 0.5, "b": 0.25}, only=["w"]) == {"w": 1.25}
    assert not calls
    assert model.interchange({"a": 0.5, "b": 0.25}, {"b": {"a": 0, "b": 1}}, only=["v"]) == {"v": 1.5}
    with pytest.raises(cm.CommuteError, match="no variable 'x'"):
        model.solve({"a": 0, "b": 0}, only=["x"])


def test_the_arrays_that_come_back_are_not_the_ones_given():
    model = cm.library.hierarchical_equality(5)
    given = {v: np.arange(5) for v in "abcd"}
    solved = model.solve(given)
    solved["a"][:] = 4
    assert given["a"].tolist() == [0, 1, 2, 3, 4]


@given(st.lists(st.integers(-5, 5), min_size=1, unique=True), st.data())
def test_labels_of_any_kind_of_number_are_found(labels, data):
    """Whole labels are looked up, in one pass where they are 0, 1, 2, …; all must agree with a search in the list."""
    domain = cm.Finite(labels)
    kind = data.draw(st.sampled_from([np.int8, np.int64, np.float64, np.uint8, bool]))
    asked = np.array(data.draw(st.lists(st.integers(-6, 6), min_size=1))).astype(kind)
    assert domain.find(asked).tolist() == [labels.index(x) if x in labels else -1 for x in asked.tolist()]
    if all(x in labels for x in asked.tolist()):
        assert (domain.decode(domain.encode(asked)) == asked).all()
