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
    finest = min(len(domain), _GROUPS, max(isqrt(n // _SCREENED), 2))
    enough = min(isqrt(n // _ENOUGH), finest)
    found += _transitions(algorithm, pairs, right, domain, enough, bounded=True) if enough > 1 else []
    known = {s.kind for s in found}
    finer = _transitions(algorithm, pairs, right, domain, finest, bounded=False) if enough < finest else []
    finer += _from_and_to(algorithm, pairs, right, domain, min(len(domain), n // _SCREENED))
    return found + [s for s in finer if s.kind not in known]  # a group may be a single value


def by_change(variables: tuple[str, ...], changed: Column, right: Column, kinds: tuple[str, str], says: str) -> list[Slice]:
    """The rows that are changed and those that are not, as slices of the kinds named; without those that are empty."""
    parts = ((kinds[0], changed, "changes the answer"), (kinds[1], ~changed, "does not change the answer"))
    return [Slice(variables, k, np.flatnonzero(r), count(right[r]), f"{says} {what}") for k, r, what in parts if r.any()]


def _transitions(
    algorithm: CausalModel, pairs: Pairs, right: Column, domain: Finite, groups: int, *, bounded: bool
) -> list[Slice]:
    """The pairs of each transition between groups of neighbouring values."""
    (variable,) = pairs.variables
    before, after = (_group(algorithm, x, variable, domain, groups) for x in (pairs.base, pairs.sources[variable]))
    names = [_group_name(domain, g, groups) for g in range(groups)]
    put = f"with {variable} taken from another input the network answers as the algorithm, where {variable} goes"
    seen = np.union1d(before, after)
    found = []
    for kind, rows in ((f"{names[i]} → {names[j]}", (before == i) & (after == j)) for i in seen for j in seen):
        found.append(Slice(pairs.variables, kind, np.flatnonzero(rows), count(right[rows]), f"{put} {kind}", bounded))
    return found


def _from_and_to(algorithm: CausalModel, pairs: Pairs, right: Column, domain: Finite, groups: int) -> list[Slice]:
    """The pairs that begin, and those that end, at each value, or group of neighbouring values."""
    (variable,) = pairs.variables
    if groups <= 2:  # noqa: PLR2004  # those of two values are sums of two transitions
        return []
    before, after = (_group(algorithm, x, variable, domain, groups) for x in (pairs.base, pairs.sources[variable]))
    put = f"with {variable} taken from another input the network answers as the algorithm, where {variable} goes"
    found = []
    for side, kind in ((before, "{} → any"), (after, "any → {}")):
        for g in np.unique(side):
            name, rows = kind.format(_group_name(domain, g, groups)), np.flatnonzero(side == g)
            found.append(Slice(pairs.variables, name, rows, count(right[rows]), f"{put} {name}", bounded=False))
    return found


def _group(algorithm: CausalModel, inputs: dict[str, Column], variable: str, domain: Finite, groups: int) -> Column:
    codes = domain.encode(algorithm.solve(inputs)[variable]).astype(np.int64)
    return codes * groups // len(domain)


def _group_name(domain: Finite, group: int, groups: int) -> str:
    members = [v for code, v in enumerate(domain) if code * groups // len(domain) == group]
    return f"{members[0]!s}" if len(members) == 1 else f"{members[0]!s}…{members[-1]!s}"
