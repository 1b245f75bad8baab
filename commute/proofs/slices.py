"""Slices: the parts of the verification pairs on each of which a claim must hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commute.alignments.binomial import Count, count
from commute.causal.batches import Column
from commute.causal.domains import Finite
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs

_GROUPS = 4  # groups of neighbouring values that the transitions of a larger variable are told by


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the pairs of one set of variables: which rows, and how many of them the network answered as the algorithm."""

    variables: tuple[str, ...]
    kind: str
    rows: Column
    count: Count
    says: str


@dataclass(frozen=True)
class Bounds:
    """Bounds on a slice's rate, and whether they speak for the claim (True), against it (False) or neither."""

    lower: float
    upper: float
    passed: bool | None


def slices_of(algorithm: CausalModel, pairs: Pairs, right: Column) -> list[Slice]:
    """Changed and unchanged pairs, and for a single variable the pairs of each transition from one value to another.

    A transition that is possible and that no pair happens to make is a slice of none, about which nothing is known.

    Args:
        algorithm: tells the variable's value for a base and a source.
        pairs: of one set of variables.
        right: whether the network's answer is the algorithm's, [pairs] of bool.
    """
    put = f"with {' and '.join(pairs.variables)} taken from other inputs the network answers as the algorithm, where that"
    found = by_change(pairs.variables, pairs.changed, right, ("changed", "unchanged"), put)
    if len(pairs.variables) == 1:
        variable = pairs.variables[0]
        put = f"with {variable} taken from another input the network answers as the algorithm, where {variable} goes"
        for kind, rows in _transitions(algorithm, pairs, variable).items():
            found.append(Slice(pairs.variables, kind, np.flatnonzero(rows), count(right[rows]), f"{put} {kind}"))
    return found


def by_change(variables: tuple[str, ...], changed: Column, right: Column, kinds: tuple[str, str], says: str) -> list[Slice]:
    """The rows that are changed and those that are not, as slices of the kinds named; without those that are empty."""
    parts = ((kinds[0], changed, "changes the answer"), (kinds[1], ~changed, "does not change the answer"))
    return [Slice(variables, k, np.flatnonzero(r), count(right[r]), f"{says} {what}") for k, r, what in parts if r.any()]


def _transitions(algorithm: CausalModel, pairs: Pairs, variable: str) -> dict[str, Column]:
    """The pairs of each transition of a finite variable: between values, or between groups of neighbours where there are many."""
    domain = algorithm.domain(variable)
    if not isinstance(domain, Finite):
        return {}
    groups = min(len(domain), _GROUPS)
    before, after = (_group(algorithm, x, variable, domain, groups) for x in (pairs.base, pairs.sources[variable]))
    names = [_group_name(domain, g, groups) for g in range(groups)]
    seen = np.union1d(before, after)
    return {f"{names[i]} → {names[j]}": (before == i) & (after == j) for i in seen for j in seen}


def _group(algorithm: CausalModel, inputs: dict[str, Column], variable: str, domain: Finite, groups: int) -> Column:
    codes = domain.encode(algorithm.solve(inputs)[variable]).astype(np.int64)
    return codes * groups // len(domain)


def _group_name(domain: Finite, group: int, groups: int) -> str:
    members = [v for code, v in enumerate(domain) if code * groups // len(domain) == group]
    return f"{members[0]!s}" if len(members) == 1 else f"{members[0]!s}…{members[-1]!s}"


def bound(slices: Sequence[Slice], *, at_least: float, confidence: float) -> list[Bounds]:
    """Bounds for each slice, in order; the chance that any lower one is too high is at most 1 - confidence, likewise upper ones.

    Lower bounds belong to Holm's step-down procedure over the tests "the rate is under `at_least`" with m slices. If every test
    is rejected each bound is at level alpha / m, or `at_least` if that is higher. Otherwise the slices whose test is rejected are
    bounded by `at_least`, and the r others each at level alpha / r (Strassburger and Bretz, 2008). Upper bounds are at level
    alpha / m, which alone decides whether any slice is refuted.
    """
    alpha, m = 1 - confidence, len(slices)
    p_values = np.array([_p_under(s.count, at_least) for s in slices])
    order = np.argsort(p_values, kind="stable")
    rejected_in_turn = np.cumprod(p_values[order] <= alpha / (m - np.arange(m))).astype(bool)
    passed = np.empty(m, dtype=bool)
    passed[order] = rejected_in_turn
    level = alpha / (m if passed.all() else (~passed).sum())
    bounds = []
    for s, holds in zip(slices, passed, strict=True):
        own = s.count.lower(1 - level)
        lower = max(own, at_least) if passed.all() else at_least if holds else own
        upper = s.count.upper(1 - alpha / m)
        bounds.append(Bounds(lower, upper, True if holds else False if upper < at_least else None))
    return bounds


def _p_under(seen: Count, rate: float) -> float:
    """The chance of so many right answers or more at `rate`."""
    from scipy.special import bdtrc

    return float(bdtrc(seen.correct - 1, seen.total, rate)) if seen.correct else 1.0
