import numpy as np
import pytest

import commute as cm
from commute.causal.permuted import permutations


def test_a_permuted_variable_keeps_its_values_and_graph_and_loses_its_meaning():
    model = cm.library.hierarchical_equality(4)
    other, changed = next(permutations(model, ("left", "a"), np.random.default_rng(0)))
    assert changed == ("left",)
    every = cm.pairs(model, ["left"], 2000, design="uniform").base
    before, after = model.solve(every), other.solve(every)
    assert set(other.graph.edges) == set(model.graph.edges)
    assert (before["right"] == after["right"]).all()
    assert (after["same"] == (after["left"] == after["right"])).all()
    assert sorted(model.equations["left"].table.flat) == sorted(other.equations["left"].table.flat)
    assert (before["left"] != after["left"]).any()


@pytest.mark.parametrize("seed", range(20))
def test_a_permutation_that_only_renames_values_is_left_out(seed):
    model = cm.CausalModel("xor", {"a": cm.Bool, "b": cm.Bool}, {"v": lambda a, b: a != b, "out": lambda v: v})
    every = {"a": [False, False, True, True], "b": [False, True, False, True]}
    for other, _ in permutations(model, ("v",), np.random.default_rng(seed)):
        assert other.solve(every)["v"].tolist() not in ([False, True, True, False], [True, False, False, True])


def test_there_is_nothing_to_permute_without_a_table():
    model = cm.CausalModel("threshold", {"x": cm.Interval(0, 1)}, {"high": lambda x: x > 0.5})
    assert list(permutations(model, ("high", "x"), np.random.default_rng(0))) == []
