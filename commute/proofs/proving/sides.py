"""What the inputs of one side bring to the joint program, enclosed, and those alike merged."""

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.interval import intervals
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import Arithmetic
from commute.proofs.programs.program import Program
from commute.proofs.proving.statement import Side

_AT_ONCE = 2**20  # numbers of all values together: what a processor's caches hold


def enclosed(program: Program, entries: Tensor, arithmetic: Arithmetic) -> Interval:
    """Bounds of a program's output for each row of entries, [rows, out], for every way to round it in an arithmetic."""
    rows = max(1, _AT_ONCE // sum(program.widths))
    parts = [intervals(program, [Box(x, torch.zeros_like(x))], arithmetic)[-1] for x in torch.split(entries, rows)]
    return Interval(torch.cat([p.lower for p in parts]), torch.cat([p.upper for p in parts]))


def merged(center: Tensor, radius: Tensor, group: Column) -> Side:
    """Inputs of one group with the same center and radius as one class. Classes stand in the order of their first inputs.

    Args:
        center: of each input, [inputs, width], float64.
        radius: likewise.
        group: of each input, [inputs].
    """
    numbers = np.concatenate([group[:, None].astype(np.float64), center.numpy() + 0.0, radius.numpy()], 1)  # + 0.0 makes 0 of -0
    rows = np.ascontiguousarray(numbers).view(np.dtype((np.void, numbers.shape[1] * numbers.itemsize)))[:, 0]
    _, first, place, count = np.unique(rows, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    first = first[order]
    kept = torch.from_numpy(first)
    return Side(center[kept], radius[kept], group[first], count[order], first, rank[place.reshape(-1)])
