"""Margins: the differences of scores by which a cell is shown to be right or wrong."""

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column


def margins(chosen: Column, choice: Column, choices: int) -> Tensor:
    """What is to be shown positive of cells of which all are to be right, or all wrong: rows on scores, [cells, rows, choices].

    Args:
        chosen: the choice made in each cell, [cells]: the right one in all, whose margin over every other is a row; or in none,
            and its margin over the right one is the row.
        choice: the right choice of each, [cells].
        choices: how many there are.
    """
    unit = torch.eye(choices, dtype=torch.float64)
    if (chosen != choice).any():
        return (unit[chosen] - unit[choice])[:, None]
    others = torch.from_numpy(np.arange(choices) != choice[:, None])
    rest = unit.expand(len(choice), -1, -1)[others].reshape(len(choice), choices - 1, choices)
    return unit[choice][:, None] - rest
