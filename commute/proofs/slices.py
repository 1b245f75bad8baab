"""Slices: the parts of the verification pairs on each of which a claim must hold."""

from dataclasses import dataclass
from math import isqrt

import numpy as np

from commute.alignments.binomial import Count, count
from commute.causal.batches import Column
from commute.causal.domains import Finite
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs

_GROUPS = 4  # groups of neighbouring values that the transitions of a larger variable are told by
_ENOUGH = 1000  # pairs that a transition needs for a bound near the claim, about
_SCREENED = 100  # pairs that a value or transition needs to stand out if the network goes wrong there, about


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the pairs of one set of variables.

    Attributes:
        variables: the set.
        kind: which of its pairs.
        rows: their places among the set's pairs.
        count: how many of them the network answered as the algorithm.
        says: what such answers mean, in a sentence.
        bounded: whether the claim holds only if it is bounded here; if not it is a transition, which must just not stand out.
    """

    variables: tuple[str, ...]
    kind: str
    rows: Column
    count: Count
    says: str
    bounded: bool = True


def slices_of(algorithm: CausalModel, pairs: Pairs, right: Column, *, planned: int | None = None) -> list[Slice]:
    """Changed and unchanged pairs, and for a single variable the pairs of each transition from one value to another.

    Transitions are told by at most four groups of neighbouring values, fewer of few pairs. So many of them as have about a
    thousand pairs each are slices by themselves: of fewer, larger groups where there are not enough pairs. Those of the finest
    groups are kept as well, not bounded: a transition at which the network goes wrong stands out there. One that is possible and
    that no pair happens to make is among them, a slice of none. So are all transitions from, and all to, each value of more than
    two, or each group of as few neighbours as have about a hundred pairs.

    Args:
        algorithm: tells the variable's value for a base and a source.
        pairs: of one set of variables.
        right: whether the network's answer is the algorithm's, [pairs] of bool.
        planned: how many pairs there may be in the end, by which values are grouped; as many as there are by default.
    """
    n = planned or len(pairs)
    put = f"with {' and '.join(pairs.variables)} taken from other inputs the network answers as the algorithm, where that"
    found = by_change(pairs.variables, pairs.changed, right, ("changed", "unchanged"), put)
    domain = algorithm.domain(pairs.variables[0])
    if len(pairs.variables) > 1 or not isinstance(domain, Finite):
        return found
    (variable,) = pairs.variables
    before, after = (domain.encode(algorithm.solve(x)[variable]).astype(np.int64) for x in (pairs.base, pairs.sources[variable]))
    moves = _Moves(variable, domain, before, after, right)
    finest = min(len(domain), _GROUPS, max(isqrt(n // _SCREENED), 2))
    enough = min(isqrt(n // _ENOUGH), finest)
    found += moves.between(enough, bounded=True) if enough > 1 else []
    known = {s.kind for s in found}
    finer = moves.between(finest, bounded=False) if enough < finest else []
    finer += moves.from_and_to(min(len(domain), n // _SCREENED))
    return found + [s for s in finer if s.kind not in known]  # a group may be a single value


def by_change(variables: tuple[str, ...], changed: Column, right: Column, kinds: tuple[str, str], says: str) -> list[Slice]:
    """The rows that are changed and those that are not, as slices of the kinds named; without those that are empty."""
    parts = ((kinds[0], changed, "changes the answer"), (kinds[1], ~changed, "does not change the answer"))
    return [Slice(variables, k, np.flatnonzero(r), count(right[r]), f"{says} {what}") for k, r, what in parts if r.any()]


@dataclass(frozen=True, eq=False)
class _Moves:
    """A variable's value in the base and in the source, as codes [pairs], and whether the network answered rightly."""

    variable: str
    domain: Finite
    before: Column
    after: Column
    right: Column

    def between(self, groups: int, *, bounded: bool) -> list[Slice]:
        """The pairs of each transition between groups of neighbouring values."""
        before, after = self._grouped(groups)
        seen = np.union1d(before, after)
        return [
            self._part(f"{self._name(i, groups)} → {self._name(j, groups)}", (before == i) & (after == j), bounded=bounded)
            for i in seen
            for j in seen
        ]

    def from_and_to(self, groups: int) -> list[Slice]:
        """The pairs that begin, and those that end, at each value, or group of neighbouring values."""
        if groups <= 2:  # noqa: PLR2004  # those of two values are sums of two transitions
            return []
        sides = zip(self._grouped(groups), ("{} → any", "any → {}"), strict=True)
        return [
            self._part(kind.format(self._name(g, groups)), side == g, bounded=False)
            for side, kind in sides
            for g in np.unique(side)
        ]

    def _grouped(self, groups: int) -> tuple[Column, Column]:
        return self.before * groups // len(self.domain), self.after * groups // len(self.domain)

    def _name(self, group: int, groups: int) -> str:
        members = [v for code, v in enumerate(self.domain) if code * groups // len(self.domain) == group]
        return f"{members[0]!s}" if len(members) == 1 else f"{members[0]!s}…{members[-1]!s}"

    def _part(self, kind: str, rows: Column, *, bounded: bool) -> Slice:
        put = f"with {self.variable} taken from another input the network answers as the algorithm"
        says = f"{put}, where {self.variable} goes {kind}"
        return Slice((self.variable,), kind, np.flatnonzero(rows), count(self.right[rows]), says, bounded)
