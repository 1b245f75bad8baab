"""Bounding boxes: whether all of a box is right, or all of it wrong, or along which coordinate to halve it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.enclosures.backward import Bound, relax
from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import stored
from commute.proofs.programs.evaluate import values
from commute.proofs.programs.program import Program
from commute.proofs.proving.margins import margins

_AT_ONCE = 2**22  # numbers that the widest step of a batch of boxes makes


@dataclass(frozen=True)
class FoundOfBox:
    """What a bound says of a box.

    Attributes:
        every: whether all of it is right, or all of it wrong; None where neither is known.
        along: then the coordinate to halve; -1 where there is none.
    """

    every: Literal["right", "wrong"] | None
    along: int = -1


@torch.no_grad()
def bounded_boxes(program: Program, boxes: Interval, choices: Column, divisible: Tensor) -> list[FoundOfBox]:
    """Bound boxes: each is proved right, proved wrong, or divided.

    What the middle of a box answers is what there is to prove of it.

    Args:
        program: from one or more inputs to scores.
        boxes: bounds of each number of all inputs, one input after another, [boxes, width].
        choices: the right choice of each, [boxes].
        divisible: which coordinates may be halved, [boxes, width] of bool.
    """
    center, radius = boxes.ball()
    parts = list(zip(*(torch.split(x, list(program.inputs), 1) for x in (center, radius)), strict=True))
    scores = values(program, [middle for middle, _ in parts])[-1]
    chosen = scores.argmax(1).numpy()
    found: dict[int, FoundOfBox] = {}
    for right, places in _batches(program, chosen == choices):
        rows = margins(chosen[places], choices[places], scores.shape[1])
        bound = relax(program, [Box(c[places], r[places]) for c, r in parts], stored(program)).lower(rows)
        decided = (bound.lower > 0).all(1).tolist()
        along = _longest(bound, radius[places], divisible[places]).tolist()
        for place, shown, coordinate in zip(places.tolist(), decided, along, strict=True):
            found[place] = FoundOfBox("right" if right else "wrong") if shown else FoundOfBox(None, coordinate)
    return [found[place] for place in range(len(choices))]


def _batches(program: Program, right: Column) -> Iterator[tuple[bool, Column]]:
    """Places of boxes that are bounded together, alike in what there is to prove."""
    size = max(1, _AT_ONCE // max(program.widths) ** 2)
    for kind in (True, False):
        places = np.flatnonzero(right == kind)
        yield from ((kind, places[start : start + size]) for start in range(0, len(places), size))


def _longest(bound: Bound, radius: Tensor, divisible: Tensor) -> Tensor:
    """The coordinate along which the least bound of each box varies most, [boxes]; where it varies along none, the widest.

    -1 where none can be halved that ranges over more than one number.
    """
    worst = bound.lower.argmin(1)
    own = torch.cat([c[torch.arange(len(worst)), worst] for c in bound.coefficients], 1)
    radius = torch.where(divisible, radius, 0.0)
    varies = (own.abs() * radius).nan_to_num(torch.inf)
    varies = torch.where(varies.amax(1, keepdim=True) > 0, varies, radius)
    return torch.where(varies.amax(1) > 0, varies.argmax(1), -1)
