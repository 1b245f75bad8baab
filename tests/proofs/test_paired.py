from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, multinomial

import commute as cm
from commute.alignments.accuracy import agrees
from commute.alignments.binomial import Count
from commute.proofs.paired import PairedComparison, compare_alignments
from tests import planted

few = st.integers(0, 60)
comparisons = st.builds(
    PairedComparison, few, few, few, few, independent=st.just(True), confidence=st.sampled_from([0.8, 0.95, 0.99])
)


def swapped(compared):
    return PairedComparison(compared.both, compared.only_second, compared.only_first, compared.neither, True, compared.confidence)


def sides(fault=""):
    return planted.network(fault), planted.alignment()


def test_counts_are_those_of_the_pairs():
    """Against the algorithm itself: exchanged variables answer as the other interchange does; the planted ones are right."""
    algorithm, right = planted.algorithm(), planted.alignment()
    other = cm.Alignment({"left": right["right"], "right": right["left"]})
    pairs = cm.pairs(algorithm, ["left"], 500, design="uniform")
    answered = algorithm.interchange(pairs.base, {"right": pairs.sources["left"]})["same"]
    as_right = int(agrees(answered, pairs.expected).sum())
    compared = compare_alignments(algorithm, pairs, sides(), (planted.network(), other))
    assert compared == PairedComparison(as_right, 500 - as_right, 0, 0, independent=True)
    assert compared.better == "first"
    assert compared.difference == pytest.approx(1 - as_right / 500)
    assert (compared.first, compared.second) == (Count(500, 500), Count(as_right, 500))


def test_two_networks_on_the_same_pairs():
    """A leak makes a twelfth of inputs wrong; the pairs on which it does are found from the accuracies of both."""
    algorithm = planted.algorithm()
    pairs = cm.pairs(algorithm, ["left", "right"], 1000)
    compared = compare_alignments(algorithm, pairs, sides("leak"), sides(), confidence=0.95)
    leaky = cm.interchange_accuracy(algorithm, *sides("leak"), pairs)
    assert compared.first == leaky.overall
    assert compared.only_second == 1000 - leaky.overall.correct > 20
    assert compared.better == "second"
    low, high = compared.interval
    assert low < compared.difference < high < 0
    assert str(compared) == (
        f"IIA {leaky.rate:.4f} against 1.0000, difference {leaky.rate - 1:+.4f} [{low:.4f}, {high:.4f}] on 1000 pairs"
        f" (only the first 0, only the second {compared.only_second}; McNemar p = {compared.p_value:.2g})"
    )


def test_the_same_alignment_is_not_better_than_itself():
    pairs = cm.pairs(planted.algorithm(), ["left"], 300)
    compared = compare_alignments(planted.algorithm(), pairs, sides("leak"), sides("leak"))
    assert (compared.only_first, compared.only_second, compared.p_value, compared.better) == (0, 0, 1, None)
    low, high = compared.interval
    assert -low == high == Count(0, 300).upper(0.9975)


def test_pairs_that_share_bases_have_neither_interval_nor_test():
    small = cm.library.hierarchical_equality(2)
    pairs = cm.pairs(small, ["left"], design="exhaustive")
    right = planted.alignment()
    other = cm.Alignment({"left": right["right"], "right": right["left"]})
    compared = compare_alignments(small, pairs, sides(), (planted.network(), other))
    assert compared.difference > 0.2
    assert (compared.interval, compared.p_value, compared.better) == (None, None, None)
    assert "[" not in str(compared)
    assert "McNemar" not in str(compared)


def test_what_cannot_be_compared():
    algorithm = planted.algorithm()
    pairs = cm.pairs(algorithm, ["left"], 10)
    with pytest.raises(cm.CommuteError, match=r"(?s)2 problems.*first must be .*\(network, alignment\).*second must be"):
        compare_alignments(algorithm, pairs, planted.network(), (planted.alignment(), planted.network()))
    with pytest.raises(cm.CommuteError, match="first must be"):
        compare_alignments(algorithm, pairs, (*sides(), 1), sides())
    with pytest.raises(cm.CommuteError, match="pairs must be Pairs of the algorithm.*given 3"):
        compare_alignments(algorithm, 3, sides(), sides())
    with pytest.raises(cm.CommuteError, match="(?s)the pairs are not those of .*there is no input 'c'"):
        compare_alignments(cm.library.xor_nand(), pairs, sides(), sides())
    other = replace(pairs, expected={"same": ~pairs.expected["same"]})
    with pytest.raises(cm.CommuteError, match="what they expect is not what it answers"):
        compare_alignments(algorithm, other, sides(), sides())
    with pytest.raises(cm.CommuteError, match="between 0 and 1; given 99"):
        compare_alignments(algorithm, pairs, sides(), sides(), confidence=99)
    wordy = cm.Network(planted.Planted(), encode=planted.encode, decode=lambda x: np.array(["no", "yes"])[x.argmax(-1)])
    with pytest.raises(cm.CommuteError, match="no label of its domain"):
        compare_alignments(algorithm, pairs, sides(), (wordy, planted.alignment()))


@given(comparisons)
def test_swapping_negates(compared):
    other = swapped(compared)
    assert other.p_value == compared.p_value
    assert other.better == {None: None, "first": "second", "second": "first"}[compared.better]
    assert other.interval == pytest.approx([-x for x in compared.interval[::-1]], abs=1e-12)
    if compared.total:
        assert other.difference == pytest.approx(-compared.difference)


@given(comparisons)
def test_the_interval_is_around_the_difference_and_excludes_0_as_the_test_does(compared):
    low, high = compared.interval
    assert -1 <= low <= high <= 1
    if compared.total:
        assert low <= compared.difference + 1e-12
        assert high >= compared.difference - 1e-12
    assert (compared.better is not None) == (compared.p_value <= (1 - compared.confidence) / 2)
    if compared.better is not None:
        assert (compared.better == "first") == (compared.only_first > compared.only_second)


@given(few, few)
def test_the_test_is_twice_the_tail_of_a_fair_coin(only_first, only_second):
    compared = PairedComparison(5, only_first, only_second, 5, independent=True)
    tail = binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)
    assert compared.p_value == pytest.approx(min(1, 2 * tail))


@given(comparisons)
def test_more_confidence_is_a_wider_interval(compared):
    surer = PairedComparison(compared.both, compared.only_first, compared.only_second, compared.neither, True, 0.999)
    assert surer.interval[0] <= compared.interval[0]
    assert surer.interval[1] >= compared.interval[1]


@pytest.mark.parametrize(("first", "second"), [(0.05, 0.05), (0.3, 0.1), (0.2, 0.0), (0.0, 0.02), (0.5, 0.5), (1.0, 0.0)])
def test_the_interval_covers_at_its_confidence(first, second):
    """The chance that the interval misses the difference, summed exactly over all counts of 40 pairs."""
    missed, n, confidence = 0.0, 40, 0.8
    for i in range(n + 1):
        for j in range(n + 1 - i):
            if chance := multinomial.pmf([i, j, n - i - j], n, [first, second, max(0, 1 - first - second)]):
                low, high = PairedComparison(n - i - j, i, j, 0, independent=True, confidence=confidence).interval
                missed += chance * (not low <= first - second <= high)
    assert missed <= 1 - confidence


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(0.02, 0.005), (0.05, 0.05), (0.1, 0.2)])
def test_simulated_intervals_cover(first, second):
    drawn = np.random.default_rng(0).multinomial(1000, [0.6, first, second, 0.4 - first - second], size=2000)
    compared = [PairedComparison(*map(int, row), independent=True, confidence=0.95) for row in drawn]
    missed = np.mean([not c.interval[0] <= first - second <= c.interval[1] for c in compared])
    assert missed <= 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5
    true = "first" if first > second else "second" if first < second else None
    assert np.mean([c.better not in (true, None) for c in compared]) <= 0.025 + 3 * (0.025 * 0.975 / 2000) ** 0.5
