"""Proofs as evidence of a verdict, on networks whose IIA is known."""

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import commute as cm
from commute.causal.inputs import Inputs
from commute.causal.library import hierarchical_equality
from commute.proofs.battery import BATTERIES
from commute.proofs.prove import prove
from commute.proofs.proved import evidence_of, shown_of, thinned
from commute.proofs.proving.outcome import Outcome, Work
from commute.recheck import recheck
from tests import planted

BATTERY = ("interchange", "proof")
SETS = [("left",), ("right",), ("left", "right")]


@pytest.fixture(scope="module")
def clean():
    return cm.organisms.compile(hierarchical_equality(2), seed=1)


@pytest.fixture(scope="module")
def leaky():
    """An organism that is wrong on some pairs of `left`."""
    return cm.organisms.compile(hierarchical_equality(3), seed=1, leak={"left": 0.6})


def made(organism, **options):
    options = {"n": 60, "battery": BATTERY, "budget": None, **options}
    return cm.Claim(organism.algorithm, organism.network, alignment=organism.alignment, **options)


def by_hand(organism, variables):
    """How many of all pairs the network itself answers rightly, and of how many."""
    n = len(next(iter(Inputs(organism.algorithm).listed.values())))
    base, sources = Inputs(organism.algorithm).product(variables, 0, n ** (1 + len(variables)))
    base, sources = organism.algorithm.labels(base), {v: organism.algorithm.labels(s) for v, s in sources.items()}
    put = {part: sources[v] for v in variables for part in organism.alignment.parts(v)}
    right = organism.network.interchange(base, put) == organism.algorithm.interchange(base, sources)["same"]
    return int(np.asarray(right).sum()), len(right)


def test_every_pair_of_a_right_network_is_proved(clean):
    verdict = made(clean).verify()
    assert [e.variables for e in verdict.proved] == SETS
    assert all((e.level, e.passed, e.lower, e.upper) == ("exact", True, 1.0, 1.0) for e in verdict.proved)
    assert [(p.right, p.total, p.first) for p in verdict.proofs] == [(256, 256, ""), (256, 256, ""), (4096, 4096, "")]
    assert all(p.work[-1].done == p.bounds + p.evaluated for p in verdict.proofs)
    assert f"exact: left: every pair: {verdict.proofs[0].says}" in str(verdict)


def test_a_proof_makes_up_for_nothing_that_was_not_sampled(clean):
    alone, proved = made(clean, battery=("interchange",)).verify(), made(clean).verify()
    assert (proved.status, proved.reasons) == (alone.status, alone.reasons) == ("inconclusive", alone.reasons)
    assert [e for e in proved.evidence if e.kind != "proof"] == list(alone.evidence)


def test_the_counts_are_those_of_every_pair_carried_out(leaky):
    verdict = made(leaky, n=40).verify()
    for e, p in zip(verdict.proved[:2], verdict.proofs, strict=False):
        right, total = by_hand(leaky, e.variables)
        assert (p.right, p.total, e.level) == (right, total, "exact")
        assert Fraction(e.lower) <= Fraction(right, total) <= Fraction(e.upper)


def test_a_proof_refutes_where_too_few_pairs_were_drawn_to(leaky):
    right, total = by_hand(leaky, ["left"])
    assert 0.5 < right / total < 1
    options = {"n": 4, "at_least": right / total + 1e-6}
    assert made(leaky, battery=("interchange",), **options).verify().status == "inconclusive"
    verdict = made(leaky, **options).verify()
    assert verdict.status == "refuted"
    assert verdict.reasons[0].startswith(f"left: every pair: IIA is proved to be at most {right / total:.6f}, the claim is 0.")
    assert all("every pair" in reason for reason in verdict.reasons)
    assert f"exact: left: every pair: {verdict.proofs[0].says}" in str(verdict)
    assert f"{right:,} of {total:,} pairs are right" in verdict.proofs[0].says


def test_the_first_wrong_pair_is_a_counterexample_where_none_was_drawn(leaky):
    verdicts = (made(leaky, n=1, battery=BATTERY, at_least=0.999).verify(seed=seed) for seed in range(20))
    verdict = next(v for v in verdicts if all(e.count.correct == e.count.total for e in v.slices if e.count))
    example = verdict.counterexample
    assert example.slice.endswith(": every pair")
    again = cm.replay(leaky.algorithm, leaky.network, leaky.alignment, example.base, example.sources)
    assert again.differs
    assert (again.expected, again.answered) == (example.expected, example.answered)
    assert any(p.first.startswith("base a=") and " from a=" in p.first for p in verdict.proofs)


def test_a_proof_that_was_cut_off_decides_nothing(leaky):
    alone = made(leaky, n=4, battery=("interchange",), at_least=0.9).verify()
    cut = made(leaky, n=4, budget="1 bounds", at_least=0.9).verify()
    assert any(p.undecided for p in cut.proofs)
    for e, p in zip(cut.proved, cut.proofs, strict=True):
        if p.undecided:
            assert (e.level, e.count, e.passed) == ("sound", None, None)
            assert f"{p.undecided:,} undecided" in e.says
    assert (cut.status, cut.reasons) == (alone.status, alone.reasons)


@pytest.mark.parametrize("why", ["an operation without bounds", "continuous inputs"])
def test_what_cannot_be_proved_says_why_and_decides_nothing(why):
    algorithm, network = planted.algorithm(), planted.network()
    if why == "continuous inputs":
        algorithm = cm.CausalModel(
            "near",
            dict.fromkeys("abcd", cm.Interval(0, 3)),
            {"left": lambda a, b: a < b, "right": lambda c, d: c < d, "same": lambda left, right: left == right},
            domains=dict.fromkeys(("left", "right", "same"), cm.Bool),
        )
    options = {"alignment": planted.alignment(), "n": 200}
    alone = cm.Claim(algorithm, network, battery=("interchange",), **options).verify()
    verdict = cm.Claim(algorithm, network, battery=BATTERY, **options).verify()
    (line,) = verdict.proved
    assert (line.passed, line.warning, line.count) == (None, True, None)
    assert {"an operation without bounds": "aten.", "continuous inputs": "must be finite"}[why] in line.says
    assert f"warning: left + right: every pair: {line.says}" in str(verdict)
    assert (verdict.status, verdict.reasons, verdict.proofs) == (alone.status, alone.reasons, ())


def test_a_verdict_with_proofs_is_saved_and_read_back(leaky, tmp_path):
    verdict = made(leaky, budget="40 bounds").verify()
    verdict.save(tmp_path)
    assert cm.Verdict.load(tmp_path) == verdict
    assert made(leaky, budget="40 bounds").verify().to_json() == verdict.to_json()
    assert replace(verdict, proofs=()) != verdict


def test_a_run_keeps_its_certificate_and_goes_on_with_its_proof(clean, tmp_path):
    class Cut(Exception):
        pass

    def stop(event):
        if type(event).__name__ == "Decided":
            raise Cut

    with pytest.raises(Cut):
        made(clean).verify(runs=tmp_path, on_event=stop)
    events = []
    first = made(clean).verify(runs=tmp_path, on_event=events.append)
    assert "ProofAdvanced" not in {type(e).__name__ for e in events}
    (folder,) = tmp_path.iterdir()
    assert recheck(folder / "certificate").level == "exact"
    assert json.loads((folder / "run.json").read_text())["budget"] == "no limit"
    assert made(clean).verify(runs=tmp_path) == first


def test_the_budget_names_a_run_only_with_the_item(clean, tmp_path):
    for budget in ("10m", 600, "9m"):
        made(clean, budget=budget).verify(runs=tmp_path / "proof")
        made(clean, budget=budget, battery=("interchange",)).verify(runs=tmp_path / "other")
    assert [len(list((tmp_path / name).iterdir())) for name in ("proof", "other")] == [2, 1]


def test_a_budget_that_is_none_is_told_with_the_rest(clean):
    with pytest.raises(cm.CommuteError, match="the claim has 2 problems") as caught:
        made(clean, budget="soon", n=0)
    assert '"10m", "2h" or "50000 bounds"; given \'soon\'' in str(caught.value)


def test_the_item_is_only_measured_when_it_is_asked_for():
    assert not any("proof" in items for items in BATTERIES.values())


def outcome(total, right, wrong, **options):
    return Outcome(("left",), total, right, wrong, classes=(10, 10), **options)


@pytest.mark.parametrize(
    ("right", "wrong", "at_least", "passed"),
    [
        (90, 10, 0.9, True),
        (90, 10, 0.91, False),
        (90, 5, 0.9, True),
        (80, 10, 0.9, None),
        (80, 11, 0.9, False),
        (0, 0, 0.01, None),
        (1, 99, 0.01, True),
    ],
)
def test_a_proof_is_held_against_the_decimal_number_claimed(right, wrong, at_least, passed):
    assert evidence_of(outcome(100, right, wrong), at_least).passed is passed


def test_bounds_stay_bounds_as_floats_and_as_text():
    for right in range(1, 60):
        given = outcome(61, right, 61 - right)
        e = evidence_of(given, 0.5)
        assert Fraction(e.lower) <= given.lower == given.upper <= Fraction(e.upper)
        assert e.upper - e.lower < 1e-15
    big = 10**9
    assert shown_of(outcome(big, big - 1, 0), planted.algorithm()).interval == "[0.999999, 1.000000]"
    assert shown_of(outcome(big, 0, 1), planted.algorithm()).interval == "[0.000000, 1.000000]"
    assert shown_of(outcome(big, 0, big - 1), planted.algorithm()).interval == "[0.000000, 0.000001]"
    assert shown_of(outcome(4, 3, 1), planted.algorithm()).interval == "0.750000"


def test_of_a_long_proof_some_moments_are_kept():
    work = [Work(bounds=i, evaluated=2 * i, right=i) for i in range(1, 5001)]
    kept = thinned(work)
    assert len(kept) <= 200
    assert (kept[0], kept[-1]) == (work[0], work[-1])
    assert [w.bounds for w in kept] == sorted({w.bounds for w in kept})
    assert max(b.bounds / a.bounds for a, b in pairwise(kept)) <= 2
    assert thinned(work[:200]) == work[:200]
    assert thinned([]) == []


def test_what_is_proved_is_what_prove_says(leaky):
    found = prove(leaky.algorithm, leaky.network, leaky.alignment)
    told = made(leaky).verify().proofs
    assert [(p.variables, p.right, p.wrong, p.within_rounding, p.bounds, p.evaluated) for p in told] == [
        (o.variables, o.right, o.wrong, o.within_rounding, o.bounds, o.evaluated) for o in found.outcomes
    ]
