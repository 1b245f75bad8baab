"""Readers: which directions of a site's vectors what comes after the site looks at."""

from math import sqrt

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.models.calls import tensors_of
from commute.models.hooks import undisturbed
from commute.models.network import Network
from commute.models.patches import Whole
from commute.models.sites import Site

_PROJECTIONS = 2  # of the output in a pass
_ROUNDS = 16  # passes of all inputs at most
_READ = 1e-4  # share of gradients below which a direction in them is rounding
_SEED = 0  # of what is drawn, so that the same inputs give the same directions


def row_space(network: Network, inputs: Batch, site: Site) -> Tensor:
    """Orthonormal directions [width, rank] of a site's vectors that the module's output depends on: the span of its gradients.

    What reads a site may be any number of modules, beside each other and through nonlinearities, so no single weight matrix has
    the answer in its rows. But what an output makes of a difference between two vectors is its gradients, on the line from one to
    the other, times that difference. So what is orthogonal to the gradients on lines between natural vectors is read by nothing
    when one takes the place of another (the null space of 2311.17030). Gradients are those of random projections of all
    floating-point outputs, of other projections and at other vectors for each input, each scaled to length 1 so that saturated
    outputs count as much as others. They are taken until further ones point nowhere else; if they go on to, everything is taken
    to be read.

    A direction that is only compared with a number, or rounded, has no gradient.

    Args:
        network: the network, which is left as found.
        inputs: a batch, some hundred rows.
        site: where.

    Raises:
        NetworkError: for a site that the network does not have, or that does not run exactly once.
    """
    width = network.activations(take(inputs, slice(1)), [site])[site].shape[1]
    draws = torch.Generator().manual_seed(_SEED)
    known = torch.zeros(width, 0, dtype=torch.float64)
    for _ in range(_ROUNDS):
        gradients = _gradients(network, inputs, site, draws)
        more = _beyond(known, gradients) if gradients else known[:, :0]
        known = torch.linalg.qr(torch.cat([known, more], 1)).Q
        if not more.shape[1] or known.shape[1] == width:
            break
    else:
        known = torch.eye(width)
    return known.float()


def _beyond(known: Tensor, gradients: list[Tensor]) -> Tensor:
    """Orthonormal directions [width, more] in which gradients [rows, width] point that those known do not span."""
    rounding = max(_READ, *(8 * torch.finfo(x.dtype).eps for x in gradients))
    found = torch.cat([x.double().cpu() for x in gradients])
    length = found.norm(dim=1)
    seen = (length > 0) & length.isfinite()
    unit = found[seen] / length[seen, None]
    left = unit - (unit @ known) @ known.T
    _, sizes, directions = torch.linalg.svd(left, full_matrices=False)
    more: Tensor = directions[sizes > rounding * sqrt(len(unit))].T
    return more[:, : known.shape[0] - known.shape[1]]


def _gradients(network: Network, inputs: Batch, site: Site, draws: torch.Generator) -> list[Tensor]:
    """Gradients of projections of the output, [rows, width] each; none where the output has no gradient."""
    found: list[Tensor] = []
    with undisturbed(network.module), torch.enable_grad():
        for block in network.blocks(inputs):
            rows = np.arange(rows_of(inputs))[block]
            found += _of_pass(network, take(inputs, block), rows, site, draws)
    return found


def _of_pass(network: Network, batch: Batch, rows: Column, site: Site, draws: torch.Generator) -> list[Tensor]:
    leaves: list[Tensor] = []

    def leaf(vectors: Tensor) -> Tensor:
        """Vectors somewhere on the way from each to another's."""
        other = vectors[torch.randperm(len(vectors), generator=draws).to(vectors.device)]
        way = torch.rand(len(vectors), 1, generator=draws).to(vectors)
        mixed = torch.lerp(vectors, other, way) if vectors.is_floating_point() else vectors
        leaves.append(mixed.detach().requires_grad_(mixed.is_floating_point()))
        return leaves[0]

    output = network.call(batch, {Whole(site): leaf}, rows=rows)
    graded = [x for x in tensors_of(output) if x.requires_grad]
    found: list[Tensor] = []
    for _ in range(_PROJECTIONS if graded else 0):
        projected = [torch.randn(x.shape, generator=draws).to(x) for x in graded]
        found += torch.autograd.grad(graded, leaves, projected, retain_graph=True)
    return found
