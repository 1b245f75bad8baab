"""Shapes of functions, their images and the lines around them, against ball arithmetic."""

import flint
import pytest
import torch
from flint import arb, arb_series

from commute.proofs.enclosures.functions import image
from commute.proofs.enclosures.lines import lines, parallel
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.shapes import SHAPES
from commute.proofs.programs.program import FUNCTIONS
from tests.proofs.enclosures import cases

POSITIVE = ("reciprocal", "sqrt", "rsqrt")
BENT = ("silu", "gelu", "gelu_tanh")
SPECIAL = (0.0, 1.0, -1.0, 2.3993572805154675, 1.4142135623730951, 1.4185040087908283, -1.2784645427610737, -0.7517915246935645)


def some(function, n=900, seed=0):
    """Intervals of all widths, from points to wide ones; around 0, bends and turning points; and far out."""
    generator = torch.Generator().manual_seed(seed)
    center = 3 * torch.randn(n, 1, generator=generator, dtype=torch.float64)
    special = torch.tensor(SPECIAL, dtype=torch.float64)
    center[::3, 0] = special[torch.arange(len(center[::3])) % len(special)]
    center[1::30] *= 20
    width = 10.0 ** (torch.rand(n, 1, generator=generator, dtype=torch.float64) * 18 - 17)
    width[::10] = 0
    lower = center - width * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    upper = lower + width
    if function in POSITIVE:
        lower, upper = lower.abs().minimum(upper.abs()) + 2.0**-20, lower.abs().maximum(upper.abs()) + 2.0**-20
    return Interval(lower, torch.maximum(lower, upper))


def places(x, n=9):
    """Points of intervals, [n, cells]: their ends, and others between."""
    share = torch.linspace(0, 1, n, dtype=torch.float64)
    inner = x.lower + (x.upper - x.lower) * share
    return inner.clamp(x.lower, x.upper).t()


def balls(function, points):
    return cases.np.vectorize(cases.BALLS[function], otypes=[object])(cases.objects(points, arb))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_images_and_lines_hold_the_function(function):
    x = some(function)
    points = places(x)
    y, at = balls(function, points), cases.objects(points, arb)
    i = image(function, x)
    for k in range(len(points)):
        assert not cases.outside(i, y[k])
    for found in (lines(function, x), parallel(function, x)):
        low = cases.objects(found.lower_slope[:, 0], arb) * at + cases.objects(found.lower_offset[:, 0], arb)
        high = cases.objects(found.upper_slope[:, 0], arb) * at + cases.objects(found.upper_offset[:, 0], arb)
        assert not any(bool(a > b) for a, b in zip(low.flat, y.flat, strict=True))
        assert not any(bool(b > a) for a, b in zip(high.flat, y.flat, strict=True))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lines_are_parallel_where_asked(function):
    found = parallel(function, some(function))
    assert torch.equal(found.lower_slope, found.upper_slope)


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f not in ("relu", "abs")])
@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-5, 0.0])
def test_lines_come_together_as_the_square_of_the_width(function, width):
    center = torch.linspace(0.5, 3, 101, dtype=torch.float64)[:, None]
    centers = [center] if function in POSITIVE else [center, -center, center - 1.5]
    for c in centers:
        x = Interval(c - width / 2, c + width / 2)
        y = image(function, x)
        for found in (lines(function, x), parallel(function, x)):
            for at in (x.lower, x.upper):
                gap = (found.upper_slope - found.lower_slope) * at + found.upper_offset - found.lower_offset
                most = 32 * max(1.0, float(y.magnitude.max()))
                assert float(gap.max()) <= most * (width**2 + 2e-13)


def test_lines_of_relu_and_abs():
    lower = torch.tensor([[-1.0, -3.0, 0.0, 1.0, -2.0, -2.0]], dtype=torch.float64)
    upper = torch.tensor([[3.0, 1.0, 2.0, 2.0, 0.0, -1.0]], dtype=torch.float64)
    x = Interval(lower, upper)
    found = lines("relu", x)
    assert found.lower_slope.tolist() == [[1, 0, 1, 1, 0, 0]]  # the side that is larger
    assert found.upper_slope.tolist() == [[0.75, 0.25, 1, 1, 0, 0]]
    assert found.lower_offset.tolist() == [[0] * 6]
    assert torch.allclose(
        found.upper_offset, torch.tensor([[0.75, 0.75, 0, 0, 0, 0]], dtype=torch.float64), rtol=1e-13, atol=1e-320
    )
    assert float(found.upper_offset[0, 2:].max()) <= 5e-324  # on one side of 0 nothing is lost at all
    found = lines("abs", x)
    assert found.lower_slope.tolist() == [[1, -1, 1, 1, -1, -1]]
    assert found.upper_slope.tolist() == [[0.5, -0.5, 1, 1, -1, -1]]
    assert float(found.upper_offset[0, 2:].max()) <= 5e-324


@pytest.mark.parametrize("function", ["exp", "square", "reciprocal", "rsqrt", "tanh", "sigmoid"])
def test_lines_touch(function):
    """The chord at both ends, the tangent in the middle."""
    x = Interval(torch.tensor([[0.5], [0.5]], dtype=torch.float64), torch.tensor([[1.25], [0.75]], dtype=torch.float64))
    found, f = lines(function, x), cases.FLOATS[function]
    above = (found.upper_slope, found.upper_offset)
    below = (found.lower_slope, found.lower_offset)
    chord, tangent = (below, above) if function in ("tanh", "sigmoid") else (above, below)
    middle = torch.minimum(x.center, x.lower + SHAPES[function].reach)
    for at, (slope, offset) in ((x.lower, chord), (x.upper, chord), (middle, tangent)):
        assert torch.allclose(slope * at + offset, f(at), rtol=1e-6, atol=0)


@pytest.mark.parametrize("function", ["tanh", "sigmoid"])
def test_lines_across_the_bend_of_an_s(function):
    x = Interval(
        torch.tensor([[-3.0], [-1.0], [-0.5]], dtype=torch.float64), torch.tensor([[2.0], [3.0], [0.6]], dtype=torch.float64)
    )
    found, f = lines(function, x), cases.FLOATS[function]
    at = places(x, 2001)
    over = (found.upper_slope * at.t() + found.upper_offset).t() - f(at)
    under = f(at) - (found.lower_slope * at.t() + found.lower_offset).t()
    assert float(over.amin(0).max()) < 1e-5  # it touches
    assert float(under.amin(0).max()) < 1e-5
    chord = (f(x.upper) - f(x.lower)) / (x.upper - x.lower)
    same = parallel(function, x)
    assert bool(((same.upper_slope - chord).abs() < 1e-12).all())
    wide = (same.upper_offset - same.lower_offset)[:, 0]
    assert bool(((over.mean(0) + under.mean(0)) <= wide + 1e-12).all())  # with slopes of their own less is between them


@pytest.mark.parametrize("function", FUNCTIONS)
def test_where_a_function_or_its_lines_are_not_finite_nothing_is_claimed(function):
    inf = torch.inf
    x = Interval(
        torch.tensor([[-inf, -1.0, 0.0, -1e300, 1.0]], dtype=torch.float64),
        torch.tensor([[inf, inf, 1.0, 1e300, inf]], dtype=torch.float64),
    )
    y = image(function, x)
    for found in (lines(function, x), parallel(function, x)):
        for t in (found.lower_slope, found.upper_slope):
            assert bool(t.isfinite().all())
        for t in (found.lower_offset, found.upper_offset, y.lower, y.upper):
            assert not bool(t.isnan().any())
        assert bool((found.lower_slope[:, 0] == 0).all())
        assert bool((found.lower_offset[:, 0] <= y.lower[:, 0]).all())
        if function in POSITIVE:
            assert y.lower[0, :4].tolist() == found.lower_offset[0, :4].tolist() == [-inf] * 4
            assert y.upper[0, :4].tolist() == found.upper_offset[0, :4].tolist() == [inf] * 4


@pytest.mark.parametrize("function", SHAPES)
def test_library_functions_are_as_near_as_is_assumed(function):
    """Values within their slack, with room to spare, and slopes within theirs."""
    shape = SHAPES[function]
    generator = torch.Generator().manual_seed(5)
    x = torch.cat([torch.randn(1500, generator=generator, dtype=torch.float64) * s for s in (0.01, 1.0, 5.0, 40.0)])
    x = x.abs() + 1e-9 if shape.positive else x
    value, slope = shape.value(x), shape.slope(x)
    off, slope_off = shape.off(x, value).tolist(), shape.slope_off(slope).tolist()
    for at, y, s, e, f in zip(x.tolist(), value.tolist(), slope.tolist(), off, slope_off, strict=True):
        exact = series(function, arb_series([at, 1], prec=2))
        assert abs(exact[0] - y) < e / 4
        assert abs(exact[1] - s) < f


def series(function, x):
    """A function of a power series."""
    half = x / 2
    if function in ("tanh", "sigmoid", "silu", "gelu_tanh"):
        inner = {"tanh": x * 2, "gelu_tanh": 2 * (2 / arb.pi()).sqrt() * (x + arb(44715) / 10**6 * x * x * x)}.get(function, x)
        s = 1 / (1 + (-inner).exp())
        return {"tanh": 2 * s - 1, "sigmoid": s}.get(function, x * s)
    if function == "gelu":
        return half * (-x / arb(2).sqrt()).erfc()
    return {
        "square": lambda: x * x,
        "reciprocal": lambda: 1 / x,
        "sqrt": x.sqrt,
        "rsqrt": lambda: 1 / x.sqrt(),
        "exp": x.exp,
    }[function]()


def derivative(function, low, high, order):
    """A ball that holds a derivative everywhere between two numbers."""
    x = arb((low + high) / 2, (high - low) / 2 * (1 + 1e-9))
    return series(function, arb_series([x, 1], prec=order + 1))[order]


def changes(function, order, low, high):
    """Where a derivative may change its sign, found by halving: joined intervals, and the sign between them."""
    found, signs = [], []
    todo = [(low + k / 32, low + (k + 1) / 32) for k in range(int((high - low) * 32))]
    while todo:
        a, b = todo.pop()
        d = derivative(function, a, b, order)
        if d > 0 or d < 0:
            signs.append((a, 1 if d > 0 else -1))
        elif b - a < 1e-7:
            found.append((a, b))
        else:
            todo += [((a + b) / 2, b), (a, (a + b) / 2)]
    return sorted(found), sorted(signs)


@pytest.mark.parametrize("function", BENT)
def test_functions_turn_and_bend_where_they_are_said_to(function):
    """By ball arithmetic on [-8, 8]; where a sign may change, the next derivative shows that it does so once."""
    shape = SHAPES[function]
    for order, expected in ((1, (shape.turn[0],)), (2, shape.bends)):
        found, signs = changes(function, order, -8.0, 8.0)
        assert found
        for a, b in found:
            near = [e for e in expected if a - 1e-6 <= e <= b + 1e-6]
            assert len(near) == 1
            d = derivative(function, a - 1e-6, b + 1e-6, order + 1)
            assert d > 0 or d < 0
        for e in expected:
            width = 2.0**-50
            assert derivative(function, e - width, e - width, order) * derivative(function, e + width, e + width, order) < 0
        first = -1 if order == 1 else (1 if shape.convex else -1)
        for a, sign in signs:
            assert sign == first * (-1) ** sum(e < a for e in expected)
    assert not abs(series(function, arb_series([shape.turn[0], 1], prec=2))[0] - shape.turn[1]) > 2.0**-50


def test_precision_is_enough():
    assert flint.ctx.prec >= 160
