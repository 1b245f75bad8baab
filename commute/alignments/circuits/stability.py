"""How much a search of circuits depends on chance (2510.00845)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from commute.alignments.circuits.ranking import Rank, best_first
from commute.runs.seeds import stream as seeded

if TYPE_CHECKING:
    import pandas as pd

_PAIR = 2  # searches that can be compared
Row = tuple[str, int, int, float, float, float]


def frame(rows: Sequence[Row]) -> "pd.DataFrame":
    """The table of a `CircuitSearch`."""
    import pandas as pd

    return pd.DataFrame(rows, columns=["over", "size", "searches", "jaccard", "faithfulness", "deviation"])


def over_rows(by_row: Tensor, rank: Rank, sizes: Sequence[int], resamples: int, seed: int) -> Iterator[Row]:
    """How alike circuits are when the inputs searched on are drawn anew among them, with replacement."""
    n = by_row.shape[1]
    if n < _PAIR or resamples < _PAIR:
        return
    draws = torch.from_numpy(seeded(seed, "circuits", "resamples").integers(n, size=(resamples, n)))
    orders = [best_first(by_row[:, rows].mean(1), rank) for rows in draws]
    for size in sizes:
        yield "rows", size, resamples, _jaccard(orders, size), np.nan, np.nan


def over_seeds(found: "Sequence[tuple[Tensor, pd.DataFrame]]", rank: Rank, sizes: Sequence[int]) -> Iterator[Row]:
    """How alike the circuits of searches with other seeds are, and their curves."""
    if len(found) < _PAIR:
        return
    orders = [best_first(by_row.mean(1), rank) for by_row, _ in found]
    curves = np.stack([curve["faithfulness"].to_numpy() for _, curve in found])
    for i, size in enumerate(sizes):
        yield "seeds", size, len(found), _jaccard(orders, size), float(curves[:, i].mean()), float(curves[:, i].std(ddof=1))


def _jaccard(orders: Sequence[Sequence[int]], size: int) -> float:
    """The mean over pairs of orders of how alike the first of them are: those in both among those in one."""
    there = torch.zeros(len(orders), len(orders[0]))
    for row, order in zip(there, orders, strict=True):
        row[torch.tensor(order[:size])] = 1
    both = there @ there.T
    alike = both / (2 * size - both)
    n = len(orders)
    return float((alike.sum() - alike.trace()) / (n * (n - 1)))
