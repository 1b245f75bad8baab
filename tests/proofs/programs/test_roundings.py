"""What programs allow for rounding covers what torch's kernels do, where they do it otherwise than step by step."""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from commute.proofs.programs.evaluate import values
from commute.proofs.programs.lifting import lifted
from commute.proofs.programs.program import Affine, Elementwise, Program, roundings_of


def allowed(program, x):
    """How far rounding may take the output of a program for one row, by intervals that are opened after every step."""
    found, radii = values(program, [x]), [torch.zeros_like(x)]
    u, tiny = program.unit, program.tiny
    for step, y in zip(program.steps, found[len(program.inputs) :], strict=True):
        if isinstance(step, Affine):
            n = step.roundings
            sizes = [(w.abs() @ (found[v].abs() + radii[v]).T).T for v, w in zip(step.inputs, step.weights, strict=True)]
            spread = sum((w.abs() @ radii[v].T).T for v, w in zip(step.inputs, step.weights, strict=True))
            radii.append(spread + n * u / (1 - n * u) * (sum(sizes) + step.bias.abs()) + n * tiny)
        elif isinstance(step, Elementwise):
            x, r = found[step.input], radii[step.input]
            ends = [values(Program((x.shape[1],), (Elementwise(0, step.function),), u, tiny), [x + s * r])[-1] for s in (-1, 1)]
            k, of_output = roundings_of(step.function)
            r = torch.maximum(*((end - y).abs() for end in ends))
            radii.append(r + k * u * ((y.abs() + r) if of_output else x.abs()) + tiny)
        else:
            (x, y1), (r, s) = ((z[step.inputs[0]], z[step.inputs[1]]) for z in (found, radii))
            r = x.abs() * s + y1.abs() * r + r * s
            radii.append(r + u * (y.abs() + r) + tiny)
    return found[-1], radii[-1].nan_to_num(nan=torch.inf)  # a variance of less than 0 is not excluded far from 0


def check(function, x):
    """Compare what torch gives in single precision with the program of the same function."""
    program, _ = lifted(make_fx(function, pre_dispatch=False)(x[:1]), 1, torch.float32, 1)
    exact, radius = allowed(program, x.flatten(1).double())
    apart = (function(x).flatten(1).double() - exact).abs()
    assert (apart <= radius).all()
    return float(radius.isfinite().double().mean())


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", [2, 7, 64, 300])
@pytest.mark.parametrize("offset", [0.0, 100.0, 3000.0])
def test_layer_norms_far_from_0(width, offset):
    norm = nn.LayerNorm(width)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = normal(64, width) + offset
    x[:8] *= torch.logspace(-3, 3, 8)[:, None]
    x[8:16, 1:] = offset  # one number stands out
    bounded = check(lambda x: norm(x).detach(), x)
    assert bounded > (0.9 if offset < 100 else 0)


@pytest.mark.parametrize("spread", [1.0, 30.0, 150.0])
def test_softmax_of_large_numbers(spread):
    check(lambda x: x.softmax(1), normal(64, 6) * spread)
    check(lambda x: (x + 500).softmax(1), normal(64, 6) * spread)


def test_attention_by_fused_kernels():
    def attention(x):
        q, k, v = x.unflatten(1, (3, 5, 8)).unbind(1)
        if x.requires_grad or torch.is_grad_enabled():
            return ((q @ k.transpose(-1, -2)) / 8**0.5).softmax(-1) @ v
        return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]

    x = normal(32, 120) * 3
    program, _ = lifted(make_fx(attention)(x[:1]), 1, torch.float32, 1)
    exact, radius = allowed(program, x.double())
    with torch.no_grad():
        fused = attention(x)
    assert ((fused.flatten(1).double() - exact).abs() <= radius).all()


def test_other_norms():
    batch = nn.BatchNorm1d(5).eval()
    batch.running_mean.copy_(normal(5) * 1000)
    batch.running_var.uniform_(0.1, 2)
    check(lambda x: batch(x).detach(), normal(64, 5) + batch.running_mean)
    check(lambda x: F.group_norm(x, 2, torch.ones(6), torch.ones(6)), normal(64, 6, 7) + 50)
    check(lambda x: F.rms_norm(x, (12,)), normal(64, 12) * 100)
    check(lambda x: x.var(1, keepdim=True), normal(64, 30) + 200)


def test_sums_and_quotients():
    weights = normal(40, 9, seed=1)
    check(lambda x: x @ weights + 0.1, normal(64, 40) * 10)
    check(lambda x: (x / 3 - x.mean(1, keepdim=True) * 0.7) / (x * x + 0.1), normal(64, 40))


MATRIX = normal(9, 9, seed=2)
FACTORS = {
    "addmm": lambda x, c: torch.addmm(c, x, 0.9 * torch.eye(x.shape[1]), beta=0.3, alpha=0.7),
    "addmm of many": lambda x, c: torch.addmm(c * 1000, x, MATRIX, beta=0.3, alpha=0.7),
    "baddbmm": lambda x, c: torch.baddbmm(c.expand(1, len(x), -1), x[None], 0.9 * torch.eye(9)[None], beta=0.3, alpha=0.7)[0],
    "add": lambda x, c: torch.add(x, c, alpha=0.3),
    "added to": lambda x, c: torch.add(c, x, alpha=0.3),
    "rsub": lambda x, c: torch.rsub(x, c, alpha=0.3),
    "addcmul": lambda x, c: torch.addcmul(x, c, c, value=0.3),
    "addcmul of x": lambda x, c: torch.addcmul(c, x, x, value=0.3),
    "multiplied": lambda x, c: x * 0.7,
    "divided": lambda x, c: x / 0.7,
    "leaky_relu": lambda x, c: F.leaky_relu(x, 0.1),
}


@pytest.mark.parametrize("kind", FACTORS)
def test_factors_that_operations_are_told(kind):
    constant = torch.rand(9, generator=torch.Generator().manual_seed(1)) + 0.05
    check(lambda x: FACTORS[kind](x, constant), normal(3000, 9) * 1e-3)
    check(lambda x: FACTORS[kind](x, constant), normal(3000, 9))


ORDERS = {
    "add": [FACTORS["add"], lambda x, c: x + c * 0.3],
    "added to": [FACTORS["added to"], lambda x, c: c + x * 0.3],
    "addcmul": [FACTORS["addcmul of x"], lambda x, c: c + (x * x) * 0.3, lambda x, c: c + (x * 0.3) * x],
    "addmm": [
        lambda x, c: torch.addmm(c, x, MATRIX, beta=0.3, alpha=0.7),
        lambda x, c: c * 0.3 + (x @ MATRIX) * 0.7,
        lambda x, c: c * 0.3 + (x * 0.7) @ MATRIX,
    ],
}


@pytest.mark.parametrize("kind", ORDERS)
def test_factors_that_are_put_in_elsewhere(kind):
    constant = torch.rand(9, generator=torch.Generator().manual_seed(1)) + 0.05
    x = normal(3000, 9) * torch.logspace(-3, 3, 3000)[:, None]
    program, _ = lifted(make_fx(lambda x: ORDERS[kind][0](x, constant))(x[:1]), 1, torch.float32, 1)
    exact, radius = allowed(program, x.double())
    assert [bool(((f(x, constant).double() - exact).abs() <= radius).all()) for f in ORDERS[kind]] == [True] * len(ORDERS[kind])


def test_a_factor_may_be_put_in_before_terms_that_cancel():
    program, _ = lifted(make_fx(lambda x: ORDERS["addmm"][0](x, torch.ones(9)))(normal(1, 9)), 1, torch.float32, 1)
    assert program.steps[0].roundings >= 9 + 1


def test_the_test_would_notice():
    """With nothing allowed for sums, and a mean far from 0, a layer norm is off by more."""
    x = normal(64, 64) + 3000
    program, _ = lifted(make_fx(lambda x: F.layer_norm(x, (64,)))(x[:1]), 1, torch.float32, 1)
    check(lambda x: F.layer_norm(x, (64,)), x)
    steps = tuple(Affine(s.inputs, s.weights, s.bias, 0) if isinstance(s, Affine) else s for s in program.steps)
    exact, radius = allowed(Program(program.inputs, steps, program.unit, program.tiny), x.double())
    assert not ((F.layer_norm(x, (64,)).double() - exact).abs() <= radius).all()
