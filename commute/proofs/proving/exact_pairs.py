"""Pairs decided in exact arithmetic, input by input."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import inf, prod

import numpy as np
import torch

from commute.causal.batches import Column
from commute.proofs.programs.evaluate import decided, exact_rows, fractions, rational, values
from commute.proofs.programs.program import Program
from commute.proofs.proving.decisions import Decisions
from commute.proofs.proving.statement import Statement

Numbers = tuple[Fraction, ...]

_AT_ONCE = 256  # rows


@dataclass(frozen=True)
class _Kind:
    """Inputs of a class that bring the same numbers exactly: the numbers, how many inputs, and the first."""

    numbers: Numbers
    count: int
    first: int


@dataclass(frozen=True)
class _Trial:
    """A kind of each side, and the pair of classes and choice that it belongs to."""

    kinds: tuple[_Kind, ...]
    pair: int
    choice: int


@dataclass(eq=False)
class ExactPairs:
    """Decides pairs of classes by every combination of their inputs that differs. A tie is left undecided.

    Attributes:
        statement: whose pairs they are.
        sides: the programs of the sides.
        left: evaluations that may still be made, of a side for an input or of the scores; pairs beyond are left undecided.
    """

    statement: Statement
    sides: Sequence[Program]
    left: int = 0
    _kinds: dict[tuple[int, int], list[_Kind]] = field(default_factory=dict)

    @cached_property
    def _rational(self) -> bool:
        return rational(self.statement.patched.program)

    def decide(self, places: Column, classes: Column, expected: Column, found: Decisions) -> None:
        """Decide pairs as far as evaluations go.

        Args:
            places: of the pairs among the decisions.
            classes: of each side, [pairs, sides].
            expected: the choices, [pairs].
            found: where it is written.
        """
        for side, own in enumerate(classes.T):
            for one in dict.fromkeys(own.tolist()):
                self._learn(side, one)
        trials = list(self._trials(classes.tolist(), expected.tolist()))
        sums: dict[int, Counter[int]] = {t.pair: Counter() for t in trials}
        wrong: dict[int, list[tuple[tuple[int, ...], int]]] = {}
        for trial, (sign, answered) in zip(trials, self._signs(trials), strict=True):
            sums[trial.pair][sign] += prod(kind.count for kind in trial.kinds)
            if sign < 0:
                wrong.setdefault(trial.pair, []).append((tuple(kind.first for kind in trial.kinds), answered))
        for pair, counts in sums.items():
            place = places[pair]
            found.right[place], found.wrong[place], found.within[place] = counts[1], counts[-1], counts[1] + counts[-1]
            if pair in wrong:
                found.first[place], answered = min(wrong[pair])
                found.answered[place] = answered if all(x == answered for _, x in wrong[pair]) else -1

    def _learn(self, side: int, one: int) -> None:
        """What inputs of a class bring; of programs that give no fractions their entries.

        What is known from before is paid for again, so that what is decided does not depend on it.
        """
        count = int(self.statement.sides[side].count[one])
        self.left -= count
        if (side, one) in self._kinds or self.left < 0:
            return
        rows = np.flatnonzero(self.statement.sides[side].member == one)
        entries = self.statement.entries[torch.from_numpy(rows)]
        kinds: dict[Numbers, list[int]] = {}
        for start in range(0, len(rows), _AT_ONCE):
            block = entries[start : start + _AT_ONCE]
            brought = exact_rows(self.sides[side], [block]) if self._rational else map(fractions, block)
            for row, numbers in zip(rows[start : start + _AT_ONCE].tolist(), brought, strict=True):
                kinds.setdefault(tuple(numbers), []).append(row)
        self._kinds[side, one] = [_Kind(numbers, len(own), own[0]) for numbers, own in kinds.items()]

    def _trials(self, classes: Sequence[Sequence[int]], expected: Sequence[int]) -> Iterator[_Trial]:
        for pair, (own, choice) in enumerate(zip(classes, expected, strict=True)):
            sides = [self._kinds.get(key, []) for key in enumerate(own)]
            needed = prod(map(len, sides))
            self.left -= needed
            if needed and self.left >= 0:
                yield from (_Trial(kinds, pair, choice) for kinds in product(*sides))

    def _signs(self, trials: Sequence[_Trial]) -> Iterator[tuple[int, int]]:
        """The sign of each margin, 0 where it is 0 or not known, and the best other choice, -1 where it is not known to be."""
        for start in range(0, len(trials), _AT_ONCE):
            block = trials[start : start + _AT_ONCE]
            if self._rational:
                sums = [[sum(x, Fraction()) for x in zip(*(k.numbers for k in t.kinds), strict=True)] for t in block]
                for trial, scores in zip(block, exact_rows(self.statement.joint, [sums]), strict=True):
                    own = scores.pop(trial.choice)
                    best = max(scores, default=own - 1)
                    place = scores.index(best) if scores.count(best) == 1 else -1
                    yield (own > best) - (own < best), place + (place >= trial.choice)
            else:
                yield from map(self._ball, block)

    def _ball(self, trial: _Trial) -> tuple[int, int]:
        program, given = self.statement.patched.program, [k.numbers for k in trial.kinds]
        sign = decided(program, given, trial.choice) or 0
        if sign >= 0:
            return sign, -1
        scores = values(program, [torch.tensor([[float(x) for x in row]], dtype=torch.float64) for row in given])[-1][0]
        scores[trial.choice] = -inf
        answered = int(scores.argmax())
        return sign, answered if decided(program, given, answered) == 1 else -1
