"""Constants are those that the network computes with, and what is computed of them is not rounded."""

from fractions import Fraction

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from commute.errors import NetworkError
from commute.proofs.programs.evaluate import IN_FLOATS, ball, decided, exact, fractions, rational
from commute.proofs.programs.lifting import lifted
from commute.proofs.programs.program import FUNCTIONS, roundings_of

KEPT = torch.zeros(1, 2, dtype=torch.bool)


def program_of(function, x):
    return lifted(make_fx(function, pre_dispatch=False)(x), 1, x.dtype, 1)[0]


PUT = {
    "x + 0.1": (lambda x: x + 0.1, lambda x, c: x + c),
    "0.1 - x": (lambda x: 0.1 - x, lambda x, c: c - x),
    "x * 0.1": (lambda x: x * 0.1, lambda x, c: x * c),
    "x / 0.1": (lambda x: x / 0.1, lambda x, c: x / c),
    "x / -0.1": (lambda x: x / -0.1, lambda x, c: -x / c),
    "clamp": (lambda x: x.clamp(min=0.1), max),
    "clamp above": (lambda x: x.clamp(max=0.1), min),
    "maximum": (lambda x: torch.maximum(x, torch.tensor(0.1, dtype=torch.float64).to(x.dtype)), max),
    "masked_fill": (lambda x: x.masked_fill(~KEPT, 0.1), lambda x, c: c),
    "pad": (lambda x: F.pad(x, (0, 2), value=0.1)[:, 2:] + x - x, lambda x, c: c),
    "where": (lambda x: torch.where(KEPT, x, 0.1), lambda x, c: c),
    "add with a factor": (lambda x: torch.add(x, x, alpha=0.1), lambda x, c: x + c * x),
    "addcmul": (lambda x: torch.addcmul(x, x, x, value=0.1), lambda x, c: x + c * x * x),
    "addcmul of constants": (
        lambda x: torch.addcmul(x, torch.full_like(x, 0.1), torch.full_like(x, 0.1)),
        lambda x, c: x + c * c,
    ),
    "add a constant with a factor": (lambda x: torch.add(x, torch.full_like(x, 0.1), alpha=0.1), lambda x, c: x + c * c),
    "addmm": (
        lambda x: torch.addmm(torch.full_like(x, 0.1), x, torch.eye(2).to(x), beta=0.1, alpha=0.1),
        lambda x, c: c * x + c * c,
    ),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.1), lambda x, c: x if x > 0 else c * x),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", PUT)
def test_a_plain_number_is_rounded_once_to_the_networks_type(kind, dtype):
    function, expected = PUT[kind]
    x, c = torch.tensor([[0.7, -3.3]], dtype=dtype), Fraction(float(torch.tensor(0.1, dtype=dtype)))
    row = fractions(x[0])
    assert exact(program_of(function, x), [row]) == [expected(v, c) for v in row]


def mean(row):
    return sum(row) / len(row)


EXACT = {
    "mean of three": (lambda x: x.mean(1, keepdim=True), lambda row: [mean(row)]),
    "thirds": (lambda x: x[:, :1] / 3 + x[:, 1:2] / 3 + x[:, 2:] / 3, lambda row: [mean(row)]),
    "variance": (lambda x: torch.cat([x, x[:, :1]], 1).var(1, keepdim=True), lambda row: [spread([*row, row[0]])]),
    "tensor": (lambda x: x / torch.tensor([3.0, 4.0, -7.0]), lambda row: [row[0] / 3, row[1] / 4, row[2] / -7]),
    "windows": (lambda x: F.avg_pool1d(x[:, None], 3)[:, 0], lambda row: [mean(row)]),
}


def spread(row):
    return sum((v - mean(row)) ** 2 for v in row) / (len(row) - 1)


@pytest.mark.parametrize("kind", EXACT)
def test_quotients_by_constants_are_exact(kind):
    function, expected = EXACT[kind]
    x = torch.tensor([[0.7, -3.3, 5.1]])
    program = program_of(function, x)
    assert rational(program)
    assert exact(program, [fractions(x[0])]) == expected(fractions(x[0]))


def test_a_tie_with_a_mean_of_three_is_one():
    program = program_of(lambda x: torch.cat([x.expand(1, 3).mean(1, keepdim=True), x], 1), torch.tensor([[0.7]]))
    for x in (0.7, 0.1, 3.3):
        assert [decided(program, [fractions(torch.tensor([x]))], choice) for choice in (0, 1)] == [0, 0]


def test_the_scale_of_a_batch_norm_is_exact():
    one, eps = torch.ones(1), 2.0**-10
    program = program_of(lambda x: F.batch_norm(x, one, 9 * one - eps, one, one, eps=eps), torch.tensor([[0.7]]))
    assert hold(program, [Fraction(3)], [Fraction(2, 3) + 1])


def test_layer_norms_of_three_numbers_are_exact():
    program = program_of(lambda x: F.layer_norm(x, (3,), eps=0.25), torch.tensor([[0.7, 1.0, 2.0]]))
    assert hold(program, [Fraction(v) for v in (0, 3, 6)], [Fraction(v, 5) for v in (-6, 0, 6)])  # their variance is 6


def hold(program, row, expected):
    """Whether balls of 300 bits hold fractions, and are small."""
    flint = pytest.importorskip("flint")
    balls = ball(program, [row], bits=300)
    with flint.ctx.workprec(400):
        apart = [b - flint.fmpq(x.numerator, x.denominator) for b, x in zip(balls, expected, strict=True)]
        return all(x.contains(0) and float(x.rad()) < 1e-80 for x in apart)


def test_what_is_divided_by_0_is_named():
    with pytest.raises(NetworkError, match="divides by a constant that is 0"):
        program_of(lambda x: x / 0, torch.ones(1, 2))


@pytest.mark.filterwarnings("ignore:var")
def test_a_variance_without_a_divisor_is_named():
    with pytest.raises(NetworkError, match="no mean over 0"):
        program_of(lambda x: x.var(1, correction=2, keepdim=True), torch.ones(1, 2))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_library_is_within_the_errors_that_are_stated(function):
    x = torch.rand(200_000, generator=torch.Generator().manual_seed(0)) + 0.5
    x = torch.cat([x, x / 100, x * 8] if function in ("sqrt", "rsqrt", "reciprocal") else [x, -x, x * 8, x * -8])
    exactly = IN_FLOATS[function](x.double())
    k, of_output = roundings_of(function)
    allowed = k * 2.0**-24 * (exactly if of_output else x.double()).abs() * (1 + 2.0**-20) + 2.0**-126
    assert ((IN_FLOATS[function](x).double() - exactly).abs() <= allowed).all()
