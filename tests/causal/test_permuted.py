import numpy as np

import commute as cm
from commute.causal.permuted import permuted


def test_a_permuted_variable_keeps_its_values_and_graph_and_loses_its_meaning():
    model = cm.library.hierarchical_equality(4)
    other = permuted(model, ("left",), np.random.default_rng(0))
    every = cm.pairs(model, ["left"], 2000, design="uniform").base
    before, after = model.solve(every), other.solve(every)
    assert set(other.graph.edges) == set(model.graph.edges)
    assert (before["right"] == after["right"]).all()
    assert (after["same"] == (after["left"] == after["right"])).all()
    assert sorted(model.equations["left"].table.flat) == sorted(other.equations["left"].table.flat)
    assert (before["left"] != after["left"]).any()


def test_there_is_nothing_to_permute_without_a_table():
    model = cm.CausalModel("threshold", {"x": cm.Interval(0, 1)}, {"high": lambda x: x > 0.5})
    assert permuted(model, ("high", "x"), np.random.default_rng(0)) is None
