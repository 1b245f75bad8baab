"""Networks trained to compute an algorithm, with its variables in given places."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.causal.library import hierarchical_equality, modular_addition, two_digit_addition
from commute.errors import CommuteError, NetworkError
from commute.models.decoding import Readout
from commute.models.organisms.exchanging import Drawn, parts_of, scores

EQUALITY, ADDITION = hierarchical_equality(3), modular_addition(5)
QUICK = {"learning_rate": 3e-3, "steps": 1000}


def side_by_side(network, dims=8):
    site = network.site("blocks.1")
    return {"left": (site, range(dims)), "right": (site, range(dims, 2 * dims))}


def rotated(network, dims=4, width=32):
    """Two places along directions that are not the neurons'."""
    directions = torch.linalg.qr(torch.randn(width, 2 * dims, generator=torch.Generator().manual_seed(3))).Q
    site = network.site("blocks.1")
    return {
        "left": cm.organisms.Subspace(site, directions[:, :dims].contiguous()),
        "right": cm.organisms.Subspace(site, directions[:, dims:].contiguous()),
    }


def rest(subspaces, site, width):
    """All that no variable is in, as a feature, made apart from the training's own."""
    taken = torch.cat([s.directions for s in subspaces.values() if s.site == site], 1).double()
    values, vectors = torch.linalg.eigh(torch.eye(width).double() - taken @ taken.T)
    return cm.Feature(site, cm.Orthogonal(vectors[:, values > 0.5].float().contiguous()))


def kept(organism, site, width, n=1000):
    """How often the answer stays that of the base when the rest of a site is another input's."""
    algorithm = organism.algorithm
    drawn = cm.pairs(algorithm, algorithm.internal[:1], n, design="uniform", seed=77)
    (other,) = drawn.sources.values()
    found = organism.network.interchange(drawn.base, {rest(organism.subspaces, site, width): other})
    return np.mean(found == algorithm.solve(drawn.base)[algorithm.outputs[0]])


def rates(organism, seed=99):
    """IIA of each variable and of all jointly, on pairs that training did not draw, by the general engine."""
    sets = dict.fromkeys([*((v,) for v in organism.subspaces), tuple(organism.subspaces)])
    drawn = [cm.pairs(organism.algorithm, s, 1000, seed=seed) for s in sets]
    return [cm.interchange_accuracy(organism.algorithm, organism.network, organism.alignment, p).rate for p in drawn]


@pytest.mark.parametrize("places", [side_by_side, rotated])
def test_a_trained_mlp_has_its_variables_where_they_were_wanted(places):
    network = cm.organisms.mlp(EQUALITY)
    organism = cm.organisms.train(EQUALITY, network, places=places(network), strict=True, **QUICK)
    assert organism.network is network
    assert min(rates(organism)) >= 0.99
    assert kept(organism, network.site("blocks.1"), 32) >= 0.99
    assert list(organism.others) == ["the rest of blocks.1"]
    projections = [s.directions @ s.directions.T for s in [*organism.subspaces.values(), *organism.others.values()]]
    assert torch.allclose(sum(projections), torch.eye(32), atol=1e-5)
    away = {"left": organism.subspaces["right"], "right": organism.subspaces["left"]}
    wrong = cm.organisms.Organism(EQUALITY, network, away)
    assert rates(wrong)[0] < 0.9  # the places are not just any


def test_a_trained_transformer_has_its_variable_at_a_position():
    network = cm.organisms.transformer(ADDITION)
    site = network.site("blocks.0", position=-1)
    organism = cm.organisms.train(ADDITION, network, places={"sum": (site, range(8))}, strict=True, steps=1000)
    assert min(rates(organism)) >= 0.99
    assert kept(organism, site, 32) >= 0.99


def test_variables_at_sites_one_after_the_other():
    chain = cm.CausalModel(
        "chain",
        dict.fromkeys("abc", cm.Bool),
        {"x": lambda a, b: a != b, "y": lambda x, c: x != c, "z": lambda y: y},
    )
    network = cm.organisms.mlp(chain)
    first, second = network.site("blocks.0"), network.site("blocks.1")
    places = {"x": (first, range(8)), "c": (first, range(8, 12)), "y": (second, range(8))}
    organism = cm.organisms.train(chain, network, places=places, strict=True, **QUICK)
    assert min(rates(organism)) >= 0.99
    assert min(kept(organism, site, 32) for site in (first, second)) >= 0.99
    assert list(organism.others) == ["the rest of blocks.0", "the rest of blocks.1"]


def test_only_strict_training_asks_that_the_rest_does_not_matter():
    network = cm.organisms.mlp(EQUALITY)
    site = network.site("blocks.1")
    places = {"left": (site, range(8))}  # right must then be in the rest
    organism = cm.organisms.train(EQUALITY, network, places=places, **QUICK)
    assert min(rates(organism)) >= 0.99
    assert not organism.others
    assert kept(organism, site, 32) < 0.9
    with pytest.raises(NetworkError, match=r"after exchanging the rest of blocks\.1.*must be in the places, or pass by"):
        cm.organisms.train(EQUALITY, network, places=places, strict=True, steps=50)


def exchanged_by_hand(module, inputs, encode, kinds, places):
    """What `scores` should give for an MLP, from its layers called one by one."""
    first, last = module.blocks[:2], nn.Sequential(module.blocks[2:], module.head)
    found = []
    for variables, exchanges_rest in kinds:
        pairs = inputs.pairs[variables]
        vectors = first(encode(pairs.base))
        taken = {v: first(encode(source)) for v, source in pairs.sources.items()}
        other = first(encode(inputs.other))
        columns = torch.arange(vectors.shape[1])
        new = other if exchanges_rest else vectors
        for v, dims in places.items():
            new = torch.where((columns >= dims.start) & (columns < dims.stop), taken.get(v, vectors), new)
        found.append(last(new))
    return found


def test_exchanges_and_their_gradients_are_those_made_by_hand():
    network = cm.organisms.mlp(EQUALITY, width=12, seed=4)
    places, site = {"left": range(3), "right": range(5, 9)}, network.site("blocks.1")
    subspaces = {v: cm.organisms.Subspace(site, torch.eye(12)[:, [*dims]]) for v, dims in places.items()}
    sets = [("left",), ("right",), ("left", "right")]
    drawn = {s: cm.pairs(EQUALITY, s, 6, seed=2) for s in sets}
    other = cm.pairs(EQUALITY, ["left"], 6, seed=3).base
    inputs = Drawn(drawn, other, {})
    readout = Readout.of(network.decode, network.call(other), 6)
    kinds = [(s, r) for s in sets for r in ((), (site,))]
    found = torch.stack(scores(network, readout, parts_of(subspaces), inputs, kinds))
    by_hand = torch.stack(exchanged_by_hand(network.module, inputs, network.encode, kinds, places))
    assert torch.allclose(found, by_hand, atol=1e-6)
    assert len(found.unique(dim=0)) == len(kinds)
    weights = list(network.module.parameters())
    gradients = [torch.autograd.grad(x.square().sum(), weights) for x in (found, by_hand)]  # through sources too
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


def weights_after(*, seed=0, steps=25, at_least=0.01):
    network = cm.organisms.mlp(EQUALITY)
    cm.organisms.train(EQUALITY, network, places=side_by_side(network), steps=steps, at_least=at_least, seed=seed)
    return network.module.state_dict()


def same(one, other):
    return all(torch.equal(x, other[k]) for k, x in one.items())


def test_the_same_seed_gives_the_same_weights_and_touches_no_random_state():
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = weights_after()
    torch.rand(3)
    assert same(first, weights_after())
    assert not same(first, weights_after(seed=1))
    torch.set_rng_state(state)
    weights_after()
    cm.organisms.transformer(EQUALITY)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_training_ends_as_soon_as_enough_is_reached():
    assert same(weights_after(steps=25), weights_after(steps=10_000))


def test_too_few_steps_say_what_was_reached_and_keep_what_was_learned():
    network = cm.organisms.mlp(EQUALITY)
    before = deepcopy(network.module.state_dict())
    with pytest.raises(NetworkError) as raised:
        cm.organisms.train(EQUALITY, network, places=side_by_side(network), steps=30, at_least=0.995)
    told = str(raised.value)
    assert "did not reach 0.995 of right answers in 30 steps" in told
    assert "after exchanging left + right;" in told
    assert "more steps, a wider network" in told
    assert "strict" not in told
    rate = float(told.split(" after exchanging left + right", maxsplit=1)[0].rsplit(" ", maxsplit=1)[-1])
    assert 0 < rate < 0.995
    assert not same(before, network.module.state_dict())


class Dropping(nn.Module):
    """A module whose first layer is not to be trained, and which drops out in training mode."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed, self.hidden, self.head = nn.Linear(12, 24), nn.Linear(24, 24), nn.Linear(24, 2)
        self.dropout = nn.Dropout(0.5)
        self.embed.requires_grad_(False)
        self.modes = []

    def forward(self, x):
        self.modes.append(self.training)
        return self.head(self.dropout(torch.relu(self.hidden(torch.relu(self.embed(x))))))


def test_frozen_weights_and_modes_are_left_as_they_are():
    untrained = cm.organisms.mlp(EQUALITY)
    module = Dropping()
    network = cm.Network(module, encode=untrained.encode, decode=untrained.decode)
    module.train()
    module.hidden.eval()
    before = deepcopy(module.state_dict())
    places = {"left": (network.site("hidden"), range(8)), "right": (network.site("hidden"), range(8, 16))}
    with torch.no_grad():  # what the caller has set does not matter
        cm.organisms.train(EQUALITY, network, places=places, steps=25, at_least=0.01)
    after = module.state_dict()
    assert [k for k in before if torch.equal(before[k], after[k])] == ["embed.weight", "embed.bias"]
    assert (module.training, module.hidden.training, module.dropout.training) == (True, False, True)
    assert not any(module.modes)
    assert [p.requires_grad for p in module.parameters()] == [False, False, True, True, True, True]
    assert all(p.grad is None for p in module.parameters())
    module.requires_grad_(False)
    with pytest.raises(NetworkError, match="no parameter of 'Dropping' requires a gradient"):
        cm.organisms.train(EQUALITY, network, places=places)


def test_a_loss_that_is_not_finite_is_told():
    network = cm.organisms.mlp(EQUALITY)
    with pytest.raises(NetworkError, match="smaller learning_rate"):
        cm.organisms.train(EQUALITY, network, places=side_by_side(network), learning_rate=1e30)


def test_bad_places_are_listed_all_at_once():
    network = cm.organisms.mlp(EQUALITY)
    site, by_row = network.site("blocks.1"), cm.Site("blocks.1", position=np.array([0, 1]))
    places = {
        "lefty": (site, range(8)),
        "left": (cm.Site("block.1"), range(8)),
        "right": (site, [30, 31, 32]),
        "a": (site, range(4)),
        "b": (site, range(3, 6)),
        "c": site,
        "d": (by_row, [0]),
        "same": cm.organisms.Subspace(network.site("blocks.0"), torch.eye(5)[:, :2]),
    }
    with pytest.raises(NetworkError) as raised:
        cm.organisms.train(EQUALITY, network, places=places)
    told = str(raised.value)
    for part in (
        "no variable 'lefty'; did you mean 'left'",
        "no site 'block.1'; did you mean 'blocks.1'",
        "the dims of 'right' must be one or more of 0 … 31, each once; given [30, 31, 32]",
        "'lefty' and 'a' share directions at blocks.1",
        "'a' and 'b' share directions at blocks.1",
        "the place of 'c' must be (site, dims)",
        "has a position for each row",
        "the directions of 'same' are 5 wide; the vectors at blocks.0 32",
    ):
        assert part in told
    assert told.count("\n  - ") == 9  # and 'lefty' with 'b'


@pytest.mark.parametrize(
    ("dims", "told"),
    [
        ([], "one or more of 0 … 31"),
        ([0, 0], "each once"),
        ([-1], "0 … 31"),
        ("12", "0 … 31"),
        ([0.0], "0 … 31"),
        (3, "0 … 31"),
        (slice(3), "0 … 31"),
    ],
)
def test_dims_that_name_no_coordinates(dims, told):
    network = cm.organisms.mlp(EQUALITY)
    with pytest.raises(NetworkError, match=told):
        cm.organisms.train(EQUALITY, network, places={"left": (network.site("blocks.1"), dims)})


def test_sites_that_hold_values_in_common_cannot_be_two_places():
    network = cm.organisms.transformer(ADDITION)
    places = {"a": (network.site("blocks.0", position=0), [0]), "sum": (network.site("blocks.0"), [1])}
    with pytest.raises(NetworkError, match=r"'a' at blocks\.0\[0\] and 'sum' at blocks\.0 overlap"):
        cm.organisms.train(ADDITION, network, places=places)
    places = {"sum": (network.site("blocks.0", position=7), [0])}
    with pytest.raises(NetworkError, match="position 7"):
        cm.organisms.train(ADDITION, network, places=places)
    for nothing in ({}, ["sum"]):
        with pytest.raises(NetworkError, match="places maps one or more variables"):
            cm.organisms.train(ADDITION, network, places=nothing)


def test_what_cannot_be_trained_is_told():
    network = cm.organisms.mlp(EQUALITY)
    with pytest.raises(NetworkError, match="train takes a Network"):
        cm.organisms.train(EQUALITY, network.module, places=side_by_side(network))
    options = {"steps": 0, "batch_size": 2.5, "at_least": 1.5, "learning_rate": 0}
    with pytest.raises(NetworkError) as raised:
        cm.organisms.train(two_digit_addition(3), network, places={}, **options)
    assert all(f"{name} must be" in str(raised.value) for name in options)
    assert "must have one output; 'two-digit addition in base 3' has hundreds, tens, ones" in str(raised.value)
    with pytest.raises(CommuteError, match="seed"):
        cm.organisms.train(EQUALITY, network, places=side_by_side(network), seed=-1)


@pytest.mark.parametrize("make", [cm.organisms.mlp, cm.organisms.transformer])
def test_modules_take_inputs_apart_and_answer_in_labels(make):
    cards = cm.Finite(["ace", "king", 10])
    algorithm = cm.CausalModel("cards", {"x": cards, "y": cm.Finite([5, 7])}, {"best": lambda x, y: (x, y)})
    network = make(algorithm, width=8, seed=3)
    every = {"x": np.array(["ace", "ace", "king", "king", 10, 10], dtype=object), "y": np.array([5, 7] * 3)}
    encoded = network.encode(every)
    assert len(encoded.unique(dim=0)) == 6
    assert all(label in algorithm.domain("best") for label in network.run(every).tolist())
    assert len(network.call(every).unique(dim=0)) == 6
    state = make(algorithm, width=8, seed=3).module.state_dict()
    assert same(state, network.module.state_dict())
    assert not same(state, make(algorithm, width=8, seed=4).module.state_dict())


def test_a_transformer_looks_back_and_answers_at_the_end():
    network = cm.organisms.transformer(ADDITION, width=8, heads=2)
    drawn = cm.pairs(ADDITION, ["sum"], 8, design="uniform", seed=1).base
    later = {"a": drawn["a"], "b": (drawn["b"] + 1) % 5}
    sites = [network.site("blocks.1", position=p) for p in range(3)]
    before, after = (network.activations(batch, sites) for batch in (drawn, later))
    assert torch.equal(before[sites[0]], after[sites[0]])
    assert all(not torch.equal(before[s], after[s]) for s in sites[1:])
    assert network.encode(drawn)[:, -1].tolist() == [10] * 8


def test_sizes_and_algorithms_that_modules_cannot_have():
    with pytest.raises(NetworkError, match="heads must divide the width; given width=10, heads=4"):
        cm.organisms.transformer(EQUALITY, width=10)
    open_ended = cm.CausalModel("open", {"x": cm.Interval(0, 1)}, {"y": lambda x: x * 2, "z": lambda x: x > 0.5})
    with pytest.raises(NetworkError) as raised:
        cm.organisms.mlp(open_ended, width=0, depth="3")
    told = str(raised.value)
    for part in ("width must be", "depth must be", "'x' must have a Finite domain; it is [0, 1]", "it is not known", "has y, z"):
        assert part in told
