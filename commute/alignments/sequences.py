"""Binomial bounds that hold at all times at once, however often the counts are looked at.

The null hypothesis `p <= rate` is bet against with the mixture of the likelihood ratios of every q > rate to rate,

    M(k, n) = integral of q^k (1-q)^(n-k) w(q) dq / (rate^k (1-rate)^(n-k)),    w = Beta(1, 1/2) restricted to (rate, 1),

whose mean under any p <= rate never grows from one trial to the next. So it ever reaches 1/alpha in a share alpha of repetitions
at most (Ville, 1939; Robbins, 1970). The rates for which it has not are a confidence sequence (1810.08240, 2010.09686). More of w
lies near 1 than in the middle, since that is where claims are made.
"""

from typing import Any

import numpy as np

from commute.alignments.binomial import Count
from commute.errors import CommuteError

_B = 0.5  # of Beta(1, b): above a rate it has the mass (1 - rate)^b; the bounds need b <= 1
_HALVINGS = 60


def evidence_against(count: Count, rate: float) -> float:
    """The logarithm of what the bet against `p <= rate` has come to (a log e-value).

    `min(1, exp(-evidence))` is a p-value that is valid whenever one chooses to look, and so is the least of those seen so far.
    Where a bet is lost beyond what a float can tell, it is minus infinity.

    Raises:
        CommuteError: when the rate is not between 0 and 1.
    """
    if not 0 <= rate <= 1:
        raise CommuteError(f"a rate lies between 0 and 1; given {rate!r}")
    return float(_evidence(count.correct, count.total, rate))


def lower(count: Count, confidence: float) -> float:
    """The rate is at least this, in a share `confidence` of repetitions at all times at once (one-sided).

    0.996 for 1,000 of 1,000 at 0.95, where `Count.lower`, which may be looked at once, is 0.997. An earlier bound stays valid, so
    the greatest of all bounds seen is one as well.

    Raises:
        CommuteError: when the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise CommuteError(f"a confidence lies between 0 and 1; given {confidence!r}")
    if not count.correct:
        return 0.0
    # With p the share right, log M <= n KL(p, rate) <= n (p - rate) / rate below p, so that M falls with the rate up to p; from
    # there on it is at most 1. The bound is the one rate at which M is 1/alpha.
    low, high = 0.0, count.rate
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _evidence(count.correct, count.total, middle) >= -np.log1p(-confidence):
            low = middle
        else:
            high = middle
    return low


def upper(count: Count, confidence: float) -> float:
    """The rate is at most this, in a share `confidence` of repetitions at all times at once (one-sided).

    Raises:
        CommuteError: when the confidence is not between 0 and 1.
    """
    return 1.0 - lower(Count(count.total - count.correct, count.total), confidence)


def _evidence(correct: Any, total: Any, rate: Any) -> Any:
    """Log M for numbers or arrays of one shape."""
    from scipy.special import betaincc, betaln, xlog1py, xlogy

    wrong = total - correct
    with np.errstate(divide="ignore", invalid="ignore"):
        mixed = betaln(1 + correct, _B + wrong) + np.log(betaincc(1 + correct, _B + wrong, rate)) - betaln(1, _B)
        inside = mixed - xlogy(correct, rate) - xlog1py(_B + wrong, -rate)
    return np.where(np.equal(rate, 1), np.log(_B / (_B + wrong)), inside)  # at 1 the limit
