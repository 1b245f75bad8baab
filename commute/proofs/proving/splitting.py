"""Splitting: along which direction a cell is divided, and where."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.enclosures.backward import Relaxed
from commute.proofs.enclosures.relaxation import Sloped
from commute.proofs.programs.program import Product, taken
from commute.proofs.proving.cells import Cell

_MARGIN = 0.1  # share of a side that each half has at least, if it can


def loosest(relaxed: Relaxed, rows: Tensor) -> Tensor:
    """The direction of the joint program's input that loosens each cell's bound most, [cells, width].

    It is that of the number whose relaxation costs a row's bound most; zero where none costs anything.

    Args:
        relaxed: the cells.
        rows: the row of each cell, [cells, 1, choices].
    """
    losses = _losses(relaxed, rows)
    width = relaxed.program.inputs[0]
    found = rows.new_zeros(len(rows), width)
    if not losses:
        return found
    most = torch.stack([loss.amax(1) for loss in losses.values()], 1)
    where = most.argmax(1)
    for i, (v, loss) in enumerate(losses.items()):
        mine = (where == i) & (most[:, i] > 0)
        if bool(mine.any()):
            number = torch.nn.functional.one_hot(loss.argmax(1), loss.shape[1]).double()[:, None]
            along = relaxed.back(_widest(relaxed, v, loss), number).coefficients[0][:, 0]
            found[mine] = along[mine]
    return found


def _losses(relaxed: Relaxed, rows: Tensor) -> dict[int, Tensor]:
    """For each value that a relaxed step makes, what the relaxation of each number may cost the rows' bound, [cells, width]."""
    first = len(relaxed.program.inputs)
    found, losses = {relaxed.program.output: rows}, {}
    for v in range(relaxed.program.output, first - 1, -1):
        if v in found:
            step, own = relaxed.steps[v - first], found.pop(v)
            if isinstance(step, Sloped):
                losses[v] = (own[:, 0].abs() * _gap(relaxed, step)).nan_to_num(0.0, torch.inf)
            for w, more in step.back(own)[0]:
                found[w] = found[w] + more if w in found else more
    return losses


def _gap(relaxed: Relaxed, step: Sloped) -> Tensor:
    """How far apart the bounds of a step are at most, at the ends of what it takes, [cells, width]."""
    gap = step.upper - step.lower
    for v, low, high in zip(step.inputs, step.lower_slopes, step.upper_slopes, strict=True):
        ends = relaxed.ranges[v]
        gap = gap + torch.maximum((high - low) * ends.lower, (high - low) * ends.upper)
    return gap


def _widest(relaxed: Relaxed, value: int, loss: Tensor) -> int:
    """Of what a relaxed step takes the value to split; of a product the one that ranges wider."""
    step = relaxed.program.steps[value - len(relaxed.program.inputs)]
    if not isinstance(step, Product):
        return taken(step)[0]
    number = loss.argmax(1, keepdim=True)
    spread = [(relaxed.ranges[v].upper - relaxed.ranges[v].lower).gather(1, number).sum() for v in step.inputs]
    return step.inputs[int(spread[1] > spread[0])]


def cut(cell: Cell, along: Sequence[Column]) -> tuple[int, tuple[Column, Column]]:
    """The side to divide and its halves: the side that is longest along a direction, at its widest gap.

    Args:
        cell: with two classes or more on some side.
        along: where each class of a side lies along the direction, [size] each.
    """
    length = [np.ptp(x) if len(x) > 1 else -1.0 for x in along]
    side = int(np.argmax(length))
    order = np.argsort(along[side], kind="stable")
    gaps = np.diff(along[side][order])
    skipped = int(len(order) * _MARGIN)
    inner = gaps[skipped : len(gaps) - skipped]
    place = skipped + (int(np.argmax(inner)) if inner.any() else len(inner) // 2) + 1
    classes = cell.sides[side]
    return side, (np.sort(classes[order[:place]]), np.sort(classes[order[place:]]))
