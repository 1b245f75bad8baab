"""Intervals for what is measured on rows that are independent draws; each bound holds by itself at `confidence`."""

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from commute.alignments.binomial import count
from commute.causal.batches import Column


@dataclass(frozen=True)
class Estimate:
    """A number and bounds on the true one; infinite where nothing is known."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.value:z.3f} [{self.lower:z.3f}, {self.upper:z.3f}]"


@dataclass(frozen=True)
class Spread:
    """One number of each of several repetitions: of random seeds, or of resampled data.

    It tells how much the number depends on what was repeated, which no interval over the rows of one repetition does.

    Attributes:
        values: of each repetition.
        mean: with bounds by Student's t over the repetitions.
    """

    values: tuple[float, ...]
    mean: Estimate

    def __str__(self) -> str:
        return f"{self.mean} over {len(self.values)} repetitions, from {min(self.values):.3f} to {max(self.values):.3f}"


def mean(values: Column, confidence: float) -> Estimate:
    """The mean of numbers, [rows], by Student's t: exact for normal numbers, else as rows are many."""
    from scipy.special import stdtrit

    found, n = float(values.mean()), len(values)
    if n == 1:
        return Estimate(found, -inf, inf)
    margin = float(stdtrit(n - 1, confidence) * values.std(ddof=1) / sqrt(n))
    return Estimate(found, found - margin, found + margin)


def rate(bits: Column, confidence: float) -> Estimate:
    """The share of ones among zeros and ones, [rows], by exact binomial bounds."""
    found = count(bits > 0)
    return Estimate(found.rate, found.lower(confidence), found.upper(confidence))


def difference(first: Column, second: Column, confidence: float) -> Estimate:
    """How much more often one of two is 1 on the same rows, [rows] each, by exact binomial bounds on either kind of change."""
    more, less, each = count(first > second), count(first < second), 1 - (1 - confidence) / 2
    lower, upper = more.lower(each) - less.upper(each), more.upper(each) - less.lower(each)
    return Estimate(more.rate - less.rate, lower, upper)


def ratio(part: Column, whole: Column, confidence: float) -> Estimate:
    """The mean of one number over that of another on the same rows, [rows] each, by Fieller's theorem (1954).

    The ratio is within the bounds when `part` less the ratio times `whole` could have mean 0 by Student's t. There are no bounds
    where the mean of `whole` itself could be 0.
    """
    from scipy.special import stdtrit

    n = len(part)
    value = float(part.mean() / whole.mean())
    if n == 1:
        return Estimate(value, -inf, inf)
    (pp, pw), (_, ww) = (np.cov(part, whole) * stdtrit(n - 1, confidence) ** 2 / n).tolist()
    p, w = float(part.mean()), float(whole.mean())
    a, b, c = w * w - ww, p * w - pw, p * p - pp  # a x² - 2 b x + c <= 0
    if a <= 0:
        return Estimate(value, -inf, inf)
    root = sqrt(max(b * b - a * c, 0.0))
    return Estimate(value, min((b - root) / a, value), max((b + root) / a, value))


def ratio_of_rates(part: Column, whole: Column, none: Column, confidence: float) -> Estimate:
    """(part - none) / (whole - none) of the means of zeros and ones on the same rows, [rows] each.

    It is 1 - (whole - part) / (whole - none), and both differences are bounded exactly, together at `confidence`. So no bound is
    1 only because nothing was lost on the few rows that were seen.
    """
    each = 1 - (1 - confidence) / 2
    lost, gap = difference(whole, part, each), difference(whole, none, each)
    value = 1 - lost.value / gap.value
    if gap.lower <= 0:
        return Estimate(value, -inf, inf)
    most = lost.upper / (gap.lower if lost.upper > 0 else gap.upper)
    least = lost.lower / (gap.upper if lost.lower > 0 else gap.lower)
    return Estimate(value, 1 - most, 1 - least)


def holm(p: Column) -> Column:
    """p-values of several tests, [tests], such that each is below a level by mistake in that share of cases, for all together.

    Holm (1979): the smallest is multiplied by the number of tests, the next by one less, and none is smaller than one before.
    """
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    found: Column = np.empty_like(raised)
    found[order] = raised
    return found
