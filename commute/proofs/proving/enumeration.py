"""Enumeration: every pair of a base and its sources decided."""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite

import numpy as np
import torch

from commute.causal.batches import Column
from commute.proofs.proving.cells import Cell
from commute.proofs.proving.choosing import Chosen
from commute.proofs.proving.decisions import Decisions, Sum, summed, weights_of
from commute.proofs.proving.floats import expected_of
from commute.proofs.proving.statement import Statement
from commute.proofs.proving.tiles import Tile, tiles

_BLOCK = 2**18  # numbers of the widest value that are worked on at once: what a processor's cache holds
_KEPT = 2**15  # pairs of classes that are decided one by one together
_EXACTLY = 2**14  # evaluations in exact arithmetic


@torch.no_grad()
def enumerated(statement: Statement, *, block: int = _BLOCK, exactly: int = _EXACTLY) -> Sum:
    """Decide every pair: by plain floating point where a margin is beyond all rounding, and with more care where it is not.

    A pair is right where the score of the algorithm's answer is above every other in exact arithmetic on the stored weights, and
    wrong where another is above it; an exact tie is left undecided.

    Args:
        statement: what is claimed.
        block: numbers of the widest value of the joint program that are worked on at once.
        exactly: evaluations in exact arithmetic at most; pairs that would need more are left undecided.

    Returns:
        The counts; choices in `kinds` are places among the scores.
    """
    chosen = Chosen.of(statement)
    chosen.redo.exact.left = exactly
    found = Sum()
    near: list[Column] = []
    for tile in tiles(statement, chosen.floats.rows, max(1, block // max(chosen.floats.columns.widths))):
        left = _decided(statement, chosen, tile, found)
        if len(left):
            near.append(left)
        if sum(map(len, near)) >= _KEPT:
            _redone(chosen, near, found)
            near.clear()
    if near:
        _redone(chosen, near, found)
    return found


def _redone(chosen: Chosen, near: Sequence[Column], found: Sum) -> None:
    """Add up pairs that floating point does not decide, each given by a class of each side, [pairs, sides]."""
    classes = np.concatenate(near)
    expected = expected_of(chosen.redo.statement, classes)
    found.add(expected, chosen.redo.decided(classes, expected))


def _decided(statement: Statement, chosen: Chosen, tile: Tile, found: Sum) -> Column:
    """Add up the pairs of a tile that floating point decides; returns the classes of the others, [pairs, sides]."""
    floats = chosen.floats
    if not isfinite(chosen.sure):
        return tile.classes(np.arange(tile.size))
    room = floats.columns.room(tile.size)
    tile.fill(room[0])
    margins, scores = floats.margins(room, tile.expected)
    found.right += tile.pairs
    if float(margins.min()) > floats.every:
        return np.zeros((0, len(statement.sides)), dtype=np.int64)
    places = (margins > floats.every).logical_not_().nonzero()[:, 0]
    classes, expected = tile.classes(places.numpy()), tile.expected_of(places.numpy())
    found.right -= int(weights_of(statement, classes).sum())
    some = Decisions.none(statement, classes)
    left = chosen.decide(np.arange(len(places)), classes, expected, (margins, scores), places, some)
    found.add(expected, some)
    others: Column = classes[left]
    return others


@lru_cache(maxsize=1)
def _chosen(statement: Statement) -> Chosen:
    return Chosen.of(statement)


@torch.no_grad()
def counted(statement: Statement, cells: Sequence[Cell], *, exactly: int = _EXACTLY) -> list[Sum]:
    """Decide every pair of some small cells, as `enumerated` does.

    Args:
        statement: what is claimed.
        cells: with at most some hundred thousand pairs of classes together.
        exactly: evaluations in exact arithmetic at most.

    Returns:
        The counts of each cell, in the order of cells; choices in `kinds` are places among the scores.
    """
    chosen = _chosen(statement)
    chosen.redo.exact.left = exactly
    classes, ends = _pairs([cell.sides for cell in cells], len(statement.sides))
    expected = expected_of(statement, classes)
    found = Decisions.none(statement, classes)
    left = [np.zeros(0, dtype=np.int64)]
    block = max(1, _BLOCK // max(chosen.floats.columns.widths))
    for places in np.split(np.arange(len(classes)), range(block, len(classes), block)):
        if isfinite(chosen.sure):
            own, choices = classes[places], expected[places]
            computed = chosen.floats.margins_of(own, choices)
            left.append(chosen.decide(places, own, choices, computed, torch.arange(len(places)), found))
        else:
            left.append(places)
    others = np.concatenate(left)
    found.take(others, chosen.redo.decided(classes[others], expected[others]))
    return summed(expected, found, ends.tolist())


def _pairs(cells: Sequence[Sequence[Column]], sides: int) -> tuple[Column, Column]:
    """All pairs of classes of cells, [pairs, sides], the last side fastest, and where each cell ends among them."""
    sizes = np.array([[len(own) for own in cell] for cell in cells], dtype=np.int64).reshape(-1, sides)
    each = sizes.prod(1)
    ends: Column = np.cumsum(each)
    cell = np.repeat(np.arange(len(sizes)), each)
    within = np.arange(len(cell)) - (ends - each)[cell]
    classes = np.empty((len(cell), sides), dtype=np.int64)
    for side in reversed(range(sides)):
        flat = np.concatenate([np.zeros(0, dtype=np.int64), *(own[side] for own in cells)])
        starts = np.cumsum(sizes[:, side]) - sizes[:, side]
        within, place = np.divmod(within, sizes[cell, side])
        classes[:, side] = flat[starts[cell] + place]
    return classes, ends
