"""No exact value and no float evaluation is ever outside the bounds."""

from functools import reduce

import pytest
import torch

from commute.proofs.enclosures.backward import relax
from commute.proofs.enclosures.interval import intervals
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import EXACT, stored
from commute.proofs.enclosures.zonotope import zonotopes
from tests.proofs.enclosures import cases

ROWS = torch.tensor([[1.0, -1.0], [0.3, 0.7], [0.0, 1.0]])


def bounds(case, arithmetic):
    """By each method: bounds of every value, then of rows of the output."""
    rows = ROWS.double()
    relaxed = relax(case.program, case.boxes, arithmetic)
    forms = zonotopes(case.program, case.boxes, arithmetic)
    last = Interval(forms[-1].lower(rows), -forms[-1].lower(-rows))
    plain = intervals(case.program, case.boxes, arithmetic)
    return {
        "interval": [*plain, Interval(torch.full_like(last.lower, -torch.inf), torch.full_like(last.lower, torch.inf))],
        "backward": [*relaxed.ranges, relaxed.bounds(ROWS)],
        "zonotope": [*(z.hull() for z in forms), last],
    }


@pytest.mark.parametrize("smooth", [False, True])
def test_exact_values_are_inside(smooth):
    generator = torch.Generator().manual_seed(1 + smooth)
    number = cases.arb if smooth else cases.rational
    finite, total = 0, 0
    for _ in range(80):
        case = cases.random_cases(generator, 160, smooth=smooth)
        values = cases.exact_values(case.program, case.points, balls=smooth)
        values.append(values[-1] @ cases.objects(ROWS.double(), number).T)
        found = [r for arithmetic in (EXACT, stored(case.program)) for r in bounds(case, arithmetic).values()]
        for ranges, x in zip(zip(*found, strict=True), values, strict=True):
            assert not any(bool(r.lower.isnan().any() or r.upper.isnan().any()) for r in ranges)
            tightest = reduce(Interval.within, ranges)
            assert not cases.outside(tightest, x), case.program
        finite += int(found[1][-1].lower.isfinite().sum())
        total += found[1][-1].lower.numel()
    assert finite > 0.9 * total


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_float_evaluation_is_inside(dtype):
    generator = torch.Generator().manual_seed(3)
    moved = 0
    for i in range(60):
        case = cases.random_cases(generator, 160, smooth=i % 2 == 0, dtype=dtype)
        found = bounds(case, stored(case.program))
        exact = intervals(case.program, [type(b)(p, 0 * p) for b, p in zip(case.boxes, case.points, strict=True)], EXACT)
        for order in cases.ORDERS:
            values = cases.float_values(case.program, case.points, order, dtype)
            for name, ranges in found.items():
                for r, x in zip(ranges, values, strict=False):
                    unknown = (r.lower == -torch.inf) & (r.upper == torch.inf)
                    assert bool((unknown | ((r.lower <= x) & (x <= r.upper))).all()), (name, order, case.program)
            moved += int(((values[-1] < exact[-1].lower) | (values[-1] > exact[-1].upper)).sum())
    assert moved > 10000  # floats do leave the bounds of exact values
