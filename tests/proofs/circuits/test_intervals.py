import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from commute.proofs.circuits.intervals import Estimate, difference, holm, mean, rate, ratio, ratio_of_rates


def test_a_mean_is_bounded_by_students_t():
    x = np.random.default_rng(0).standard_normal(12)
    found = mean(x, 0.95)
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    assert (found.value, found.lower, found.upper) == pytest.approx((x.mean(), expected.low, expected.high))


def test_a_rate_is_bounded_by_exact_binomial_bounds():
    found = rate(np.array([1.0, 1.0, 0.0, 1.0, 1.0]), 0.975)
    expected = stats.binomtest(4, 5).proportion_ci(0.95, "exact")
    assert (found.value, found.lower, found.upper) == pytest.approx((0.8, expected.low, expected.high))


def test_one_row_bounds_nothing():
    x = np.array([2.0])
    assert np.isinf([mean(x, 0.9).lower, mean(x, 0.9).upper, ratio(x, x, 0.9).lower, ratio(x, x, 0.9).upper]).all()


def test_at_the_bounds_of_a_ratio_the_t_test_just_rejects():
    drawn = np.random.default_rng(1)
    whole = drawn.normal(3, 1, 20)
    part = 0.7 * whole + drawn.normal(0, 1, 20)
    found = ratio(part, whole, 0.95)
    assert found.value == pytest.approx(part.mean() / whole.mean())
    assert stats.ttest_1samp(part - found.lower * whole, 0, alternative="greater").pvalue == pytest.approx(0.05)
    assert stats.ttest_1samp(part - found.upper * whole, 0, alternative="less").pvalue == pytest.approx(0.05)
    assert found.lower < found.value < found.upper


def test_a_ratio_to_what_could_be_nothing_is_not_bounded():
    whole = np.array([1.0, -1.0, 2.0, -1.5])
    found = ratio(whole * 2, whole, 0.95)
    assert (found.lower, found.upper) == (-np.inf, np.inf)


def test_a_ratio_of_one_number_to_itself_is_certain():
    x = np.random.default_rng(2).normal(3, 1, 9)
    found = ratio(x, x, 0.99)
    assert (found.lower, found.upper) == pytest.approx((1, 1), abs=1e-6)


def test_each_bound_of_a_ratio_holds_as_often_as_it_says():
    drawn = np.random.default_rng(3)
    above = below = 0
    for _ in range(1000):
        whole = drawn.gamma(4, 0.5, 25) + 0.5
        found = ratio(0.6 * whole + drawn.normal(0, 1, 25), whole, 0.9)
        below += found.lower <= 0.6
        above += found.upper >= 0.6
    assert 870 <= below <= 930
    assert 870 <= above <= 930


@pytest.mark.parametrize(("part_right", "none_right"), [(0.95, 0.2), (1.0, 0.5), (0.5, 0.4)])
def test_bounds_of_a_ratio_of_rates_hold_at_least_as_often_as_they_say(part_right, none_right):
    drawn = np.random.default_rng(4)
    share, held = (part_right - none_right) / (1 - none_right), np.zeros(2)
    for _ in range(300):
        part, none = ((drawn.random(60) < p).astype(float) for p in (part_right, none_right))
        found = ratio_of_rates(part, np.ones(60), none, 0.9)
        held += found.lower <= share, share <= found.upper
    assert (held >= 270).all()


def test_a_ratio_of_rates_is_not_certain_because_nothing_was_lost_on_few_rows():
    right, none = np.ones(20), np.arange(20) % 4 == 0
    found = ratio_of_rates(right, right, none.astype(float), 0.95)
    assert found.value == 1
    assert found.lower < 0.8
    assert found.upper >= 1


def test_a_ratio_of_rates_to_what_could_be_nothing_is_not_bounded():
    found = ratio_of_rates(np.ones(10), np.ones(10), (np.arange(10) > 0).astype(float), 0.95)
    assert (found.lower, found.upper) == (-np.inf, np.inf)


def test_more_rows_narrow_a_ratio_of_rates():
    drawn = np.random.default_rng(5)
    widths = []
    for n in (100, 10_000):
        part, whole, none = ((drawn.random(n) < p).astype(float) for p in (0.8, 0.9, 0.1))
        found = ratio_of_rates(part, whole, none, 0.95)
        assert found.lower < 7 / 8 < found.upper
        widths.append(found.upper - found.lower)
    assert widths[1] < widths[0] / 5


def test_a_difference_counts_either_kind_of_change():
    first, second = np.array([1, 1, 0, 1.0]), np.array([0, 1, 1, 0.0])
    found = difference(first, second, 0.9)
    assert found.value == pytest.approx(0.25)
    more, less = (stats.binomtest(k, 4).proportion_ci(0.9, "exact") for k in (2, 1))
    assert (found.lower, found.upper) == pytest.approx((more.low - less.high, more.high - less.low))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 21))
def test_a_corrected_p_value_is_the_level_at_which_the_step_down_procedure_rejects(p, level):
    rest = sorted(p)
    rejected = []
    while rest and rest[0] * len(rest) <= level:
        rejected.append(rest.pop(0))
    assert [x <= level for x in (holm(np.array(p) / 21) * 21).round(9)] == [level == 21 or x in rejected for x in p]


def test_no_number_reads_as_minus_nothing():
    assert str(Estimate(-1e-9, -0.25, np.inf)) == "0.000 [-0.250, inf]"
