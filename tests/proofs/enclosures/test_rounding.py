"""Each thing that is paid for rounding, where nothing else pays for it: planted numbers that float64 or the network loses."""

from dataclasses import replace

import pytest
import torch

from commute.proofs.enclosures.backward import relax
from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.interval import intervals, stepped
from commute.proofs.enclosures.lines import _beyond
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.relaxation import relaxed
from commute.proofs.enclosures.rounding import EXACT, Arithmetic, gamma, stored
from commute.proofs.enclosures.shapes import SHAPES
from commute.proofs.enclosures.zonotope import zonotopes
from commute.proofs.programs.program import Affine, Elementwise, Product, Program
from tests.proofs.enclosures import cases

LOST = 2.0**-54  # which 1 loses when it is added, on either side
MANY = 400
ONE = torch.ones(1, 1, dtype=torch.float64)


def program(inputs, *steps):
    return Program(inputs, steps, *cases.FORMATS[torch.float32])


def point(*numbers):
    x = torch.tensor([numbers], dtype=torch.float64)
    return Box(x, torch.zeros_like(x))


def rows(*numbers):
    return torch.tensor([numbers], dtype=torch.float64)


def zeros(n):
    return torch.zeros(n, dtype=torch.float64)


def test_parts_of_a_sum_that_overflows_are_not_bounded():
    """Sides of which each is a float32, and the first three together are none."""
    side, size = program((1,), Affine((0,), (ONE,), zeros(1), 1)), 1.6e38
    parts = [intervals(side, [point(x)], stored(side))[-1] for x in (size, size, size, -size)]
    assert not torch.tensor([size], dtype=torch.float32).add(size).add(size).add(-size).isfinite()
    assert not any(bool(part.magnitude.isfinite()) for part in parts)


@pytest.mark.parametrize("sign", [1, -1])
def test_coefficients_that_cancel(sign):
    """2⁶⁰ + 1 - 2⁶⁰ over one input."""
    weights = torch.tensor([[2.0**60], [1.0], [-(2.0**60)]], dtype=torch.float64)
    p = program((1,), Affine((0,), (weights,), zeros(3), 2))
    assert float(relax(p, [point(1.0)], EXACT).back(1, sign * torch.ones(1, 3, dtype=torch.float64)).lower) <= sign


@pytest.mark.parametrize("sign", [1, -1])
def test_long_sums_of_coefficients(sign):
    """1 and many numbers that it loses one by one, so that the error grows with their count."""
    weights = torch.full((MANY, 1), sign * LOST, dtype=torch.float64)
    weights[0] = sign
    p = program((1,), Affine((0,), (weights,), zeros(MANY), 2))
    found = relax(p, [point(1.0)], EXACT).back(1, torch.ones(1, MANY, dtype=torch.float64)).lower
    assert cases.rational(float(found)) <= sign * (1 + (MANY - 1) * cases.rational(LOST))


def test_long_sums_of_constants_of_lines():
    """The upper line of relu on [-1, 1], x/2 + 1/2, where it touches."""
    n = 4000
    x = Interval(-torch.ones(1, n, dtype=torch.float64), torch.ones(1, n, dtype=torch.float64))
    step = Elementwise(0, "relu")
    row = torch.full((1, n), -LOST, dtype=torch.float64)
    row[0, 0] = -1
    for shaped in (row, row[None]):
        (pairs, constants) = relaxed(step, [x], stepped(step, [x], EXACT)).back(shaped)
        bound = sum(cases.rational(float(c)) for c in constants) + sum(cases.objects(pairs[0][1], cases.rational).flat)
        assert bound <= -(1 + (n - 1) * cases.rational(LOST))  # rows·relu(1)


def test_coefficients_from_many_steps():
    """1 - 400·2⁻⁵⁴ of one input less the other, where each 2⁻⁵⁴ comes from a step of its own."""
    tiny = Affine((0,), (rows(-LOST, 0.0),), zeros(1), 2)
    last = Affine((0, *range(1, MANY + 1)), (rows(1.0, -1.0), *[ONE] * MANY), zeros(1), MANY + 3)
    p = program((2,), *[tiny] * MANY, last)
    found = relax(p, [point(1.0, 1.0)], EXACT).back(MANY + 1, ONE).lower
    assert cases.rational(float(found)) <= -MANY * cases.rational(LOST)


def test_constants_from_many_steps():
    """1 - 400·2⁻⁵⁴, of biases of one step each."""
    steps = [Affine((v,), (ONE,), torch.tensor([1.0 if v == MANY else -LOST], dtype=torch.float64), 2) for v in range(MANY + 1)]
    found = relax(program((1,), *steps), [point(0.0)], EXACT).back(MANY + 1, ONE).lower
    assert cases.rational(float(found)) <= 1 - MANY * cases.rational(LOST)


def test_products_below_the_smallest_numbers():
    """Each of 64 is lost, together they are not."""
    n, x = 64, 0.4 * 2.0**-534
    exact = n * cases.rational(x) * cases.rational(2.0**-540)
    p = program((n,), Affine((0,), (torch.full((1, n), 2.0**-540, dtype=torch.float64),), zeros(1), n + 1))
    for sign in (1, -1):
        box = point(*[sign * x] * n)
        assert float(box.center @ p.steps[0].weights[0][0]) == 0
        found = [intervals(p, [box], EXACT)[-1], zonotopes(p, [box], EXACT)[-1].hull(), relax(p, [box], EXACT).bounds(ONE)]
        for one in found:
            assert cases.rational(float(one.lower)) <= sign * exact <= cases.rational(float(one.upper))
        for low in (box.lower(p.steps[0].weights[0]), relax(p, [box], EXACT).back(1, ONE).lower):
            assert cases.rational(float(low)) <= sign * exact


def test_what_underflows_in_the_network():
    """A float16 product of 1.5·2⁻²⁶ becomes 0: more is lost than any share of it."""
    step = Affine((0,), (rows(2.0**-14),), zeros(1), 2)
    p = Program((1,), (step,), *cases.FORMATS[torch.float16])
    box = point(1.5 * 2.0**-12)
    assert float(cases.float_values(p, [box.center], "forward", torch.float16)[-1]) == 0
    for one in (
        intervals(p, [box], stored(p))[-1],
        relax(p, [box], stored(p)).bounds(ONE),
        zonotopes(p, [box], stored(p))[-1].hull(),
    ):
        assert float(one.lower) <= 0


def test_gamma_is_an_upper_bound():
    for n in (0, 1, 7, 1000, 10**9):
        u = cases.rational(2.0**-53)
        assert cases.rational(gamma(n)) >= n * u / (1 - n * u)
        assert gamma(n) <= n * 2.0**-53 * (1 + 1e-6)
    assert gamma(4, 0.25) == torch.inf
    assert gamma(5, 0.25) == torch.inf
    assert gamma(10, 0.0) == 0


def test_intervals_are_rounded_outward():
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(4, 300, 1, generator=generator, dtype=torch.float64)
    one, other = (Interval(a.minimum(b), a.maximum(b)) for a, b in (draw[:2], draw[2:]))
    low, high, low2, high2 = (cases.objects(t, cases.rational) for t in (one.lower, one.upper, other.lower, other.upper))
    assert not cases.outside(one.plus(other), low + low2)
    assert not cases.outside(one.plus(other), high + high2)
    by = draw[2].abs()
    assert not cases.outside(one.widened(by), low - cases.objects(by, cases.rational))
    assert not cases.outside(one.widened(by), high + cases.objects(by, cases.rational))
    center, radius = (cases.objects(t, cases.rational) for t in one.ball())
    assert bool((center - radius <= low).all())
    assert bool((center + radius >= high).all())
    product = stepped(Product((0, 1)), [one, other], EXACT).interval
    for a in (low, high):
        for b in (low2, high2):
            assert not cases.outside(product, a * b)


def test_a_product_is_rounded_before_an_error_that_cancels_it():
    """What the product lost is large beside what is left of it."""
    x = [Interval(t, t) for t in (1 + ONE * 2.0**-30, 2.0**-4 - ONE * 2.0**-34)]
    exact = cases.rational(float(x[0].lower)) * cases.rational(float(x[1].lower))
    rounded = float(x[0].lower * x[1].lower)
    assert exact < cases.rational(rounded)
    found = stepped(Product((0, 1)), x, Arithmetic(0.0, rounded)).interval
    assert cases.rational(float(found.lower)) <= exact - cases.rational(rounded)
    opposite = stepped(Product((0, 1)), [x[0], Interval(-x[1].upper, -x[1].lower)], Arithmetic(0.0, rounded)).interval
    assert cases.rational(float(opposite.upper)) >= cases.rational(rounded) - exact


def test_a_slope_that_is_off_is_paid_for():
    """f = 0, of which the slope is said to be 2⁻⁴⁶: a line of that slope lies above it only with an offset of 2⁻⁴⁶."""
    flat = replace(SHAPES["tanh"], value=torch.zeros_like, slope=lambda x: torch.full_like(x, 2.0**-46))
    assert float(_beyond(flat, 2.0**-46 * ONE, -ONE, ONE, 0 * ONE)) >= 2.0**-46
