"""The audit that the benchmark of verdicts takes as the truth: against planted faults, drawn pairs, and a second enumeration."""

import numpy as np
import pytest
import torch

import commute as cm
from benchmarks import variants
from benchmarks.audit import audit
from benchmarks.small_algorithms import chain, comparison, count, three_numbers
from commute.alignments.accuracy import agreement
from commute.causal.inputs import Inputs
from commute.models.organisms import Subspace
from commute.runs.seeds import stream
from tests import planted


def of_planted(fault=""):
    return audit(planted.algorithm(), planted.network(fault), planted.alignment())


def test_a_true_claim_is_right_everywhere():
    found = of_planted()
    assert set(found.rates.values()) == {(1.0, 1.0)}
    assert (found.worst, found.balanced, found.drawn) == (1.0, 1.0, ())
    assert {"no intervention", "left + right: changed", "left + right: remainder exchanged, changed"} < set(found.rates)


def test_a_fault_in_one_transition_is_found_there():
    found = of_planted("true to false")
    assert found.rates["left: True → False"] == (0.0, 0.0)
    assert found.where == "left: True → False"
    assert found.rates["left: False → True"] == (1.0, 1.0)


def test_a_backup_shows_jointly_only():
    found = of_planted("backup")
    assert found.rates["left: changed"] == found.rates["right: changed"] == (1.0, 1.0)
    assert found.worst < 0.8
    assert found.where.startswith("left + right")


def test_a_leak_has_the_rate_that_it_was_given():
    rates = of_planted("leak").rates  # of the four values of a one leaks
    assert rates["left: changed"][0] == pytest.approx(0.75)
    assert rates["left: unchanged"] == (1.0, 1.0)
    assert rates["no intervention"] == (1.0, 1.0)


@pytest.mark.parametrize("model", [chain(2), comparison(2)], ids=lambda m: m.name)
def test_rates_are_those_of_every_base_with_every_source_and_of_the_balanced_design(model):
    """Noise makes nearly all rates differ from 1 and from each other."""
    organism = cm.organisms.compile(model, noise=0.6, seed=1)
    found = audit(model, organism.network, organism.alignment).rates
    chosen = list(organism.alignment)
    for variables in ([chosen[0]], [chosen[1]], chosen):
        every = cm.pairs(model, variables, design="exhaustive")
        many = cm.pairs(model, variables, 60_000, seed=3)
        for i, (pairs, deviations) in enumerate([(every, 0), (many, 5)]):
            right = agreement(organism.network, organism.alignment, pairs)
            for name, rows in _slices(model, pairs).items():
                near = max(deviations * 0.5 / rows.sum() ** 0.5, 1e-12)
                assert found[name][i] == pytest.approx(right[rows].mean(), abs=near), name
    assert min(uniform for uniform, _ in found.values()) < 0.97


def _every(model):
    return model.labels(Inputs(model).listed)


def _slices(model, pairs):
    name = " + ".join(pairs.variables)
    found = {f"{name}: changed": pairs.changed, f"{name}: unchanged": ~pairs.changed}
    if len(pairs.variables) == 1:
        before, after = (model.solve(x)[name] for x in (pairs.base, pairs.sources[name]))
        found |= {f"{name}: {i} → {j}": (before == i) & (after == j) for i in np.unique(before) for j in np.unique(after)}
    return {k: rows for k, rows in found.items() if rows.any()}


def test_a_variable_below_is_read_out():
    """`second` is claimed where only a copy of it is, which an intervention on `first` reaches but nothing reads."""
    model = chain(2)
    organism = cm.organisms.compile(model, dead=("second",), seed=2)
    dead = cm.Alignment.along({**organism.subspaces, "second": organism.others["dead copy of second"]})
    right = audit(model, organism.network, organism.alignment).rates
    wrong = audit(model, organism.network, dead).rates
    assert right["first: second read out, changed"] == (1.0, 1.0)
    assert wrong["first: second read out, changed"] == (0.0, 0.0)
    assert wrong["first: changed"] == (1.0, 1.0)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_finer_variable_is_not_read_from_the_feature(noise):
    model = three_numbers(4)
    organism = cm.organisms.compile(model, noise=noise, seed=4)
    found = audit(variants.finer(model, "partial", "c"), organism.network, organism.alignment)
    assert "read" in found.where
    assert found.worst < 0.8
    rates = [r for name, r in found.rates.items() if "read" not in name]
    assert set(rates) == {(1.0, 1.0)}


def test_values_that_act_alike_may_be_told_apart():
    model = count(3)  # none and three of them
    organism = cm.organisms.compile(model, seed=5)
    rates = audit(model, organism.network, organism.alignment).rates
    assert {"ones: 0 read", "ones: 3 read", "ones: 1 read", "ones: 4 read"} == {k for k in rates if "read" in k}
    assert set(rates.values()) == {(1.0, 1.0)}


def test_too_many_pairs_are_drawn(monkeypatch):
    organism = cm.organisms.compile(chain(2), noise=0.6, seed=1)
    listed = audit(organism.algorithm, organism.network, organism.alignment)
    monkeypatch.setattr("benchmarks.enumeration.LISTED", 1000)
    drawn = audit(organism.algorithm, organism.network, organism.alignment)
    assert drawn.drawn
    assert listed.drawn == ()
    for name, rates in listed.rates.items():
        assert drawn.rates[name] == pytest.approx(rates, abs=0.02), name


@pytest.mark.parametrize("change", ["finer", "almost"])
def test_variants_answer_inputs_alike(change):
    model, generator = comparison(2), stream(0, "test")
    made = variants.finer(model, "left", "c") if change == "finer" else variants.almost(model, "left", generator)
    assert np.array_equal(model.solve(_every(model))["answer"], made.solve(_every(model))["answer"])


def test_a_variable_that_is_almost_right_is_wrong_in_one_setting():
    model = three_numbers(3)
    made = variants.almost(model, "partial", stream(1, "test"))
    settings = _every(model)
    differ = model.solve(settings)["partial"] != made.solve(settings)["partial"]
    assert len(np.unique(np.stack([settings["a"][differ], settings["b"][differ]]), axis=1).T) == 1


def test_a_rare_variable_is_true_once():
    model = variants.with_rare(three_numbers(3), stream(2, "test"))
    assert model.solve(_every(model))[variants.RARE].sum() == 1
    organism = cm.organisms.compile(model)
    assert set(audit(model, organism.network, organism.alignment).rates.values()) == {(1.0, 1.0)}


def test_a_subspace_of_the_wrong_directions_is_wrong():
    model = three_numbers(3)
    organism = cm.organisms.compile(model, seed=6)
    own = organism.subspaces["partial"]
    q = torch.linalg.qr(own.directions, mode="complete").Q[:, own.dims : 2 * own.dims].contiguous()
    other = cm.Alignment.along({"partial": Subspace(own.site, q)})
    assert audit(model, organism.network, other).worst < 0.5
