import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

import commute as cm
from commute.alignments.binomial import Count
from commute.proofs.battery import BATTERIES, DECIDING
from commute.proofs.bounds import ANYTIME, FEWEST, bound, stands_out
from commute.proofs.control import Control
from commute.proofs.controls import control_level
from commute.proofs.decide import decide, judged_controls, judged_distinctions, judged_slices
from commute.proofs.distinctions import Distinction
from commute.proofs.slices import Slice, slices_of
from tests import planted

counts = st.integers(1, 400).flatmap(lambda n: st.integers(0, n).map(lambda k: Count(k, n)))


def slices(*counted):
    return [Slice(("v",), f"part {i}", np.arange(c.total), c, "") for i, c in enumerate(counted)]


def holm(p_values, alpha):
    """Holm's step-down procedure as it is told: which hypotheses are rejected."""
    rejected = [False] * len(p_values)
    for step, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[i] > alpha / (len(p_values) - step):
            break
        rejected[i] = True
    return rejected


def accepted(p_values, alpha):
    """All where each test rejects by itself, so that the claim as a whole holds; otherwise those that Holm rejects."""
    return [True] * len(p_values) if max(p_values) <= alpha else holm(p_values, alpha)


@given(st.lists(counts, min_size=1, max_size=6), st.sampled_from([0.5, 0.9, 0.95]), st.sampled_from([0.9, 0.99]))
def test_a_lower_bound_reaches_the_claim_exactly_when_it_is_accepted(counted, at_least, confidence):
    p_values = [binomtest(c.correct, c.total, at_least, alternative="greater").pvalue for c in counted]
    bounds = bound(slices(*counted), at_least=at_least, confidence=confidence)
    assert [bool(b.passed) for b in bounds] == accepted(p_values, 1 - confidence)
    assert [b.lower >= at_least for b in bounds] == accepted(p_values, 1 - confidence)


def test_a_claim_that_is_false_in_one_slice_is_rarely_accepted():
    """However many slices there are: the one that is below must be accepted itself. Slices of the same pairs are no worse."""
    generator = np.random.default_rng(0)
    for shared in (False, True):
        accepted_at_all = 0
        for _ in range(2000):
            one = int(generator.binomial(1500, 0.9))
            others = [one if shared else int(k) for k in generator.binomial(1500, 0.99, size=6)]
            counted = [Count(k, 1500) for k in (one, *others)]
            accepted_at_all += all(b.passed for b in bound(slices(*counted), at_least=0.9, confidence=0.95))
        assert accepted_at_all <= 100 + 3 * 9.8


@given(st.lists(counts, min_size=1, max_size=6), st.sampled_from([0.5, 0.95]))
def test_an_upper_bound_stays_below_the_claim_exactly_when_bonferroni_rejects(counted, at_least):
    p_values = [binomtest(c.correct, c.total, at_least, alternative="less").pvalue for c in counted]
    bounds = bound(slices(*counted), at_least=at_least, confidence=0.99)
    for p, b in zip(p_values, bounds, strict=True):
        assert (b.upper < at_least) == (p < 0.01 / len(counted))


def test_lower_bounds_hold_at_once():
    """The chance that any bound is above its truth, simulated for slices on both sides of the claim."""
    rates = np.array([0.999, 0.99, 0.97, 0.95, 0.92, 0.899, 0.89, 0.85])
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(1000):
        counted = [Count(int(k), 2000) for k in generator.binomial(2000, rates)]
        bounds = bound(slices(*counted), at_least=0.9, confidence=0.9)
        wrong += any(b.lower > rate for b, rate in zip(bounds, rates, strict=True))
    assert wrong <= 100 + 3 * 9.5  # one in ten is allowed, beside three standard errors


def test_more_slices_make_each_bound_weaker():
    alone = bound(slices(Count(500, 500)), at_least=0.95, confidence=0.99)[0]
    among = bound(slices(*[Count(500, 500)] * 20), at_least=0.95, confidence=0.99)[0]
    assert among.lower < alone.lower


@pytest.mark.parametrize("n", [400, 4000])
def test_slices_are_changes_and_transitions(n):
    algorithm = planted.algorithm()
    pairs = cm.pairs(algorithm, ["left"], n)
    before, after = (algorithm.solve(b)["left"] for b in (pairs.base, pairs.sources["left"]))
    right = np.arange(n) % 3 > 0
    assert {s.bounded for s in slices_of(algorithm, pairs, right) if "→" in s.kind} == {n == 4000}
    found = {s.kind: s.count for s in slices_of(algorithm, pairs, right)}
    assert set(found) == {"changed", "unchanged", *(f"{i} → {j}" for i in (False, True) for j in (False, True))}
    assert found["False → True"] == Count(int((right & ~before & after).sum()), int((~before & after).sum()))
    assert found["changed"].total + found["unchanged"].total == n


def test_transitions_of_a_variable_with_many_values_are_grouped():
    """As many groups as have about a thousand pairs each are bounded, and the finest are kept beside them."""
    algorithm = cm.library.modular_addition(13)
    for n, bounded in ((3000, 0), (4000, 4), (9000, 9), (16000, 16)):
        pairs = cm.pairs(algorithm, ["sum"], n)
        found = [s for s in slices_of(algorithm, pairs, np.ones(n, dtype=bool)) if "→" in s.kind]
        from_and_to, found = ([s for s in found if ("any" in s.kind) is by_value] for by_value in (True, False))
        assert [s.kind for s in from_and_to] == [f"{i} → any" for i in range(13)] + [f"any → {i}" for i in range(13)]
        assert not any(s.bounded for s in from_and_to)
        assert sum(s.count.total for s in from_and_to) == 2 * n
        assert sum(s.bounded for s in found) == bounded
        finest = [s for s in found if not s.bounded] if bounded < 16 else found
        assert len(finest) == 16
        assert "0…3 → 10…12" in [s.kind for s in finest]
        assert sum(s.count.total for s in finest) == n


def test_a_transition_that_no_pair_makes_is_open():
    pairs = cm.pairs(planted.algorithm(), ["left"], 400)
    left = planted.algorithm().solve
    keep = ~(left(pairs.base)["left"] & ~left(pairs.sources["left"])["left"])
    found = {s.kind: s for s in slices_of(planted.algorithm(), pairs[keep], np.ones(int(keep.sum()), dtype=bool))}
    unseen = found["True → False"]
    assert unseen.count == Count(0, 0)
    assert bound([unseen], at_least=0.95, confidence=0.99)[0].passed is None
    assert stands_out(unseen.count, 0.95)


def test_joint_sets_have_no_transitions():
    pairs = cm.pairs(planted.algorithm(), ["left", "right"], 100)
    assert [s.kind for s in slices_of(planted.algorithm(), pairs, np.ones(100, dtype=bool))] == ["changed", "unchanged"]


GOOD = Control("random subspace", "v", Count(500, 1000), "")
REACHED = Control("re-initialised network", "v", Count(1000, 1000), "")
IMPOSSIBLE = Control("permuted algorithm", "v", None, "")


def test_transitions_refute_and_are_bounded_but_do_not_have_to_be():
    whole, rare = Slice(("v",), "changed", np.arange(2000), Count(1990, 2000), ""), np.arange(60)
    for k, passed in ((60, None), (57, None), (30, False)):
        part = Slice(("v",), "0 → 1", rare, Count(k, 60), "", bounded=False)
        first, second = bound([whole, part], at_least=0.95, confidence=0.99)
        assert first.passed
        assert second.passed is passed
    assert bound([Slice(("v",), "0 → 1", rare, Count(600, 600), "", bounded=False)], at_least=0.95, confidence=0.99)[0].passed


@given(st.integers(0, 300), st.integers(1, 300), st.sampled_from([0.5, 0.95]))
def test_a_transition_stands_out_when_so_few_right_answers_would_be_rare(correct, more, at_least):
    seen = Count(correct, correct + more)
    rare = binomtest(seen.correct, seen.total, at_least, alternative="less").pvalue <= 0.1
    assert stands_out(seen, at_least) == (rare or seen.total < FEWEST)


def test_bounds_of_a_sequence_are_wider():
    counted = [Count(1990, 2000), Count(960, 1000)]
    fixed, anytime = (bound(slices(*counted), at_least=0.97, confidence=0.99, by=by) for by in (None, ANYTIME))
    for f, a in zip(fixed, anytime, strict=True):
        assert a.lower <= f.lower
        assert a.upper > f.upper


@pytest.mark.parametrize(
    ("counted", "controls", "status", "because"),
    [
        ([Count(2000, 2000), Count(1990, 2000)], [GOOD, IMPOSSIBLE], "holds", "worst slice"),
        ([Count(2000, 2000), Count(1500, 2000)], [GOOD], "refuted", "part 1: IIA is at most"),
        ([Count(2000, 2000), Count(40, 40)], [GOOD], "inconclusive", "part 1: IIA lies between"),
        ([Count(2000, 2000), Count(1900, 2000)], [GOOD], "inconclusive", "more pairs are needed"),
        ([Count(2000, 2000)], [GOOD, REACHED], "inconclusive", "this control may reach the claim"),
        ([Count(2000, 2000)], [], "inconclusive", "no control was measured"),
        ([Count(2000, 2000)], [IMPOSSIBLE], "inconclusive", "no control was measured"),
        ([Count(1500, 2000)], [REACHED], "refuted", "part 0"),
    ],
)
def test_the_status_follows_from_slices_and_controls(counted, controls, status, because):
    evidence = [
        *judged_slices(slices(*counted), at_least=0.95, confidence=0.99),
        *judged_controls(controls, at_least=0.95, confidence=0.99),
    ]
    decided, reasons = decide(evidence, BATTERIES["standard"], at_least=0.95)
    assert decided == status
    assert any(because in reason for reason in reasons)


def test_a_control_passes_by_its_upper_bound_over_all_controls():
    """Counts between what one bound alone and all of them at once allow."""
    at_once = control_level(0.99, 1)
    k = next(k for k in range(1000, 0, -1) if Count(k, 1000).upper(0.99) < 0.95 <= Count(k, 1000).upper(at_once))
    for correct, passed in ((k, False), (949, False), (k - 20, True)):
        (found,) = judged_controls([Control("random subspace", "v", Count(correct, 1000), "")], at_least=0.95, confidence=0.99)
        assert found.passed is passed
    several = [Control("random subspace", v, Count(500, 1000), "") for v in "vw"]
    assert judged_controls(several, at_least=0.95, confidence=0.99)[0].upper > Count(500, 1000).upper(at_once)


def test_read_values_are_bounded_for_all_variables_at_once():
    alone, both = (
        judged_distinctions([Distinction(v, ("0", "1"), Count(990, 1000)) for v in named], at_least=0.9, confidence=0.99)[0]
        for named in ("v", "vw")
    )
    assert both.lower < alone.lower


def test_all_of_a_claim_is_accepted_where_each_slice_is_by_itself():
    """Where Holm's procedure would stop at the first."""
    k = next(k for k in range(1500, 2000) if binomtest(k, 2000, 0.95, alternative="greater").pvalue <= 0.01)
    counted = [Count(k, 2000)] * 3
    assert not any(holm([binomtest(c.correct, c.total, 0.95, alternative="greater").pvalue for c in counted], 0.01))
    assert all(b.passed and b.lower == 0.95 for b in bound(slices(*counted), at_least=0.95, confidence=0.99))


def test_a_refutation_is_held_to_the_number_of_slices():
    k = next(k for k in range(2000, 1500, -1) if Count(k, 2000).upper(0.99) < 0.95)
    for others, passed in ((0, False), (30, None)):
        found = bound(slices(Count(k, 2000), *[Count(1990, 2000)] * others), at_least=0.95, confidence=0.99)
        assert found[0].passed is passed


def test_a_variable_needs_one_of_the_three_controls_that_decide():
    shuffled = Control("shuffled sources", "v", Count(500, 1000), "")
    failed = Control("re-initialised network", "v", None, "it cannot be copied", failed=True)
    for controls, status in (([shuffled], "inconclusive"), ([GOOD, failed], "inconclusive"), ([GOOD, IMPOSSIBLE], "holds")):
        evidence = [*good()[:1], *judged_controls(controls, at_least=0.95, confidence=0.99)]
        assert decide(evidence, DECIDING, at_least=0.95)[0] == status


def test_groups_are_those_of_the_pairs_that_there_may_be_in_the_end():
    algorithm = cm.library.modular_addition(13)
    pairs = cm.pairs(algorithm, ["sum"], 500)
    found = slices_of(algorithm, pairs, np.ones(500, dtype=bool), planned=16_000)
    assert sum(s.bounded for s in found if "→" in s.kind) == 16
    assert len({s.kind for s in found}) == len(found)


def test_no_group_is_a_slice_twice():
    """Of three values two groups are one value and two: the transition of the one to itself is one of the finest too."""
    algorithm = cm.library.modular_addition(3)
    found = slices_of(algorithm, cm.pairs(algorithm, ["sum"], 4000), np.ones(4000, dtype=bool))
    assert len({s.kind for s in found}) == len(found)


def good():
    return [
        *judged_slices(slices(Count(2000, 2000)), at_least=0.95, confidence=0.99),
        *judged_controls([GOOD], at_least=0.95, confidence=0.99),
    ]


@pytest.mark.parametrize("left_out", DECIDING)
def test_without_what_decides_no_claim_holds(left_out):
    assert decide(good(), DECIDING, at_least=0.95)[0] == "holds"
    decided, reasons = decide(good(), [i for i in DECIDING if i != left_out], at_least=0.95)
    assert decided == "inconclusive"
    assert f"{left_out} was left out of the battery" in reasons[0]


@pytest.mark.parametrize(
    ("k", "total", "status", "because"),
    [
        (60, 60, "holds", "1 transitions have too few pairs for a bound of their own; none stands out"),
        (53, 60, "inconclusive", "v: 0 → 1: it stands out"),
        (20, 20, "inconclusive", "v: 0 → 1: too few pairs to tell"),
        (30, 60, "refuted", "v: 0 → 1: IIA is at most"),
    ],
)
def test_a_transition_that_stands_out_does_not_pass(k, total, status, because):
    part = Slice(("v",), "0 → 1", np.arange(total), Count(k, total), "", bounded=False)
    evidence = [*good(), *judged_slices([part], at_least=0.95, confidence=0.99)]
    decided, reasons = decide(evidence, DECIDING, at_least=0.95)
    assert decided == status
    assert because in "\n".join(reasons)


def test_values_that_the_feature_does_not_tell_apart_leave_a_claim_open():
    found = Distinction("v", ("8", "9"), Count(900, 2000))
    evidence = [*good(), *judged_distinctions([found], at_least=0.95, confidence=0.99)]
    assert decide(evidence, DECIDING, at_least=0.95)[0] == "inconclusive"
