"""Slices: the parts of the verification pairs on each of which a claim must hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commute.alignments.accuracy import count
from commute.alignments.binomial import Count
from commute.causal.batches import Column
from commute.causal.domains import Finite
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs

_GROUPS = 4  # groups of neighbouring values that the transitions of a larger variable are told by


@dataclass(frozen=True)
class Slice:
    """Some of the pairs of one set of variables, and how many of them the network answered as the algorithm."""

    variables: tuple[str, ...]
    kind: str
    count: Count


@dataclass(frozen=True)
class Bounds:
    """Bounds on a slice's rate that hold for all slices at once."""

    lower: float
    upper: float


def slices_of(algorithm: CausalModel, pairs: Pairs, right: Column) -> list[Slice]:
    """Changed and unchanged pairs, and for a single variable the pairs of each transition from one value to another.

    Args:
        algorithm: tells the variable's value for a base and a source.
        pairs: of one set of variables.
        right: whether the network's answer is the algorithm's, [pairs] of bool.
    """
    kinds = {"changed": pairs.changed, "unchanged": ~pairs.changed}
    if len(pairs.variables) == 1:
        kinds |= _transitions(algorithm, pairs, pairs.variables[0])
    return [Slice(pairs.variables, kind, count(right[mask])) for kind, mask in kinds.items() if mask.any()]


def _transitions(algorithm: CausalModel, pairs: Pairs, variable: str) -> dict[str, Column]:
    """The pairs of each transition of a finite variable: between values, or between groups of neighbours where there are many."""
    domain = algorithm.known_domain(variable)
    if not isinstance(domain, Finite):
        return {}
    groups = min(len(domain), _GROUPS)
    before, after = (_group(algorithm, x, variable, domain, groups) for x in (pairs.base, pairs.sources[variable]))
    names = [_group_name(domain, g, groups) for g in range(groups)]
    return {f"{names[i]} → {names[j]}": (before == i) & (after == j) for i in range(groups) for j in range(groups)}


def _group(algorithm: CausalModel, inputs: dict[str, Column], variable: str, domain: Finite, groups: int) -> Column:
    codes = domain.encode(algorithm.solve(inputs)[variable])
    return codes * groups // len(domain)


def _group_name(domain: Finite, group: int, groups: int) -> str:
    members = [v for code, v in enumerate(domain) if code * groups // len(domain) == group]
    return f"{members[0]!s}" if len(members) == 1 else f"{members[0]!s}…{members[-1]!s}"


def bound(slices: Sequence[Slice], *, at_least: float, confidence: float) -> list[Bounds]:
    """Bounds for each slice, in order, so that no conclusion about any slice is wrong more often than 1 - confidence.

    Lower bounds follow Holm's step-down procedure over the tests "the rate is under `at_least`": the slice with the i-th smallest
    p-value of m has its bound at level alpha / (m - i + 1), so every lower bound reaches `at_least` exactly when Holm rejects
    every test. Upper bounds are at level alpha / m, Holm's first step, which alone decides whether any slice is refuted.
    """
    alpha, m = 1 - confidence, len(slices)
    by_evidence = np.argsort([_p_under(s.count, at_least) for s in slices], kind="stable")
    levels = np.empty(m)
    levels[by_evidence] = alpha / (m - np.arange(m))
    return [Bounds(s.count.lower(1 - level), s.count.upper(1 - alpha / m)) for s, level in zip(slices, levels, strict=True)]


def _p_under(seen: Count, rate: float) -> float:
    """The chance of so many right answers or more at `rate`."""
    from scipy.special import bdtrc

    return float(bdtrc(seen.correct - 1, seen.total, rate)) if seen.correct else 1.0
