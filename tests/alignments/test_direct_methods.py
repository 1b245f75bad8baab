from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.alignments.assignments import JUDGED, Assignments, Outcomes, assignments, best_of, ways_to_assign
from commute.alignments.binary_mask import BinaryMask
from commute.alignments.feature import Feature
from commute.alignments.featurizers import PCA, Orthogonal
from commute.alignments.full_vector import FullVector
from commute.alignments.judging import judged, of_features
from commute.alignments.method import Direct, sites_of, variants
from commute.alignments.principal import PrincipalComponents
from commute.alignments.probe import Probe
from commute.alignments.selection import Selection, _greedy, _improved
from commute.alignments.training import Drawn, prepare, read_decisions
from commute.alignments.variable_sets import variable_sets
from commute.errors import AlignmentError
from tests import planted

BOTH = ("left", "right")
VALUES = planted.VALUES


class Coded(nn.Module):
    """Writes vectors from the inputs into sites, and answers whether a score that is read of all of them is positive."""

    def __init__(self, write, read, widths):
        super().__init__()
        self.sites = nn.ModuleList(nn.Identity() for _ in widths)
        self.write, self.read, self.widths = write, read, widths

    def forward(self, objects):
        parts = self.write(objects).float().split(self.widths, 1)
        score = self.read(torch.cat([site(x) for site, x in zip(self.sites, parts, strict=True)], 1), objects)
        return torch.stack([-score, score], 1)


def network(write, read, *widths, **options):
    decode = planted.network().decode
    return cm.Network(Coded(write, lambda x, _: read(x), widths), encode=planted.encode, decode=decode, **options)


def ready(net, variables=BOTH, n=256, sites=1, seed=0):
    """Pairs of each set of variables, at the first sites together."""
    algorithm, rng = planted.algorithm(), np.random.default_rng(seed)
    drawn = []
    for chosen in variable_sets(variables):
        pairs = cm.pairs(algorithm, chosen, n, seed=rng)
        values = {v: algorithm.domain(v).encode(algorithm.solve(source)[v]) for v, source in pairs.sources.items()}
        drawn.append(Drawn(pairs, values))
    place = tuple(cm.Site(f"sites.{i}") for i in range(sites))
    readout = read_decisions(net, drawn[0].pairs)
    return [prepare(net, [place], readout, d)[place] for d in drawn]


def fitted(method, train, seed=0):
    assert isinstance(method, Direct)
    return method.fit(train, [], np.random.default_rng(seed))


def dims_of(features):
    return {v: [(str(f.site), f.dims) for f in of_v] for v, of_v in features.items()}


def slices(train, features):
    """The IIA of the changed or the unchanged pairs, whichever is lower, of each set of variables: the lowest, and the mean."""
    found = []
    for here in train:
        right = judged([of_features(features, here)])[0].right[0]
        found.append(min(right[here.pairs.changed].mean(), right[~here.pairs.changed].mean()))
    return min(found), round(sum(found) / len(found), 6)


# What is written, as signs of ±1, [batch].


def sign(x):
    return 2.0 * x - 1


def truth(objects):
    a, b, c, d = objects.unbind(1)
    return sign(a == b), sign(c == d)


def parities(objects):
    """Of each input; independent of left and right alone."""
    return sign(objects % 2).unbind(1)


def high(objects):
    return sign(objects > 1).unbind(1)


def plain(objects):
    """Left in neuron 4 and right in 1 of 6, beside others that are not read."""
    left, right = truth(objects)
    a, b, c, _ = parities(objects)
    return torch.stack([a, right, b, c, left, a * c], 1)


def xor(objects):
    """Left in the parity of neurons 2 and 5 and right in that of 3 and 4, behind two that are not read."""
    left, right = truth(objects)
    a, b, c, d = high(objects)
    return torch.stack([b, d, a, c, right * c, left * a], 1)


def read_xor(x):
    return x[:, 2] * x[:, 5] * x[:, 3] * x[:, 4]


PLAIN = network(plain, lambda x: x[:, 4] * x[:, 1], 6)
XOR = network(xor, read_xor, 6)


@pytest.mark.parametrize("how", ["greedy", "exact"])
def test_selection_finds_the_neurons(how):
    assert dims_of(fitted(Selection(dims=1, how=how), ready(PLAIN))) == {
        "left": [("sites.0", (4,))],
        "right": [("sites.0", (1,))],
    }


@pytest.mark.parametrize("variables", [("left",), BOTH])
def test_exact_selection_finds_parities_of_which_no_neuron_helps_alone(variables):
    features = fitted(Selection(dims=2, how="exact"), ready(XOR, variables))
    expected = {"left": [("sites.0", (2, 5))], "right": [("sites.0", (3, 4))]}
    assert dims_of(features) == {v: expected[v] for v in variables}


@pytest.mark.parametrize("seed", range(4))
def test_greedy_selection_finds_a_parity_beside_a_neuron_that_helps_alone(seed):
    net = network(lambda x: torch.cat([xor(x)[:, [0, 1, 2, 5]], truth(x)[1][:, None]], 1), lambda x: x[:, 2:].prod(1), 5)
    features = fitted(Selection(dims={"left": 2, "right": 1}), ready(net, seed=seed))
    assert dims_of(features) == {"left": [("sites.0", (2, 3))], "right": [("sites.0", (4,))]}


@pytest.mark.parametrize("seed", range(4))
def test_exchanges_find_a_parity_from_one_neuron_of_it(seed):
    (at,) = sites_of(train := ready(XOR, seed=seed))
    choices = Assignments(BinaryMask(), [at], [6], [6])
    for start in ([0, 2, 0, 2, 1, 1], [1, 2, 1, 0, 2, 0]):
        owners = _improved(choices, torch.tensor(start), range(6))
        assert owners.tolist() == [2, 2, 0, 1, 1, 0], start
    assert len(train) == 3


def test_selection_prefers_one_of_several_copies_to_neurons_that_are_not_read():
    """The answer is the majority's, so one copy changes none, but scores are closer."""

    def write(objects):
        left, right = truth(objects)
        unread = parities(objects)
        return torch.stack([*unread[:3], left, left, right, left], 1)

    train = ready(network(write, lambda x: (x[:, 3] + x[:, 4] + x[:, 6]) * x[:, 5], 7))
    features = fitted(Selection(dims={"left": 3, "right": 1}), train)
    assert dims_of(features) == {"left": [("sites.0", (3, 4, 6))], "right": [("sites.0", (5,))]}


def test_selection_fills_up_with_neurons_that_do_no_harm_though_only_few_are_looked_at():
    """Neurons 0 to 19 flip the answer where they are not the base's own; 20 to 29 are not read."""

    def write(objects):
        left, right = truth(objects)
        both = torch.stack([*parities(objects), *high(objects)], 1)
        return torch.cat([both.repeat(1, 4)[:, :30], left[:, None], right[:, None]], 1)

    def read(x, objects):
        own = write(objects)[:, :20]
        return x[:, 30] * x[:, 31] * (x[:, :20] * own).prod(1)

    net = network(write, None, 32)
    net.module.read = read
    train = ready(net)
    features = fitted(Selection(dims=3, screen=4), train)
    assert {v: max(f.dims) for v, (f,) in features.items()} == {"left": 30, "right": 31}
    assert all(d >= 20 for (f,) in features.values() for d in f.dims)
    assert slices(train, features) == (1, 1)


def test_screening_leaves_what_matters_of_many_neurons_and_saves_passes():
    rows = []

    def write(objects):
        left, right = truth(objects)
        unread = torch.stack([*parities(objects), *high(objects)], 1).repeat(1, 10)
        return torch.cat([unread[:, :50], left[:, None], unread[:, 50:], 0.01 * right[:, None]], 1)

    def read(x):
        rows.append(len(x))
        return x[:, 50] * x[:, 81]

    train, spent = ready(network(write, read, 82)), []
    for screen in (2, 200):
        rows.clear()
        features = fitted(Selection(dims=1, screen=screen), train)
        assert dims_of(features) == {"left": [("sites.0", (50,))], "right": [("sites.0", (81,))]}
        spent.append(sum(rows))
    assert spent[0] < 0.8 * spent[1]


def test_exchanging_mends_what_greedy_steps_took_wrongly():
    """Left is read from neuron 0 for a quarter of the inputs, and else from 2 and 4 where they agree, so neither helps alone."""

    def write(objects):
        left, right = truth(objects)
        a, _, c, _ = parities(objects)
        return torch.stack([left, a, left, c, left, right], 1)

    def read(x, objects):
        rare = (objects[:, 0] + objects[:, 2]) % VALUES == 0
        left = torch.where(x[:, 2] == x[:, 4], x[:, 2], 0.5 * truth(objects)[0])
        return torch.where(rare, x[:, 0], left) * x[:, 5]

    net = network(write, None, 6)
    net.module.read = read
    train = ready(net)
    choices = Assignments(BinaryMask(), sites_of(train), [6], [6])
    assert _greedy(choices, [2, 1], 64)[0].tolist().index(0) == 0
    for how in ("greedy", "exact"):
        features = fitted(Selection(dims={"left": 2, "right": 1}, how=how), train)
        assert dims_of(features) == {"left": [("sites.0", (2, 4))], "right": [("sites.0", (5,))]}


def test_a_variable_that_takes_all_neurons_leaves_nothing_to_exchange():
    features = fitted(Selection(dims=6), ready(network(plain, lambda x: x[:, 0] * x[:, 2], 6), ("left",)))
    assert dims_of(features) == {"left": [("sites.0", (0, 1, 2, 3, 4, 5))]}


def test_keys_are_the_worst_slice_and_the_mean_of_sets_and_log_probabilities():
    changed = np.array([True, True, False, False])
    first = np.array([[True, True, True, True], [True, False, True, True], [False, False, True, True]])
    second = np.array([[True, False, True, False], [True, False, True, True], [True, True, True, True]])
    certain = np.array([[-1.0] * 4, [-2.0] * 4, [-3.0] * 4])
    outcomes = Outcomes([first, second], [certain, 3 * certain], [changed, changed])
    assert outcomes.keys().tolist() == [[0.5, 0.75, -2], [0.5, 0.5, -4], [0, 0.5, -6]]
    assert outcomes.effects().tolist() == [0, 4, 8]
    assert best_of(outcomes.keys()) == 0
    assert best_of(np.array([[1, 2], [2, 1], [2, 1]])) == 1
    only = Outcomes([first[:, :2]], [certain[:, :2]], [changed[:2]])
    assert only.keys()[:, 0].tolist() == [1, 0.5, 0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("variables", [("left",), BOTH])
def test_exact_is_what_brute_force_finds_and_greedy_is_no_better(seed, variables):
    """The answer is a random function of the neurons, which mix left, right and the inputs."""
    weights = (
        torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)),
        torch.randn(4, generator=torch.Generator().manual_seed(seed)),
    )

    def write(objects):
        left, right = truth(objects)
        a, b, _, _ = parities(objects)
        return torch.stack([left, right + a, left * b, right * left, a + left], 1)

    train = ready(network(write, lambda x: (x @ weights[0]).tanh() @ weights[1], 5), variables, n=100)
    sizes = {"left": 2, "right": 1} if len(variables) > 1 else {"left": 2}
    brute = []
    for left in combinations(range(5), 2):
        for right in combinations(set(range(5)) - set(left), 1) if len(variables) > 1 else [()]:
            chosen = {"left": left, "right": right}
            features = {v: [Feature(cm.Site("sites.0"), dims=chosen[v])] for v in variables}
            brute.append(slices(train, features))
    assert slices(train, fitted(Selection(dims=sizes, how="exact"), train)) == max(brute)
    greedy = slices(train, fitted(Selection(dims=sizes), train))
    assert min(brute) <= greedy <= max(brute)


def test_outcomes_are_those_of_interchanges_also_in_small_passes():
    train = ready(XOR, n=300)
    small = ready(network(xor, read_xor, 6, batch_size=50), n=300)
    owners = assignments(6, (2, 2))[::7]
    for some in (train, small):
        (at,) = sites_of(some)
        choices = Assignments(BinaryMask(), [at], [6], [6])
        outcomes = choices.outcomes(owners)
        for here, right, certain in zip(some, outcomes.right, outcomes.certain, strict=True):
            for i, owner in enumerate(owners):
                (owned,) = choices.owned(owner)
                features = {v: [Feature(at.site, dims=d)] for v, d in owned.items()}
                assert np.array_equal(right[i], judged([of_features(features, here, JUDGED)])[0].right[0])
                assert np.array_equal(right[i], certain[i] > np.log(0.5))
    whole = Assignments(BinaryMask(), sites_of(train), [6], [6]).outcomes(owners)
    assert np.array_equal(outcomes.keys(), whole.keys())


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_count_as_uncertain(score):
    train = ready(network(plain, lambda x: x[:, 4] * x[:, 1] * score, 6))
    choices = Assignments(BinaryMask(), sites_of(train), [6], [6])
    certain = np.concatenate(choices.outcomes(assignments(6, (1, 1))[:3]).certain)
    assert np.isfinite(certain).all()
    assert certain.min() == -100


def test_assignments_are_each_of_their_number():
    found = assignments(6, (2, 1)).tolist()
    assert len(found) == len({tuple(x) for x in found}) == ways_to_assign(6, (2, 1)) == 15 * 4
    assert all(sorted(x) == [0, 0, 1, 2, 2, 2] for x in found)


def in_parts(objects):
    """Left along (3, 4, 0)/5 in the second part of three neurons, right along (0, 1, 1) in the last of four."""
    left, right = truth(objects)
    a, b, c, d = parities(objects)
    zero = 0 * a
    return torch.stack([a, b, c, 0.6 * left, 0.8 * left, d, d, c, zero, zero, right, right], 1)


@pytest.mark.parametrize("how", ["greedy", "exact"])
def test_parts_are_chosen_whole(how):
    train = ready(network(in_parts, lambda x: (0.6 * x[:, 3] + 0.8 * x[:, 4]) * (x[:, 10] + x[:, 11]), 12))
    features = fitted(Selection(dims=1, parts=4, how=how), train)
    assert dims_of(features) == {"left": [("sites.0", (3, 4, 5))], "right": [("sites.0", (9, 10, 11))]}


def test_sites_are_chosen_whole_and_several_may_hold_one_variable():
    train = ready(network(xor, read_xor, 2, 1, 1, 1, 1), sites=5)
    features = fitted(
        Selection(dims=1, over="sites"), ready(network(in_parts, lambda x: x[:, 3] * x[:, 10], 3, 3, 3, 3), sites=4)
    )
    assert features == {"left": [Feature(cm.Site("sites.1"))], "right": [Feature(cm.Site("sites.3"))]}
    halves = fitted(Selection(dims=2, over="sites", how="exact"), ready(train[0].network, ("left",), sites=5))
    assert halves == {"left": [Feature(cm.Site("sites.1")), Feature(cm.Site("sites.4"))]}


def test_neurons_are_chosen_among_those_of_all_sites_of_a_place():
    train = ready(network(xor, read_xor, 2, 2, 2), sites=3)
    features = fitted(Selection(dims=2, how="exact"), train)
    assert dims_of(features) == {
        "left": [("sites.1", (0,)), ("sites.2", (1,))],
        "right": [("sites.1", (1,)), ("sites.2", (0,))],
    }
    assert slices(train, features)[0] == 1


TURN = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3))).Q


def turned(objects):
    """Left along the first column of a rotation, with the largest variance, and right along the third."""
    left, right = truth(objects)
    a, _, c, d = parities(objects)
    return torch.stack([5 * left, 3 * a * c, 2 * right, a, 0.5 * c, 0.2 * d], 1) @ TURN.T + 3


def read_turned(x):
    return (x - 3) @ TURN[:, 0] * ((x - 3) @ TURN[:, 2])


TURNED = network(turned, read_turned, 6)


def test_principal_components_are_the_leading_ones_of_the_sources():
    train = ready(TURNED, ("left",))
    (feature,) = fitted(PrincipalComponents(dims=2), train)["left"]
    assert isinstance(feature.featurizer, PCA)
    assert feature.dims == (0, 1)
    assert (feature.featurizer.components.T @ TURN[:, :2]).abs().numpy() == pytest.approx(np.eye(2), abs=0.15)
    expected = PCA.fit(train[0].vectors["left"][0], dims=2)
    assert torch.equal(feature.featurizer.components, expected.components)
    assert slices(train, {"left": [feature]})[0] == 1


def test_principal_components_are_those_of_each_site():
    train = ready(network(in_parts, lambda x: x[:, 3] * x[:, 10], 6, 6), ("left",), sites=2)
    features = fitted(PrincipalComponents(dims=1), train)["left"]
    assert [str(f.site) for f in features] == ["sites.0", "sites.1"]
    for i, f in enumerate(features):
        assert torch.equal(f.featurizer.mean, train[0].vectors["left"][i].double().mean(0).float())


@pytest.mark.parametrize("how", ["greedy", "exact"])
def test_selection_finds_components_and_the_coordinates_of_a_featurizer(how):
    train = ready(TURNED)
    features = fitted(Selection(dims=1, over="components", how=how), train)
    for v, column in zip(BOTH, (0, 2), strict=True):
        (f,) = features[v]
        assert abs(float(f.featurizer.components[:, f.dims[0]] @ TURN[:, column])) > 0.95
    rotation = Orthogonal(TURN[:, :4].contiguous())
    features = fitted(Selection(dims=1, over=rotation, how=how), train)
    assert features == {
        "left": [Feature(cm.Site("sites.0"), rotation, (0,))],
        "right": [Feature(cm.Site("sites.0"), rotation, (2,))],
    }


@pytest.mark.parametrize("kind", ["means", "lda", "ridge"])
@pytest.mark.parametrize("dims", [None, 1, 3])
def test_probes_find_directions_that_interchange(kind, dims):
    train = ready(TURNED, n=2000)
    features = fitted(Probe(kind=kind, dims=dims), train)
    (left,), (right,) = features.values()
    assert left.featurizer is right.featurizer
    assert not set(left.dims) & set(right.dims)
    assert len(left.dims) == len(right.dims) == (dims or 1)
    assert slices(train, features)[0] > 0.97
    for f, column in ((left, 0), (right, 2)):
        found = f.featurizer.directions[:, f.dims[0]]
        assert abs(float(found @ TURN[:, column])) > 0.98


def test_a_probe_makes_later_variables_orthogonal_to_earlier_ones():
    """Right is written along (1, 1), which is not orthogonal to left's (1, 0)."""

    def write(objects):
        left, right = truth(objects)
        return torch.stack([left + right, right, 0 * left], 1)

    (left,), (right,) = fitted(Probe(), ready(network(write, lambda x: (x[:, 0] - x[:, 1]) * x[:, 1], 3), n=2000)).values()
    directions = left.featurizer.directions
    assert directions[:, left.dims[0]].abs().numpy() == pytest.approx([1, 0, 0], abs=0.05)
    assert directions[:, right.dims[0]].abs().numpy() == pytest.approx([0, 1, 0], abs=0.05)


def test_a_probe_takes_as_many_directions_as_values_need():
    train = ready(TURNED, ("left",))
    for codes, width, needed in ((5, 6, 4), (2, 6, 1), (1, 6, 1), (40, 6, 6)):
        values = {"left": np.arange(256) % codes}
        (f,) = fitted(Probe(), [replace(train[0], values=values)])["left"]
        assert len(f.dims) == needed
        assert f.featurizer.width == width
    (f,) = fitted(Probe(), [replace(train[0], values={"left": np.linspace(0, 1, 256)})])["left"]
    assert len(f.dims) == 1


def test_probes_are_made_at_each_site_of_a_place():
    train = ready(network(in_parts, lambda x: x[:, 3] * x[:, 10], 6, 6), sites=2)
    features = fitted(Probe(dims={"left": 2, "right": 1}), train)
    assert [[(str(f.site), len(f.dims)) for f in features[v]] for v in BOTH] == [
        [("sites.0", 2), ("sites.1", 2)],
        [("sites.0", 1), ("sites.1", 1)],
    ]
    (first, second), (_, last) = features.values()
    assert abs(float(first.featurizer.directions[:, first.dims[0]] @ torch.tensor([0, 0, 0, 0.6, 0.8, 0]))) > 0.95
    assert torch.equal(second.featurizer.directions, last.featurizer.directions)


def test_probes_fill_up_from_the_generator():
    train = ready(TURNED)
    first, again, other = (fitted(Probe(dims=2), train, seed=s)["left"][0].featurizer.directions for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_full_vector_is_every_site_whole():
    train = ready(network(plain, lambda x: x[:, 4] * x[:, 1], 3, 3), ("left",), sites=2)
    assert fitted(FullVector(), train) == {"left": [Feature(cm.Site("sites.0")), Feature(cm.Site("sites.1"))]}


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (FullVector(), r"left, right cannot share .* cm.Alignment\({\*\*first.best, \*\*second.best}\)"),
        (PrincipalComponents(dims=2), r'left, right would all get .* Selection\(over="components"\)'),
        (PrincipalComponents(dims=(2, 3)), "left, right"),
        (Probe(dims=4), "Probe needs 4 of left \\+ 4 of right orthogonal directions; sites.0 has 6"),
        (Probe(dims=(1, 2)), "a single fit needs one number"),
        (Selection(dims=4), "2 variables need 8 coordinates; sites.0 has 6"),
        (Selection(dims=2, parts=3), "2 variables need 4 parts; sites.0 has 3"),
        (Selection(dims=1, over="sites"), "2 variables need 2 sites; sites.0 has 1"),
        (Selection(dims=1, parts=4), "4 equal parts do not divide the width 6 of sites.0"),
        (Selection(dims={"left": 1}), "dims names no number for 'right'"),
    ],
)
def test_a_fit_that_cannot_be_made_says_why(method, said):
    with pytest.raises(AlignmentError, match=said):
        fitted(method, ready(PLAIN))


def test_too_few_components_and_too_many_assignments_are_errors():
    with pytest.raises(AlignmentError, match="7 are asked for"):
        fitted(PrincipalComponents(dims=7), ready(PLAIN, ("left",)))
    wide = network(lambda x: plain(x).repeat(1, 10), lambda x: x[:, 4] * x[:, 1], 60)
    with pytest.raises(AlignmentError, match='there are 2,925,810 ways to choose 2 \\+ 2 of 60 .* use how="greedy"'):
        fitted(Selection(dims=2, how="exact"), ready(wide))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PrincipalComponents(dims=0), ["dims must be a whole number"]),
        (lambda: PrincipalComponents(dims=[]), ["lists no number"]),
        (lambda: Probe(kind="lad", dims=0), ["did you mean 'lda'", "dims must be a whole number"]),
        (lambda: Probe(kind="components"), ["no kind of probe 'components'"]),
        (
            lambda: Selection(dims=0, over="neuron", how="all", parts=0, screen=0),
            [
                "dims must",
                "did you mean 'neurons'",
                "no way to choose 'all'",
                "parts must",
                "parts are of neurons",
                "screen must",
            ],
        ),
        (lambda: Selection(over=PCA), ["over must be 'neurons', 'components', 'sites' or a featurizer"]),
        (lambda: Selection(over="sites", parts=2), ["parts are of neurons, which over must be; given 'sites'"]),
    ],
)
def test_options_must_make_sense(make, said):
    with pytest.raises(AlignmentError) as error:
        make()
    assert all(part in str(error.value) for part in said)


def test_lists_of_dims_are_tried_one_by_one():
    assert variants(Selection(dims=[1, 2])) == [Selection(dims=1), Selection(dims=2)]
    assert variants(Probe(dims=[1, 2])) == [Probe(dims=1), Probe(dims=2)]
    assert variants(PrincipalComponents(dims=[4])) == [PrincipalComponents(dims=4)]
    assert variants(FullVector()) == [FullVector()]
