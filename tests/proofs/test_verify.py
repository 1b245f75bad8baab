"""The rules of a verdict, each on a network whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import commute as cm
from commute.alignments.drawing import Unseen
from commute.alignments.spec import Found
from commute.proofs.battery import DECIDING
from commute.proofs.bounds import ANYTIME, FIXED
from commute.proofs.claimed import Claimed
from commute.proofs.controls import _random_features
from tests import planted

FOUND = cm.Search(["left", "right"], [planted.SITE], cm.DAS(dims=1, steps=30, restarts=1), n=512)


def verify(fault="", *, n=2000, alignment=None, algorithm=None, **options):
    alignment = alignment or planted.alignment()
    return cm.verify(algorithm or planted.algorithm(), planted.network(fault), alignment, n=n, **options)


def test_a_true_claim_holds():
    verdict = verify()
    assert verdict.status == "holds"
    assert verdict.counterexample is None
    assert verdict.accuracy.rate == 1
    assert 0.4 < verdict.accuracy.noop.rate < 0.6
    assert all(e.passed for e in verdict.slices)
    assert {e.name for e in verdict.controls} == {
        "random subspace",
        "re-initialised network",
        "permuted algorithm",
        "shuffled sources",
    }


@pytest.mark.parametrize("fault", ["backup", "true to false", "leak"])
def test_an_average_does_not_hide_a_slice(fault):
    """Wrong only when both are replaced, only when left goes from true to false, only through what is not aligned."""
    verdict = verify(fault)
    assert verdict.status == "refuted"
    singles = [e for e in verdict.slices if e.variables != ("left", "right")]
    if fault == "backup":
        assert all(e.passed for e in singles)
    if fault == "true to false":
        assert "left: True → False: IIA is at most" in "\n".join(verdict.reasons)


def test_a_counterexample_is_a_pair_on_which_network_and_algorithm_differ():
    verdict = verify("backup")
    example = verdict.counterexample
    answer = planted.algorithm().interchange(example.base, example.sources)
    features = {planted.alignment()[v]: source for v, source in example.sources.items()}
    assert example.expected == {"same": answer["same"]}
    assert planted.network("backup").interchange(example.base, features) == example.answered != answer["same"]
    assert "the algorithm says same=" in str(example)
    names = {"cm": cm, "algorithm": planted.algorithm(), "network": planted.network("backup"), "alignment": planted.alignment()}
    again = eval(str(example).split("replay it: ")[1], names)
    assert (again.expected, again.answered) == (example.expected, example.answered)


def test_the_wrong_algorithm_with_as_many_variables_is_refuted():
    shapes = cm.Finite(range(4))
    wrong = cm.CausalModel(
        "wrong",
        dict.fromkeys("abcd", shapes),
        {"left": lambda a, b: a == b, "right": lambda c, a: c != a, "same": lambda left, right: left == right},
    )
    assert verify(algorithm=wrong).status == "refuted"


def test_exchanged_variables_are_refuted():
    right = planted.alignment()
    assert verify(alignment=cm.Alignment({"left": right["right"], "right": right["left"]})).status == "refuted"


def test_too_few_pairs_are_inconclusive():
    verdict = verify(n=40)
    assert verdict.status == "inconclusive"
    assert any("more pairs are needed" in reason for reason in verdict.reasons)


def test_a_network_that_answers_otherwise_when_left_alone_is_refuted():
    flipped = planted.network()
    flipped = cm.Network(flipped.module, encode=flipped.encode, decode=lambda x: x.argmin(-1).bool())
    verdict = cm.verify(planted.algorithm(), flipped, planted.alignment(), n=500, battery="quick")
    assert verdict.status == "refuted"
    assert verdict.slices[0].name == "no intervention"
    assert verdict.slices[0].count.correct == 0


def test_without_controls_nothing_holds():
    verdict = verify(battery="quick")
    assert verdict.status == "inconclusive"
    assert verdict.controls == ()
    assert all(e.passed for e in verdict.slices)


class Unlearned(planted.Planted):
    """Computes the algorithm whatever its weights are."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.arange(4.0))
        self.register_buffer("fixed", self.rotation.detach())
        del self.rotation
        self.rotation = self.fixed


def test_a_control_that_reaches_the_claim_makes_it_inconclusive():
    net = cm.Network(Unlearned(), encode=planted.encode, decode=lambda x: x.argmax(-1).bool())
    verdict = cm.verify(planted.algorithm(), net, planted.alignment(), n=2000)
    assert verdict.status == "inconclusive"
    assert "left: re-initialised network: this control may reach the claim" in "\n".join(verdict.reasons)


def test_a_random_subspace_has_the_rank_of_all_of_a_variables_features():
    rotation = cm.Orthogonal(planted.directions(0, 2, 4))
    several = cm.Alignment({"left": [cm.Feature(planted.SITE, rotation, (0,)), cm.Feature(planted.SITE, rotation, (1, 2))]})
    fresh = Unseen.of(planted.algorithm(), None)
    claimed = Claimed(planted.algorithm(), planted.network(), several, fresh, 100, 0, 0.95, 0.99, print)
    (drawn,) = _random_features(claimed, np.random.default_rng(0))["left"]
    assert len(drawn.dims) == 3


def test_the_controls_repeat_the_search_that_found_the_alignment():
    events = []
    found = cm.Alignment(dict(planted.alignment()), found=Found(FOUND, seed=0, candidates=1, place=(planted.SITE,)))
    verdict = cm.verify(planted.algorithm(), planted.network(), found, n=1000, on_event=events.append)
    searched = [e.control for e in events if type(e).__name__ == "SearchStarted"]
    assert searched == ["re-initialised network", "permuted algorithm"]
    assert {e.says.split(" on ")[0] for e in verdict.controls if e.name == "re-initialised network"} == {"the same search"}
    assert verdict.status == "holds"


def test_search_and_verification_never_see_the_same_pairs():
    """On a domain so large that draws do not repeat by chance, every stream is seen by the network's own encode."""
    numbers = cm.Finite(range(3000))
    algorithm = cm.CausalModel(
        "larger", {"x": numbers, "y": numbers}, {"big": lambda x: x >= 1500, "out": lambda big, y: big == (y >= 1500)}
    )
    seen = []

    class Compare(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(2, 2)
            self.hidden = nn.Identity()

        def forward(self, x):
            h = self.hidden((x - 1500) / 1500)
            return (h[:, :1] * h[:, 1:] + 0 * self.mix(x)) * torch.tensor([-1.0, 1.0])

    def encode(inputs):
        seen.append(set(zip(inputs["x"].tolist(), inputs["y"].tolist(), strict=True)))
        return torch.from_numpy(np.stack([inputs["x"], inputs["y"]], 1)).float()

    net = cm.Network(Compare(), encode=encode, decode=lambda z: z.argmax(-1).bool())
    result = cm.search(algorithm, net, variables=["big"], sites=[cm.Site("hidden")], method=cm.DAS(dims=1, steps=3), n=300)
    in_search = set().union(*seen)
    seen.clear()
    cm.verify(algorithm, net, cm.Alignment(dict(result.best)), n=300, battery="quick")
    in_verification = set().union(*seen)
    shared = len(in_search & in_verification)
    assert len(in_search) > 500
    assert len(in_verification) > 500
    assert shared <= 2  # of nine million inputs; one stream for both would share hundreds


@pytest.mark.parametrize("fault", ["random", "slightly random", "random inside"])
def test_a_network_that_is_not_deterministic_is_an_error(fault):
    """Also when the answers happen to be the same, and when only the site differs, whatever is measured."""
    for battery in ("standard", ["interchange"]):
        with pytest.raises(cm.CommuteError, match="not deterministic"):
            verify(fault, battery=battery)
    with pytest.raises(cm.CommuteError, match="not deterministic"):
        cm.Claim(planted.algorithm(), planted.network("random"), search=FOUND).verify()


def test_a_rare_value_is_not_overlooked():
    """One input in 4,096 has the value 2, from which a back-up path keeps the network from being moved."""
    numbers = cm.Finite(range(64))
    algorithm = cm.CausalModel(
        "rare", {"x": numbers, "y": numbers}, {"v": lambda x, y: 2 if x == y == 0 else x % 2, "out": lambda v: v}
    )

    class Rare(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.weight = nn.Identity(), nn.Parameter(torch.randn(3, 3))

        def forward(self, z):
            v = torch.where((z == 0).all(1), 2, z[:, 0] % 2)
            h = self.hidden(torch.nn.functional.one_hot(v, 3).float() @ torch.eye(3, 5))
            return torch.where((v == 2)[:, None], torch.eye(3)[2], h[:, :3])

    net = cm.Network(Rare(), encode=lambda i: torch.from_numpy(np.stack([i["x"], i["y"]], 1)), decode=lambda x: x.argmax(-1))
    alignment = cm.Alignment({"v": cm.Feature(cm.Site("hidden"), dims=(0, 1, 2))})
    for seed in range(3):
        verdict = cm.verify(algorithm, net, alignment, n=1000, seed=seed, battery="quick")
        assert verdict.status == "refuted"
        assert "v: 2 → 0" in "\n".join(verdict.reasons)


NUMBERS = cm.Finite(range(8))


def chain():
    """x -> v -> w, and out = w + y."""
    return cm.CausalModel(
        "chain",
        {"x": NUMBERS, "y": NUMBERS},
        {"v": lambda x: x, "w": lambda v: (3 * v + 1) % 8, "out": lambda w, y: (w + y) % 8},
    )


class Chain(nn.Module):
    """The chain over two layers; with a bypass the second layer's w comes from x, and v acts past it."""

    def __init__(self, *, bypass):
        super().__init__()
        self.first, self.second, self.bypass = nn.Identity(), nn.Identity(), bypass

    def forward(self, z):
        v, y, x = self.first(torch.stack([z[:, 0], z[:, 1], z[:, 0]], 1)).unbind(1)
        past = (3 * x + 1) % 8
        w, v, y, past = self.second(torch.stack([past if self.bypass else (3 * v + 1) % 8, v, y, past], 1)).unbind(1)
        if self.bypass:
            w = torch.where(w == past, (3 * v + 1) % 8, w)
        return nn.functional.one_hot(((w + y) % 8).long(), 8)


@pytest.mark.parametrize("bypass", [False, True])
def test_an_aligned_variable_below_an_interchange_is_read_out(bypass):
    def encode(inputs):
        return torch.from_numpy(np.stack([inputs["x"], inputs["y"]], 1)).float()

    net = cm.Network(Chain(bypass=bypass), encode=encode, decode=lambda s: s.argmax(-1))
    alignment = cm.Alignment({"v": cm.Feature(cm.Site("first"), dims=(0,)), "w": cm.Feature(cm.Site("second"), dims=(0,))})
    verdict = cm.verify(chain(), net, alignment, n=1500, at_least=0.9, battery="quick")
    read = next(e for e in verdict.slices if e.name == "w read out, changed")
    singles = [e for e in verdict.slices if e.variables in {("v",), ("w",)} and "read out" not in e.name]
    assert all(e.count.rate == 1 for e in singles)  # each alone does not show the bypass
    assert (read.count.rate == 1) != bypass
    assert (verdict.status == "refuted") == bypass


def test_what_is_not_aligned_must_not_matter_more_than_the_algorithm_says():
    """Wrong just where both variables fit one input and the rest another, which independent sources hardly ever make."""
    numbers = cm.Finite(range(16))
    algorithm = cm.CausalModel(
        "twins", {"x": numbers}, {"v": lambda x: x, "w": lambda x: 7 * x % 16, "out": lambda v, w: (v + 2 * w) % 16}
    )

    class Twins(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Identity()

        def forward(self, x):
            v, w, rest = self.hidden(torch.cat([x, 7 * x % 16, x], 1)).unbind(1)
            out = torch.where((w == 7 * v % 16) & (v != rest), v + 2 * w + 1, v + 2 * w)
            return nn.functional.one_hot((out % 16).long(), 16)

    net = cm.Network(Twins(), encode=lambda i: torch.from_numpy(i["x"])[:, None].float(), decode=lambda s: s.argmax(-1))
    features = {v: cm.Feature(cm.Site("hidden"), dims=(i,)) for i, v in enumerate("vw")}
    verdict = cm.verify(algorithm, net, cm.Alignment(features), n=2000, at_least=0.8, battery="quick")
    assert verdict.status == "refuted"
    assert [e.name for e in verdict.slices if e.passed is False] == ["remainder exchanged, changed"]
    assert verdict.counterexample.slice == "v + w: remainder exchanged, changed"
    assert verdict.counterexample.sources["v"] == verdict.counterexample.sources["w"]


@pytest.mark.parametrize(("kept", "status"), [("sum", "holds"), ("bit", "inconclusive")])
def test_a_variable_finer_than_the_network_encodes_does_not_hold(kept, status):
    """No answer tells sums up to nine apart; a network that keeps only whether the sum is larger does not encode the sum."""
    digits = cm.Finite(range(10))
    algorithm = cm.CausalModel("larger", {"x": digits, "y": digits}, {"sum": lambda x, y: x + y, "large": lambda sum: sum > 9})

    class Adder(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.weight = nn.Identity(), nn.Parameter(torch.eye(9))

        def forward(self, z):
            total = z.sum(1) * self.weight[0, 0] + self.weight[0, 1:].sum()
            h = self.hidden(torch.stack([total if kept == "sum" else 19.0 * (total > 9), *z.unbind(1), 0 * total, z[:, 0]], 1))
            return h[:, 0] - 9.5

    net = cm.Network(Adder(), encode=lambda i: torch.from_numpy(np.stack([i["x"], i["y"]], 1)).float(), decode=lambda s: s > 0)
    verdict = cm.verify(algorithm, net, cm.Alignment({"sum": cm.Feature(cm.Site("hidden"), dims=(0,))}), n=4000)
    assert verdict.accuracy.rate == 1
    assert verdict.status == status
    assert len(verdict.distinctions) == 1
    assert ("sum: some of its values never change an answer" in "\n".join(verdict.reasons)) == (kept == "bit")


def test_on_a_domain_of_few_inputs_a_value_is_not_read_from_the_very_same_input():
    six = cm.Finite(range(6))
    inputs = {"x": six, "y": cm.Bool}
    coarse = cm.CausalModel("coarse", inputs, {"v": lambda x: x // 2, "out": lambda v, y: (v == 1) != y})
    fine = cm.CausalModel("fine", inputs, {"v": lambda x: x, "out": lambda v, y: (v // 2 == 1) != y})
    statuses = []
    for said in (coarse, fine):
        organism = cm.organisms.compile(coarse, seed=3)
        statuses.append(cm.verify(said, organism.network, organism.alignment, battery=list(DECIDING), n=3000))
    assert [v.accuracy.rate for v in statuses] == [1, 1]
    assert [v.status for v in statuses] == ["holds", "inconclusive"]
    assert "v: some of its values never change an answer" in statuses[1].reasons[0]


def test_a_network_that_speaks_another_language_is_an_error():
    net = cm.Network(planted.Planted(), encode=planted.encode, decode=lambda x: x.argmax(-1) + 7)
    with pytest.raises(cm.CommuteError, match="no label of its domain"):
        cm.verify(planted.algorithm(), net, planted.alignment(), battery=["interchange"])


def test_a_path_that_only_three_of_five_variables_show_is_found():
    bits = dict.fromkeys("abcde", cm.Bool)
    algorithm = cm.CausalModel(
        "parity",
        bits,
        {
            **{f"v{i}": cm.Table([i], {(x,): x for x in (False, True)}) for i in bits},
            "out": lambda va, vb, vc, vd, ve: (va + vb + vc + vd + ve) % 2 == 1,
        },
    )

    class Parity(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Identity()

        def forward(self, x):
            h = self.hidden(torch.cat([x, x], 1))
            v, copy = h[:, :5], h[:, 5:]
            changed = v != copy
            three = changed[:, :3].all(1) & ~changed[:, 3:].any(1)
            odd = (v.sum(1) % 2 == 1) != three
            return torch.stack([~odd, odd], 1).float()

    net = cm.Network(
        Parity(),
        encode=lambda i: torch.from_numpy(np.stack([i[v] for v in "abcde"], 1)).float(),
        decode=lambda s: s.argmax(-1).bool(),
    )
    alignment = cm.Alignment({f"v{i}": cm.Feature(cm.Site("hidden"), dims=(k,)) for k, i in enumerate("abcde")})
    verdict = cm.verify(algorithm, net, alignment, battery=list(DECIDING), at_least=0.9)
    assert all(e.count.rate > 0.9 for e in verdict.slices)
    assert verdict.status != "holds"
    assert any("va + vb + vc: all pairs: " in reason for reason in verdict.reasons)
    sets = {e.variables: e.count.rate for e in verdict.transitions if e.name == "all pairs"}
    assert len(sets) == 10 + 5
    assert min(sets, key=sets.get) == ("va", "vb", "vc")


def test_a_flexible_view_that_was_given_has_no_control_that_undoes_its_fit():
    """The re-initialised network is to be fitted anew, as it was fitted."""
    generator = torch.Generator().manual_seed(0)
    flow = cm.Invertible(
        torch.randn(2, planted.WIDTH, 4, generator=generator) * 0,
        torch.zeros(2, 4),
        torch.zeros(2, 4, planted.WIDTH),
        torch.zeros(2, planted.WIDTH),
        torch.zeros(2, 4, planted.WIDTH),
        torch.zeros(2, planted.WIDTH),
    )
    verdict = verify(n=100, alignment=cm.Alignment({"left": cm.Feature(planted.SITE, flow, (0,))}))
    (control,) = [e for e in verdict.controls if e.name == "re-initialised network"]
    assert control.count is None
    assert control.warning
    assert "give the search for it" in control.says


def test_a_region_of_pairs_drawn_until_decided_has_bounds_of_a_sequence():
    for options, by in (({}, FIXED), ({"until": 0.02, "at_most": 4000}, ANYTIME)):
        region = verify("leak", n=4000, battery="quick", **options).region
        assert region.lower == by.lower(region.inside, 0.99)
        assert region.upper == by.upper(region.inside, 0.99)


def test_a_control_that_cannot_be_made_is_named_and_does_not_end_the_run():
    class Rooted(planted.Planted):
        def __init__(self):
            super().__init__()
            self.root = nn.Parameter(torch.tensor([1.0, -1.0, -1.0, -1.0]))
            self.uncopied = self.rotation * 2  # a tensor with history, which deepcopy refuses

        def forward(self, objects):
            return super().forward(objects) * self.root[0].sqrt()

    net = cm.Network(Rooted(), encode=planted.encode, decode=lambda x: x.argmax(-1).bool())
    verdict = cm.verify(planted.algorithm(), net, planted.alignment(), n=2000)
    assert verdict.status == "inconclusive"
    assert all(e.passed for e in verdict.slices)
    said = "left: re-initialised network: this control could not be made (the module of 'Rooted' cannot be copied"
    assert said in "\n".join(verdict.reasons)


def test_rare_values_of_continuous_inputs_are_found():
    algorithm = cm.CausalModel(
        "tail", {"x": cm.Interval(0, 1)}, {"flag": lambda x: x < 0.002, "out": lambda flag: flag}, domains={"flag": cm.Bool}
    )
    pairs = cm.pairs(algorithm, ["flag"], 500)
    assert abs(algorithm.solve(pairs.sources["flag"])["flag"].mean() - 0.5) < 0.1
    assert len(np.unique(pairs.sources["flag"]["x"])) == 500


def test_a_variable_whose_values_are_not_known_is_an_error():
    algorithm = cm.CausalModel("threshold", {"x": cm.Interval(0, 1)}, {"high": lambda x: x > 0.5, "out": lambda high: high})
    net = cm.Network(nn.Identity(), encode=lambda i: torch.from_numpy(i["x"])[:, None], decode=lambda x: x[:, 0] > 0.5)
    with pytest.raises(cm.CommuteError, match="the domain of 'high' is not known"):
        cm.verify(algorithm, net, cm.Alignment({"high": cm.Feature(cm.Site("relu"))}))


def test_a_variable_that_fills_its_site_does_not_take_the_control_from_others():
    whole = cm.Alignment({"left": planted.alignment()["left"], "a": cm.Feature(cm.Site("useless"))})
    verdict = verify(alignment=whole, n=200)
    measured = {e.variables[0]: e.count for e in verdict.controls if e.name == "random subspace"}
    assert measured["left"] is not None
    assert measured["a"] is None


def test_a_control_that_answers_with_labels_of_its_own_is_just_wrong():
    """A vocabulary of a thousand words, of which the algorithm has two."""

    class Wordy(planted.Planted):
        def __init__(self):
            super().__init__()
            self.out = nn.Parameter(torch.zeros(2, 1000))
            with torch.no_grad():
                self.out[0, 0] = self.out[1, 1] = 1.0

        def forward(self, objects):
            return super().forward(objects) @ self.out

    net = cm.Network(Wordy(), encode=planted.encode, decode=lambda x: x.argmax(-1))
    verdict = cm.verify(planted.algorithm(), net, planted.alignment(), n=800)
    assert max(e.count.rate for e in verdict.controls if e.name == "re-initialised network") < 0.9


@pytest.mark.parametrize("seed", range(6))
def test_a_claim_about_a_small_table_holds_for_every_seed(seed):
    """The permuted algorithm is never the algorithm itself, nor one in which the variable has no effect."""
    algorithm = cm.CausalModel("and", {"a": cm.Bool, "b": cm.Bool}, {"v": lambda a, b: a and b, "out": lambda v: v})

    class And(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Identity()
            self.weight = nn.Parameter(torch.zeros(9, 9))
            with torch.no_grad():
                self.weight[0, 1] = 1.0

        def forward(self, z):
            both = ((z @ self.weight[:2, :2]) * z)[:, 1]
            h = self.hidden(torch.stack([both, *[z[:, 0], z[:, 1]] * 3], 1))
            return h[:, 0] - 0.5

    net = cm.Network(And(), encode=lambda i: torch.from_numpy(np.stack([i["a"], i["b"]], 1)).float(), decode=lambda x: x > 0)
    alignment = cm.Alignment({"v": cm.Feature(cm.Site("hidden"), dims=(0,))})
    assert cm.verify(algorithm, net, alignment, n=1000, seed=seed, at_least=0.9).status == "holds"


def test_a_site_that_never_fires_is_an_error():
    with pytest.raises(cm.CommuteError, match="its module did not run"):
        verify(alignment=cm.Alignment({"left": cm.Feature(cm.Site("unused"))}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at_least": 1.5}, "at_least must lie between 0 and 1; given 1.5"),
        ({"confidence": 0}, "confidence must lie"),
        ({"n": 0}, "n must be a whole number of at least 1; given 0"),
        (
            {"battery": ["interchange", "zz"]},
            "no item of the battery 'zz'; there is .*, stability, counterexample search, proof$",
        ),
        ({"battery": "standart"}, "no battery 'standart'; did you mean 'standard'"),
        ({"alignment": cm.Alignment({"lft": cm.Feature(planted.SITE)})}, "no variable 'lft'; did you mean 'left'"),
        ({"alignment": cm.Alignment({"left": cm.Feature(cm.Site("hiden"))})}, "no site 'hiden'; did you mean 'hidden'"),
    ],
)
def test_a_claim_that_makes_no_sense_is_an_error(options, said):
    with pytest.raises(cm.CommuteError, match=said):
        verify(**options)


def test_what_is_no_alignment_is_told_in_short():
    algorithm, network = planted.algorithm(), planted.network()
    with pytest.raises(cm.CommuteError, match="verify judges an alignment; given None"):
        cm.verify(algorithm, network, None)
    with pytest.raises(cm.CommuteError, match=r"alignment must be a cm\.Alignment; given \{'left': ") as caught:
        cm.verify(algorithm, network, {"left": planted.alignment()["left"]})
    assert len(str(caught.value)) < 120


def test_a_variable_that_changes_no_answer_is_to_be_left_out():
    constant = cm.CausalModel("k", {"a": cm.Finite(range(3))}, {"m": lambda a: 1, "o": lambda m, a: a + m})
    organism = cm.organisms.compile(constant)
    with pytest.raises(cm.CommuteError, match=r"no interchange of m .*leave it out of what is aligned"):
        cm.verify(constant, organism.network, organism.alignment, n=50)


def test_a_claim_lists_all_its_problems():
    net = planted.network()
    with pytest.raises(cm.CommuteError) as caught:
        cm.Claim("algorithm", net, search=cm.Search(["left"], []), alignment=planted.alignment(), at_least=2, n=-1)
    assert "the claim has 4 problems" in str(caught.value)
    with pytest.raises(cm.CommuteError) as caught:
        cm.Claim(planted.algorithm(), net, search=cm.Search(["lft"], [cm.Site("hiden")]))
    assert "did you mean 'left'" in str(caught.value)
    assert "did you mean 'hidden'" in str(caught.value)


def test_a_verdict_is_saved_and_read_back(tmp_path):
    verdict = verify("backup", n=500)
    verdict.save(tmp_path)
    assert cm.Verdict.load(tmp_path) == verdict
    assert json.loads((tmp_path / "verdict.json").read_text())["status"] == "refuted"
    (tmp_path / "verdict.json").write_text("{}")
    with pytest.raises(cm.CommuteError, match="does not hold a verdict"):
        cm.Verdict.load(tmp_path)


def claim(n=600, search=FOUND, **options):
    return cm.Claim(planted.algorithm(), planted.network(), search=search, n=n, **options)


def test_a_run_is_kept_and_found_again(tmp_path):
    events = []
    first = claim().verify(seed=1, runs=tmp_path, on_event=events.append)
    (folder,) = tmp_path.iterdir()
    kept = {p.name for p in folder.iterdir() if not p.name.startswith("search-")}
    assert len(list(folder.glob("search-*/*.safetensors"))) == 3  # the claim's own search, and those of two controls
    assert kept == {"run.json", "events.jsonl", "search.json", "alignment", "pairs.parquet", "verdict.json"}
    run = json.loads((folder / "run.json").read_text())
    assert run["seed"] == 1
    assert run["finished"] >= run["started"]
    assert {"algorithm", "network", "search"} == set(run["hashes"])
    assert run["packages"]["torch"] == torch.__version__
    assert {"commit", "dirty"} == set(run["git"])
    assert [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()][-1] == "Decided"
    frame = pd.read_parquet(folder / "pairs.parquet")
    assert set(frame.what) == {"left", "right", "left + right", "no intervention", "remainder exchanged"}
    assert len(frame) == 5 * 600
    assert frame.right[frame.what.isin(["left", "right", "left + right"])].sum() == first.accuracy.overall.correct
    assert (frame.right == (frame["answered.same"] == frame["expected.same"])).all()
    events.clear()
    assert claim().verify(seed=1, runs=tmp_path, on_event=events.append) == first
    assert events == []


def test_numpy_integers_give_the_run_of_pythons(tmp_path):
    search = replace(FOUND, method=cm.DAS(dims=np.int64(1), steps=np.int64(30), restarts=1), n=np.int64(512))
    first = claim(n=np.int64(300), search=search).verify(seed=np.int64(2), runs=tmp_path)
    assert claim(n=300).verify(seed=2, runs=tmp_path) == first
    with pytest.raises(cm.CommuteError, match="a seed must be a whole number of at least 0; given -1"):
        claim().verify(seed=-1)


def test_what_a_verdict_depends_on_gives_it_a_folder_of_its_own(tmp_path):
    def kept(n=100, fault="", **options):
        options = {"alignment": planted.alignment(), "battery": "quick"} | options
        return cm.Claim(planted.algorithm(), planted.network(fault), n=n, **options)

    changed, other = kept(), kept()
    with torch.no_grad():
        changed.network.module.rotation[0, 0] += 1e-3
    other.network.encode = lambda inputs: planted.encode(dict(inputs))
    claims = [
        kept(),
        kept(n=101),
        kept(at_least=0.9),
        kept(battery=["interchange"]),
        kept(until="decision"),
        kept(until="decision", at_most=200),
        kept(tried=2),
        kept(rivals={"another": cm.library.hierarchical_equality(planted.VALUES)}),
        kept(fault="backup"),  # a setting of the module that acts only under interchanges
        changed,
        other,
    ]
    for made in claims:
        made.verify(runs=tmp_path)
    assert len(list(tmp_path.iterdir())) == len(claims)


def test_a_run_cut_off_after_its_search_goes_on_from_there(tmp_path):
    first = claim().verify(runs=tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "verdict.json").unlink()
    events = []
    assert claim().verify(runs=tmp_path, on_event=events.append) == first
    assert [e.control for e in events if type(e).__name__ == "SearchStarted"] == ["re-initialised network", "permuted algorithm"]


def test_the_same_seed_gives_the_same_bytes_and_another_the_same_status(tmp_path):
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        claim(n=1500, search=replace(FOUND, method=cm.DAS(dims=1, steps=150, restarts=1))).verify(seed=seed, runs=tmp_path / name)
    first, again, other = (next((tmp_path / name).glob("*/verdict.json")).read_bytes() for name in ("first", "again", "other"))
    assert first == again
    assert first != other
    assert json.loads(first)["status"] == json.loads(other)["status"]


def test_offloaded_weights_are_told():
    """What stands in the module is not the weights, so that shuffling it would leave the trained network for a control."""
    import accelerate

    network = planted.network()
    accelerate.cpu_offload(network.module)
    assert "re-initialised network: this control could not be made (weights of 'Planted' are offloaded" in str(
        cm.verify(planted.algorithm(), network, planted.alignment())
    )
