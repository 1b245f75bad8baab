"""Statements posed of networks: what inputs bring, classes, answers and errors."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.errors import ClaimError
from commute.proofs.programs.evaluate import exact_rows
from commute.proofs.programs.split import split
from commute.proofs.proving.posing import posed
from commute.proofs.proving.sides import merged


@pytest.fixture(scope="module")
def organism():
    return cm.organisms.compile(cm.library.hierarchical_equality(3), seed=2, noise=0.1)


def test_what_inputs_bring_is_within_the_radius_of_their_class(organism):
    statement = posed(organism.algorithm, organism.network, organism.alignment, ["left", "right"])
    rows = np.arange(0, 81, 7)
    for program, side in zip(split(statement.patched.program).sides, statement.sides, strict=True):
        exact = exact_rows(program, [statement.entries[torch.from_numpy(rows)]])
        own = side.member[rows]
        for numbers, center, radius in zip(exact, side.center[own].tolist(), side.radius[own].tolist(), strict=True):
            assert all(abs(x - Fraction(c)) <= Fraction(r) for x, c, r in zip(numbers, center, radius, strict=True))
        assert float(side.radius.max()) < 1e-3


def test_every_input_is_in_a_class_of_its_group(organism):
    statement = posed(organism.algorithm, organism.network, organism.alignment, ["left"])
    inputs = organism.algorithm.labels(statement.inputs)
    left = inputs["a"] == inputs["b"]
    source = statement.sides[1]
    for value in (False, True):
        assert len(set(source.group[source.member[left == value]])) == 1
    for side in statement.sides:
        assert side.count.sum() == len(side.member) == 81
        assert (np.bincount(side.member) == side.count).all()
        assert (side.member[side.first] == np.arange(len(side.count))).all()
        assert (np.diff(side.first) > 0).all()
    assert statement.total == 81**2


def test_the_expected_choice_is_the_algorithms(organism):
    statement = posed(organism.algorithm, organism.network, organism.alignment, ["left", "right"])
    inputs = organism.algorithm.labels(statement.inputs)
    base, left, right = np.random.default_rng(0).integers(81, size=(3, 200))
    row = lambda places: {v: x[places] for v, x in inputs.items()}  # noqa: E731
    answers = organism.algorithm.interchange(row(base), {"left": row(left), "right": row(right)})["same"]
    groups = [s.group[s.member[i]] for s, i in zip(statement.sides, (base, left, right), strict=True)]
    assert [statement.patched.labels[i] for i in statement.expected[tuple(groups)]] == answers.tolist()


def test_inputs_that_bring_the_same_are_merged_within_their_group():
    center = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    radius = torch.tensor([[0.0], [0.0], [0.0], [0.0], [0.5]], dtype=torch.float64).expand(-1, 2)
    side = merged(center, radius, np.array([1, 1, 1, 0, 1]))
    assert side.member.tolist() == [0, 1, 0, 2, 3]
    assert side.count.tolist() == [2, 1, 1, 1]
    assert side.first.tolist() == [0, 1, 3, 4]
    assert side.group.tolist() == [1, 1, 0, 1]
    assert side.center.tolist() == center[[0, 1, 3, 4]].tolist()
    assert side.radius.tolist() == radius[[0, 1, 3, 4]].tolist()


def test_a_source_is_merged_to_what_its_feature_is():
    """A feature of two neurons that hold one bit makes two classes of all sources."""
    organism = cm.organisms.compile(cm.library.hierarchical_equality(4), seed=0, distractors=0)
    statement = posed(organism.algorithm, organism.network, organism.alignment, ["left"])
    assert len(statement.sides[1].count) < len(statement.inputs["a"]) / 8


def test_all_problems_are_told():
    def double(x):
        return 2 * x

    def answer(double):
        return double > 1

    def other(double):
        return double > 2

    algorithm = cm.CausalModel("double", {"x": cm.Interval(0, 1)}, [double, answer, other])
    network = cm.Network(nn.Linear(1, 2), encode=lambda x: torch.tensor(x["x"])[:, None], decode=lambda y: y.argmax(-1))
    alignment = cm.Alignment({"double": cm.Feature(cm.Site("0"))})
    with pytest.raises(ClaimError) as told:
        posed(algorithm, network, alignment, ["doubel", "double", "double"])
    for part in ("'doubel'; did you mean 'double'", "each once", "one output; it has answer, other", "finite, with at most"):
        assert re.search(part, str(told.value)), part
    with pytest.raises(ClaimError, match="at least one variable"):
        posed(algorithm, network, alignment, [])


@pytest.mark.parametrize("labels", [(None, "x"), ("a", 1), ((1, 2), "z"), (0.1, None), ((1, 2), (3, 4))])
def test_labels_may_be_of_any_kinds(labels):
    digit = cm.Finite(range(3))
    algorithm = cm.CausalModel(
        "more", {"a": digit, "b": digit}, {"v": lambda a: a, "out": lambda v, b: labels[int(v > b)]},
        domains={"v": digit, "out": cm.Finite(labels)},
    )  # fmt: skip
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        module.bias.copy_(torch.tensor([0.5, 0.0]))
    network = cm.Network(
        nn.Sequential(nn.Identity(), module),
        encode=lambda x: torch.from_numpy(np.stack([x["a"], x["b"]], 1)).float(),
        decode=lambda y: [labels[i] for i in y.argmax(-1).tolist()],
    )
    alignment = cm.Alignment({"v": cm.Feature(network.site("0"), dims=(0,))})
    statement = posed(algorithm, network, alignment, ["v"])
    assert statement.patched.labels == labels
    groups = [statement.sides[j].group[statement.sides[j].member] for j in (0, 1)]
    expected = statement.expected[np.ix_(*groups)]
    assert (expected == [[v // 3 > b % 3 for v in range(9)] for b in range(9)]).all()


def test_more_pairs_than_are_counted_are_refused():
    """Sixteen bits and three variables are 2**64 combinations, one variable less 2**48."""
    names = [f"i{k}" for k in range(16)]
    mechanisms = {"v": lambda i0: i0, "w": lambda i1: i1, "u": lambda i2: i2, "out": lambda v, w, u: v or w or u}
    bit = cm.Finite(range(2))
    algorithm = cm.CausalModel("bits", dict.fromkeys(names, bit), mechanisms, domains=dict.fromkeys(mechanisms, bit))
    network = cm.Network(
        nn.Sequential(nn.Identity(), nn.Linear(16, 2)),
        encode=lambda x: torch.from_numpy(np.stack([x[v] for v in names], 1)).float(),
        decode=lambda y: y.argmax(-1),
    )
    alignment = cm.Alignment({v: cm.Feature(network.site("0"), dims=(i,)) for i, v in enumerate("vwu")})
    assert posed(algorithm, network, alignment, ["v", "w"]).total == 2**48
    with pytest.raises(ClaimError, match=r"18,446,744,073,709,551,616 combinations.*9,223,372,036,854,775,807"):
        posed(algorithm, network, alignment, ["v", "w", "u"])
    rounds = []
    with pytest.raises(ClaimError, match="18,446,744,073,709,551,616"):
        cm.prove(algorithm, network, alignment, budget="1 bounds", on_event=rounds.append)
    assert not rounds  # no set is begun when one cannot be counted
