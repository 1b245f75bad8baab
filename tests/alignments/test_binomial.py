from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commute as cm
from commute.alignments.binomial import Count


def at_least(k, n, p):
    """P(Binomial(n, p) >= k), in exact fractions."""
    p = Fraction(p)
    return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


def test_a_thousand_of_a_thousand_is_not_one():
    assert Count(1000, 1000).lower(0.95) == pytest.approx(0.99701, abs=5e-6)
    assert Count(1000, 1000).upper(0.95) == 1
    assert Count(0, 1000).lower(0.95) == 0


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))), st.sampled_from([0.9, 0.95, 0.99, 0.9995]))
def test_the_lower_bound_is_where_the_count_becomes_unlikely(counted, confidence):
    """Clopper and Pearson's definition, against exact fractions."""
    k, n = counted
    assert float(at_least(k, n, Count(k, n).lower(confidence))) == pytest.approx(1 - confidence, rel=1e-9)


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.5, 0.999))
def test_the_upper_bound_mirrors_the_lower(k, extra, confidence):
    assert Count(k, k + extra + 1).upper(confidence) == 1 - Count(extra + 1, k + extra + 1).lower(confidence)


@pytest.mark.parametrize("confidence", [0.9, 0.99])
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.95, 0.99, 1.0])
def test_bounds_cover_at_their_confidence(rate, confidence):
    """The chance that a bound lies on the wrong side of the truth, summed exactly over all counts."""
    n = 200
    chance = [comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]
    wrong_lower = sum(p for k, p in enumerate(chance) if Count(k, n).lower(confidence) > rate)
    wrong_upper = sum(p for k, p in enumerate(chance) if Count(k, n).upper(confidence) < rate)
    assert max(wrong_lower, wrong_upper) <= 1 - confidence + 1e-12


def test_counts_must_make_sense():
    with pytest.raises(cm.CommuteError, match="0 <= correct <= total; given 3 of 2"):
        Count(3, 2)
