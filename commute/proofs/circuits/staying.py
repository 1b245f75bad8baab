"""Proving that a circuit's answer stays whatever edges left out carry, within the range that they have over all inputs."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from commute.causal.batches import Column
from commute.causal.model import CausalModel
from commute.models.circuits.circuit import Circuit
from commute.proofs.circuits.claiming import Answers, as_interchange
from commute.proofs.circuits.rerouted import FLOWING, LEFT_OUT
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import down, up
from commute.proofs.proving.box_bounding import bounded_boxes
from commute.proofs.proving.budget import Allowance, Budget
from commute.proofs.proving.posing import posed
from commute.proofs.proving.statement import Side, Statement

_AT_ONCE = 512  # boxes of a round


@dataclass(frozen=True, eq=False)
class Staying:
    """For which bases the answer stays.

    Attributes:
        stays: whether it is proved that it does, for each base in the domain's order, [bases] of bool.
        changes: whether it is proved to be another in some part of the box, of bool.
        bounds: of boxes that were computed.
    """

    stays: Column
    changes: Column
    bounds: int

    @property
    def lower(self) -> Fraction:
        """The share of bases at least."""
        return Fraction(int(self.stays.sum()), len(self.stays))

    @property
    def upper(self) -> Fraction:
        """The share of bases at most."""
        return 1 - Fraction(int(self.changes.sum()), len(self.changes))

    def __str__(self) -> str:
        told = f"{int(self.stays.sum()):,} of {len(self.stays):,} bases, and changes for {int(self.changes.sum()):,}"
        return f"whatever edges left out carry within their range, the answer stays for {told}; {self.bounds:,} bounds"


@torch.no_grad()
def prove_staying(
    circuit: Circuit, inputs: CausalModel, *, answers: Answers = "network", budget: Budget | str | float = "10000 bounds"
) -> Staying:
    """Prove for which bases a circuit answers right whatever edges that are left out carry, within a box.

    The box has for each number to which these edges add, where it meets the base's own, the range of what they add over all
    inputs. Numbers range without regard to each other, so it holds every resampled input, every mean of some, and more. By linear
    bounds, on ever smaller parts of the box; they hold for every way of rounding.

    Args:
        circuit: the circuit.
        inputs: a causal model whose inputs are the network's; they must be finite.
        answers: what is right for a base: the whole network's answer as it was computed, or the one output of the model.
        budget: of bounds, or of seconds; a box that holds both kinds of answers has parts that stay open without end.

    Raises:
        ClaimError: listing everything that does not fit.
        NetworkError: as of `prove_circuit`.
    """
    allowed = Allowance(Budget.of(budget))
    algorithm, network = as_interchange(circuit, inputs, answers)
    statement = posed(algorithm, network, FLOWING, [LEFT_OUT])
    base = statement.sides[0]
    opened, changed = np.zeros((2, len(base.count)), dtype=bool)
    boxes, around = _Boxes.of(statement), _Around.of(statement)
    while len(boxes.base) and allowed.left:
        now, boxes = boxes.take(slice(_AT_ONCE)), boxes.take(slice(_AT_ONCE, None))
        kinds, parts = _divided(statement, now)
        kinds[(kinds == _WRONG) & ~around.met(now)] = _OPEN
        allowed.spent += len(now.base)
        changed[now.base[kinds == _WRONG]] = True
        opened[now.base[kinds == _OPEN]] = True
        boxes = boxes.joined(parts)
        boxes = boxes.take(~changed[boxes.base] & (~opened[boxes.base] | around.met(boxes)))  # what may still tell something
    opened[boxes.base] = True
    return Staying((~opened & ~changed)[base.member], changed[base.member], allowed.spent)


_RIGHT, _WRONG, _SPLIT, _OPEN = range(4)


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Parts of the box around bases.

    Attributes:
        base: the class of bases that each is around, [boxes] of int64.
        range: of each number that the joint program takes, [boxes, width].
    """

    base: Column
    range: Interval

    @classmethod
    def of(cls, statement: Statement) -> "_Boxes":
        """The whole box around each base."""
        base, other = map(_interval, statement.sides)
        hull = Interval(other.lower.amin(0, keepdim=True), other.upper.amax(0, keepdim=True))
        return cls(np.arange(len(base.lower)), base.plus(hull))

    def take(self, which: slice | Column) -> "_Boxes":
        """Some of them."""
        rows = which if isinstance(which, slice) else torch.from_numpy(which)
        return _Boxes(self.base[which], Interval(self.range.lower[rows], self.range.upper[rows]))

    def joined(self, other: "_Boxes") -> "_Boxes":
        """These and others."""
        lower, upper = torch.cat([self.range.lower, other.range.lower]), torch.cat([self.range.upper, other.range.upper])
        return _Boxes(np.concatenate([self.base, other.base]), Interval(lower, upper))

    def halves(self, along: Column) -> "_Boxes":
        """Below and above the middle of one coordinate of each."""
        rows, columns = torch.arange(len(along)), torch.from_numpy(along)
        below, above = self.range.upper.clone(), self.range.lower.clone()
        below[rows, columns] = above[rows, columns] = self.range.center[rows, columns]
        return _Boxes(self.base, Interval(self.range.lower, below)).joined(_Boxes(self.base, Interval(above, self.range.upper)))


@dataclass(frozen=True, eq=False)
class _Around:
    """The box around each class of bases, which is known up to rounding.

    Attributes:
        outer: what holds it, [classes, width].
        inner: what it is sure to hold, nothing where a lower bound is above the upper.
    """

    outer: Interval
    inner: Interval

    @classmethod
    def of(cls, statement: Statement) -> "_Around":
        """The boxes of a statement."""
        base, other = map(_interval, statement.sides)
        lower, upper = base.upper + other.upper.amin(0), base.lower + other.lower.amax(0)
        return cls(_Boxes.of(statement).range, Interval(up(lower), down(upper)))

    def met(self, parts: "_Boxes") -> Column:
        """Whether each part is sure to have a point of the box in it, and not only of what rounding outward added.

        A box is the product of its sides, so that is told coordinate by coordinate.
        """
        part, rows = parts.range, torch.from_numpy(parts.base)
        outer, inner = (Interval(x.lower[rows], x.upper[rows]) for x in (self.outer, self.inner))
        common = part.within(inner)
        whole = (part.lower <= outer.lower) & (part.upper >= outer.upper)
        found: Column = (whole | (common.lower <= common.upper)).all(1).numpy()
        return found


def _interval(side: Side) -> Interval:
    """What each class of a side brings, however it is rounded."""
    return Interval(down(side.center - side.radius), up(side.center + side.radius))


def _divided(statement: Statement, boxes: _Boxes) -> tuple[Column, _Boxes]:
    """What each box is, and the halves of those that are divided."""
    inside = boxes.range.center
    divisible = (boxes.range.lower < inside) & (inside < boxes.range.upper)
    choices = statement.expected[statement.sides[0].group[boxes.base], 0]
    found = bounded_boxes(statement.joint, boxes.range, choices, divisible)
    kinds = np.array([_RIGHT if f.every == "right" else _WRONG if f.every else _SPLIT if f.along >= 0 else _OPEN for f in found])
    along = np.array([f.along for f in found])
    return kinds, boxes.take(kinds == _SPLIT).halves(along[kinds == _SPLIT])
