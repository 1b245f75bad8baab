"""Least values of linear functions over sets, against exact rationals."""

import numpy as np
import pytest
import torch

from commute.proofs.enclosures.domains import Box, Sum, Zonotope
from tests.proofs.enclosures import cases

WIDTH, CELLS = 4, 40


def numbers(generator, *shape):
    """Float64 with all their digits, of very different sizes, so that sums are rounded."""
    size = 2.0 ** torch.randint(-12, 12, shape, generator=generator)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * size


def domains(generator):
    """A box, a box of no size, a zonotope, and their sum."""
    box = Box(numbers(generator, CELLS, WIDTH), numbers(generator, CELLS, WIDTH).abs())
    point = Box(numbers(generator, CELLS, WIDTH), torch.zeros(CELLS, WIDTH, dtype=torch.float64))
    zonotope = Zonotope(
        numbers(generator, CELLS, WIDTH), numbers(generator, CELLS, 3, WIDTH), numbers(generator, CELLS, WIDTH).abs()
    )
    return {"box": box, "point": point, "zonotope": zonotope, "sum": Sum((box, zonotope, point))}


def least(domain, rows):
    """The exact least value of each row in each cell."""
    if isinstance(domain, Sum):
        return sum(least(part, rows) for part in domain.parts)
    a = cases.objects(rows, cases.rational)
    center, radius = cases.objects(domain.center, cases.rational), cases.objects(domain.radius, cases.rational)
    fixed = (a * center[:, None]).sum(2) - (abs(a) * radius[:, None]).sum(2)
    if isinstance(domain, Box):
        return fixed
    along = a @ cases.objects(domain.generators, cases.rational).transpose(0, 2, 1)
    return fixed - abs(along).sum(2)


@pytest.mark.parametrize("kind", ["box", "point", "zonotope", "sum"])
def test_least_values_are_below_and_near(kind):
    generator = torch.Generator().manual_seed(7)
    for _ in range(5):
        domain = domains(generator)[kind]
        rows = numbers(generator, CELLS, 5, WIDTH)
        found, exact = domain.lower(rows), least(domain, rows)
        size = rows.abs() @ domain.hull().magnitude[:, :, None]
        for low, x, s in zip(found.flatten().tolist(), exact.flat, size.flatten().tolist(), strict=True):
            assert cases.rational(low) <= x
            assert x - cases.rational(low) < cases.rational(s * 1e-11)


@pytest.mark.parametrize("kind", ["box", "point", "zonotope", "sum"])
def test_hulls_hold_each_coordinate(kind):
    generator = torch.Generator().manual_seed(8)
    domain = domains(generator)[kind]
    unit = torch.eye(WIDTH, dtype=torch.float64).expand(CELLS, WIDTH, WIDTH)
    low, high, hull = least(domain, unit), -least(domain, -unit), domain.hull()
    assert not cases.outside(hull, low)
    assert not cases.outside(hull, high)
    assert np.allclose(hull.lower.numpy(), low.astype(object).astype(float), rtol=1e-12, atol=1e-9)
    assert np.allclose(hull.upper.numpy(), high.astype(object).astype(float), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("kind", ["box", "zonotope", "sum"])
def test_rows_of_all_cells_are_rows_of_each(kind):
    generator = torch.Generator().manual_seed(9)
    domain = domains(generator)[kind]
    rows = numbers(generator, 5, WIDTH)
    assert torch.allclose(domain.lower(rows), domain.lower(rows.expand(CELLS, 5, WIDTH)), rtol=1e-10, atol=1e-10)


def test_the_zonotope_of_a_set_holds_it():
    generator = torch.Generator().manual_seed(10)
    rows = numbers(generator, CELLS, 5, WIDTH)
    for domain in domains(generator).values():
        found, exact = domain.zonotope().lower(rows), least(domain, rows)
        assert all(cases.rational(low) <= x for low, x in zip(found.flatten().tolist(), exact.flat, strict=True))
        assert torch.allclose(found, domain.lower(rows), rtol=1e-9, atol=1e-6)


def test_sums_of_many_sets_lose_nothing():
    """Each 2⁻⁵⁴ is lost when it is added to 1."""
    one = torch.ones(1, 1, dtype=torch.float64)
    domain = Sum([Box(x, 0 * one) for x in (one, *[one * 2.0**-54] * 50)])
    exact = 1 + 50 * cases.rational(2.0**-54)
    for hull in (domain.hull(), domain.zonotope().hull()):
        assert cases.rational(float(hull.lower)) <= exact <= cases.rational(float(hull.upper))
    assert cases.rational(float(domain.lower(-one))) <= -exact


def test_which_sets_are_boxes():
    found = {name: domain.separate for name, domain in domains(torch.Generator().manual_seed(11)).items()}
    assert found == {"box": True, "point": True, "zonotope": False, "sum": False}
    box = domains(torch.Generator().manual_seed(11))["box"]
    assert Sum((box, box)).separate


def test_an_infinite_radius_says_nothing_and_is_no_nan():
    inf = torch.full((1, 2), torch.inf, dtype=torch.float64)
    zero = torch.zeros(1, 2, dtype=torch.float64)
    for domain in (Box(zero, inf), Zonotope(zero, torch.zeros(1, 1, 2, dtype=torch.float64), inf), Sum((Box(zero, inf),) * 2)):
        assert domain.lower(torch.tensor([[1.0, -1.0], [0.0, 0.0]], dtype=torch.float64)).tolist() == [[-torch.inf] * 2]
        assert domain.hull().lower.tolist() == [[-torch.inf] * 2]


def test_what_does_not_fit_is_named():
    one = torch.ones(2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="center must be float64; given torch.float32"):
        Box(one.float(), one)
    with pytest.raises(ValueError, match=r"radius must be of 2 cells and width 3; given \[2, 1\]"):
        Box(one, one[:, :1])
    with pytest.raises(ValueError, match="radius must not be negative"):
        Box(one, -one)
    with pytest.raises(ValueError, match="radius must not be negative or NaN"):
        Box(one, one * torch.nan)
    with pytest.raises(ValueError, match=r"radius must be .*; generators must be"):
        Zonotope(one, one, one[:1])
