"""Pairs that plain floating point does not decide: bounds of each, and exact arithmetic where those do not tell."""

from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.enclosures.domains import Box, Domain, Sum
from commute.proofs.enclosures.interval import intervals
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import EXACT, Arithmetic, down, stored, up
from commute.proofs.programs.split import split
from commute.proofs.proving.decisions import Decisions, weights_of
from commute.proofs.proving.exact_pairs import ExactPairs
from commute.proofs.proving.sides import enclosed
from commute.proofs.proving.statement import Statement

_AT_ONCE = 2**21  # numbers of all values together


@dataclass(frozen=True, eq=False)
class Redo:
    """Decides pairs one by one, with ever more work for those that are left.

    First bounds that hold for every way to round the network. What they leave open rounding may change; its exact margin is
    bounded, and computed in exact arithmetic where it is near 0.

    Attributes:
        statement: whose pairs they are.
        exact: exact arithmetic.
    """

    statement: Statement
    exact: ExactPairs
    _known: dict[int, tuple[Column, Tensor, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, statement: Statement) -> "Redo":
        """Of a statement. Evaluations in exact arithmetic are allowed by `exact.left`."""
        return cls(statement, ExactPairs(statement, split(statement.patched.program).sides))

    @torch.no_grad()
    def decided(self, classes: Column, expected: Column) -> Decisions:
        """What is known of pairs, each given by a class of each side, [pairs, sides], and the choice expected, [pairs]."""
        found = Decisions.none(self.statement, classes)
        rows = max(1, _AT_ONCE // sum(self.statement.joint.widths))
        for start in range(0, len(classes), rows):
            places = np.arange(start, min(start + rows, len(classes)))
            for arithmetic in (stored(self.statement.joint), EXACT):
                places = self._bounded(places, classes[places], expected[places], arithmetic, found)
                if not len(places):
                    break
            if len(places):
                self.exact.decide(places, classes[places], expected[places], found)
        return found

    def _bounded(self, places: Column, classes: Column, expected: Column, arithmetic: Arithmetic, found: Decisions) -> Column:
        """Decide the pairs whose bounds tell; returns the places of the others."""
        exactly = arithmetic is EXACT
        domain = self._exact(classes) if exactly else self._rounded(classes)
        scores = intervals(self.statement.joint, [domain], arithmetic)[-1]
        lower, upper, answered = _margins(scores, torch.from_numpy(expected))
        known = (lower > 0) | (upper < 0)
        weights = weights_of(self.statement, classes[known])
        found.set(places[known], lower[known] > 0, weights, answered[known], within=np.full(len(weights), exactly))
        return places[~known]

    def _rounded(self, classes: Column) -> Domain:
        """What the sides bring, for every way to round them."""
        index = torch.from_numpy(classes.T)
        return Sum([Box(s.center[i], s.radius[i]) for s, i in zip(self.statement.sides, index, strict=True)])

    def _exact(self, classes: Column) -> Domain:
        """What the sides bring in exact arithmetic, from as narrow bounds as float64 gives."""
        return Sum([self._box(side, own) for side, own in enumerate(classes.T)])

    @torch.no_grad()
    def boxes(self) -> list[Box]:
        """Of each side what its classes bring in exact arithmetic."""
        return [self._box(i, np.arange(len(side.count))) for i, side in enumerate(self.statement.sides)]

    def _box(self, side: int, classes: Column) -> Box:
        """What some classes bring in exact arithmetic, [classes, width]; what is not known yet is bounded, member by member."""
        own = self.statement.sides[side]
        if side not in self._known:
            lower, upper = torch.full_like(own.center, inf), torch.full_like(own.center, -inf)
            self._known[side] = np.zeros(len(own.count), dtype=bool), lower, upper
        known, lower, upper = self._known[side]
        fresh = np.zeros_like(known)
        fresh[classes] = ~known[classes]
        rows = np.flatnonzero((own.member >= 0) & fresh[own.member])
        if len(rows):
            bounds = enclosed(self.exact.sides[side], self.statement.entries[torch.from_numpy(rows)], EXACT)
            index = torch.from_numpy(own.member[rows])[:, None].expand_as(bounds.lower)
            lower.scatter_reduce_(0, index, bounds.lower, "amin")
            upper.scatter_reduce_(0, index, bounds.upper, "amax")
            known |= fresh
        kept = torch.from_numpy(classes)
        return Box(*Interval(lower[kept], upper[kept]).ball())


def _margins(scores: Interval, expected: Tensor) -> tuple[Column, Column, Column]:
    """Bounds of the least margin of the expected choice, and the best other choice or -1 where it is not known, [pairs] each."""
    index = expected.unsqueeze(1)
    lower = down(scores.lower.gather(1, index)[:, 0] - _best(scores.upper, index))
    upper = up(scores.upper.gather(1, index)[:, 0] - _best(scores.lower, index))
    most = scores.lower.scatter(1, index, -inf).argmax(1, keepdim=True)
    rest = _best(scores.upper.scatter(1, index, -inf), most)
    answered = torch.where(scores.lower.gather(1, most)[:, 0] > rest, most[:, 0], -1)
    return lower.numpy(), upper.numpy(), answered.numpy()


def _best(scores: Tensor, expected: Tensor) -> Tensor:
    """The largest of the other scores."""
    return scores.scatter(1, expected, -inf).amax(1)
