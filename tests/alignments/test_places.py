"""Where a search looks: several sites at once, sites that depend on the input, held-out values, grids that are thinned out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.alignments.drawing import Unseen, search_pairs, seen_by
from commute.alignments.spec import Found
from commute.causal.heldout import pair_keys
from tests import planted

NUMBERS = cm.Finite(range(8))
BITS = cm.CausalModel("xor", dict.fromkeys("ab", cm.Bool), {"left": lambda a: a, "out": lambda left, b: left ^ b})


class TwoPlaces(nn.Module):
    """Each of two modules holds the variable, and the answer follows their sum; setting one alone leaves nothing of it."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2, 4), nn.Linear(2, 4)
        for i, layer in enumerate((self.one, self.two)):
            layer.weight.data = torch.randn(4, 2, generator=torch.Generator().manual_seed(i))
            layer.bias.data.zero_()

    def forward(self, x):
        one, two = (
            layer(torch.stack([x[:, 0], torch.zeros(len(x))], 1)) @ layer.weight[:, 0] / layer.weight[:, 0].square().sum()
            for layer in (self.one, self.two)
        )
        score = (one + two) * x[:, 1]
        return torch.stack([score, -score], 1)


def two_places():
    def encode(batch):
        a, b = (2.0 * torch.from_numpy(batch[v]) - 1 for v in "ab")
        return torch.stack([a, b], 1).float()

    return cm.Network(TwoPlaces().eval(), encode=encode, decode=lambda x: x.argmax(-1).bool())


def test_a_variable_at_several_sites_is_set_at_all_of_them():
    network = two_places()
    one, two = network.site("one"), network.site("two")
    method = cm.DAS(dims=1, steps=100, restarts=2)
    alone = cm.search(BITS, network, variables=["left"], sites=[one], method=method, n=256)
    both = cm.search(BITS, network, variables=["left"], sites=[(one, two), two], method=method, n=256)
    assert alone.candidates[0].worst < 0.6
    assert both.best.sites == [one, two]
    assert both.to_frame().worst.max() == 1
    assert set(both.to_frame().site) == {"one + two", "two"}
    assert both.to_frame().dims.tolist()[:2] == [2, 2]
    with pytest.raises(cm.CommuteError, match="'left' has features at 2 sites; alignment.parts"):
        both.best["left"]


def test_an_alignment_at_several_sites_is_kept_interchanged_and_judged(tmp_path):
    network = two_places()
    sites = (network.site("one"), network.site("two"))
    found = cm.search(BITS, network, variables=["left"], sites=[sites], method=cm.FullVector(), n=256).best
    found.save(tmp_path)
    again = cm.Alignment.load(tmp_path)
    drawn = cm.pairs(BITS, ["left"], 200, seed=5)
    assert cm.interchange_accuracy(BITS, network, again, drawn).rate == 1
    assert cm.verify(BITS, network, again, battery="quick", n=300).accuracy.rate == 1
    one = cm.Alignment({"left": again.parts("left")[:1]})
    assert cm.interchange_accuracy(BITS, network, one, drawn).rate < 0.8


class Pointer(nn.Module):
    """The answer is that of a token at a place that the first token names, and of the second token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(8, 6)
        self.embed.weight.data = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))

    def forward(self, tokens):
        x = self.embed(tokens)
        asked = x[torch.arange(len(x)), 2 + tokens[:, 0]]
        found = torch.cdist(asked, self.embed.weight).argmin(1)
        return 10 * torch.nn.functional.one_hot((found + tokens[:, 1]) % 8, 8).float() - torch.cdist(asked, self.embed.weight)


def test_a_site_may_depend_on_the_input():
    """Bases and sources have the variable at places of their own."""
    algorithm = cm.CausalModel(
        "asked",
        {"place": cm.Finite(range(3)), "more": NUMBERS, **dict.fromkeys("xyz", NUMBERS)},
        {
            "asked": lambda place, x, y, z: np.choose(place, [x, y, z]),
            "out": lambda asked, more: (asked + more) % 8,
        },
        domains={"asked": NUMBERS, "out": NUMBERS},
    )
    network = cm.Network(
        Pointer().eval(),
        encode=lambda batch: torch.from_numpy(np.stack([batch[v] for v in ("place", "more", "x", "y", "z")], 1)),
        decode=lambda x: x.argmax(-1),
        positions={"asked": lambda batch: 2 + batch["place"]},
    )
    sites = [network.site("embed", position=p) for p in ("asked", 2, 3)]
    found = cm.search(algorithm, network, variables=["asked"], sites=sites, method=cm.FullVector(), n=512)
    rates = {c.site.position: c.selection["asked",].changed.rate for c in found.candidates}
    assert rates["asked"] == 1
    assert max(rates[2], rates[3]) < 0.6
    assert found.best["asked"].site.position == "asked"


def test_pairs_to_train_select_and_verify_with_have_none_in_common():
    algorithm = planted.algorithm()
    spec = cm.Search(["left", "right"], [planted.SITE], n=4096)  # of 65,536 pairs of one variable
    drawn = search_pairs(spec, algorithm, 3, ("search", "claim"))
    assert drawn.shared == 0
    keys = [[pair_keys(algorithm, d.pairs) for d in part] for part in (drawn.train, drawn.select)]
    for train, select in zip(*keys, strict=True):
        assert not np.isin(select, train).any()
        assert len(train) == 4096
        assert len(select) == 2048
    method = cm.DAS(dims=1, steps=10, restarts=1)
    found = cm.search(
        algorithm, planted.network(), variables=["left", "right"], sites=[planted.SITE], method=method, n=4096, seed=3
    ).best
    seen = seen_by(found.found, algorithm)
    assert np.isin(np.concatenate([k for part in keys for k in part]), seen).all()
    with_coarse = replace(spec, halving=cm.Halving())
    coarse = search_pairs(with_coarse, algorithm, 3, ("search", "claim")).coarse
    assert np.isin(pair_keys(algorithm, coarse), seen_by(replace(found.found, search=with_coarse), algorithm)).all()
    verdict = cm.verify(algorithm, planted.network(), found, battery="quick", n=2000, seed=3)
    assert verdict.candidates == 1
    assert verdict.shared == 0
    assert "the best of 1 candidates, judged on pairs that the search did not see" in str(verdict)


def test_a_control_is_judged_on_pairs_that_its_own_search_did_not_see():
    algorithm = planted.algorithm()
    spec = cm.Search(["left", "right"], [planted.SITE], n=512)
    found = Found(spec, seed=3, candidates=1, place=(planted.SITE,))
    keys = {}
    for name in ("claim", "permuted algorithm"):
        drawn = search_pairs(spec, algorithm, 3, ("search", name)).all
        keys[name] = np.unique(np.concatenate([pair_keys(algorithm, p) for p in drawn]))
    assert (Unseen.of(algorithm, found).seen == keys["claim"]).all()
    assert (Unseen.of(algorithm, found, "permuted algorithm").seen == keys["permuted algorithm"]).all()
    assert not np.isin(keys["claim"], keys["permuted algorithm"]).all()


def test_a_domain_without_other_pairs_is_said_to_have_none():
    network = two_places()
    sites = [(network.site("one"), network.site("two"))]
    found = cm.search(BITS, network, variables=["left"], sites=sites, method=cm.FullVector(), n=256)
    verdict = cm.verify(BITS, network, found.best, battery="quick", n=300)
    assert verdict.shared == 300
    assert "but for 300 of which the domain has no others" in str(verdict)


def test_held_out_values_are_in_no_pair_of_another_part(tmp_path):
    """What each part of a search and the verification saw, as the network's own encode sees it."""
    seen = {"now": set()}
    algorithm = cm.CausalModel(
        "large",
        dict.fromkeys("xy", cm.Finite(range(100, 140))),
        {"big": lambda x: x >= 120, "out": lambda big, y: big ^ (y >= 120)},
    )

    class Compare(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(2, 2)
            self.hidden.weight.data, self.hidden.bias.data = torch.eye(2), torch.zeros(2)

        def forward(self, x):
            h = self.hidden(x)
            return torch.stack([h[:, 0] * h[:, 1], -h[:, 0] * h[:, 1]], 1)

    def encode(batch):
        seen["now"] |= {*batch["x"].tolist(), *batch["y"].tolist()}
        return torch.from_numpy(np.stack([batch[v] for v in "xy"], 1)).float() - 119.5

    network = cm.Network(Compare(), encode=encode, decode=lambda x: x.argmax(-1).bool())
    method = cm.DAS(dims=1, steps=40, restarts=1)
    found = cm.search(
        algorithm, network, variables=["big"], sites=[network.site("hidden")], method=method, n=256, seed=1, heldout="values"
    )
    searched, seen["now"] = seen["now"], set()
    found.best.save(tmp_path)  # what is held out is known from what is kept
    cm.verify(algorithm, network, cm.Alignment.load(tmp_path), battery="quick", n=300, seed=7)
    assert len(searched) == 30
    assert len(seen["now"]) == 10
    assert not searched & seen["now"]


def test_halving_leaves_out_what_cannot_be_and_spends_its_steps_on_the_best():
    network = planted.network()
    sites = [planted.SITE, cm.Site("useless")]
    method = cm.DAS(dims=(1, 2), steps=90, restarts=2)
    events = []
    options = {"variables": ["left", "right"], "sites": sites, "n": 512}
    whole = cm.search(planted.algorithm(), network, method=method, **options)
    found = cm.search(
        planted.algorithm(), network, method=method, halving=cm.Halving(keep=1 / 3, rungs=2), on_event=events.append, **options
    )
    assert [e.items for e in events if type(e).__name__ == "SearchStarted"] == [4, 2]  # the useless site falls to the coarse pass
    assert any("its whole vector moves the answer in 0.000" in e.reason for e in events if type(e).__name__ == "SiteSkipped")
    assert "useless" in found.skipped
    assert {c.item.method.steps for c in found.candidates} == {90}
    assert found.tried == 8
    assert found.best["left"].site == whole.best["left"].site == planted.SITE
    assert sum(len(c.losses) for c in found.candidates) < sum(len(c.losses) for c in whole.candidates)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"halving": 3}, r"halving must be a Halving\(\)"),
        (
            {"halving": cm.Halving(), "method": cm.FullVector()},
            "methods that are trained in steps; FullVector is not",
        ),
        ({"heldout": "rows"}, "there is no way to hold out 'rows'"),
        ({"sites": [(planted.SITE, "x")]}, "sites must be Site values"),
        ({"sites": [(planted.SITE, replace(planted.SITE, position=1))]}, "overlap"),
        ({"variables": ["left", "left"]}, "'left' is named twice"),
    ],
)
def test_a_search_that_makes_no_sense_says_why(change, said):
    options = {"variables": ["left"], "sites": [planted.SITE], "n": 64}
    with pytest.raises(cm.CommuteError, match=said):
        cm.search(planted.algorithm(), planted.network(), **(options | change))


def test_the_smallest_alignment_that_does_is_found_on_a_curve():
    method = cm.DAS(dims=(4, 1, 2), steps=150, restarts=1)
    found = cm.search(planted.algorithm(), planted.network(), variables=["left"], sites=[planted.SITE], method=method, n=512)
    curve = found.curve()
    assert curve.dims.tolist() == [1, 2, 4]
    assert (curve.iia >= curve.worst).all()
    assert found.smallest()["left"].dims == (0,)
    assert len(found.smallest(within=0)["left"].dims) >= 1
    frame = found.to_frame()
    assert frame.dims.tolist() == [4, 1, 2]
    assert frame.best.sum() == 1
    assert (frame.flops > 0).all()
    assert [len(x) for x in frame.losses] == frame.steps.tolist()
