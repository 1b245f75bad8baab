"""A network whose true alignment is known: hierarchical equality with left and right along two known directions."""

import numpy as np
import torch
from torch import nn

import commute as cm
from commute.causal.library import hierarchical_equality

VALUES = 4
WIDTH = 12
SITE = cm.Site("hidden")


class Planted(nn.Module):
    """Writes (left, right) and noise about the inputs into a rotated hidden layer and answers from it.

    `fault` names a way in which it departs from the algorithm.
    """

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.rotation = nn.Parameter(torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator)).Q)
        self.hidden = nn.Identity()
        self.unused, self.useless = nn.Identity(), nn.Identity()
        self.fault = fault

    def forward(self, objects):
        a, b, c, d = objects.unbind(1)
        inputs = torch.stack([a, b, c, d, a * b, c * d, a * c, b * d], 1).float() / VALUES
        true = torch.stack([a == b, c == d], 1).float()
        x = torch.cat([true, true, inputs], 1)  # a copy of both, read only by the fault "backup"
        x = x @ self.rotation.T
        if self.fault == "random inside":  # along a direction that no answer is read from
            x = x + self.rotation[:, -1] * torch.randn(len(x), 1)
        x = self.hidden(x) @ self.rotation
        left, right = x[:, 0] > 0.5, x[:, 1] > 0.5
        flip = torch.zeros_like(left)
        if self.fault == "backup":  # notices only when both were replaced
            flip = (left != (x[:, 2] > 0.5)) & (right != (x[:, 3] > 0.5))
        if self.fault == "true to false":
            flip = (x[:, 2] > 0.5) & ~left
        if self.fault == "leak":  # wrong on a twelfth of inputs, by way of what is not aligned
            flip = (a == 0) & (left != (x[:, 2] > 0.5))
        score = 4 * (x[:, 0] - 0.5) * (x[:, 1] - 0.5)  # positive when left and right agree
        score = torch.where(flip, -score, score) + 0 * self.useless(x).sum(1)
        if self.fault == "nan":
            score = score * float("nan")
        if self.fault in ("random", "slightly random"):
            score = score + torch.randn(len(score)) / (1 if self.fault == "random" else 50)
        return torch.stack([-score, score], 1)


def directions(*columns: int) -> torch.Tensor:
    """Columns of the rotation: 0 and 1 are left and right, 2 and 3 their copies, [width, columns]."""
    return Planted().rotation.detach()[:, list(columns)].contiguous()


def network(fault: str = "", **options) -> cm.Network:
    return cm.Network(Planted(fault), encode=encode, decode=lambda logits: logits.argmax(-1).bool(), **options)


def encode(inputs):
    return torch.from_numpy(np.stack([inputs[v] for v in "abcd"], 1))


def alignment() -> cm.Alignment:
    rotation = cm.Orthogonal(directions(0, 1))
    return cm.Alignment({"left": cm.Feature(SITE, rotation, (0,)), "right": cm.Feature(SITE, rotation, (1,))})


def algorithm() -> cm.CausalModel:
    return hierarchical_equality(VALUES)
