"""Drawing until a claim is decided."""

import numpy as np
import pytest

import commute as cm
from commute.alignments.binomial import Count, count
from commute.causal.pairs import Pairs
from commute.proofs.checked import Checked, Sampler, together
from commute.proofs.sampling import Sampling
from commute.proofs.slices import Slice
from tests import planted


def coin(rate, seed, drawn):
    """A sampler of one slice that is right at a rate; how many pairs it was asked for is appended to `drawn`."""
    generator = np.random.default_rng(seed)

    def draw(n):
        drawn.append(n)
        right = generator.random(n) < rate
        pairs = Pairs({"x": np.zeros(n)}, {}, {"y": np.zeros(n)}, np.zeros(n, dtype=bool), "uniform", independent=True)
        return Checked("coin", pairs, right.astype(int), right, cut)

    return Sampler("coin", draw)


def cut(pairs, right):
    return [Slice(("v",), "changed", np.arange(len(pairs)), count(right), "")]


def sampled(rates, sampling, *, seed=0):
    drawn = [[] for _ in rates]
    samplers = [coin(rate, (seed, i), asked) for i, (rate, asked) in enumerate(zip(rates, drawn, strict=True))]
    checked = sampling.drawn(samplers, at_least=0.95, confidence=0.99)
    return checked, drawn


def test_without_looks_all_pairs_are_drawn_at_once():
    checked, drawn = sampled([1.0, 0.5], Sampling(700))
    assert drawn == [[700], [700]]
    assert [len(c.pairs) for c in checked] == [700, 700]


def test_kinds_that_are_settled_draw_no_more():
    checked, drawn = sampled([1.0, 0.965], Sampling(100, "decision", 20_000))
    assert sum(drawn[0]) == 250
    assert sum(drawn[1]) >= 2000
    assert len(checked[1].pairs) == sum(drawn[1]) == len(checked[1].right)


def test_a_refutation_ends_it():
    _, drawn = sampled([1.0, 0.6, 0.97], Sampling(100, "decision", 20_000))
    assert drawn == [[250], [250], [250]]


def test_pairs_end_at_the_limit():
    _, drawn = sampled([0.95], Sampling(100, "decision", 900))
    assert sum(drawn[0]) == 900
    assert Sampling(100, "decision").most == 1000


def test_a_width_is_reached():
    for width in (0.1, 0.05):
        checked, _ = sampled([0.9], Sampling(100, width, 50_000))
        found = checked[0].slices[0].count
        by = Sampling(100, width).by
        assert by.upper(found, 0.99) - by.lower(found, 0.99) <= width
        fewer = Count(round(found.correct / 2), round(found.total / 2))
        assert by.upper(fewer, 0.99) - by.lower(fewer, 0.99) > width


def test_false_claims_are_not_accepted_by_looking_often():
    """At the edge of the claim, with a look at every doubling up to eight thousand pairs."""
    accepted = 0
    for seed in range(150):
        checked, _ = sampled([0.95], Sampling(100, "decision", 8000), seed=seed)
        accepted += Sampling(100, "decision").by.p_under(checked[0].slices[0].count, 0.95) <= 0.01
    assert accepted <= 1.5 + 3 * 1.3


def test_parts_are_put_after_each_other():
    parts = [coin(0.5, i, []).draw(n) for i, n in enumerate((3, 4))]
    whole = together(parts)
    assert whole.right.tolist() == [*parts[0].right.tolist(), *parts[1].right.tolist()]
    assert len(whole.pairs) == len(whole.answered) == 7
    assert whole.slices[0].count.total == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until": "decided"}, "until is \"decision\" or a width of bounds between 0 and 1; given 'decided'"),
        ({"until": 2.0}, "given 2.0"),
        ({"at_most": 100}, "at_most goes with until"),
        ({"until": "decision", "at_most": 0}, "at_most must be a whole number of at least 1"),
        ({"tried": 0}, "tried must be a whole number of at least 1"),
        ({"battery": ["interchang"]}, "did you mean 'interchange'"),
        ({"battery": ["read-out"]}, "a battery needs the item 'interchange'"),
        ({"battery": []}, "battery is one of quick, standard, thorough"),
        ({"battery": 3}, "or a list of items; given 3"),
    ],
)
def test_options_that_make_no_sense_are_errors(options, said):
    with pytest.raises(cm.CommuteError, match=said):
        cm.verify(planted.algorithm(), planted.network(), planted.alignment(), **options)


def test_a_claim_is_decided_with_the_pairs_that_it_needs():
    true, false = (
        cm.verify(planted.algorithm(), planted.network(fault), planted.alignment(), n=1000, until="decision", at_most=8000)
        for fault in ("", "leak")
    )
    assert true.status == "holds"
    assert false.status == "refuted"
    assert true.accuracy.interval is None  # the number of pairs hung on the answers
    assert false.accuracy.overall.total < true.accuracy.overall.total < 3 * 8000


def test_an_alignment_chosen_among_many_is_held_to_more():
    once, often = (
        cm.verify(planted.algorithm(), planted.network(), planted.alignment(), n=2000, battery="quick", tried=tried)
        for tried in (1, 50)
    )
    for a, b in zip(once.slices, often.slices, strict=True):
        assert a.count == b.count
        assert b.lower < a.lower
    assert often.tried == 50
