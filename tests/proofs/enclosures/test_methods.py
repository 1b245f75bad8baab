"""Every method bounds the same functions, and the one that proofs use is not looser than intervals."""

import pytest
import torch

from commute.errors import NetworkError
from commute.proofs.enclosures.methods import METHODS, bounds
from commute.proofs.enclosures.rounding import EXACT, stored
from commute.proofs.programs.evaluate import values
from tests.proofs.enclosures import cases


@pytest.mark.parametrize("arithmetic", [lambda _: EXACT, stored])
def test_methods_hold_what_the_program_gives(arithmetic):
    generator = torch.Generator().manual_seed(3)
    for _ in range(10):
        case = cases.random_cases(generator, 4, smooth=True)
        output = values(case.program, case.points)[-1]
        rows = cases.normal(generator, 3, output.shape[1])
        given = output @ rows.t()
        for method in METHODS[:3]:
            found = bounds(case.program, case.boxes, rows, method=method, arithmetic=arithmetic(case.program))
            slack = 1e-9 * (1 + given.abs())
            assert bool(((found.lower <= given + slack) & (given - slack <= found.upper)).all())
        backward = bounds(case.program, case.boxes, rows)
        plain = bounds(case.program, case.boxes, rows, method="intervals")
        assert bool((backward.lower >= plain.lower - 1e-9 * (1 + plain.lower.abs())).all())


def test_a_method_that_does_not_exist():
    case = cases.random_cases(torch.Generator().manual_seed(0), 3, smooth=True)
    with pytest.raises(NetworkError, match="did you mean 'zonotopes'"):
        bounds(case.program, case.boxes, torch.ones(1, 2), method="zonotope")


def test_auto_lirpa_is_asked(monkeypatch):
    case = cases.random_cases(torch.Generator().manual_seed(0), 3, smooth=True)
    monkeypatch.setattr("commute.proofs.enclosures.lirpa.bounds", lambda program, domains, rows: (program, domains, rows))
    program, domains, rows = bounds(case.program, case.boxes, torch.ones(1, 2), method="auto_LiRPA")
    assert program is case.program
    assert rows.shape == (1, 2)
    assert all(bool((one.radius >= box.radius).all()) for one, box in zip(domains, case.boxes, strict=True))
