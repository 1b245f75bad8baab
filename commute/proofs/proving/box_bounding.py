"""Bounding boxes: whether all of a box is right, or all of it wrong, or along which coordinate to halve it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.enclosures.backward import Relaxed, relax
from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import stored
from commute.proofs.programs.evaluate import values
from commute.proofs.programs.program import Program, taken
from commute.proofs.proving.splitting import loosest

_AT_ONCE = 2**22  # numbers that the widest step of a batch of boxes makes
RULE = "coef"


@dataclass(frozen=True)
class Found:
    """What a bound says of a box.

    Attributes:
        every: whether all of it is right, or all of it wrong; None where neither is known.
        along: then the coordinate to halve; -1 where none is left that can be.
    """

    every: Literal["right", "wrong"] | None
    along: int = -1


@torch.no_grad()
def bounded(program: Program, boxes: Interval, choices: Column, open_: Tensor) -> list[Found]:
    """Bound boxes.

    Args:
        program: from all coordinates, as one input, to scores.
        boxes: bounds of each coordinate, [boxes, width].
        choices: the right choice of each, [boxes].
        open_: which coordinates may be halved, [boxes, width] of bool.
    """
    center, radius = boxes.ball()
    chosen = values(program, [center])[-1].argmax(1).numpy()
    found: list[Found | None] = [None] * len(choices)
    size = max(1, _AT_ONCE // max(program.widths) ** 2)
    for right in (True, False):
        places = np.flatnonzero((chosen == choices) == right)
        for start in range(0, len(places), size):
            own = places[start : start + size]
            rows = _margins(choices[own], program.widths[-1]) if right else _over(chosen[own], choices[own], program.widths[-1])
            relaxed = relax(program, [Box(center[own], radius[own])], stored(program))
            for place, one in zip(own, _found(relaxed, rows, radius[own] * open_[own], right=right), strict=True):
                found[place] = one
    return [one for one in found if one is not None]


def _found(relaxed: Relaxed, rows: Tensor, radius: Tensor, *, right: bool) -> list[Found]:
    bound = relaxed.lower(rows)
    each, worst = torch.arange(len(rows)), bound.lower.argmin(1)
    decided = (bound.lower > 0).all(1)
    coef = bound.coefficients[0][each, worst].abs() * radius
    if RULE == "coef":
        score = coef
    elif RULE == "loosest":
        score = loosest(relaxed, rows[each, worst][:, None]).abs() * radius
    else:
        score = weighted(relaxed, rows[each, worst][:, None], RULE) * radius + 1e-6 * coef
    score = torch.where(score.amax(1, keepdim=True) > 0, score, radius)
    along = torch.where(score.amax(1) > 0, score.argmax(1), -1)
    return [Found(("right" if right else "wrong") if d else None, -1 if d else a) for d, a in zip(decided.tolist(), along.tolist())]


def weighted(relaxed, rows, rule):
    from commute.proofs.proving.splitting import _losses

    losses = _losses(relaxed, rows)
    score = torch.zeros(len(rows), relaxed.program.inputs[0], dtype=torch.float64)
    for v, loss in losses.items():
        if not bool((loss > 0).any()):
            continue
        w = taken(relaxed.program.steps[v - 1])[0]
        k = min(int(rule.split(":")[1]), loss.shape[1])
        top, which = loss.topk(k, 1)
        number = torch.nn.functional.one_hot(which, loss.shape[1]).double()
        c = relaxed.back(w, number).coefficients[0].abs()
        rng = (relaxed.ranges[w].upper - relaxed.ranges[w].lower).gather(1, which).clamp(min=1e-30)
        if rule.startswith("rel"):
            score += torch.einsum("ck,ckw->cw", top / rng, c)
        elif rule.startswith("raw"):
            score += torch.einsum("ck,ckw->cw", top, c)
    return score


def _margins(choice: Column, choices: int) -> Tensor:
    """Of each right choice over every other, which are all positive where a box is right, [boxes, choices - 1, choices]."""
    unit = torch.eye(choices, dtype=torch.float64)
    return torch.stack([unit[c] - torch.cat([unit[:c], unit[c + 1 :]]) for c in choice])


def _over(chosen: Column, choice: Column, choices: int) -> Tensor:
    """The margin of the choice made over the right one, [boxes, 1, choices]."""
    unit = torch.eye(choices, dtype=torch.float64)
    return (unit[chosen] - unit[choice])[:, None]
