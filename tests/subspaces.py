"""Networks with planted subspaces: two variables, each in directions of its own, or nowhere; what a search must find."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import commute as cm

WIDTH = 16
SITE = cm.Site("hidden")
QUIET = 0.6  # size of the right variable's codes against the left's
NOISES = 64  # values of an input that the algorithm ignores, each with a random vector in all other directions


def algorithm(values: int) -> cm.CausalModel:
    """left = a + b and right = c + d, modulo `values`, and so is their sum; `noise` is ignored."""
    numbers = cm.Finite(range(values))
    return cm.CausalModel(
        "sum of sums",
        {**dict.fromkeys("abcd", numbers), "noise": cm.Finite(range(NOISES))},
        {
            "left": lambda a, b: (a + b) % values,
            "right": lambda c, d: (c + d) % values,
            "out": lambda left, right: (left + right) % values,
        },
        domains={"left": numbers, "right": numbers, "out": numbers},
    )


@dataclass(frozen=True, eq=False)
class Planted:
    """A network and where its variables are: columns of orthonormal directions, [width, dims] of each."""

    network: cm.Network
    directions: dict[str, torch.Tensor]


class Module(nn.Module):
    """Writes codes of left and right, or of their sum alone, along directions, and answers from these."""

    def __init__(self, rotation: torch.Tensor, codes: torch.Tensor, noise: torch.Tensor, *, present: bool) -> None:
        super().__init__()
        self.rotation, self.codes = nn.Parameter(rotation), nn.Parameter(codes)
        self.noise = nn.Parameter(noise)
        self.hidden = nn.Identity()
        self.present = present

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        a, b, c, d, noise = inputs.unbind(1)
        m, k = self.codes.shape
        left, right = (a + b) % m, (c + d) % m
        if not self.present:
            left, right = (left + right) % m, torch.zeros_like(right)
        x = torch.cat([self.codes[left], QUIET * self.codes[right], self.noise[noise]], 1)
        x = self.hidden(x @ self.rotation.T) @ self.rotation
        read = x[:, :k], x[:, k : 2 * k] / QUIET
        beliefs = [(part @ self.codes.T).softmax(1) for part in read]  # graded, so that no direction is as good as another
        joint = beliefs[0][:, :, None] * beliefs[1][:, None, :]
        sums = (torch.arange(m)[:, None] + torch.arange(m)) % m
        return torch.stack([joint[:, sums == s].sum(1) for s in range(m)], 1).clamp(min=1e-9).log()


def planted(seed: int, *, dims: int, aligned: bool = False, loud: bool = False, present: bool = True) -> Planted:
    """A network of which each variable has `dims` + 1 values at the corners of a simplex of so many dimensions.

    Args:
        seed: of directions and noise.
        dims: of each variable.
        aligned: along neurons instead of rotated.
        loud: the variables have more variance than all else, the left one most.
        present: without it the network computes only the sum.
    """
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator)).Q
    if aligned:
        rotation = torch.eye(WIDTH)[:, torch.randperm(WIDTH, generator=generator)]
    codes = _simplex(dims) * 1.5
    noise = torch.randn(NOISES, WIDTH - 2 * dims, generator=generator) * (0.3 if loud else 1.0)
    module = Module(rotation, codes, noise, present=present)
    network = cm.Network(
        module.eval(),
        encode=lambda batch: torch.from_numpy(np.stack([batch[v] for v in ("a", "b", "c", "d", "noise")], 1)),
        decode=lambda scores: scores.argmax(-1),
        name="planted",
    )
    return Planted(network, {"left": rotation[:, :dims], "right": rotation[:, dims : 2 * dims]})


def _simplex(dims: int) -> torch.Tensor:
    """The corners of a regular simplex around the origin, at distance 1, [dims + 1, dims]."""
    corners = torch.eye(dims + 1) - 1 / (dims + 1)
    found = corners @ torch.linalg.svd(corners).Vh[:dims].T
    return found / found.norm(dim=1, keepdim=True)


def angle(feature: cm.Feature, true: torch.Tensor) -> float:
    """The largest principal angle between what an interchange of a feature moves and a subspace [width, dims], in degrees.

    90 where the dimensions differ.
    """
    moved = feature.write(torch.zeros(WIDTH, WIDTH), feature.read(torch.eye(WIDTH))) - feature.write(
        torch.zeros(WIDTH, WIDTH), feature.read(torch.zeros(WIDTH, WIDTH))
    )
    u, s, _ = torch.linalg.svd(moved.T)
    found = u[:, s > 1e-3]
    if found.shape[1] != true.shape[1]:
        return 90.0
    return float(torch.rad2deg(torch.acos(torch.linalg.svdvals(found.T @ true).clamp(max=1).min())))


# Methods, the variables that they look for, and the networks in which they do.

BOTH = ["left", "right"]
NO_STEPS = {
    "means": (cm.Probe(kind="means"), BOTH, {"n": 16_384}),
    "lda": (cm.Probe(kind="lda"), BOTH, {}),
    "ridge": (cm.Probe(kind="ridge"), BOTH, {}),
    "components": (cm.PrincipalComponents(dims=(1, 2, 3, 4)), ["left"], {"loud": True}),
    "greedy": (cm.Selection(dims=(1, 2, 3)), BOTH, {"aligned": True}),
    "exact": (cm.Selection(dims=(1, 2), how="exact"), ["left"], {"aligned": True}),
}
TRAINED = {
    "DAS": (cm.DAS(dims=(1, 2, 3, 4)), BOTH, {}),
    "DAS from means": (cm.DAS(dims=(1, 2, 3, 4), restarts=1, start_from="means"), BOTH, {}),
    "boundless": (cm.BoundlessDAS(), BOTH, {}),
    "mask": (cm.BinaryMask(), BOTH, {"aligned": True}),
    "mask of components": (cm.BinaryMask(over="components"), ["left"], {"loud": True}),
    "rotated mask": (cm.BinaryMask(rotation=True, restarts=2), BOTH, {}),
}
METHODS = NO_STEPS | TRAINED


def found(method, variables, *, seed: int, n: int = 2048, **options) -> tuple[cm.SearchResult, Planted, int]:
    """A search in a network planted by a seed, and the dims of each variable there."""
    dims = 1 + seed % (2 if getattr(method, "how", "") == "exact" else 3)
    here = planted(seed, dims=dims, **options)
    result = cm.search(algorithm(dims + 1), here.network, variables=variables, sites=[SITE], method=method, n=n, seed=seed)
    return result, here, dims


def angles(method, variables, options, *, seed: int) -> list[float]:
    """How far what a search finds is from what was planted, a principal angle for each variable."""
    result, here, _ = found(method, variables, seed=seed, **options)
    alignment = result.smallest()
    return [angle(alignment[v], here.directions[v]) for v in variables]


def reported(method, variables, options, *, seed: int) -> bool:
    """Whether fresh pairs show an IIA of at least 0.95, at confidence 0.99, for variables that a network does not compute."""
    result, here, dims = found(method, variables, seed=seed, present=False, **options | {"n": 1024})
    fresh = cm.pairs(algorithm(dims + 1), variables[:1], 1000, seed=seed + 1)
    accuracy = cm.interchange_accuracy(algorithm(dims + 1), here.network, result.best, fresh)
    return accuracy.interval[0] >= 0.95
