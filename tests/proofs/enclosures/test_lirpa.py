"""What is asked of auto_LiRPA, which is stood in for: it is not a dependency."""

import sys
from types import SimpleNamespace

import pytest
import torch

from commute.errors import NetworkError
from commute.proofs.enclosures import lirpa
from commute.proofs.enclosures.domains import Box
from tests.proofs.enclosures import cases

ROWS = torch.tensor([[1.0, -1.0]])


def test_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "auto_LiRPA", None)
    case = cases.random_cases(torch.Generator().manual_seed(0), 3, smooth=True)
    with pytest.raises(NetworkError, match="needs a version of it that works with this torch: see https"):
        lirpa.bounds(case.program, case.boxes, ROWS)


def test_a_version_that_does_not_import_is_as_good_as_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "auto_LiRPA", SimpleNamespace())
    case = cases.random_cases(torch.Generator().manual_seed(0), 3, smooth=True)
    with pytest.raises(NetworkError, match="BoundedModule"):
        lirpa.bounds(case.program, case.boxes, ROWS)


def test_what_it_is_asked(monkeypatch):
    asked = {}

    class Bounded:
        def __init__(self, module, inputs):
            asked["module"], asked["inputs"] = module, inputs

        def compute_bounds(self, x, C, method):
            asked.update(x=x, C=C, method=method)
            return torch.zeros(3, 1), torch.ones(3, 1)

    fake = SimpleNamespace(
        BoundedModule=Bounded,
        BoundedTensor=lambda x, ball: (x, ball),
        PerturbationLpNorm=lambda norm, x_L, x_U: SimpleNamespace(norm=norm, x_L=x_L, x_U=x_U),
    )
    monkeypatch.setitem(sys.modules, "auto_LiRPA", fake)
    case = cases.random_cases(torch.Generator().manual_seed(0), 3, smooth=True)
    found = lirpa.bounds(case.program, case.boxes, ROWS)
    assert found.upper.tolist() == [[1.0]] * 3
    assert asked["C"].shape == (3, 1, 2)
    assert asked["method"] == "CROWN"
    for (x, ball), box in zip(asked["x"], case.boxes, strict=True):
        assert torch.equal(x, box.center)
        assert ball.norm == torch.inf
        assert bool((ball.x_L <= box.center - box.radius).all())


@pytest.mark.parametrize("smooth", [False, True])
def test_the_module_computes_the_program(smooth):
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        case = cases.random_cases(generator, 4, smooth=smooth)
        made = lirpa.Module(case.program)(*case.points)
        assert torch.allclose(made, cases.float_values(case.program, case.points, "library", torch.float64)[-1])
        assert isinstance(case.boxes[0], Box)
