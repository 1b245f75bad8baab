"""Bounds on the rates of slices, and what they say of a claim."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from commute.alignments import sequences
from commute.alignments.binomial import Count
from commute.proofs.slices import Slice

FEWEST = 30  # pairs that a transition needs so that it would stand out if the network went wrong there
_STANDS_OUT = 0.1  # chance of so few right answers, at the rate claimed, below which a transition stands out


@dataclass(frozen=True)
class Inference:
    """How bounds follow from counts.

    Attributes:
        lower: one-sided bound from below, of a count at a confidence.
        upper: one-sided bound from above, likewise.
        p_under: p-value of the hypothesis that the rate is not above a number.
    """

    lower: Callable[[Count, float], float]
    upper: Callable[[Count, float], float]
    p_under: Callable[[Count, float], float]


@dataclass(frozen=True)
class Bounds:
    """Bounds on a slice's rate, and whether they speak for the claim (True), against it (False) or neither."""

    lower: float
    upper: float
    passed: bool | None


def bound(slices: Sequence[Slice], *, at_least: float, confidence: float, by: Inference | None = None) -> list[Bounds]:
    """Bounds for each slice, in order; the chance that any lower one is too high is at most 1 - confidence, likewise upper ones.

    For lower bounds this is so where slices do not work against each other, as slices of other pairs and of the same pairs do not
    (Simes, 1986); that the claim is not accepted when it is false, whatever they do.

    The claim is that every slice's rate is at least `at_least`. It is false if one slice is below, and it is then accepted only
    if that slice's own test rejects: so where every slice's test is rejected at level alpha, all of them pass (an
    intersection-union test, Berger 1982). Otherwise those pass that Holm's step-down procedure rejects. Bounds from below
    go with this (Strassburger and Bretz, 2008): where all pass each is at level alpha / m for m slices, or `at_least` if that is
    higher; otherwise the slices that pass are bounded by `at_least`, and the r others each at level alpha / r. Bounds from
    above are at level alpha / m over all slices and transitions, which alone decides whether any is refuted.

    Transitions, which are not bounded by themselves for the claim to hold, have bounds of their own at level alpha / m.

    Args:
        slices: the slices and transitions.
        at_least: the rate claimed.
        confidence: 1 - alpha.
        by: how bounds follow from counts; by default exactly, for numbers of pairs that were fixed beforehand.
    """
    by = by or FIXED
    alpha, m = 1 - confidence, len(slices)
    claimed = [s for s in slices if s.bounded]
    passed = dict(zip(claimed, _passing([by.p_under(s.count, at_least) for s in claimed], alpha), strict=True))
    everything = all(passed.values())
    level = alpha / max(len(claimed) if everything else sum(not p for p in passed.values()), 1)
    found = []
    for s in slices:
        upper = by.upper(s.count, 1 - alpha / m)
        own = by.lower(s.count, 1 - (level if s.bounded else alpha / m))
        holds = passed.get(s, own >= at_least)
        lower = own if not s.bounded or not holds else max(own, at_least) if everything else at_least
        found.append(Bounds(lower, upper, True if holds else False if upper < at_least else None))
    return found


def stands_out(seen: Count, at_least: float) -> bool:
    """Whether a transition has too few right answers for the rate claimed, or too few pairs for that to be seen."""
    wrong = Count(seen.total - seen.correct, seen.total)
    return seen.total < FEWEST or _p_under(wrong, 1 - at_least) <= _STANDS_OUT


def _passing(p_values: Sequence[float], alpha: float) -> list[bool]:
    if all(p <= alpha for p in p_values):
        return [True] * len(p_values)
    order = np.argsort(p_values, kind="stable")
    m = len(p_values)
    passed = np.empty(m, dtype=bool)
    passed[order] = np.cumprod(np.asarray(p_values)[order] <= alpha / (m - np.arange(m))).astype(bool)
    return [bool(p) for p in passed]


def _p_under(seen: Count, rate: float) -> float:
    """The chance of so many right answers or more at `rate`."""
    from scipy.special import bdtrc

    return float(bdtrc(seen.correct - 1, seen.total, rate)) if seen.correct else 1.0


def _p_anytime(seen: Count, rate: float) -> float:
    return min(1.0, exp(-sequences.evidence_against(seen, rate)))


FIXED = Inference(Count.lower, Count.upper, _p_under)
ANYTIME = Inference(sequences.lower, sequences.upper, _p_anytime)
