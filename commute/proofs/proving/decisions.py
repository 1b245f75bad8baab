"""Decisions: what is known of pairs of classes, and sums of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from commute.causal.batches import Column
from commute.proofs.proving.statement import Statement

_CHOICES = 2**31  # more than there are


@dataclass(frozen=True, eq=False)
class Decisions:
    """What is known of some pairs (or triples, …) of classes.

    Attributes:
        right: pairs of inputs that are right, [pairs of classes].
        wrong: those that are wrong.
        within: of both those that rounding may change.
        answered: the choice made, of int64, where any is wrong in place of the expected one; -1 where that is not known.
        first: the first wrong pair's inputs, [pairs of classes, sides], where any is wrong.
    """

    right: Column
    wrong: Column
    within: Column
    answered: Column
    first: Column

    @classmethod
    def none(cls, statement: Statement, classes: Column) -> "Decisions":
        """Nothing is known yet; a wrong pair would be the first of its classes."""
        first = np.stack([side.first[own] for side, own in zip(statement.sides, classes.T, strict=True)], 1)
        right, wrong, within = (np.zeros(len(classes), dtype=np.int64) for _ in range(3))
        return cls(right, wrong, within, np.full(len(classes), -1), first)

    def set(self, places: Column, right: Column, weights: Column, answered: Column, *, within: Column) -> None:
        """Decide some of them.

        Args:
            places: which, [places].
            right: whether they are right, [places] of bool.
            weights: pairs of inputs that each stands for, [places].
            answered: the choice made or -1, [places].
            within: whether rounding may change them, [places] of bool.
        """
        zero = np.zeros_like(weights)
        self.right[places] = np.where(right, weights, zero)
        self.wrong[places] = np.where(right, zero, weights)
        self.within[places] = np.where(within, weights, zero)
        self.answered[places] = answered

    def take(self, places: Column, other: "Decisions") -> None:
        """Take over what is known of some of them, [places]."""
        for own, theirs in zip(self.columns, other.columns, strict=True):
            own[places] = theirs

    def of(self, places: slice) -> "Decisions":
        """Some of them."""
        return Decisions(*(x[places] for x in self.columns))

    @property
    def columns(self) -> tuple[Column, ...]:
        """All that is known."""
        return self.right, self.wrong, self.within, self.answered, self.first


def weights_of(statement: Statement, classes: Column) -> Column:
    """Pairs of inputs that each pair of classes stands for, [pairs], from [pairs, sides]."""
    counts = [side.count[own] for side, own in zip(statement.sides, classes.T, strict=True)]
    weights: Column = np.multiply.reduce(counts)
    return weights


@dataclass
class Sum:
    """Pairs of inputs counted.

    Attributes:
        right: that are right.
        wrong: that are wrong.
        within_rounding: of both those that rounding may change.
        kinds: of the wrong ones whose given choice is known, how many for each expected and given choice.
        first: the first wrong one in the domain's order, as inputs' places, base first.
    """

    right: int = 0
    wrong: int = 0
    within_rounding: int = 0
    kinds: "Counter[tuple[int, int]]" = field(default_factory=Counter)
    first: tuple[int, ...] | None = None

    def add(self, expected: Column, found: Decisions) -> None:
        """Add decisions, with the choice that was expected of each."""
        self.right += int(found.right.sum())
        self.within_rounding += int(found.within.sum())
        missed = np.flatnonzero(found.wrong)
        if not len(missed):
            return
        self.wrong += int(found.wrong.sum())
        told = missed[found.answered[missed] >= 0]
        kinds, place = np.unique(expected[told] * _CHOICES + found.answered[told], return_inverse=True)
        sums = np.zeros(len(kinds), dtype=np.int64)
        np.add.at(sums, place, found.wrong[told])
        for kind, n in zip(kinds.tolist(), sums.tolist(), strict=True):
            self.kinds[divmod(kind, _CHOICES)] += n
        least = _least(found.first[missed])
        self.first = least if self.first is None else min(self.first, least)


def _least(rows: Column) -> tuple[int, ...]:
    """The first of some rows in lexicographic order."""
    for column in range(rows.shape[1]):
        rows = rows[rows[:, column] == rows[:, column].min()]
    return tuple(rows[0].tolist())


def summed(expected: Column, found: Decisions, ends: Sequence[int]) -> list[Sum]:
    """Sums of stretches of decisions, each up to one of the ends."""
    made = []
    start = 0
    for end in ends:
        one = Sum()
        one.add(expected[start:end], found.of(slice(start, end)))
        made.append(one)
        start = end
    return made
