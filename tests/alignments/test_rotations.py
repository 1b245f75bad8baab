import pytest
import torch
from torch import nn

from commute.alignments.rotations import free_parameters, orthonormal

KINDS = ["qr", "cayley", "exponential", "householder"]
TORCH = {"cayley": "cayley", "exponential": "matrix_exp", "householder": "householder"}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def start(width=7, dims=3, seed=0):
    return torch.linalg.qr(torch.randn(width, dims, generator=draws(seed))).Q


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [1, 3, 7])
def test_parameters_begin_where_they_were_told_to(kind, dims):
    parameters = free_parameters(kind, start(dims=dims), draws())
    assert torch.allclose(orthonormal(kind, parameters), start(dims=dims), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [1, 3, 7])
def test_columns_stay_orthonormal_wherever_parameters_go_and_stacks_are_their_items(kind, dims):
    items = [free_parameters(kind, start(dims=dims, seed=i), draws(i)) for i in range(4)]
    moved = [
        {k: x.detach() + (0.5 * torch.randn(x.shape, generator=draws(9)) if x.requires_grad else 0) for k, x in item.items()}
        for item in items
    ]
    if kind == "householder":
        for item in moved:
            item["free"].diagonal().fill_(-1.0)
    stacked = orthonormal(kind, {k: torch.stack([x[k] for x in moved]) for k in moved[0]})
    assert torch.allclose(stacked.mT @ stacked, torch.eye(dims).expand(4, -1, -1), atol=1e-5)
    for item, q in zip(moved, stacked, strict=True):
        assert torch.allclose(orthonormal(kind, item), q, atol=1e-5)
    assert not torch.allclose(stacked[0], start(dims=dims), atol=0.05)


@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("dims", [3, 7])
def test_the_trivialised_maps_are_those_of_torch(kind, dims):
    """The same columns and the same gradients as torch's own parametrisations at the same free matrix."""
    layer = nn.Linear(7, dims, bias=False)
    layer.weight = nn.Parameter(torch.zeros(7, dims))
    nn.utils.parametrizations.orthogonal(layer, orthogonal_map=TORCH[kind])
    theirs = layer.parametrizations.weight
    weight = torch.randn(7, dims, generator=draws(3))
    with torch.no_grad():
        theirs.original.copy_(theirs.original + 0.3 * weight.tril(-1))
    ours = {"free": theirs.original.detach().clone().requires_grad_(), "base": theirs[0].base}
    target = torch.randn(7, dims, generator=draws(4))
    (layer.weight * target).sum().backward()
    (orthonormal(kind, ours) * target).sum().backward()
    assert torch.allclose(orthonormal(kind, ours), layer.weight, atol=1e-6)
    assert torch.allclose(ours["free"].grad, theirs.original.grad, atol=1e-5)
