"""How tight bounds are, what they hang on, and what they say where there is nothing to say."""

from itertools import pairwise, product

import pytest
import torch

from commute.proofs.enclosures.backward import _loose, relax
from commute.proofs.enclosures.domains import Box, Sum, Zonotope
from commute.proofs.enclosures.interval import intervals
from commute.proofs.enclosures.rounding import EXACT, stored
from commute.proofs.enclosures.zonotope import zonotopes
from commute.proofs.programs.program import Affine, Elementwise, Product, Program
from tests.proofs.enclosures import cases

FLOAT32 = cases.FORMATS[torch.float32]


def affine(generator, value, width, into, *, bias=True):
    weights = cases.normal(generator, into, width, scale=width**-0.5)
    return Affine((value,), (weights,), cases.normal(generator, into, scale=0.3) * bias, width + 1)


def network(generator, widths=(4, 6, 6, 2), function="relu"):
    """Affine steps with a function between."""
    steps, value = [], 0
    for width, into in pairwise(widths):
        steps += [affine(generator, value, width, into), Elementwise(value + 1, function)]
        value += 2
    return Program(widths[:1], tuple(steps[:-1]), *FLOAT32)


def boxes(generator, cells, width, radius):
    center = cases.normal(generator, cells, width)
    return Box(center, torch.full_like(center, radius))


def width(interval):
    return interval.upper - interval.lower


EYE2 = torch.eye(2, dtype=torch.float64)


def test_a_turn_and_its_inverse_cost_nothing_but_rounding():
    generator = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))
    zero = torch.zeros(6, dtype=torch.float64)
    program = Program((6,), (Affine((0,), (turn,), zero, 7), Affine((1,), (turn.t(),), zero, 7)), *FLOAT32)
    domain = boxes(generator, 20, 6, 0.25)
    rows = torch.eye(6, dtype=torch.float64)
    found = relax(program, [domain], EXACT).bounds(rows)
    form = zonotopes(program, [domain], EXACT)[-1].hull()
    for one in (found, form):
        assert torch.allclose(width(one), 2 * domain.radius, rtol=1e-12, atol=0)
        assert torch.allclose(one.center, domain.center, rtol=0, atol=1e-13)
    assert float(width(intervals(program, [domain], EXACT)[-1]).min()) > 0.6  # where intervals lose


@pytest.mark.parametrize("function", ["relu", "tanh", "gelu"])
def test_what_precedes_the_first_function_is_bounded_exactly(function):
    """Of a zonotope, whose coordinates hang together, and after two affine steps."""
    generator = torch.Generator().manual_seed(1)
    first, second = affine(generator, 0, 3, 5), affine(generator, 1, 5, 4)
    program = Program((3,), (first, second, Elementwise(2, function)), *FLOAT32)
    center, generators = cases.normal(generator, 7, 3), cases.normal(generator, 7, 2, 3)
    domain = Zonotope(center, generators, torch.full_like(center, 0.125))
    found = relax(program, [domain], EXACT).ranges[2]
    whole = second.weights[0] @ first.weights[0]
    middle = (center @ first.weights[0].t() + first.bias) @ second.weights[0].t() + second.bias
    reach = (generators @ whole.t()).abs().sum(1) + domain.radius @ whole.abs().t()
    assert torch.allclose(found.lower, middle - reach, rtol=0, atol=1e-13)
    assert torch.allclose(found.upper, middle + reach, rtol=0, atol=1e-13)


def test_intervals_are_enough_only_where_coordinates_of_a_box_are_mixed_once():
    """Then a backward pass would give the same; of a zonotope, or of coordinates mixed before, it gives more."""
    generator = torch.Generator().manual_seed(2)
    program = Program(
        (3, 3),
        (
            Elementwise(0, "relu"),
            Affine((2, 1), (cases.normal(generator, 4, 3), cases.normal(generator, 4, 3)), cases.normal(generator, 4), 7),
            Elementwise(3, "relu"),
            affine(generator, 4, 4, 4),
            Elementwise(5, "relu"),
        ),
        *FLOAT32,
    )
    domains = [boxes(generator, 9, 3, 0.5), boxes(generator, 9, 3, 0.5)]
    relaxed, plain = relax(program, domains, EXACT), intervals(program, domains, EXACT)
    assert torch.equal(relaxed.ranges[3].lower, plain[3].lower)
    backward = relaxed.back(3, torch.eye(4, dtype=torch.float64)).lower
    assert bool((backward <= plain[3].lower + 1e-12).all())
    assert float((width(plain[5]) - width(relaxed.ranges[5])).max()) > 0.1
    same = Program((3,), (Affine((0, 0), (program.steps[1].weights[0],) * 2, torch.zeros(4).double(), 7),), *FLOAT32)
    twice = Program((3,), (*same.steps, Elementwise(1, "relu")), *FLOAT32)
    opposed = Affine((0, 0), (same.steps[0].weights[0], -same.steps[0].weights[0]), torch.zeros(4).double(), 7)
    against = Program((3,), (opposed, Elementwise(1, "relu")), *FLOAT32)
    assert float(width(relax(twice, domains[:1], EXACT).ranges[1]).min()) > 0.1
    assert float(width(relax(against, domains[:1], EXACT).ranges[1]).max()) < 1e-12  # one input taken twice cancels


@pytest.mark.parametrize("function", ["relu", "tanh", "silu"])
def test_backward_bounds_are_tighter_than_intervals(function):
    generator = torch.Generator().manual_seed(3)
    for _ in range(10):
        program = network(generator, function=function)
        domain = boxes(generator, 50, 4, 0.1)
        plain = intervals(program, [domain], EXACT)[-1]
        backward = relax(program, [domain], EXACT).bounds(EYE2)
        forward = zonotopes(program, [domain], EXACT)[-1].hull()
        assert bool((width(backward) <= width(plain) + 1e-12).all())
        assert float(width(backward).mean()) < 0.7 * float(width(plain).mean())
        assert float(width(forward).mean()) < 0.8 * float(width(plain).mean())


def test_bounds_reach_what_is_there():
    """Over small boxes on which every relu keeps its side, bounds are the least and the greatest value at a corner."""
    generator = torch.Generator().manual_seed(4)
    program, domain = network(generator), boxes(generator, 60, 4, 1e-4)
    found = relax(program, [domain], EXACT).bounds(EYE2)
    corners = torch.tensor(list(product((-1.0, 1.0), repeat=4)), dtype=torch.float64)
    values = torch.stack(
        [intervals(program, [Box(domain.center + c * domain.radius, 0 * domain.radius)], EXACT)[-1].center for c in corners]
    )
    stable = width(found) < (values.amax(0) - values.amin(0)) * (1 + 1e-6)
    assert float(stable.double().mean()) > 0.9


@pytest.mark.parametrize("function", ["relu", "abs", "tanh", "gelu_tanh"])
def test_sampled_values_are_never_outside(function):
    generator = torch.Generator().manual_seed(5)
    program = network(generator, (2, 5, 5, 2), function)
    domain = boxes(generator, 6, 2, 0.5)
    steps = torch.linspace(-1, 1, 101, dtype=torch.float64)
    grid = torch.cartesian_prod(steps, steps)
    found = relax(program, [domain], EXACT).bounds(EYE2)
    forward = zonotopes(program, [domain], EXACT)[-1].hull()
    for cell in range(6):
        points = (domain.center[cell] + grid * domain.radius[cell]).clamp(domain.center[cell] - 0.5, domain.center[cell] + 0.5)
        values = intervals(program, [Box(points, 0 * points)], EXACT)[-1]
        for one in (found, forward):
            assert bool((values.upper >= one.lower[cell]).all())
            assert bool((values.lower <= one.upper[cell]).all())
            share = (values.upper.amax(0) - values.lower.amin(0)) / width(one)[cell]
            assert float(share.max()) > 0.3  # and some come near


def test_points_are_enclosed_to_rounding():
    generator = torch.Generator().manual_seed(6)
    program = network(generator, (8, 16, 16, 2), "gelu")
    point = boxes(generator, 100, 8, 0.0)
    exact, floats = (intervals(program, [point], a)[-1] for a in (EXACT, stored(program)))
    assert float(width(exact).max()) < 1e-12
    assert 1e-7 < float(width(floats).max()) < 1e-3
    assert bool((exact.lower >= floats.lower).all())
    assert bool((exact.upper <= floats.upper).all())


def test_coefficients_are_the_slopes_of_what_is_linear():
    generator = torch.Generator().manual_seed(7)
    program = network(generator, (3, 5, 2))
    first, _, last = program.steps
    domain = boxes(generator, 8, 3, 1e-6)
    rows = torch.tensor([[1.0, -1.0]])
    bound = relax(program, [domain], EXACT).lower(rows)
    on = (domain.center @ first.weights[0].t() + first.bias > 0).double()
    expected = (rows.double() @ last.weights[0] * on)[:, None] @ first.weights[0]
    assert bound.coefficients[0].shape == (8, 1, 3)
    assert torch.allclose(bound.coefficients[0], expected, rtol=1e-12, atol=1e-12)


def test_rows_may_be_of_each_cell_and_inputs_unused():
    generator = torch.Generator().manual_seed(8)
    program = Program((3, 2), (affine(generator, 0, 3, 4), Elementwise(2, "relu"), affine(generator, 3, 4, 2)), *FLOAT32)
    domains = [boxes(generator, 5, 3, 0.1), boxes(generator, 5, 2, 0.1)]
    rows = torch.tensor([[1.0, -1.0], [0.0, 1.0]])
    one = relax(program, domains, EXACT).lower(rows)
    other = relax(program, domains, EXACT).lower(rows.expand(5, 2, 2))
    assert torch.allclose(one.lower, other.lower, rtol=1e-12, atol=1e-12)
    assert one.coefficients[1].shape == (5, 2, 2)
    assert not bool(one.coefficients[1].any())
    relaxed = relax(program, domains, EXACT)
    both = relaxed.bounds(rows)
    assert torch.allclose(both.lower, one.lower)
    assert torch.allclose(both.upper, -relaxed.lower(-rows).lower)


def test_a_sum_of_sets_is_bounded_like_the_set_of_sums():
    generator = torch.Generator().manual_seed(9)
    program = network(generator)
    one, other = boxes(generator, 12, 4, 0.1), boxes(generator, 12, 4, 0.05)
    whole = Box(one.center + other.center, one.radius + other.radius)
    parts = relax(program, [Sum((one, other))], EXACT).bounds(EYE2)
    assert torch.allclose(parts.lower, relax(program, [whole], EXACT).bounds(EYE2).lower, atol=1e-12)


def test_rows_are_bounded_alike_in_turns(monkeypatch):
    generator = torch.Generator().manual_seed(10)
    program, domain = network(generator), boxes(generator, 12, 4, 0.1)
    found = relax(program, [domain], EXACT).bounds(EYE2)
    monkeypatch.setattr("commute.proofs.enclosures.backward._AT_ONCE", 1)
    assert torch.allclose(relax(program, [domain], EXACT).bounds(EYE2).lower, found.lower, atol=1e-13)


def test_a_product_is_bounded_by_planes():
    """x₁x₂ - x₁ - x₂ around (1, 1), where its slopes are 0, is as good as constant; intervals do not see that."""
    program = Program(
        (1, 1),
        (
            Product((0, 1)),
            Affine(
                (2, 0, 1),
                (torch.ones(1, 1).double(), -torch.ones(1, 1).double(), -torch.ones(1, 1).double()),
                torch.zeros(1).double(),
                4,
            ),
        ),
        *FLOAT32,
    )
    box = Box(torch.ones(1, 1).double(), torch.full((1, 1), 0.01, dtype=torch.float64))
    for found in (relax(program, [box, box], EXACT).bounds(torch.ones(1, 1)), zonotopes(program, [box, box], EXACT)[-1].hull()):
        assert float(found.lower) == pytest.approx(-1.0001, abs=1e-12)
        assert float(found.upper) == pytest.approx(-0.9999, abs=1e-12)
    assert float(width(intervals(program, [box, box], EXACT)[-1])) > 0.07


def test_a_product_that_a_function_takes_is_bounded_backward():
    """x(2 - x) around 1 is 1 but for the square of the radius; intervals give it the radius."""
    turned = Affine((0,), (-torch.ones(1, 1).double(),), 2 * torch.ones(1).double(), 2)
    program = Program((1,), (turned, Product((0, 1)), Elementwise(2, "tanh")), *FLOAT32)
    box = Box(torch.ones(1, 1).double(), torch.full((1, 1), 0.01, dtype=torch.float64))
    found = relax(program, [box], EXACT).ranges[2]
    assert float(width(found)) < 2.1e-4
    assert float(width(intervals(program, [box], EXACT)[2])) > 0.03


CANCELLING = Affine((0,), (torch.tensor([[2.0**60, 1.0, -(2.0**60)]], dtype=torch.float64),), torch.zeros(1).double(), 4)


def test_what_cancels_is_not_lost():
    """1 is what 2⁶⁰ + 1 - 2⁶⁰ comes to, and float64 says 0."""
    program = Program((3,), (CANCELLING,), *FLOAT32)
    point = Box(torch.ones(1, 3).double(), torch.zeros(1, 3).double())
    plain = point.center @ CANCELLING.weights[0].t()
    assert float(plain) == 0
    found = [intervals(program, [point], EXACT)[-1], relax(program, [point], EXACT).bounds(torch.ones(1, 1))]
    found.append(zonotopes(program, [point], EXACT)[-1].hull())
    for one in found:
        assert float(one.lower) <= 1 <= float(one.upper)


def test_plain_bounds_exclude_what_these_include():
    """Center and radius in float32 without regard to rounding, at radius 1e-7, leave out the exact value of many networks."""
    generator = torch.Generator().manual_seed(11)
    excluded = 0
    for _ in range(40):
        program = network(generator, (8, 16, 16, 1))
        center = cases.normal(generator, 1, 8)
        radius = torch.full_like(center, 2.0**-23)
        exact = cases.exact_values(program, [center], balls=False)[-1]
        c, r = center.float(), radius.float() / 64
        for step in program.steps:
            if isinstance(step, Affine):
                w = step.weights[0].float()
                c, r = torch.nn.functional.linear(c, w, step.bias.float()), torch.nn.functional.linear(r, w.abs())
            else:
                low, high = torch.relu(c - r), torch.relu(c + r)
                c, r = (low + high) / 2, (high - low) / 2
        excluded += cases.outside(type(Box(center, radius).hull())((c - r).double(), (c + r).double()), exact)
        box = Box(center, radius / 64)
        for arithmetic in (EXACT, stored(program)):
            assert not cases.outside(intervals(program, [box], arithmetic)[-1], exact)
            assert not cases.outside(relax(program, [box], arithmetic).bounds(torch.ones(1, 1)), exact)
            assert not cases.outside(zonotopes(program, [box], arithmetic)[-1].hull(), exact)
    assert excluded > 5


def all_bounds(program, domains, arithmetic, rows):
    forms = zonotopes(program, domains, arithmetic)
    return {
        "interval": intervals(program, domains, arithmetic)[-1],
        "backward": relax(program, domains, arithmetic).bounds(rows),
        "zonotope": forms[-1].hull(),
    }


def test_a_product_with_a_constant_is_affine():
    """Intervals of sums of thirds are taken as they are, as those of sums are."""
    generator = torch.Generator().manual_seed(2)
    three = Affine((0,), (torch.zeros(3, 3).double(),), torch.full((3,), 3.0).double(), 0)
    steps = (three, Elementwise(1, "reciprocal"), Product((0, 2)), affine(generator, 3, 3, 4), Elementwise(4, "relu"))
    program = Program((3,), steps, *FLOAT32)
    assert list(_loose(program, [boxes(generator, 9, 3, 0.5)])) == []
    mixed = Program((3,), (affine(generator, 0, 3, 3), Product((0, 1))), *FLOAT32)
    assert list(_loose(mixed, [boxes(generator, 9, 3, 0.5)])) == []
    twice = Program((3,), (affine(generator, 0, 3, 3), affine(generator, 1, 3, 3), Product((0, 2))), *FLOAT32)
    assert list(_loose(twice, [boxes(generator, 9, 3, 0.5)])) == [2]


def test_overflow_says_nothing():
    """Numbers that float32 cannot hold become ∞ or NaN there, and later steps anything; as real numbers they are bounded."""
    big = Affine((0,), (torch.tensor([[1e30]], dtype=torch.float64),), torch.zeros(1).double(), 2)
    steps = (big, Affine((1,), big.weights, big.bias, 2), Elementwise(2, "tanh"))
    program = Program((1,), steps, *FLOAT32)
    box = Box(torch.ones(2, 1).double(), torch.full((2, 1), 0.5).double())
    for found in all_bounds(program, [box], stored(program), torch.ones(1, 1)).values():
        assert found.lower.flatten().tolist() == [-torch.inf] * 2
        assert found.upper.flatten().tolist() == [torch.inf] * 2
    for found in (intervals(program, [box], EXACT)[-1], relax(program, [box], EXACT).bounds(torch.ones(1, 1))):
        assert float(found.lower.min()) > 0.99


def test_many_roundings_say_nothing():
    """Where n·u reaches 1 nothing is known of a sum of n terms."""
    step = Affine((0,), (torch.ones(1, 4).double(),), torch.zeros(1).double(), 5)
    program = Program((4,), (step,), 0.25, 2.0**-14)
    box = Box(torch.ones(1, 4).double(), torch.zeros(1, 4).double())
    for found in all_bounds(program, [box], stored(program), torch.ones(1, 1)).values():
        assert float(found.lower) == -torch.inf
        assert float(found.upper) == torch.inf
    assert 0.25 < stored(program).unit < 0.3  # a little coarser, so that the checker's bounds show as much


@pytest.mark.parametrize("function", ["reciprocal", "sqrt", "rsqrt"])
def test_a_pole_says_nothing_of_its_own_cell_alone(function):
    program = Program(
        (2,), (Elementwise(0, function), Affine((1,), (torch.ones(1, 2).double(),), torch.zeros(1).double(), 3)), *FLOAT32
    )
    box = Box(torch.tensor([[0.5, 1.0], [1.0, 1.0]]).double(), torch.full((2, 2), 0.5).double())
    for found in all_bounds(program, [box], EXACT, torch.ones(1, 1)).values():
        assert found.lower[0].tolist() == [-torch.inf]
        assert found.upper[0].tolist() == [torch.inf]
        assert bool(found.lower[1].isfinite().all())
        assert bool(found.upper[1].isfinite().all())


def test_no_cells_are_no_trouble():
    program = network(torch.Generator().manual_seed(12))
    empty = Box(torch.zeros(0, 4).double(), torch.zeros(0, 4).double())
    for found in all_bounds(program, [empty], stored(program), torch.ones(1, 2)).values():
        assert len(found.lower) == 0
