"""Bounding cells: whether every pair of a cell is right, or every one wrong, or how to divide it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.enclosures.backward import Relaxed, relax
from commute.proofs.enclosures.domains import Sum
from commute.proofs.enclosures.rounding import stored
from commute.proofs.programs.evaluate import values
from commute.proofs.programs.program import Program
from commute.proofs.proving.cells import Cell
from commute.proofs.proving.margins import margins
from commute.proofs.proving.points import Points
from commute.proofs.proving.splitting import cut, loosest
from commute.proofs.proving.statement import Side

_AT_ONCE = 2**23  # numbers that the widest step of a batch of cells makes


@dataclass(frozen=True, eq=False)
class Found:
    """What a bound says of a cell.

    Attributes:
        every: whether every pair is right, or every pair wrong; None where neither is known.
        side: then the side to divide, and
        halves: its classes in two parts.
    """

    every: Literal["right", "wrong"] | None
    side: int = -1
    halves: tuple[Column, Column] | None = None


def bounded(joint: Program, sides: Sequence[Side], cells: Sequence[Cell]) -> list[Found]:
    """Bound cells: each is proved right, proved wrong, or divided."""
    found: list[Found | None] = [None] * len(cells)
    chosen = _first_choices(joint, sides, cells)
    for places in _batches(joint, cells, chosen):
        for place, one in zip(places, _bounded(joint, sides, [cells[i] for i in places], chosen[places]), strict=True):
            found[place] = one
    return [one for one in found if one is not None]


def _first_choices(joint: Program, sides: Sequence[Side], cells: Sequence[Cell]) -> Column:
    """The choice of each cell's first pair, as floats have it: whether it is right is what there is to prove of the cell."""
    return _chosen(joint, [side.center[np.array([c.sides[j][0] for c in cells])] for j, side in enumerate(sides)])


def _chosen(joint: Program, parts: Sequence[Tensor]) -> Column:
    chosen: Column = values(joint, [torch.stack([*parts]).sum(0)])[-1].argmax(1).numpy()
    return chosen


def _batches(joint: Program, cells: Sequence[Cell], chosen: Column) -> Iterator[list[int]]:
    """Places of cells that are bounded together: alike in what there is to prove and in size, as many as there is room for."""
    widest = 2 * max(joint.widths)

    def kind(i: int) -> tuple[bool, tuple[int, ...]]:
        return bool(chosen[i] == cells[i].choice), tuple(len(x).bit_length() for x in cells[i].sides)

    batch: list[int] = []
    room = 0
    for i in sorted(range(len(cells)), key=lambda i: (kind(i), i)):
        takes = widest * max(widest, *(1 << len(x).bit_length() for x in cells[i].sides))
        if batch and (kind(i) != kind(batch[0]) or room + takes > _AT_ONCE):
            yield batch
            batch, room = [], 0
        batch.append(i)
        room += takes
    if batch:
        yield batch


def _bounded(joint: Program, sides: Sequence[Side], cells: Sequence[Cell], chosen: Column) -> list[Found]:
    """Bound cells that are alike: the first pair of each is right, or of each wrong."""
    choice = np.array([c.choice for c in cells])
    right = bool((chosen == choice).all())
    domains = [_points(side, [c.sides[j] for c in cells]) for j, side in enumerate(sides)]
    relaxed = relax(joint, [Sum(domains)], stored(joint))
    rows = margins(chosen, choice, joint.widths[-1])
    bound = relaxed.lower(rows)
    decided = (bound.lower > 0).all(1).tolist()
    if all(decided):
        return [Found("right" if right else "wrong")] * len(cells)
    worst = bound.lower.argmin(1)
    each = torch.arange(len(cells))
    row, own = rows[each, worst], bound.coefficients[0][each, worst]
    along = _directions(relaxed, domains, cells, row, own, right=right)
    places = [torch.einsum("csw,cw->cs", d.center, along).numpy() for d in domains]
    found = []
    for i, cell in enumerate(cells):
        if decided[i]:
            found.append(Found("right" if right else "wrong"))
        else:
            found.append(Found(None, *cut(cell, [x[i, : len(c)] for x, c in zip(places, cell.sides, strict=True)])))
    return found


def _points(side: Side, classes: Sequence[Column]) -> Points:
    size = max(map(len, classes))
    padded = np.stack([np.concatenate([c, np.repeat(c[:1], size - len(c))]) for c in classes])
    index = torch.from_numpy(padded)
    radius = side.radius.amax(0)
    return Points(side.center[index], radius.expand(len(classes), -1))


def _directions(
    relaxed: Relaxed, domains: Sequence[Points], cells: Sequence[Cell], row: Tensor, own: Tensor, *, right: bool
) -> Tensor:
    """The direction along which each cell is divided, [cells, width].

    Where the pair that the bound is least for is of the other kind, the cell holds both kinds, and it is divided along the bound
    itself; else along what loosens the bound most.
    """
    each = torch.arange(len(cells))
    least = [d.center[each, torch.einsum("csw,cw->cs", d.center, own).argmin(1)] for d in domains]
    chosen = _chosen(relaxed.program, least)
    other = torch.from_numpy((chosen == np.array([c.choice for c in cells])) != right)
    along = loosest(relaxed, row[:, None])
    flat = torch.stack([torch.einsum("csw,cw->cs", d.center, along).std(1, correction=0) for d in domains]).amax(0) == 0
    return torch.where((other | flat)[:, None], own, along)
