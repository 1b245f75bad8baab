"""What reads a site, against networks whose readers are known."""

import numpy as np
import torch
from scipy.linalg import subspace_angles
from torch import nn

import commute as cm
from commute.models.readers import row_space

WIDTH = 10


class Reading(nn.Module):
    """Random hidden vectors, read by a linear map of rank 3 through `after`."""

    def __init__(self, after):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.made = nn.Linear(4, WIDTH)
        self.hidden = nn.Identity()
        self.read = nn.Parameter(torch.randn(3, WIDTH, generator=generator))
        self.after = after

    def forward(self, x):
        return self.after(self.hidden(self.made(x)) @ self.read.T)


def spaces(after, batch_size=None):
    module = Reading(after)
    net = cm.Network(
        module,
        encode=lambda inputs: torch.from_numpy(np.stack([inputs[v] for v in "abcd"], 1)).float(),
        decode=lambda scores: scores.argmax(-1),
        batch_size=batch_size,
    )
    draws = np.random.default_rng(0)
    inputs = {v: draws.normal(size=200) for v in "abcd"}
    return module, row_space(net, inputs, cm.Site("hidden")), module.read.detach().T


def test_the_span_of_gradients_is_the_row_space_of_a_linear_reader():
    """All inputs have the same gradients there, so it takes projections of their own to see every row."""
    _, found, rows = spaces(lambda x: x)
    assert found.shape == (WIDTH, 3)
    assert torch.allclose(found.T @ found, torch.eye(3), atol=1e-5)
    assert subspace_angles(found.numpy(), rows.numpy()).max() < 1e-3


def test_readers_through_nonlinearities_and_in_blocks():
    nested = lambda x: {"one": x[:, :1] * x[:, 1:2], "two": [x[:, 2:]]}  # noqa: E731
    for after in (torch.relu, lambda x: torch.sigmoid(50 * x), nested):
        _, found, rows = spaces(after, batch_size=64)
        assert found.shape == (WIDTH, 3)
        assert subspace_angles(found.numpy(), rows.numpy()).max() < 1e-2


def test_a_direction_counts_however_small_its_gradients_are():
    """As in saturated outputs; rounding does not, which is small against the gradient that it is in."""
    _, found, rows = spaces(lambda x: torch.where(x[:, 2:] > 0, x[:, :1], 1e-6 * x[:, 1:2]))
    assert found.shape == (WIDTH, 2)
    assert subspace_angles(found.numpy(), rows[:, :2].numpy()).max() < 1e-3


def test_what_has_no_gradient_is_not_seen():
    assert spaces(lambda x: (x > 0).float())[1].shape == (WIDTH, 0)
    _, found, rows = spaces(lambda x: torch.where(x[:, :1] > 0, x[:, 1:2], -x[:, 1:2]))
    assert found.shape == (WIDTH, 1)
    assert subspace_angles(found.numpy(), rows[:, 1:2].numpy()).max() < 1e-3


def test_the_module_is_left_as_found():
    module, _, _ = spaces(lambda x: x)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert module.training
