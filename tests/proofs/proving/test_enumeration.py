"""Enumeration against brute force: by the network itself, and in fractions."""

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import commute as cm
from commute.alignments.accuracy import interchanged
from commute.proofs.enclosures.rounding import stored
from commute.proofs.programs.evaluate import exact_rows
from commute.proofs.programs.patched import Patched
from commute.proofs.programs.program import Affine, Elementwise, Product, Program
from commute.proofs.programs.split import split
from commute.proofs.proving import choosing, enumeration
from commute.proofs.proving.cells import Cell
from commute.proofs.proving.choosing import Chosen
from commute.proofs.proving.enumeration import counted
from commute.proofs.proving.floats import Floats
from commute.proofs.proving.outcome import Outcome
from commute.proofs.proving.posing import posed
from commute.proofs.proving.sides import enclosed, merged
from commute.proofs.proving.statement import Statement

FLOAT32 = (2.0**-24, 2.0**-126)
FLOAT64 = (2.0**-53, 2.0**-1022)


def affine(inputs, weights, bias=None, roundings=8):
    weights = tuple(torch.as_tensor(w, dtype=torch.float64) for w in weights)
    bias = torch.zeros(len(weights[0])) if bias is None else torch.as_tensor(bias)
    return Affine(inputs, weights, bias.double(), roundings)


def stated(program, entries, groups=None, expected=None, labels=None):
    """The statement that a program's largest score is the expected one; every input is one group if no groups are given."""
    entries = torch.as_tensor(entries, dtype=torch.float64)
    sides = len(program.inputs)
    groups = [np.zeros(len(entries), dtype=np.int64)] * sides if groups is None else groups
    expected = np.zeros((1,) * sides, dtype=np.int64) if expected is None else np.asarray(expected)
    labels = tuple(range(program.widths[-1])) if labels is None else labels
    parts = split(program)
    made = [merged(*enclosed(p, entries, stored(program)).ball(), g) for p, g in zip(parts.sides, groups, strict=True)]
    names = tuple(f"v{i}" for i in range(1, sides))
    patched = Patched(program, names, labels, lambda batch: entries[torch.from_numpy(batch["i"])])
    return Statement(names, patched, parts.joint, tuple(made), expected, {"i": np.arange(len(entries))}, entries)


def enumerated(statement, **options):
    """The outcome of evaluating all pairs at once."""
    found = enumeration.enumerated(statement, **options)
    labels = statement.patched.labels
    return Outcome(
        variables=statement.variables,
        total=statement.total,
        right=found.right,
        wrong=found.wrong,
        within_rounding=found.within_rounding,
        kinds=Counter({(labels[one], labels[other]): n for (one, other), n in found.kinds.items()}),
        first=found.first,
        classes=tuple(len(side.count) for side in statement.sides),
    )


def in_fractions(statement):
    """Right, wrong, kinds where one other choice is the best, and the first wrong pair, from the whole program in fractions."""
    n, sides = len(statement.entries), len(statement.sides)
    right = wrong = 0
    kinds, first = Counter(), None
    rows = statement.entries.tolist()
    tuples = list(product(range(n), repeat=sides))
    given_ = [[[Fraction(x) for x in rows[t[j]]] for t in tuples] for j in range(sides)]
    for t, scores in zip(tuples, exact_rows(statement.patched.program, given_), strict=True):
        group = tuple(int(side.group[side.member[i]]) for side, i in zip(statement.sides, t, strict=True))
        choice = int(statement.expected[group])
        best = max(x for i, x in enumerate(scores) if i != choice)
        right += scores[choice] > best
        if scores[choice] < best:
            wrong += 1
            others = [i for i, x in enumerate(scores) if x == best and i != choice]
            kinds[choice, others[0]] += len(others) == 1
            first = t if first is None else first
    return right, wrong, +kinds, first


def by_network(algorithm, network, alignment, variables):
    """Right, wrong, kinds and the first wrong pair, from the network's own answers."""
    pairs = cm.pairs(algorithm, variables, design="exhaustive")
    (output,) = algorithm.outputs
    answered = interchanged(network, alignment, pairs)
    expected = pairs.expected[output]
    missed = np.flatnonzero(answered != expected)
    kinds = Counter(zip(expected[missed].tolist(), answered[missed].tolist(), strict=True))
    n = round(len(pairs) ** (1 / (1 + len(variables))))
    first = tuple(map(int, np.unravel_index(missed[0], (n,) * (1 + len(variables))))) if len(missed) else None
    return len(pairs) - len(missed), len(missed), kinds, first


def told(outcome):
    return outcome.right, outcome.wrong, outcome.kinds, outcome.first


DISGUISES = {
    "plain": {},
    "leak": {"leak": {"left": 0.3}},
    "noise": {"noise": 0.15},
    "redundant": {"redundant": ["left"]},
    "backup": {"backup": ["left", "right"]},
}


@pytest.mark.parametrize(("name", "double"), [*((name, False) for name in DISGUISES), ("leak", True), ("noise", True)])
def test_counts_what_the_network_does(name, double):
    algorithm = cm.library.hierarchical_equality(2)
    organism = cm.organisms.compile(algorithm, seed=3, **DISGUISES[name])
    network = organism.network
    if double:
        encode = network.encode
        network = cm.Network(network.module.double(), encode=lambda x: encode(x).double(), decode=network.decode)
    for variables in (["left"], ["right"], ["right", "left"]):
        statement = posed(algorithm, network, organism.alignment, variables)
        outcome = enumerated(statement)
        assert told(outcome) == by_network(algorithm, network, organism.alignment, variables)
        assert outcome.undecided == 0
        assert outcome.within_rounding <= (name == "noise")
        assert outcome.total == 16 ** (1 + len(variables))


def test_an_alignment_with_a_part_of_a_copy_is_wrong_as_often_as_the_network_is():
    algorithm = cm.library.hierarchical_equality(3)
    organism = cm.organisms.compile(algorithm, redundant=["left"], seed=1)
    alignment = cm.Alignment.along({"left": organism.others["one copy of left"]})
    outcome = enumerated(posed(algorithm, organism.network, alignment, ["left"]))
    assert told(outcome) == by_network(algorithm, organism.network, alignment, ["left"])
    assert 0 < outcome.wrong < outcome.total


class Smooth(nn.Module):
    """Random layers of functions that give no fractions."""

    def __init__(self, function, choices):
        super().__init__()
        generator = torch.Generator().manual_seed(5)

        def linear(n, m):
            made = nn.Linear(n, m)
            for p in made.parameters():
                p.data = torch.randn(p.shape, generator=generator)
            return made

        self.first, self.hidden, self.last = linear(2, 6), linear(6, 6), linear(6, choices)
        self.function = function

    def forward(self, x):
        return self.last(self.function(self.hidden(self.function(self.first(x)))))


@pytest.mark.parametrize(
    "function",
    [torch.tanh, nn.functional.gelu, nn.functional.silu, torch.sigmoid, torch.exp, nn.ReLU()],
    ids=["tanh", "gelu", "silu", "sigmoid", "exp", "relu"],
)
def test_other_functions_and_several_labels(function):
    def total(a, b):
        return (a + b) % 4

    def answer(total):
        return total

    values = cm.Finite(range(5))
    algorithm = cm.CausalModel("sum", inputs={"a": values, "b": values}, mechanisms=[total, answer])
    network = cm.Network(
        Smooth(function, 4),
        encode=lambda x: torch.from_numpy(np.stack([x["a"], x["b"]], 1)).float() / 4,
        decode=lambda y: y.argmax(-1),
    )
    alignment = cm.Alignment({"total": cm.Feature(network.site("first"), dims=(0, 2, 3))})
    outcome = enumerated(posed(algorithm, network, alignment, ["total"]))
    *counts, kinds, first = by_network(algorithm, network, alignment, ["total"])
    assert [outcome.right, outcome.wrong, outcome.first] == [*counts, first]
    assert outcome.wrong > 0
    assert outcome.kinds <= kinds
    assert outcome.kinds.total() > 0.9 * outcome.wrong
    assert len(outcome.kinds) > 2


def bump(n, base, source):
    """Two scores for one-hot bases and sources, of which the second is ahead for one pair alone."""
    one = torch.eye(n, dtype=torch.float64)
    return Program(
        (n, n),
        (
            affine((0, 1), (one[[base]], one[[source]]), [-1.0]),
            Elementwise(2, "relu"),
            affine((3,), ([[0.0], [2.0]],), [1.0, 0.0]),
        ),
        *FLOAT32,
    )


@pytest.mark.parametrize(("base", "source"), [(0, 0), (41, 17), (59, 59)])
def test_one_violation_among_all_pairs(base, source):
    statement = stated(bump(60, base, source), np.eye(60), labels=("no", "yes"))
    outcome = enumerated(statement)
    assert told(outcome) == (3599, 1, Counter({("no", "yes"): 1}), (base, source))
    assert outcome.lower == outcome.upper == Fraction(3599, 3600)
    assert outcome.classes == (2, 2)


def difference(*rows, unit=FLOAT32):
    """Scores 0 and the sum of what each side's rows make of its entries."""
    weights = [torch.tensor([[0.0] * len(row), row], dtype=torch.float64) for row in rows]
    return Program(tuple(map(len, rows)), (affine(tuple(range(len(rows))), weights),), *unit)


def test_ties_are_left_undecided_and_near_ties_are_decided():
    x = 0.1
    near = [x, -x, -x + 2.0**-56, -x - 2.0**-56, np.nextafter(x, 1)]
    statement = stated(difference([1.0], [1.0]), [[v] for v in near], expected=[[1]])
    outcome = enumerated(statement)
    expected = [[Fraction(a) + Fraction(b) for b in near] for a in near]
    flat = [x for row in expected for x in row]
    assert outcome.right == sum(x > 0 for x in flat)
    assert outcome.wrong == sum(x < 0 for x in flat)
    assert outcome.undecided == sum(x == 0 for x in flat) > 0
    assert outcome.within_rounding > 0
    assert (outcome.right, outcome.wrong, outcome.kinds, outcome.first) == in_fractions(statement)


def test_ties_beyond_the_evaluations_allowed_stay_undecided():
    near = [0.1, -0.1 + 2.0**-56, -0.1, 0.7]
    statement = stated(difference([1.0], [1.0]), [[v] for v in near], expected=[[1]])
    some, none = enumerated(statement), enumerated(statement, exactly=0)
    assert none.undecided > some.undecided
    assert none.right <= some.right
    assert none.wrong <= some.wrong


def test_a_pair_that_rounding_may_change_is_counted_apart():
    values = [1000.0, -1000.0 + 2.0**-14, -2000.0, -1000.0 - 2.0**-14]
    outcome = enumerated(stated(difference([1.0], [1.0]), [[v] for v in values], expected=[[1]]))
    assert outcome.within_rounding == 4  # 1000 with either of its neighbours, both ways round
    precise = enumerated(stated(difference([1.0], [1.0], unit=FLOAT64), [[v] for v in values], expected=[[1]]))
    assert precise.within_rounding == 0
    assert told(precise) == told(outcome)


def test_members_of_a_class_are_decided_one_by_one_where_they_differ():
    large = 2.0**60  # a number beside it is lost in float64
    entries = [[0.25, large], [0.5, large], [0.5, large], [-0.375, -large], [-0.5, -large]]
    statement = stated(difference([1.0, 1.0], [1.0, 1.0], unit=FLOAT64), entries, expected=[[1]])
    outcome = enumerated(statement)
    assert outcome.classes == (2, 2)
    assert (outcome.right, outcome.wrong, outcome.kinds, outcome.first) == in_fractions(statement)
    assert outcome.undecided == 4  # 0.5 and -0.5, both ways round


def test_what_is_lost_within_a_side_is_found_again():
    """The computed side is off by more than the margin, and its bound says so."""
    large = 2.0**60
    entries = [[large, 0.3, -large], [large, -0.4, -large], [0.0, -0.2, 0.0]]
    statement = stated(difference([1.0] * 3, [1.0] * 3, unit=FLOAT64), entries, expected=[[1]])
    assert told(enumerated(statement)) == in_fractions(statement)


@pytest.mark.parametrize("few", [2**18, -1])
def test_what_rounding_may_change_is_counted_whether_redone_or_not(few, monkeypatch):
    monkeypatch.setattr(choosing, "_FEW", few)
    scores = affine((3,), ([[0.0], [1.0]],), [1000.0, 0.0], 1000)
    program = Program((1, 1), (affine((0, 1), ([[1.0]], [[1.0]])), Elementwise(2, "abs"), scores), *FLOAT32)
    outcome = enumerated(stated(program, [[1000.0], [-0.05], [0.06], [500.0]], expected=[[1]]))
    assert (outcome.right, outcome.wrong, outcome.undecided) == (5, 10, 1)  # twice 500 is a tie
    assert outcome.within_rounding == 4  # 1000 with either of the small ones


def test_balls_decide_what_gives_no_fractions():
    x = 0.7
    pytest.importorskip("flint")
    program = Program(
        (1, 1),
        (
            Elementwise(0, "exp"),
            Elementwise(1, "exp"),
            affine((2, 3), ([[0.0], [1.0]], [[0.0], [-1.0]])),
            affine((4,), ([[1.0, 0.0], [0.0, 1.0]],)),
        ),
        *FLOAT64,
    )
    outcome = enumerated(stated(program, [[x], [np.nextafter(x, 1)], [np.nextafter(x, 0)]], expected=[[1]]))
    assert (outcome.right, outcome.wrong, outcome.undecided, outcome.first) == (3, 3, 3, (0, 1))


def random_program(draw, sides, choices):
    number = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, -0.1, 2.0**-30, 1e4])
    matrix = lambda n, m: [[draw(number) for _ in range(m)] for _ in range(n)]  # noqa: E731
    steps = [affine(tuple(range(sides)), [matrix(3, 2) for _ in range(sides)], [draw(number) for _ in range(3)])]
    kind = draw(st.sampled_from(["affine", "relu", "abs", "square", "product"]))
    if kind == "product":
        steps.append(Product((sides, sides)))
    elif kind != "affine":
        steps.append(Elementwise(sides, kind))
    steps.append(affine((sides + len(steps) - 1,), (matrix(choices, 3),), [draw(number) for _ in range(choices)]))
    return Program((2,) * sides, tuple(steps), *draw(st.sampled_from([FLOAT32, FLOAT64])))


@st.composite
def statements(draw):
    sides, choices = draw(st.sampled_from([(2, 2), (2, 3), (2, 5), (3, 2), (3, 3)]))
    number = st.sampled_from([0.0, 1.0, -1.0, 0.1, -0.1, 0.1 + 2.0**-56, 2.0**-60, 7.0, -(2.0**60)])
    entries = [[draw(number), draw(number)] for _ in range(draw(st.integers(2, 5)))]
    groups = [np.array([draw(st.integers(0, 1)) for _ in entries]) for _ in range(sides)]
    expected = np.array([draw(st.integers(0, choices - 1)) for _ in range(2**sides)]).reshape((2,) * sides)
    return stated(random_program(draw, sides, choices), entries, groups, expected)


@given(statements())
@settings(max_examples=60)
def test_agrees_with_fractions(statement):
    outcome = enumerated(statement)
    right, wrong, kinds, first = in_fractions(statement)
    assert (outcome.right, outcome.wrong, outcome.first) == (right, wrong, first)
    assert outcome.kinds <= kinds
    assert outcome.undecided == outcome.total - right - wrong


@given(statements(), st.randoms())
@settings(max_examples=30)
def test_cells_add_up(statement, random):
    sides = statement.sides
    chunks = [np.array_split(np.array(random.sample(range(len(s.count)), len(s.count))), 2) for s in sides]
    cells = [Cell((i,), classes, 0, 0) for i, classes in enumerate(product(*chunks))]
    found = counted(statement, cells)
    whole = enumerated(statement)
    assert sum(x.right for x in found) == whole.right
    assert sum(x.wrong for x in found) == whole.wrong
    assert min((x.first for x in found if x.first is not None), default=None) == whole.first
    for cell, own in zip(cells, found, strict=True):
        (again,) = counted(statement, [cell])
        assert own == again


def random_relu(choices=3, n=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).float().double()  # noqa: E731
    program = Program(
        (4, 4),
        (
            affine((0, 1), (draw(8, 4), draw(8, 4)), draw(8)),
            Elementwise(2, "relu"),
            affine((3,), (draw(choices, 8),), draw(choices)),
        ),
        *FLOAT32,
    )
    groups = [np.arange(n) % 3, np.arange(n) % 2]
    expected = np.arange(6).reshape(3, 2) % choices
    return stated(program, draw(n, 4), groups, expected)


@pytest.mark.parametrize("choices", [2, 3, 7])
def test_blocks_do_not_matter(choices):
    statement = random_relu(choices)
    whole = enumerated(statement)
    assert (whole.right, whole.wrong, whole.kinds, whole.first) == in_fractions(statement)
    for block in (1, 64, 2**10):
        assert told(enumerated(statement, block=block)) == told(whole)


@pytest.mark.parametrize("name", ["none are redone", "all are redone"])
def test_every_way_of_deciding_says_the_same(name, monkeypatch):
    statement = random_relu()
    whole = enumerated(statement)
    if name == "none are redone":
        monkeypatch.setattr(choosing, "_FEW", -1)
        assert Chosen.of(statement).sure < Chosen.of(statement).floats.every
    else:
        monkeypatch.setattr(Floats, "of", classmethod(lambda cls, *args: _useless(*args)))
    assert told(enumerated(statement)) == told(whole)


_FLOATS = Floats.of.__func__


def _useless(*args):
    made = _FLOATS(Floats, *args)
    return Floats(made.columns, made.choices, made.rows, float("inf"), float("inf"))


def test_float32_made_of_fewer_bits_is_not_trusted():
    statement = random_relu()
    try:
        torch.set_float32_matmul_precision("medium")
        chosen = Chosen.of(statement)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert chosen.floats.columns.dtype == torch.float64
    assert Chosen.of(statement).floats.columns.dtype == torch.float32


def test_bounds_that_say_nothing_of_the_whole_leave_each_pair_to_its_own():
    """1/x is unbounded over all pairs, but not for any of them."""
    program = Program(
        (1, 1),
        (
            affine((0, 1), ([[1.0]], [[1.0]])),
            Elementwise(2, "square"),
            Elementwise(3, "reciprocal"),
            affine((4,), ([[0.0], [1.0]],), [1.1, 0.0]),
        ),
        *FLOAT32,
    )
    values = [-3.0, -1.25, 0.5, 2.0, 0.75]
    outcome = enumerated(stated(program, [[v] for v in values], expected=[[1]]))
    assert outcome.right == sum((a + b) ** -2 > 1.1 for a in values for b in values)
    assert outcome.undecided == 0


def test_the_evaluation_is_prepared_once_for_many_cells(monkeypatch):
    statement = random_relu()
    cell = Cell((0,), (np.arange(3), np.arange(4)), 0, 12)
    expected = counted(statement, [cell])
    monkeypatch.setattr(enumeration.Chosen, "of", lambda statement: pytest.fail("prepared again"))
    assert counted(statement, [cell]) == expected
    assert counted(statement, []) == []
