import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

import commute as cm
from commute.alignments.binomial import Count
from commute.proofs.controls import Control
from commute.proofs.decide import decide, judged_controls, judged_slices
from commute.proofs.slices import Slice, bound, slices_of
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


@given(st.lists(counts, min_size=1, max_size=6), st.sampled_from([0.5, 0.9, 0.95]), st.sampled_from([0.9, 0.99]))
def test_a_lower_bound_reaches_the_claim_exactly_when_holm_rejects(counted, at_least, confidence):
    p_values = [binomtest(c.correct, c.total, at_least, alternative="greater").pvalue for c in counted]
    bounds = bound(slices(*counted), at_least=at_least, confidence=confidence)
    assert [bool(b.passed) for b in bounds] == holm(p_values, 1 - confidence)
    assert [b.lower >= at_least for b in bounds] == holm(p_values, 1 - confidence)


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


def test_slices_are_changes_and_transitions():
    algorithm = planted.algorithm()
    pairs = cm.pairs(algorithm, ["left"], 400)
    before, after = (algorithm.solve(b)["left"] for b in (pairs.base, pairs.sources["left"]))
    right = np.arange(400) % 3 > 0
    found = {s.kind: s.count for s in slices_of(algorithm, pairs, right)}
    assert set(found) == {"changed", "unchanged", *(f"{i} → {j}" for i in (False, True) for j in (False, True))}
    assert found["False → True"] == Count(int((right & ~before & after).sum()), int((~before & after).sum()))
    assert found["changed"].total + found["unchanged"].total == 400


def test_transitions_of_a_variable_with_many_values_are_grouped():
    algorithm = cm.library.modular_addition(13)
    pairs = cm.pairs(algorithm, ["sum"], 2000)
    found = slices_of(algorithm, pairs, np.ones(2000, dtype=bool))
    kinds = [s.kind for s in found if "→" in s.kind]
    assert len(kinds) == 16
    assert "0…3 → 10…12" in kinds
    assert sum(s.count.total for s in found if "→" in s.kind) == 2000


def test_a_transition_that_no_pair_makes_is_open():
    pairs = cm.pairs(planted.algorithm(), ["left"], 400)
    left = planted.algorithm().solve
    keep = ~(left(pairs.base)["left"] & ~left(pairs.sources["left"])["left"])
    found = {s.kind: s for s in slices_of(planted.algorithm(), pairs[keep], np.ones(int(keep.sum()), dtype=bool))}
    unseen = found["True → False"]
    assert unseen.count == Count(0, 0)
    assert bound([unseen], at_least=0.95, confidence=0.99)[0].passed is None


def test_joint_sets_have_no_transitions():
    pairs = cm.pairs(planted.algorithm(), ["left", "right"], 100)
    assert [s.kind for s in slices_of(planted.algorithm(), pairs, np.ones(100, dtype=bool))] == ["changed", "unchanged"]


GOOD = Control("random subspace", "v", Count(500, 1000), "")
REACHED = Control("re-initialised network", "v", Count(1000, 1000), "")
IMPOSSIBLE = Control("permuted algorithm", "v", None, "")


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
    decided, reasons = decide(evidence, at_least=0.95)
    assert decided == status
    assert any(because in reason for reason in reasons)
