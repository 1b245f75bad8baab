"""Readers: which directions of a site's vectors what comes after the site looks at."""

from math import ceil

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.models.calls import tensors_of
from commute.models.hooks import undisturbed
from commute.models.network import Network
from commute.models.patches import Whole
from commute.models.sites import Site

_SAMPLES = 4  # gradients for each coordinate of a site, about
_MOST = 16  # and for each input, at most
_READ = 1e-4  # size, against the largest, below which a direction is rounding
_SEED = 0  # of the projections, so that the same inputs give the same directions


def row_space(network: Network, inputs: Batch, site: Site) -> Tensor:
    """Orthonormal directions [width, rank] of a site's vectors that the module's output depends on: the span of its gradients.

    What reads a site may be any number of modules, beside each other and through nonlinearities, so no single weight matrix has
    the answer in its rows. To first order an output sees of a vector only its product with a gradient, whatever lies in between;
    so what is orthogonal to the gradients at all inputs is read by nothing (the null space of 2311.17030). Gradients are those of
    random projections of all floating-point outputs, one of its own for each input, each scaled to length 1 so that a saturated
    output counts as much as another.

    A direction that is only compared with a number, rounded, or read at none of the inputs has no gradient here.

    Args:
        network: the network, which is left as found.
        inputs: a batch, some hundred rows; as many different ones as the rank asks for.
        site: where.

    Raises:
        NetworkError: for a site that the network does not have, or that does not run exactly once.
    """
    width = network.activations(take(inputs, slice(1)), [site])[site].shape[1]
    times = min(max(ceil(_SAMPLES * width / rows_of(inputs)), 2), _MOST)
    draws = torch.Generator().manual_seed(_SEED)
    found, rounding = [torch.zeros(1, width, dtype=torch.float64)], _READ  # zeros stand for no gradients at all
    with undisturbed(network.module), torch.enable_grad():
        for block in network.blocks(inputs):
            rows = np.arange(rows_of(inputs))[block]
            of_block = _gradients(network, take(inputs, block), rows, site, times, draws)
            found += [x.double().cpu() for x in of_block]
            rounding = max([rounding, *(8 * torch.finfo(x.dtype).eps for x in of_block)])
    return _span(torch.cat(found), rounding)


def _span(gradients: Tensor, rounding: float) -> Tensor:
    """Orthonormal directions [width, rank] that span the rows of gradients, each counted alike."""
    length = gradients.norm(dim=1)
    seen = (length > 0) & length.isfinite()
    unit = gradients[seen] / length[seen, None]
    if not len(unit):
        return torch.zeros(gradients.shape[1], 0)
    triangle = torch.linalg.qr(unit, mode="r").R  # as many rows as the width at most
    _, sizes, directions = torch.linalg.svd(triangle, full_matrices=False)
    found: Tensor = directions[sizes > rounding * sizes[0]].T
    return found.float().contiguous()


def _gradients(network: Network, batch: Batch, rows: Column, site: Site, times: int, draws: torch.Generator) -> list[Tensor]:
    """Gradients of so many projections of the output, [batch, width] each; none where none of it has a gradient."""
    leaves: list[Tensor] = []

    def leaf(vectors: Tensor) -> Tensor:
        leaves.append(vectors.detach().requires_grad_(vectors.is_floating_point()))
        return leaves[0]

    output = network.call(batch, {Whole(site): leaf}, rows=rows)
    graded = [x for x in tensors_of(output) if x.requires_grad]
    if not graded:
        return []
    found: list[Tensor] = []
    for _ in range(times):
        projected = [torch.randn(x.shape, generator=draws).to(x) for x in graded]
        found += torch.autograd.grad(graded, leaves, projected, retain_graph=True)
    return found
