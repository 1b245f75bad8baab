"""Three ways to evaluate a program agree, and the exact ones are exact."""

import sys
from fractions import Fraction

import pytest
import torch

import commute as cm
from commute.errors import NetworkError
from commute.proofs.programs.evaluate import ball, decided, exact, exact_rows, fractions, values
from commute.proofs.programs.patched import patched_program
from commute.proofs.programs.program import FUNCTIONS, Affine, Elementwise, Product, Program
from tests.proofs.programs import nets
from tests.proofs.programs.nets import ALGORITHM, network, rotated

UNIT, TINY = 2.0**-24, 2.0**-126


def affine(inputs, weights, bias, roundings=1):
    return Affine(inputs, tuple(torch.tensor(w).double() for w in weights), torch.tensor(bias).double(), roundings)


def test_fractions_are_exact_where_floats_are_not():
    program = Program((2, 1), (affine((0, 1), [[[1, 1]], [[3]]], [2.0**-60]), Product((2, 2)), Elementwise(3, "abs")), UNIT, TINY)
    row = [[Fraction(10**20), Fraction(-(10**20)) + Fraction(1, 7)], [Fraction(1, 3)]]
    assert exact(program, row) == [(1 + Fraction(1, 7) + Fraction(1, 2**60)) ** 2]
    assert exact_rows(program, [[x, x] for x in row]) == [exact(program, row)] * 2


@pytest.mark.parametrize("function", ["relu", "abs", "square"])
def test_functions_of_fractions(function):
    program = Program((2,), (Elementwise(0, function),), UNIT, TINY)
    expected = {"relu": [0, 2], "abs": [Fraction(1, 3), 2], "square": [Fraction(1, 9), 4]}
    assert exact(program, [[Fraction(-1, 3), Fraction(2)]]) == expected[function]


def test_networks_of_relu_agree_exactly():
    made = patched_program(ALGORITHM, network(nets.Residual), rotated(16, 4, path="relu1"), ["left"])
    inputs = [made.entries(batch) for batch in nets.drawn(5, 2)]
    floats = values(made.program, inputs)[-1]
    rows = exact_rows(made.program, inputs)
    assert torch.allclose(torch.tensor([[float(x) for x in row] for row in rows], dtype=torch.float64), floats, rtol=1e-13)
    for i, row in enumerate(rows):
        own = [fractions(x[i]) for x in inputs]
        assert exact(made.program, own) == row
        assert all(holds(b, x) for b, x in zip(ball(made.program, own, bits=80), row, strict=True))
        best = max(range(5), key=row.__getitem__)
        assert [decided(made.program, own, choice) for choice in range(5)] == [1 if c == best else -1 for c in range(5)]


def holds(b, x):
    """Whether a ball of 80 bits holds a fraction, and is small."""
    flint = pytest.importorskip("flint")
    with flint.ctx.workprec(2000):
        apart = abs(b.mid() - flint.arb(flint.fmpq(x.numerator, x.denominator)))
        return bool(apart <= b.rad() <= 1e-20)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_balls_hold_what_floats_come_near_to(function):
    pytest.importorskip("flint")
    program = Program((4,), (Elementwise(0, function),), UNIT, TINY)
    x = [0.25, 1.0, 3.5, 7.0] if function in ("sqrt", "rsqrt") else [-3.0, -0.5, 0.25, 2.0]
    balls = ball(program, [[Fraction(v) for v in x]], bits=120)
    floats = values(program, [torch.tensor([x], dtype=torch.float64)])[-1][0].tolist()
    for b, v in zip(balls, floats, strict=True):
        assert float(b.rad()) < 1e-30
        assert abs(float(b.mid()) - v) < 1e-15 * max(1, abs(v))


def test_balls_of_a_transformer():
    pytest.importorskip("flint")
    alignment = cm.Alignment({"left": cm.Feature(cm.Site("middle", -1), dims=(1, 2))})
    made = patched_program(ALGORITHM, network(nets.Transformer), alignment, ["left"])
    inputs = [made.entries(batch) for batch in nets.drawn(1, 2)]
    own = [fractions(x[0]) for x in inputs]
    scores = values(made.program, inputs)[-1][0]
    assert torch.allclose(
        torch.tensor([float(b.mid()) for b in ball(made.program, own, bits=120)], dtype=torch.float64), scores, rtol=1e-10
    )
    best = int(scores.argmax())
    assert decided(made.program, own, best) == 1
    assert decided(made.program, own, (best + 1) % 5) == -1


def test_ties():
    choose = affine((0,), [[[1.0], [1.0], [0.0]]], [0.0, 0.0, 0.0])
    program = Program((1,), (choose,), UNIT, TINY)
    assert [decided(program, [[Fraction(1)]], choice) for choice in range(3)] == [0, 0, -1]
    pytest.importorskip("flint")
    bent = Program((1,), (Elementwise(0, "tanh"), affine((1,), [[[1.0], [1.0], [0.0]]], [0.0] * 3)), UNIT, TINY)
    assert [decided(bent, [[Fraction(1)]], choice) for choice in range(3)] == [None, None, -1]


def test_precision_grows_until_balls_tell():
    pytest.importorskip("flint")
    choose = affine((1,), [[[1.0], [0.0]]], [0.0, 1.0])
    program = Program((1,), (Elementwise(0, "sigmoid"), choose), UNIT, TINY)  # 1 - e⁻²⁰⁰ is below 1, by less than 2⁻²⁸⁸
    assert [decided(program, [[Fraction(200)]], choice) for choice in range(2)] == [-1, 1]


def test_what_is_missing_is_named(monkeypatch):
    program = Program((1,), (Elementwise(0, "exp"),), UNIT, TINY)
    with pytest.raises(NetworkError, match="exp gives no fractions"):
        exact(program, [[Fraction(1)]])
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(NetworkError, match="pip install python-flint"):
        ball(program, [[Fraction(1)]], bits=64)
