"""Rival hypotheses about the sites of a network whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm

DIGITS = cm.Finite(range(5))
SITES = {name: cm.Site(name) for name in ("x", "y", "total", "aside")}  # each of the variable of its name


class Adder(nn.Module):
    """Adds two numbers below 5, each by way of a site of its own, the sum by another; a fourth site is read by nothing."""

    def __init__(self):
        super().__init__()
        self.x, self.y, self.total, self.aside = (nn.Identity() for _ in range(4))

    def forward(self, numbers):
        x, y = self.x(numbers[:, :1]), self.y(numbers[:, 1:])
        self.aside(x)
        return self.total(x + y)[:, 0]


def network(**options):
    return cm.Network(
        Adder(),
        encode=lambda b: torch.tensor(np.stack([b["a"], b["b"]], 1)).float(),
        decode=lambda x: x.round().long(),
        **options,
    )


def adder():
    return cm.CausalModel(
        "adder",
        {"a": DIGITS, "b": DIGITS},
        {
            "x": lambda a: a,
            "y": lambda b: b,
            "total": lambda x, y: x + y,
            "aside": lambda x: x,
            "answer": lambda total: total,
        },
        outputs=["answer"],
    )


def rivals(n=120, seed=0, **options):
    """Every variable of the adder as a hypothesis, about the same bases and sources."""
    one = cm.pairs(adder(), ["x"], n, design="uniform", seed=seed)
    frame = one.to_frame().drop(columns=["changed", "expected.answer"])
    return {
        v: cm.Pairs.from_frame(frame.rename(columns=lambda c, v=v: c.replace("source.x", f"source.{v}")), adder(), **options)
        for v in SITES
    }


@pytest.fixture(scope="module")
def compared():
    return cm.compare_hypotheses(network(), SITES.values(), rivals(independent=True))


def test_each_site_is_explained_by_the_variable_that_it_holds(compared):
    answers = {name: pairs.expected["answer"] for name, pairs in compared.hypotheses.items()}
    for name, site in SITES.items():
        assert compared.best(site) == name
        assert compared.accuracy(name, site).rate == 1
        for rival in set(SITES) - {name}:
            differ = int((answers[name] != answers[rival]).sum())
            apart, other = compared.apart(name, rival, site), compared.apart(rival, name, site)
            assert (apart.overall.correct, apart.overall.total) == (differ, differ)
            assert (other.overall.correct, other.overall.total) == (0, differ)
            assert compared.accuracy(rival, site).overall.correct == len(compared) - differ


def test_counts_are_those_of_single_interchanges(compared):
    """Against `interchange_accuracy`, which makes one interchange after another."""
    for name, pairs in compared.hypotheses.items():
        for site in SITES.values():
            alignment = cm.Alignment({name: cm.Feature(site)})
            assert compared.accuracy(name, site) == cm.interchange_accuracy(adder(), network(), alignment, pairs)


def test_pairs_that_agree_do_not_count_for_either():
    """Sources that differ from their base in `a` alone: x and total predict one answer throughout."""
    given = {name: pairs.to_frame() for name, pairs in rivals().items()}
    for name, frame in given.items():
        frame[f"source.{name}.b"] = frame["base.b"]
    made = {
        name: cm.Pairs.from_frame(frame.drop(columns="expected.answer"), adder(), independent=True)
        for name, frame in given.items()
    }
    found = cm.compare_hypotheses(network(), [SITES["total"]], made)
    assert found.accuracy("x", SITES["total"]).rate == found.accuracy("total", SITES["total"]).rate == 1
    nearest = found.nearest("total", SITES["total"])
    assert (nearest.overall.total, nearest.interval) == (0, (0, 1))
    row = found.to_frame().set_index("hypothesis").loc["total"]
    assert (row["iia"], row["nearest.pairs"], row["nearest.lower"], row["apart.y.iia"]) == (1, 0, 0, 1)


def test_nearest_is_the_rival_that_does_best(compared):
    site = SITES["x"]
    rates = {rival: compared.apart("total", rival, site).rate for rival in ("x", "y", "aside")}
    assert compared.nearest("total", site).rate == min(rates.values()) == rates["x"] == 0
    alone = cm.compare_hypotheses(network(), [site], {"x": compared.hypotheses["x"]})
    assert alone.nearest("x", site) == alone.accuracy("x", site)


def test_one_sweep_serves_every_hypothesis(monkeypatch):
    net, swept = network(), []
    sweep = net.sweep
    monkeypatch.setattr(net, "sweep", lambda *given: swept.append(given) or sweep(*given))
    found = cm.compare_hypotheses(net, SITES.values(), rivals())
    assert len(swept) == 1
    assert found.cost == sweep(*swept[0]).cost


def test_the_frame_has_a_row_for_each_site_and_hypothesis(compared):
    frame = compared.to_frame()
    assert len(frame) == len(SITES) * len(SITES)
    for _, row in frame.iterrows():
        name, site = row["hypothesis"], SITES[row["site"]]
        accuracy = compared.accuracy(name, site)
        assert (row["pairs"], row["iia"], (row["lower"], row["upper"])) == (120, accuracy.rate, accuracy.interval)
        assert row["noop"] == accuracy.noop.rate
        assert row["best"] == (name == row["site"])
        for rival in set(SITES) - {name}:
            apart = compared.apart(name, rival, site)
            assert (row[f"apart.{rival}.pairs"], row[f"apart.{rival}.lower"]) == (apart.overall.total, apart.interval[0])
        assert np.isnan(row[f"apart.{name}.pairs"])  # a hypothesis is no rival of its own


def test_a_slice_counts_its_own_pairs_and_a_choice_has_no_interval(compared):
    site, name = SITES["y"], "x"
    parts = compared[:50], compared[50:]
    assert sum(p.accuracy(name, site).overall.correct for p in parts) == compared.accuracy(name, site).overall.correct
    assert parts[0].accuracy(name, site).overall.total == len(parts[0]) == 50
    assert parts[0].accuracy(name, site).interval is not None
    right = compared.hypotheses[name].expected["answer"] == compared.answers[site]
    chosen = compared[right]
    assert (chosen.accuracy(name, site).rate, chosen.accuracy(name, site).interval) == (1, None)
    assert chosen.to_frame()["lower"].isna().all()


def test_pairs_that_are_not_independent_have_no_interval():
    found = cm.compare_hypotheses(network(), [SITES["x"]], rivals())
    assert found.accuracy("x", SITES["x"]).interval is None
    assert found.apart("x", "y", SITES["x"]).interval is None


def test_networks_with_several_outputs():
    both = cm.CausalModel("both", {"a": DIGITS, "b": DIGITS}, {"sum": lambda a, b: a + b, "even": lambda a, b: (a + b) % 2 == 0})
    pairs = {v: cm.pairs(both, [v], 60, design="uniform", seed=3) for v in ("a", "b")}
    net = cm.Network(
        Adder(),
        encode=lambda b: torch.tensor(np.stack([b["a"], b["b"]], 1)).float(),
        decode=lambda x: {"sum": x.round().long(), "even": x.round().long() % 2 == 0},
    )
    found = cm.compare_hypotheses(net, [SITES["x"], SITES["y"]], pairs)
    assert [found.best(SITES[s]) for s in "xy"] == ["a", "b"]
    assert found[:20].accuracy("a", SITES["x"]).overall.correct == 20


def test_all_that_is_wrong_is_told_at_once():
    good = rivals()
    other = {**good["y"].base, "a": good["y"].base["a"].copy()}
    other["a"][7] = (other["a"][7] + 1) % 5
    wrong = {
        "x": good["x"],
        "both": cm.pairs(adder(), ["x", "y"], 120),
        "text": "y",
        "other base": replace(good["y"], base=other),
        "fewer": good["total"][:50],
        "other output": replace(good["y"], expected={"sum": good["y"].expected["answer"]}),
        "other source": replace(good["y"], sources={"y": rivals(seed=1)["y"].sources["y"]}),
    }
    with pytest.raises(cm.CommuteError) as told:
        cm.compare_hypotheses(network(), [cm.Site("totl"), SITES["x"]], wrong, confidence=1)
    message = str(told.value)
    assert "has 9 problems" in message
    for said in (
        "there is no site 'totl'; did you mean 'total'?",
        "'both' must be Pairs of one variable; given Pairs(120 of x + y, balanced, independent)",
        "'text' must be Pairs of one variable; given 'y'",
        f"'other base' and 'x' must have the same bases; they have {other['a'][7]} and {good['x'].base['a'][7]} as 'a' in row 7",
        "'fewer' and 'x' must have the same bases; they have 50 and 120 rows",
        "'fewer' and 'x' must have the same sources; they have 50 and 120 rows",
        "'other output' and 'x' must have the same outputs; they have sum and answer",
        "'other source' and 'x' must have the same sources; they have",
        "confidence must be between 0 and 1; given 1",
    ):
        assert said in message


def test_without_sites_or_hypotheses_there_is_nothing_to_compare():
    for sites, hypotheses, said in (
        ([], rivals(), "there are no sites"),
        (["x"], rivals(), "a site must be a Site; given 'x'"),
        ([SITES["x"]], {}, "hypotheses maps one or more names to Pairs; given {}"),
    ):
        with pytest.raises(cm.CommuteError, match=said):
            cm.compare_hypotheses(network(), sites, hypotheses)


def test_unknown_names_and_sites_are_errors(compared):
    with pytest.raises(cm.CommuteError, match="no hypothesis 'totl'; did you mean 'total'"):
        compared.accuracy("totl", SITES["x"])
    with pytest.raises(cm.CommuteError, match="no hypothesis 'z'"):
        compared.apart("x", "z", SITES["x"])
    with pytest.raises(cm.CommuteError, match="no compared site 'x.input'"):
        compared.best(cm.Site("x", input=True))
