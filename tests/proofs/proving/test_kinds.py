"""Kinds of wrong pairs: counted only where it is known which choice is above every other."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

from commute.proofs.programs.evaluate import exact_rows
from commute.proofs.programs.program import Affine, Elementwise, Program
from commute.proofs.proving import choosing
from commute.proofs.proving.cells import Cell
from commute.proofs.proving.enumeration import counted, enumerated
from commute.proofs.proving.redo import Redo
from tests.proofs.proving.test_enumeration import FLOAT32, FLOAT64, stated


def affine(inputs, weights, bias):
    weights = tuple(torch.tensor(w, dtype=torch.float64) for w in weights)
    return Affine(inputs, weights, torch.tensor(bias, dtype=torch.float64), 8)


def apart(by, unit=FLOAT32, function="relu"):
    """Of s = f(x + y + 1) the scores -s - 1, s + 1 and s + 1 + by: the first is always wrong."""
    steps = affine((0, 1), ([[1.0]], [[1.0]]), [1.0]), Elementwise(2, function)
    return Program((1, 1), (*steps, affine((3,), ([[-1.0], [1.0], [1.0]],), [-1.0, 1.0, 1.0 + by])), *unit)


def both(statement):
    """The kinds that evaluating all pairs gives, and cell by cell; and what the redo alone says of each pair."""
    sizes = [len(side.count) for side in statement.sides]
    (cell,) = counted(statement, [Cell((0,), tuple(map(np.arange, sizes)), 0, statement.total)])
    whole = enumerated(statement)
    assert (whole.right, whole.wrong) == (cell.right, cell.wrong) == (0, statement.total)
    classes = np.stack([x.ravel() for x in np.meshgrid(*map(np.arange, sizes))], 1)
    redo = Redo.of(statement)
    redo.exact.left = 10**6
    return whole.kinds, cell.kinds, redo.decided(classes, np.zeros(len(classes), dtype=np.int64)).answered


@pytest.mark.parametrize("function", ["relu", "exp"])
@pytest.mark.parametrize(("by", "unit"), [(2.0**-23, FLOAT32), (2.0**-52, FLOAT64)])
def test_a_lead_of_one_unit_in_the_last_place_is_never_told_the_wrong_way(by, unit, function):
    values = [[x] for x in (0.1, 0.7, 1.3, 100.7)]
    for sign, best in ((1, 2), (-1, 1)):
        whole, cell, redone = both(stated(apart(sign * by, unit, function), values))
        assert set(whole) | set(cell) <= {(0, best)}
        assert set(redone) <= {best, -1}


@pytest.mark.parametrize("function", ["relu", "exp"])
def test_a_clear_lead_is_told(function):
    statement = stated(apart(0.5, function=function), [[x] for x in (0.1, 0.7, 1.3)])
    whole, cell, redone = both(statement)
    assert whole == cell == Counter({(0, 2): statement.total})
    assert set(redone) == {2}


@pytest.mark.parametrize("function", ["relu", "exp"])
def test_a_tie_of_wrong_choices_is_no_kind(function):
    whole, cell, redone = both(stated(apart(0.0, function=function), [[x] for x in (0.1, 0.7, 1.3)]))
    assert not whole
    assert not cell
    assert set(redone) == {-1}


def test_sums_in_another_order_are_never_told_the_wrong_way():
    """Two scores are sums of the same products in opposite orders, and the second is larger by less than they are rounded."""
    generator = torch.Generator().manual_seed(0)
    entries = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    weights = torch.randn(6, generator=generator, dtype=torch.float64)
    rows = torch.zeros(3, 12, dtype=torch.float64)
    rows[0], rows[1, :6], rows[2, 6:] = -1, weights, weights.flip(0)
    both_ways = torch.cat([torch.eye(6), torch.eye(6).flip(0)]).double()
    program = Program(
        (6, 6),
        (
            Affine((0, 1), (both_ways, both_ways), torch.full((12,), 10.0, dtype=torch.float64), 8),
            Elementwise(2, "relu"),
            Affine((3,), (rows,), torch.tensor([-1e4, 0.0, 2.0**-60]).double(), 16),
        ),
        *FLOAT32,
    )
    whole, cell, redone = both(stated(program, entries))
    assert set(whole) | set(cell) <= {(0, 2)}
    assert set(redone) <= {2, -1}


def near_ties(offsets, *others, function=None):
    """Scores 0 and multiples of t, which is lost in rounding: of x + y, or of f(x) - f(-y)."""
    rows = [[0.0], *([x] for x in others)]
    if function is None:
        steps = (affine((0, 1), (rows, rows), [0.0] * len(rows)),)
    else:
        minus = affine((1,), ([[-1.0]],), [0.0])
        steps = (minus, Elementwise(0, function), Elementwise(2, function))
        steps += (affine((3, 4), (rows, [[-x for x in row] for row in rows]), [0.0] * len(rows)),)
    return stated(Program((1, 1), steps, *FLOAT64), [[3.0], *([-3.0 + x] for x in offsets)])


@pytest.mark.parametrize("function", [None, "exp"])
def test_exact_arithmetic_tells_kinds_that_floats_do_not(function):
    if function is not None:
        pytest.importorskip("flint")
    offsets = [2.0**-51, -(2.0**-51)]
    rows = [Fraction(3), *(Fraction(-3.0 + x) for x in offsets)]
    signs = [(a + b > 0) - (a + b < 0) for a in rows for b in rows]
    assert 0 not in signs
    either = enumerated(near_ties(offsets, 1.0, -1.0, function=function))
    assert either.kinds == Counter({(0, 1): signs.count(1), (0, 2): signs.count(-1)})
    twice = enumerated(near_ties(offsets, 1.0, 1.0, function=function))  # both are above the first, neither above the other
    assert (twice.wrong, twice.right, twice.kinds) == (signs.count(1), signs.count(-1), Counter())


def test_members_of_a_class_that_answer_differently_have_no_kind():
    """Beside 2**60 the small numbers are lost, so that they are one class, whose members answer 1 and 2."""
    large = 2.0**60
    rows = [[0.0, 0.0], [1.0, 1.0], [-1.0, -1.0]]
    program = Program((2, 2), (affine((0, 1), (rows, rows), [0.0] * 3),), *FLOAT64)
    statement = stated(program, [[0.25, large], [-0.25, large], [0.0, -large]])
    assert [len(side.count) for side in statement.sides] == [2, 2]
    given = [[[Fraction(v) for v in x] for x in statement.entries[:2].tolist()], [[Fraction(0), Fraction(-large)]] * 2]
    assert [row.index(max(row)) for row in exact_rows(program, given)] == [1, 2]
    found = enumerated(statement)
    assert found.wrong == 9  # of which four are of the last with either of the first, whose answers differ
    assert found.kinds == Counter({(0, 1): 4, (0, 2): 1})


def test_kinds_do_not_depend_on_what_is_redone(monkeypatch):
    statement = stated(apart(1e-3), [[x] for x in (0.1, 0.7, 1.3)])
    whole = enumerated(statement).kinds
    monkeypatch.setattr(choosing, "_FEW", -1)
    assert enumerated(statement).kinds == whole == Counter({(0, 2): 9})
