"""Enumeration: every pair of a base and its sources decided."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, prod

import numpy as np
import torch

from commute.causal.batches import Column
from commute.proofs.proving.cells import Cell
from commute.proofs.proving.decisions import Decisions, Sum, summed, weights_of
from commute.proofs.proving.floats import Floats, expected_of
from commute.proofs.proving.outcome import Outcome
from commute.proofs.proving.redo import Redo
from commute.proofs.proving.statement import Statement
from commute.proofs.proving.tiles import Tile, tiles

_BLOCK = 2**18  # numbers of the widest value that are worked on at once: what a processor's cache holds
_KEPT = 2**15  # pairs of classes that are decided one by one together
_EXACTLY = 2**14  # evaluations in exact arithmetic


@torch.no_grad()
def enumerated(
    statement: Statement,
    *,
    block: int = _BLOCK,
    exactly: int = _EXACTLY,
    on_progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Decide every pair: by plain floating point where a margin is beyond all rounding, and with more care where it is not.

    A pair is right where the score of the algorithm's answer is above every other in exact arithmetic on the stored weights, and
    wrong where another is above it; an exact tie is left undecided.

    Args:
        statement: what is claimed.
        block: numbers of the widest value of the joint program that are worked on at once.
        exactly: evaluations in exact arithmetic at most; pairs that would need more are left undecided.
        on_progress: is told how many pairs of classes are decided, and of how many.
    """
    floats, redo = Floats.chosen(statement), Redo.of(statement)
    redo.exact.left = exactly
    found = Sum()
    left: list[Column] = []
    done, classes = 0, tuple(len(side.count) for side in statement.sides)

    def decide_left() -> None:
        together = np.concatenate([np.zeros((0, len(classes)), dtype=np.int64), *left])
        left.clear()
        expected = expected_of(statement, together)
        found.add(expected, redo.decided(together, expected))

    for tile in tiles(statement, floats.rows, max(1, block // max(statement.joint.widths))):
        near = _decided(statement, floats, tile, found)
        if len(near):
            left.append(near)
        if sum(map(len, left)) >= _KEPT:
            decide_left()
        done += tile.size
        if on_progress is not None:
            on_progress(done, prod(classes))
    decide_left()
    labels = statement.patched.labels
    kinds = Counter({(labels[one], labels[other]): n for (one, other), n in sorted(found.kinds.items())})
    return Outcome(
        variables=statement.variables,
        total=statement.total,
        right=found.right,
        wrong=found.wrong,
        within_rounding=found.within_rounding,
        kinds=kinds,
        first=found.first,
        classes=classes,
        evaluated=prod(classes),
    )


def _decided(statement: Statement, floats: Floats, tile: Tile, found: Sum) -> Column:
    """Add up the pairs of a tile that floating point decides; returns the classes of the others, [pairs, sides]."""
    if not isfinite(floats.least):
        return tile.classes(np.arange(tile.size))
    room = floats.columns.room(tile.size)
    tile.fill(room[0])
    margins, scores = floats.margins(room, tile.expected)
    found.right += tile.pairs
    if float(margins.min()) > floats.least:
        return np.zeros((0, len(statement.sides)), dtype=np.int64)
    places = (margins > floats.least).logical_not_().nonzero()[:, 0]
    classes, expected = tile.classes(places.numpy()), tile.expected_of(places.numpy())
    weights = weights_of(statement, classes)
    found.right -= int(weights.sum())
    wrong = (margins[places] < -floats.least).numpy()
    own = torch.from_numpy(wrong)
    answered = floats.answered(scores, places[own], torch.from_numpy(expected[wrong]))
    missed = Decisions.none(statement, classes[wrong])
    missed.set(np.arange(len(answered)), np.zeros(len(answered), dtype=bool), weights[wrong], answered, within=False)
    found.add(expected[wrong], missed)
    left: Column = classes[~wrong]
    return left


@dataclass(frozen=True, eq=False)
class _Prepared:
    floats: Floats
    redo: Redo


@lru_cache(maxsize=1)
def _prepared(statement: Statement) -> _Prepared:
    return _Prepared(Floats.chosen(statement), Redo.of(statement))


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
    known = _prepared(statement)
    known.redo.exact.left = exactly
    classes, ends = _pairs([cell.sides for cell in cells], len(statement.sides))
    expected = expected_of(statement, classes)
    found = Decisions.none(statement, classes)
    left = np.arange(len(classes))
    if isfinite(known.floats.least):
        block = max(1, _BLOCK // max(statement.joint.widths))
        left = np.concatenate([left[:0], *(_in_floats(statement, known.floats, x, classes, expected, found) for x in _split(left, block))])
    if len(left):
        found.take(left, known.redo.decided(classes[left], expected[left]))
    return summed(expected, found, ends.tolist())


def _split(places: Column, size: int) -> list[Column]:
    return [places[i : i + size] for i in range(0, len(places), size)]


def _in_floats(
    statement: Statement, floats: Floats, places: Column, classes: Column, expected: Column, found: Decisions
) -> Column:
    """Decide some pairs that floating point decides; returns the places of the others."""
    own = expected[places]
    margins, scores = floats.margins_of(classes[places], own)
    right, wrong = (margins > floats.least).numpy(), (margins < -floats.least).numpy()
    sure = np.flatnonzero(right | wrong)
    answered = floats.answered(scores, torch.from_numpy(sure), torch.from_numpy(own[sure]))
    kept = places[sure]
    found.set(kept, right[sure], weights_of(statement, classes[kept]), answered, within=False)
    left: Column = places[~(right | wrong)]
    return left


def _pairs(cells: Sequence[Sequence[Column]], sides: int) -> tuple[Column, Column]:
    """All pairs of classes of cells, [pairs, sides], the last side fastest, and where each cell ends among them."""
    sizes = np.array([[len(own) for own in cell] for cell in cells], dtype=np.int64).reshape(-1, sides)
    ends = np.cumsum(sizes.prod(1))
    cell = np.repeat(np.arange(len(sizes)), sizes.prod(1))
    within = np.arange(len(cell)) - np.concatenate([ends[:0], [0], ends])[cell]
    classes = np.empty((len(cell), sides), dtype=np.int64)
    for side in reversed(range(sides)):
        flat = np.concatenate([np.zeros(0, dtype=np.int64), *(own[side] for own in cells)])
        starts = np.cumsum(sizes[:, side]) - sizes[:, side]
        within, place = np.divmod(within, sizes[cell, side])
        classes[:, side] = flat[starts[cell] + place]
    return classes, ends
