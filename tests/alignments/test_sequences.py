from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betaincinv
from scipy.stats import binom

import commute as cm
from commute.alignments.binomial import Count
from commute.alignments.sequences import _evidence, evidence_against, lower, upper

RATES = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0]
ALPHA, TIMES, REPETITIONS = 0.05, 1000, 2000
ALLOWED = ALPHA + 3 * (ALPHA * (1 - ALPHA) / REPETITIONS) ** 0.5

counts = st.integers(0, 300).flatmap(lambda n: st.integers(0, n).map(lambda k: Count(k, n)))
confidences = st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.9999])


def exceed(rate, crosses):
    """The chance that `crosses(k, n)` is ever true up to n = TIMES under a rate; exact: paths that crossed are set aside."""
    still, crossed = np.ones(1), 0.0
    for n in range(1, TIMES + 1):
        still = np.append(still * (1 - rate), 0) + np.append(0, still * rate)
        k = np.flatnonzero(still > 1e-16)
        out = k[crosses(k, n)]
        crossed += still[out].sum()
        still[out] = 0
    return crossed


def simulated(rate):
    """How many were right at each time, [repetitions, times], as the distinct counts (k, n) and the place of each among them."""
    generator = np.random.default_rng(round(1000 * rate))
    correct, times = (generator.random((REPETITIONS, TIMES)) < rate).cumsum(1), np.arange(1, TIMES + 1)
    distinct, place = np.unique(correct * (TIMES + 1) + times, return_inverse=True)
    return distinct // (TIMES + 1), distinct % (TIMES + 1), place.reshape(REPETITIONS, TIMES)


def clopper_pearson(k, n):
    """The lower bounds at 1 - ALPHA."""
    return np.where(k == 0, 0, betaincinv(np.maximum(k, 1), n - k + 1, ALPHA))


@pytest.mark.parametrize(("k", "n"), [(0, 0), (0, 6), (3, 5), (17, 20), (20, 20), (95, 100), (100, 100)])
@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9, 0.99])
def test_the_evidence_is_the_mixture_of_likelihood_ratios(k, n, rate):
    """Against numerical integration over t = sqrt(1 - q), which takes the weights' pole at 1 away."""
    end = (1 - rate) ** 0.5

    def ratio(t):
        return ((1 - t * t) / rate) ** k * (t * t / (1 - rate)) ** (n - k) / end

    assert exp(evidence_against(Count(k, n), rate)) == pytest.approx(quad(ratio, 0, end, epsabs=0, limit=200)[0], rel=1e-7)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [1, 2, 10, 60])
def test_the_bet_is_fair_at_the_rate_and_a_loss_below(rate, n):
    k = np.arange(n + 1)
    bet = np.exp(_evidence(k, n, rate))
    assert binom.pmf(k, n, rate) @ bet == pytest.approx(1, rel=1e-9)
    assert binom.pmf(k, n, rate - 0.05) @ bet < 1


@given(st.integers(0, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.3, 0.9, 0.999]))
def test_the_bet_is_fair_from_each_trial_to_the_next(counted, rate):
    """A martingale, whatever was seen so far: means at fixed times alone would not allow peeking."""
    k, n = counted
    now, lost, won = (exp(evidence_against(Count(*c), rate)) for c in ((k, n), (k, n + 1), (k + 1, n + 1)))
    assert rate * won + (1 - rate) * lost == pytest.approx(now, rel=1e-9)


@given(counts, st.floats(0, 1))
def test_more_right_answers_are_more_evidence(counted, rate):
    if counted.correct < counted.total:
        more = Count(counted.correct + 1, counted.total)
        assert evidence_against(more, rate) >= evidence_against(counted, rate)
        assert lower(more, 0.95) > lower(counted, 0.95)
        assert upper(more, 0.95) >= upper(counted, 0.95)


@given(counts, confidences)
def test_bounds_lie_around_the_rate_and_beyond_those_of_one_look(counted, confidence):
    if counted.total:
        low, high = lower(counted, confidence), upper(counted, confidence)
        assert 0 <= low <= counted.rate <= high <= 1
        if confidence >= 0.9:
            assert low <= counted.lower(confidence)
            assert high >= counted.upper(confidence)


@given(counts, confidences, st.floats(0.0001, 0.9999))
def test_a_rate_is_excluded_exactly_when_the_bet_against_it_is_won(counted, confidence, rate):
    """The inversion: every rate below the bound is excluded, and none above."""
    won = evidence_against(counted, rate) >= -log(1 - confidence)
    assert won == (rate <= lower(counted, confidence))


def test_a_thousand_of_a_thousand():
    assert 0.990 < lower(Count(1000, 1000), 0.95) < 0.99701
    assert lower(Count(1000, 1000), 0.95) == pytest.approx(0.99622, abs=5e-6)
    assert upper(Count(1000, 1000), 0.95) == 1
    assert lower(Count(10**9, 10**9), 0.95) == pytest.approx(1 - 3.788e-9, abs=1e-12)


def test_no_trials_and_rates_at_the_ends():
    assert (lower(Count(0, 0), 0.95), upper(Count(0, 0), 0.95)) == (0, 1)
    assert (lower(Count(0, 50), 0.95), upper(Count(50, 50), 0.95)) == (0, 1)
    assert evidence_against(Count(0, 0), 0.9) == pytest.approx(0, abs=1e-12)
    assert evidence_against(Count(1, 9), 0) == inf  # a right answer cannot be of rate 0
    assert evidence_against(Count(9, 9), 1) == 0
    assert evidence_against(Count(3, 9), 1) == pytest.approx(evidence_against(Count(3, 9), 1 - 1e-13), abs=1e-9)
    assert evidence_against(Count(3, 10_000), 0.9) == -inf


def test_what_is_no_rate_and_no_confidence():
    for confidence in (0, 1, 95):
        for bound in (lower, upper):
            with pytest.raises(cm.CommuteError, match=f"between 0 and 1; given {confidence}"):
                bound(Count(1, 2), confidence)
    with pytest.raises(cm.CommuteError, match="between 0 and 1; given 1.5"):
        evidence_against(Count(1, 2), 1.5)


@pytest.mark.parametrize("rate", [0.9, 0.95, 0.99])
def test_the_chance_that_any_of_a_thousand_looks_misleads(rate):
    """Summed exactly over all paths, for both sides; it is not far below what is allowed, so the bounds are not slack either."""
    below = exceed(rate, lambda k, n: _evidence(k, n, rate) >= -log(ALPHA))
    above = exceed(rate, lambda k, n: _evidence(n - k, n, 1 - rate) >= -log(ALPHA))
    assert ALPHA / 5 < below <= ALPHA
    assert ALPHA / 5 < above <= ALPHA


def test_bounds_of_one_look_mislead_when_looked_at_often():
    """The same sum, were Clopper and Pearson's bound looked at every 20 trials: four times what is allowed."""
    assert exceed(0.95, lambda k, n: (n % 20 == 0) & (clopper_pearson(k, n) > 0.95)) == pytest.approx(0.199, abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
def test_simulated_bounds_never_mislead_too_often(rate):
    """The share of repetitions in which a bound excludes the truth at any of all times, looking every time."""
    k, n, place = simulated(rate)
    for won in (_evidence(k, n, rate) >= -log(ALPHA), _evidence(n - k, n, 1 - rate) >= -log(ALPHA)):
        assert won[place].any(1).mean() <= ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
def test_simulated_bounds_of_one_look(rate):
    """At a fixed number of trials Clopper and Pearson's bounds mislead no more often than allowed; over all times they do."""
    k, n, place = simulated(rate)
    below, above = (clopper_pearson(k, n) > rate)[place], (clopper_pearson(n - k, n) > 1 - rate)[place]
    for last in (20, 100, 500, 1000):
        assert below[:, last - 1].mean() <= ALLOWED
        assert above[:, last - 1].mean() <= ALLOWED
    if rate < 1:  # of a network that is never wrong nothing misleads
        assert max(below.any(1).mean(), above.any(1).mean()) > ALLOWED
