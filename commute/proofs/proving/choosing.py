"""Choosing how to evaluate the pairs of a statement: which floating point, and what to do near ties."""

from dataclasses import dataclass
from math import isfinite, prod

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.enclosures.domains import Box
from commute.proofs.proving.decisions import Decisions, weights_of
from commute.proofs.proving.floats import Floats, expected_of
from commute.proofs.proving.redo import Redo
from commute.proofs.proving.statement import Statement
from commute.runs.seeds import stream

_DRAWN = 2**12  # pairs of classes on which an arithmetic is tried
_FEW = 2**18  # pairs of classes that may be redone
_LEFT = 1 / 16  # of the pairs that may be left by the faster arithmetic


@dataclass(frozen=True, eq=False)
class Chosen:
    """How pairs are evaluated.

    Attributes:
        floats: the evaluation.
        sure: margins beyond this decide; the pairs below are redone. Where there are too many between what the exact sign needs
            and what the network's rounding may change, it is what the exact sign needs.
        redo: decides the rest.
    """

    floats: Floats
    sure: float
    redo: Redo

    def decide(
        self,
        places: Column,
        classes: Column,
        expected: Column,
        computed: tuple[Tensor, Tensor],
        points: Tensor,
        found: Decisions,
    ) -> Column:
        """Decide the pairs whose margins do.

        Args:
            places: of the pairs among the decisions.
            classes: of each side, [pairs, sides].
            expected: the choices, [pairs].
            computed: margins and scores of a room.
            points: where in it the pairs are, [pairs].
            found: where it is written.

        Returns:
            The places of the others.
        """
        margins, scores = computed[0][points], computed[1]
        size = margins.abs()
        known = size > self.sure
        own = known.nonzero()[:, 0]
        rows, right = own.numpy(), (margins[own] > 0).numpy()
        answered = expected[rows]
        answered[~right] = self.floats.answered(scores, points[own[torch.from_numpy(~right)]], answered[~right])
        weights = weights_of(self.redo.statement, classes[rows])
        found.set(places[rows], right, weights, answered, within=(size[own] <= self.floats.every).numpy())
        left: Column = places[known.logical_not_().numpy()]
        return left

    @classmethod
    def of(cls, statement: Statement) -> "Chosen":
        """Tried on some pairs, the same ones every time."""
        drawn = stream(0, "proofs", "proving", "choosing")
        classes = np.stack([drawn.integers(len(side.count), size=_DRAWN) for side in statement.sides], 1)
        expected = expected_of(statement, classes)
        total = prod(len(side.count) for side in statement.sides)

        def left(floats: Floats, sure: float) -> float:
            return float((floats.margins_of(classes, expected)[0].abs() > sure).logical_not().double().mean())

        redo = Redo.of(statement)
        rounded = [Box(side.center, side.radius) for side in statement.sides]
        for dtype in (torch.float32, torch.float64):
            floats = Floats.of(statement, dtype, rounded)
            if isfinite(floats.every) and left(floats, floats.every) * total <= _FEW:
                return cls(floats, floats.every, redo)
        exactly = redo.boxes()
        fast, slow = (Floats.of(statement, dtype, exactly) for dtype in (torch.float32, torch.float64))
        floats = fast if left(fast, fast.exact) <= max(_LEFT, left(slow, slow.exact)) else slow
        return cls(floats, floats.exact, redo)
