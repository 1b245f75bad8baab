"""Each diagnostic on networks of known truth: one on which it must warn, and one on which it must not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.alignments.accuracy import interchange_accuracy
from commute.alignments.drawing import Unseen
from commute.causal.batches import take
from commute.proofs.claimed import Claimed
from commute.proofs.diagnostics import (
    DIAGNOSTICS,
    Rival,
    as_rival,
    divergence,
    null_space,
    remainder_only,
    rival_problems,
    rival_record,
    rivals,
    stability,
)
from commute.proofs.diagnostics.vectors import moved
from commute.proofs.shuffled import shuffled_sources
from commute.runs.seeds import stream
from tests import planted

SITE = cm.Site("hidden")
WIDTH, NOISES = 8, 64
BIG, OTHER, DEAD, DORMANT = range(4)  # directions of the hidden layer; the rest holds noise


def algorithm(*, noises=NOISES, **mechanisms):
    """out: whether one of x and y is big and the other is not; z is ignored."""
    four = cm.Finite(range(4))
    default = {
        "big": lambda x: x >= 2,
        "other": lambda y: y >= 2,
        "out": lambda big, other: big != other,
    }
    inputs = {"x": four, "y": four, "z": cm.Finite(range(noises))}
    return cm.CausalModel("one is big", inputs, {**default, **mechanisms}, outputs=["out"])


class Module(nn.Module):
    """Writes both along directions, a dead copy of `big`, a direction that never varies, and noise; reads them in some way.

    `reads` says how: "both" the variables, "dormant" also the direction that never varies, "compared" without gradients, "all"
    everything a little, "sum" whether both are big, from their sum alone. `dead` says what the dead direction holds.
    """

    def __init__(self, reads="both", dead="copy"):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.rotation = nn.Parameter(torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator)).Q)
        self.noise = nn.Parameter(0.5 * torch.randn(NOISES, WIDTH - 4, generator=generator))
        self.hidden = nn.Identity()
        self.reads, self.dead = reads, dead

    def forward(self, inputs):
        x, y, z = inputs.unbind(1)
        big, other = (2.0 * (v >= 2) - 1 for v in (x, y))
        dead = {"copy": big, "close": 0.2 * (x % 2) + 0.05 * big, "constant": 0 * big}[self.dead]
        h = torch.cat([torch.stack([big, other, dead, torch.zeros_like(big)], 1), self.noise[z]], 1)
        h = self.hidden(h @ self.rotation.T) @ self.rotation
        if self.reads == "sum":
            return (h[:, BIG] + h[:, OTHER] - 1)[:, None] * torch.tensor([-1.0, 1.0])
        first = h[:, BIG] + ((4 + h[:, -1]) * h[:, DORMANT] if self.reads == "dormant" else 0)
        if self.reads == "compared":
            first = torch.where(first > 0, 1.0, -1.0)
        score = first * h[:, OTHER]
        others = h[:, 2:] - 100 if self.reads == "all" else h[:, :0]  # far from being the answer
        return torch.cat([torch.stack([score, -score], 1), others], 1)


def network(**how):
    return cm.Network(Module(**how), encode=encode, decode=lambda scores: scores.argmax(-1).bool())


def encode(inputs):
    return torch.from_numpy(np.stack([inputs[v] for v in "xyz"], 1))


def along(*weights, variable="big"):
    """The variable along one direction, made of those of the hidden layer in these amounts."""
    direction = Module().rotation.detach() @ torch.tensor([*weights, *[0.0] * (WIDTH - len(weights))])
    return cm.Alignment({variable: cm.Feature(SITE, cm.Orthogonal(direction[:, None] / direction.norm()))})


TRUE, ILLUSION = along(1.0), along(0.0, 0.0, 1.0, 1.0)


def claimed(net, alignment, model=None, *, n=1000, **options):
    model = model or algorithm()
    fresh = Unseen.of(model, alignment.found)
    return Claimed(model, net, alignment, fresh, n, 0, 0.95, 0.99, lambda _: None, **options)


def the_only(lines):
    (line,) = lines
    assert line.kind == "diagnostic"
    assert line.passed is None
    return line


def test_bounds_are_those_of_the_count():
    line = the_only(divergence(claimed(network(), TRUE)))
    assert (line.lower, line.upper) == (line.count.lower(0.99), line.count.upper(0.99))
    assert line.upper - line.lower > 0


class Sheared:
    """A featurizer that is not linear: the second coordinate is moved by the square of the first."""

    def to_features(self, vectors):
        return torch.cat([vectors[:, :1], vectors[:, 1:2] + vectors[:, :1] ** 2, vectors[:, 2:]], 1), vectors[:, :0]

    def from_features(self, features, rest):
        return torch.cat([features[:, :1], features[:, 1:2] - features[:, :1] ** 2, features[:, 2:]], 1)


class TestRemainderOnly:
    def test_a_variable_in_its_place_is_nowhere_else(self):
        """Also of a partial claim, whose unclaimed variable rightly acts through what is left out."""
        line = the_only(remainder_only(claimed(network(), TRUE)))
        assert line.count.correct == 0
        assert line.count.total > 400
        assert not line.warning

    def test_a_variable_that_is_elsewhere_is_all_in_the_remainder(self):
        line = the_only(remainder_only(claimed(network(), along(0.0, 0.0, 0.0, 0.0, 1.0))))
        assert line.count.rate == 1
        assert line.warning

    def test_a_leak_is_seen_as_often_as_it_matters(self):
        """The network flips where a is 0 and the copy, which is left out, differs: on a quarter of bases."""
        made = claimed(planted.network("leak"), planted.alignment(), planted.algorithm())
        left, right = remainder_only(made)
        assert left.warning
        assert 0.1 < left.lower < left.upper < 0.4
        assert right.count.correct == 0
        assert not right.warning
        sound = remainder_only(claimed(planted.network(), planted.alignment(), planted.algorithm()))
        assert [line.count.correct for line in sound] == [0, 0]

    def test_what_a_variable_is_computed_from_may_act_by_itself(self):
        """x acts as `big` and by itself; where its other part differs too, answers do not tell what carried `big`."""
        model = algorithm(out=lambda big, x: big != (x % 2 == 1))

        class Both(Module):
            def forward(self, inputs):
                x = inputs[:, 0]
                h = torch.stack([2.0 * (x >= 2) - 1, 2.0 * (x % 2 == 1) - 1, *torch.zeros(WIDTH - 2, len(x))], 1)
                h = self.hidden(h @ self.rotation.T) @ self.rotation
                return torch.stack([h[:, 0] * h[:, 1], -h[:, 0] * h[:, 1]], 1)

        net = cm.Network(Both(), encode=encode, decode=lambda scores: scores.argmax(-1).bool())
        line = the_only(remainder_only(claimed(net, TRUE, model)))
        assert line.count.correct == 0
        assert 100 < line.count.total < 400

    def test_a_feature_that_fills_its_site_leaves_nothing_out(self):
        line = the_only(remainder_only(claimed(network(), cm.Alignment({"big": cm.Feature(SITE)}))))
        assert line.count is None
        assert "all of its site" in line.says
        assert not line.warning


class TestNullSpace:
    def test_an_illusion_works_only_as_a_whole(self):
        """The interchange is perfect, although the network reads neither what varies with `big` nor the variable from there."""
        net = network(reads="dormant")
        pairs = cm.pairs(algorithm(), ["big"], 500, seed=1)
        assert interchange_accuracy(algorithm(), net, ILLUSION, pairs).rate == 1
        row, null = null_space(claimed(net, ILLUSION))
        assert (row.name, null.name) == ("row-space part alone", "null-space part alone")
        assert row.count.correct == null.count.correct == 0
        assert row.count.total > 200
        assert row.warning
        assert "subspace illusion" in row.says
        assert not null.warning

    def test_a_part_that_nothing_reads_does_no_harm(self):
        row, null = null_space(claimed(network(), along(1.0, 0.0, 0.4)))
        assert row.count.rate == 1
        assert null.count.rate == 0
        assert not row.warning
        assert "illusion" not in row.says

    def test_a_variable_of_which_only_a_sum_is_read_is_no_illusion(self):
        """What reads the site does not tell the variables apart, so half of each one's direction is not read."""
        model = algorithm(out=lambda big, other: big and other)
        row, null = null_space(claimed(network(reads="sum"), TRUE, model))
        assert (row.count.rate, null.count.rate) == (1, 0)
        assert not row.warning

    def test_a_wrong_feature_is_no_illusion(self):
        """Neither the whole nor its part that is read does what the claim says."""
        row, _ = null_space(claimed(network(), along(0.0, 1.0, 1.0)))
        assert row.upper < 0.95
        assert not row.warning

    @pytest.mark.parametrize(
        ("net", "alignment", "why"),
        [
            (network(), TRUE, "no part in the null space"),
            (network(reads="compared"), TRUE, "not told by gradients"),
            (network(reads="all"), TRUE, "there is no null space"),
            (network(), cm.Alignment({"big": cm.Feature(SITE, Sheared(), (0,))}), "not linear"),
        ],
    )
    def test_where_there_are_no_two_parts_a_line_says_why(self, net, alignment, why):
        line = the_only(null_space(claimed(net, alignment)))
        assert line.count is None
        assert why in line.says
        assert not line.warning


class TestMoved:
    """The directions of features, whatever the featurizer is made of."""

    vectors = torch.randn(2, 40, WIDTH, generator=torch.Generator().manual_seed(1))

    def angle(self, found, true):
        from scipy.linalg import subspace_angles

        assert found.shape == true.shape
        return float(np.rad2deg(subspace_angles(found.numpy(), true.numpy()).max()))

    def test_of_linear_featurizers(self):
        q = Module().rotation.detach()
        pca = cm.PCA.fit(self.vectors[0], standardize=True)
        inner = cm.Orthogonal(torch.linalg.qr(torch.randn(3, 2, generator=torch.Generator().manual_seed(2))).Q)
        cases = [
            ([cm.Feature(SITE, dims=(1, 4))], torch.eye(WIDTH)[:, [1, 4]]),
            ([cm.Feature(SITE, cm.Orthogonal(q), (0, 3))], q[:, [0, 3]]),
            ([cm.Feature(SITE, cm.Orthogonal(q), (0,)), cm.Feature(SITE, cm.Orthogonal(q), (5,))], q[:, [0, 5]]),
            ([cm.Feature(SITE, pca, (0, 2))], pca.scale[:, None] * pca.components[:, [0, 2]]),
            (
                [cm.Feature(SITE, cm.Composed(cm.Orthogonal(q[:, :3].contiguous()), inner), (1,))],
                q[:, :3] @ inner.directions[:, 1:],
            ),
        ]
        for features, true in cases:
            assert self.angle(moved(features, *self.vectors), true) < 0.1

    def test_none_of_a_featurizer_that_is_not_linear(self):
        assert moved([cm.Feature(SITE, Sheared(), (0,))], *self.vectors) is None
        assert moved([cm.Feature(SITE, Sheared(), (1,))], *self.vectors) is None
        assert moved([cm.Feature(SITE, Sheared(), (2,))], *self.vectors).shape == (WIDTH, 1)


class TestDivergence:
    def test_a_variable_that_varies_by_itself_stays_among_natural_vectors(self):
        line = the_only(divergence(claimed(network(dead="constant"), TRUE)))
        assert line.upper < 0.05
        assert not line.warning

    def test_a_variable_with_a_copy_leaves_them(self):
        """Without its copy it is set as in no natural vector, wherever its value changes."""
        line = the_only(divergence(claimed(network(), TRUE)))
        assert line.lower > 0.4
        assert line.warning

    def test_of_a_small_domain_no_input_is_compared_with_itself(self):
        """256 inputs: if one were, natural distances would be 0, and vectors as near as those of other inputs far."""
        two, four = cm.Finite((0, 3)), cm.Finite(range(4))
        inputs = {"x": four, "y": two, "z": cm.Finite(range(32))}
        model = cm.CausalModel("small", inputs, {"big": lambda x: x >= 2, "out": lambda big, y: big != (y >= 2)})
        line = the_only(divergence(claimed(network(dead="close"), TRUE, model)))
        assert not line.warning

    def test_too_few_inputs_and_whole_sites_are_not_measured(self):
        assert "only 32 different inputs" in the_only(divergence(claimed(network(), TRUE, algorithm(noises=2)))).says
        assert the_only(divergence(claimed(network(), cm.Alignment({"big": cm.Feature(SITE)})))).count is None


class TestRivals:
    odd = cm.CausalModel(
        "parity",
        {"x": cm.Finite(range(4)), "y": cm.Finite(range(4)), "z": cm.Finite(range(NOISES))},
        {"odd": lambda x: x % 2 == 1, "other": lambda y: y >= 2, "out": lambda odd, other: odd != other},
    )

    def test_the_claim_explains_what_tells_it_from_a_rival(self):
        made = claimed(network(), TRUE, rivals={"parity": Rival(self.odd, {"big": "odd"})})
        line = the_only(rivals(made))
        assert line.name == "rival parity"
        assert line.variables == ("big",)
        assert line.count.rate == 1
        assert line.count.total > 300
        assert not line.warning

    def test_a_network_that_runs_the_rival_warns(self):
        made = claimed(network(), along(1.0, variable="odd"), self.odd, rivals={"size": Rival(algorithm(), {"odd": "big"})})
        line = the_only(rivals(made))
        assert line.count.rate == 0
        assert line.warning
        assert f"0 of these as the claim says and {line.count.total} as the rival does" in line.says

    def test_a_rival_that_nothing_tells_apart_warns(self):
        twin = algorithm().rename({"big": "large"})[0]
        line = the_only(rivals(claimed(network(), TRUE, rivals={"twin": Rival(twin, {"big": "large"})})))
        assert line.count is None
        assert line.warning

    def test_where_hardly_any_pair_tells_apart_the_smallest_are_looked_at(self):
        rare = algorithm(out=lambda big, other, z: (big != other) != (z == 7))
        line = the_only(rivals(claimed(network(), TRUE, rivals={"rare": Rival(rare)})))
        assert 0 < line.count.total < 30
        assert "of the smallest pairs that do, it answers 100 of 100 as the claim says" in line.says

    def test_of_several_variables_each_and_all_are_compared(self):
        made = claimed(planted.network(), planted.alignment(), planted.algorithm())
        shapes = cm.Finite(range(planted.VALUES))
        rival = cm.CausalModel(
            "left only",
            dict.fromkeys("abcd", shapes),
            {"left": lambda a, b: a == b, "right": lambda c, d: c >= d, "same": lambda left, right: left == right},
        )
        lines = rivals(replace(made, rivals={"order": Rival(rival)}))
        assert [line.variables for line in lines] == [("left",), ("right",), ("left", "right")]
        assert all(line.count.rate == 1 for line in lines)

    def test_all_that_does_not_fit_is_listed(self):
        wrong = cm.CausalModel("wrong", {"x": cm.Finite(range(3))}, {"odd": lambda x: x == 1, "out": lambda odd: odd})
        found = "\n".join(
            rival_problems(
                {"wrong": wrong, "number": 3, "named": Rival(self.odd, {"bag": "odd", "big": "od"})}, algorithm(), ["big"]
            )
        )
        assert "the rival 'wrong': comparing" in found
        assert "domain of 'x'" in found
        assert "no variable 'big'" in found
        assert "the rival 'number': give a CausalModel" in found
        assert "no aligned variable 'bag'; did you mean 'big'?" in found
        assert "no variable 'od'; did you mean 'odd'? (for 'big')" in found
        assert rival_problems({"fine": Rival(self.odd, {"big": "odd"})}, algorithm(), ["big"]) == []
        assert "mapping" in rival_problems([self.odd], algorithm(), ["big"])[0]

    def test_records_tell_rivals_apart(self):
        one, same = rival_record(self.odd), rival_record(as_rival(self.odd))
        assert one == same
        assert one != rival_record(Rival(self.odd, {"big": "odd"}))
        assert one["hash"] != rival_record(algorithm())["hash"]
        line = cm.Interval(0, 1)
        real = [cm.CausalModel("real", {"x": line}, {"out": f}) for f in (lambda x: x > 0.5, lambda x: x > 0.25)]
        assert rival_record(real[0])["hash"] != rival_record(real[1])["hash"]


class TestStability:
    def searched(self, method):
        found = cm.search(
            planted.algorithm(), planted.network(), variables=["left"], sites=[SITE], method=method, n=512, seed=3
        ).best
        events = []
        made = replace(claimed(planted.network(), found, planted.algorithm(), n=500), on_event=events.append)
        return the_only(stability(made)), events

    def test_a_search_that_finds_the_same_each_time(self):
        line, events = self.searched(cm.Probe(kind="ridge"))
        assert 0 <= line.lower <= line.upper < 30
        assert line.unit == "degrees"
        assert line.count is None
        assert not line.warning
        assert [e.control for e in events if type(e).__name__ == "SearchStarted"] == ["stability 1", "stability 2"]

    def test_dims_that_nothing_needs_point_anywhere(self):
        line, _ = self.searched(cm.DAS(dims=3, steps=100, restarts=1))
        assert line.lower > 30
        assert line.warning
        assert "other subspaces do as well" in line.says

    def test_an_alignment_that_was_given_is_not_searched_for(self):
        line = the_only(stability(claimed(network(), TRUE)))
        assert line.count is None
        assert "given" in line.says
        assert not line.warning


class Halves(Module):
    """Holds half of `big` at a second site, beside the first."""

    def __init__(self):
        super().__init__()
        self.second = nn.Identity()

    def forward(self, inputs):
        scores = super().forward(inputs)  # its sign is the answer by the first half
        half = self.second(torch.stack([2.0 * (inputs[:, 0] >= 2) - 1, *0.1 * inputs[:, 2:].T], 1))[:, :1]
        other = 2.0 * (inputs[:, 1:2] >= 2) - 1
        return scores + 1.5 * half * other * torch.tensor([1.0, -1.0])


def test_features_at_several_sites_are_exchanged_together():
    """The second half outweighs the first, so that an exchange of all but the first alone leaves the answer to the remainder."""
    net = cm.Network(Halves(), encode=encode, decode=lambda scores: scores.argmax(-1).bool())
    first, second = TRUE["big"], cm.Feature(cm.Site("second"), dims=(0,))
    both = claimed(net, cm.Alignment({"big": [first, second]}))
    assert the_only(remainder_only(both)).count.rate == 0
    assert [line.name for line in divergence(both)] == ["divergence at hidden", "divergence at second"]
    mixed = cm.Feature(cm.Site("second"), cm.Orthogonal(torch.tensor([[0.96], [0.28]])), (0,))  # whose other part is not read
    row, null = null_space(claimed(net, cm.Alignment({"big": [along(1.0, 0.0, 0.4)["big"], mixed]})))
    assert (row.count.rate, null.count.rate) == (1, 0)


def test_shuffled_sources_are_right_by_chance_alone():
    made = claimed(planted.network(), planted.alignment(), planted.algorithm(), n=600)
    model = planted.algorithm()
    for control in shuffled_sources(made):
        drawn = made.fresh.pairs([control.variable], 1200, stream(0, "control", "shuffled sources", "pairs", control.variable))
        base, other = take(drawn.base, slice(600)), take(drawn.sources[control.variable], slice(600, None))
        by_chance = model.interchange(base, {control.variable: other})["same"] == drawn.expected["same"][:600]
        assert (control.count.correct, control.count.total) == (by_chance.sum(), 600)
        assert control.count.upper(0.99) < 0.8


def test_diagnostics_repeat_exactly():
    made = claimed(network(), TRUE, rivals={"parity": Rival(TestRivals.odd, {"big": "odd"})})
    for diagnostic in DIAGNOSTICS.values():
        assert diagnostic(made) == diagnostic(made)
