import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import commute as cm
from commute.models.reinitialised import reinitialised
from tests import planted

X = {"x": np.arange(6), "y": np.arange(6)[::-1].copy()}


class Small(nn.Module):
    """Two layers on tokens [batch, 2], with a tuple, an unused module and a module used twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(6, 8)
        self.mix = nn.Linear(8, 8)
        self.act = nn.GELU()
        self.twice = nn.Identity()
        self.unused = nn.Identity()
        self.pair = Pair()
        self.dropout = nn.Dropout(0.9)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        x = self.dropout(self.act(self.mix(self.embed(tokens))))
        x = self.twice(self.twice(x))
        self.pair(x)
        return self.head(x.flatten(1))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def encode(inputs):
    return torch.from_numpy(np.stack([inputs["x"], inputs["y"]], 1))


def network(**options):
    return cm.Network(Small(), encode=encode, decode=lambda logits: logits.argmax(-1), **options)


def by_hand(module, batch, changes):
    """The logits with `changes` {name: function} applied to the named modules' outputs, by torch's own hooks."""
    handles = [module.get_submodule(k).register_forward_hook(lambda m, i, o, f=f: f(o)) for k, f in changes.items()]
    module.eval()
    with torch.no_grad():
        logits = module(encode(batch))
    for handle in handles:
        handle.remove()
    return logits


def test_run_is_the_module_in_evaluation_mode():
    net = network()
    assert net.run(X).tolist() == by_hand(net.module, X, {}).argmax(-1).tolist()
    assert net.run({"x": 1, "y": 2}) == net.run({"x": [1], "y": [2]})[0]


def test_activations_are_the_modules_outputs():
    net = network()
    seen = []
    by_hand(net.module, X, {"act": seen.append})
    sites = [net.site("act"), net.site("act", position=1), net.site("act", position=-2), net.site("act", input=True)]
    read = net.activations(X, sites)
    assert torch.equal(read[sites[0]], seen[0].flatten(1))
    assert torch.equal(read[sites[1]], seen[0][:, 1])
    assert torch.equal(read[sites[2]], seen[0][:, 0])
    assert torch.equal(net.module.act(read[sites[3]]), read[sites[0]])


@settings(max_examples=25)
@given(
    position=st.sampled_from([None, 0, 1, -1]), rank=st.integers(1, 8), block=st.sampled_from([1, 4, 6]), seed=st.integers(0, 99)
)
def test_interchange_is_the_patch_by_hand(position, rank, block, seed):
    """Against plain hooks: project the source onto the subspace and the base off it, for any split into batches."""
    net = network(batch_size=block)
    source = {"x": (X["x"] + 1) % 6, "y": (X["y"] * 5) % 6}
    site = net.site("act", position=position)
    width = 16 if position is None else 8
    q = torch.linalg.qr(torch.randn(width, rank, generator=torch.Generator().manual_seed(seed))).Q
    kept = []
    by_hand(net.module, source, {"act": kept.append})

    def patch(value):
        value = value.clone()
        part, other = (value.flatten(1), kept[0].flatten(1)) if position is None else (value[:, position], kept[0][:, position])
        mixed = part - part @ q @ q.T + other @ q @ q.T
        if position is None:
            return mixed.reshape(value.shape)
        value[:, position] = mixed
        return value

    logits = []
    spied = cm.Network(net.module, encode=encode, decode=lambda x: [logits.append(x), x.argmax(-1)][1], batch_size=block)
    spied.interchange(X, {cm.Feature(site, cm.Orthogonal(q)): source})
    assert torch.allclose(torch.cat(logits), by_hand(net.module, X, {"act": patch}), atol=1e-5)


def test_features_can_be_read_in_a_run_in_which_others_are_set():
    """Reading comes after setting, at the same site too."""
    net = network()
    early, late = cm.Feature(net.site("mix", position=0), dims=(1, 2)), cm.Feature(net.site("head", input=True))
    zeros = torch.zeros(6, 2)
    read = net.activations(X, [early, late, net.site("mix", position=0)], do={early: zeros})
    assert torch.equal(read[early], zeros)
    assert torch.equal(read[net.site("mix", position=0)][:, 1:3], zeros)
    kept = []

    def clear(value):
        value = value.clone()
        value[:, 0, 1:3] = 0
        return value

    by_hand(net.module, X, {"mix": clear, "dropout": kept.append})
    assert torch.equal(read[late], kept[0].flatten(1))


def test_interchange_with_the_base_itself_changes_nothing():
    net = network()
    logits = []
    spied = cm.Network(net.module, encode=encode, decode=lambda x: [logits.append(x), x.argmax(-1)][1])
    spied.run(X)
    spied.interchange(X, {cm.Feature(net.site("mix"), dims=(0, 5)): X, cm.Feature(net.site("head", input=True)): X})
    assert torch.allclose(logits[0], logits[-1], atol=1e-6)


def test_heads_are_the_last_axis_but_one():
    value = torch.arange(24.0).reshape(2, 3, 2, 2)
    site = cm.Site("z", position=1, head=0)
    assert site.read(value, 1).tolist() == value[:, 1, 0].tolist()
    written = site.write(value, torch.zeros(2, 2), 1)
    assert written[:, 1, 0].abs().sum() == 0
    assert (written != value).sum() == (value[:, 1, 0] != 0).sum()


def test_the_module_is_left_as_it_was_found():
    net = network()
    module = net.module.train()
    module.mix.eval()
    module.head.weight.requires_grad_(False)
    calls = []
    module.act.register_forward_hook(lambda *_: calls.append(1))
    before = {k: v.clone() for k, v in module.state_dict().items()}

    def flags():
        return [m.training for m in module.modules()], [p.requires_grad for p in module.parameters()], _hooks(module)

    found = flags()
    net.interchange(X, {cm.Feature(net.site("act")): X})
    assert flags() == found
    assert len(calls) == 2  # the user's own hook still runs
    broken = cm.Network(module, encode=encode, decode=lambda logits: 1 / 0)
    with pytest.raises(cm.CommuteError, match="decode of 'Small' raised ZeroDivisionError"):
        broken.run(X)
    with pytest.raises(cm.CommuteError):
        net.activations({"x": [99], "y": [0]}, [net.site("act")])
    assert flags() == found
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


def _hooks(module):
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda net: net.activations(X, [cm.Site("unused")]), "unused cannot be used: its module did not run"),
        (lambda net: net.activations(X, [cm.Site("twice")]), "twice cannot be used: its module ran 2 times"),
        (lambda net: net.activations(X, [cm.Site("pair")]), "pair holds a tuple"),
        (lambda net: net.activations(X, [cm.Site("act", position=2)]), "asks for position 2, but there are 2"),
        (lambda net: net.activations(X, [cm.Site("head", position=0)]), "asks for a position, but its value has shape"),
        (lambda net: net.activations(X, [cm.Site("mx")]), "no site 'mx'; did you mean 'mix'"),
        (lambda net: net.site("mx"), "did you mean 'mix'"),
        (lambda net: cm.Site(3, position=1.5), "a site has 2 problems"),
        (lambda net: net.sites("*relu*"), "no site of 'Small' matches"),
        (lambda net: net.interchange(X, {cm.Feature(cm.Site("mx")): X}), "did you mean 'mix'"),
        (lambda net: net.interchange(X, {cm.Feature(cm.Site("mix"), dims=(16,)): X}), "asks for dim 16, but there are 16"),
        (
            lambda net: net.interchange(X, {cm.Feature(cm.Site("mix")): {"x": [1], "y": [1]}}),
            "the inputs have 6 rows and the values set at {'mix': 1}",
        ),
        (lambda net: net.run({"x": 1, "y": [1]}), r"\['x'\] are single"),
        (lambda net: net.run({"x": [1, 2], "y": [1]}), "one length"),
        (lambda net: net.run({}), "inputs are empty"),
        (lambda net: net.run({"x": [7], "y": [0]}), "raised IndexError on 1 rows, the first {'x': 7, 'y': 0}"),
        (lambda net: net.run({"z": [7]}), "raised KeyError"),
    ],
)
def test_an_intervention_that_cannot_be_made_is_an_error(act, said):
    with pytest.raises(cm.CommuteError, match=said):
        act(network())


def test_orthogonal_of_the_wrong_width_is_an_error():
    feature = cm.Feature(cm.Site("mix", position=0), cm.Orthogonal(torch.eye(5)))
    with pytest.raises(cm.CommuteError, match="it is for vectors .batch, 5.; given .6, 8."):
        network().interchange(X, {feature: X})


class PositionsAndInPlace(nn.Module):
    """A table without a batch axis, and a ReLU that works in place on what was seen before it."""

    def __init__(self):
        super().__init__()
        self.positions, self.linear, self.relu = nn.Identity(), nn.Linear(2, 2), nn.ReLU(inplace=True)
        with torch.no_grad():
            self.linear.weight.copy_(-torch.eye(2))
            self.linear.bias.zero_()

    def forward(self, x):
        return self.relu(self.linear(x.float() + self.positions(torch.zeros(1, 2))))


def test_what_is_read_is_not_changed_by_modules_that_work_in_place():
    net = cm.Network(PositionsAndInPlace(), encode=encode, decode=lambda x: x.argmax(-1))
    read = net.activations(X, [net.site("linear")])[net.site("linear")]
    assert torch.equal(read, -encode(X).float())


def test_a_site_without_a_batch_axis_is_an_error():
    net = cm.Network(PositionsAndInPlace(), encode=encode, decode=lambda x: x.argmax(-1))
    for act in (lambda s: net.activations(X, [s]), lambda s: net.interchange(X, {cm.Feature(s): X})):
        with pytest.raises(cm.CommuteError, match=r"positions holds a tensor of shape \[1, 2\].*of 6 rows"):
            act(net.site("positions"))


def test_an_encode_that_works_in_place_does_not_change_the_inputs():
    def shifting(inputs):
        inputs["x"] += 1
        return encode({"x": inputs["x"] - 1, "y": inputs["y"]})

    given = {k: v.copy() for k, v in X.items()}
    cm.Network(Small(), encode=shifting, decode=lambda x: x.argmax(-1)).run(given)
    assert all((given[k] == X[k]).all() for k in X)


def test_nan_is_an_error():
    with pytest.raises(cm.CommuteError, match="has NaN"):
        planted.network("nan").run({v: [0, 1] for v in "abcd"})


def test_decode_must_give_a_label_a_row():
    net = cm.Network(Small(), encode=encode, decode=lambda logits: logits.argmax(-1)[:2])
    with pytest.raises(cm.CommuteError, match="returned 2 for 6 rows"):
        net.run(X)


def test_modules_can_take_positional_and_keyword_arguments():
    class Sum(nn.Module):
        def forward(self, x, y):
            return x + y

    for call in (
        lambda i: (torch.as_tensor(i["x"]), torch.as_tensor(i["y"])),
        lambda i: {k: torch.as_tensor(v) for k, v in i.items()},
    ):
        assert cm.Network(Sum(), encode=call, decode=lambda x: x).run(X).tolist() == [5] * 6


def test_several_outputs_are_a_mapping():
    net = cm.Network(Small(), encode=encode, decode=lambda x: {"best": x.argmax(-1), "sure": (x.max(-1).values > 0)})
    assert set(net.run(X)) == {"best", "sure"}
    assert net.run({"x": 1, "y": 1})["best"] == net.run(X | {"y": X["x"]})["best"][1]


def test_a_network_needs_a_module_and_functions():
    with pytest.raises(cm.CommuteError) as caught:
        cm.Network("gpt2", encode=None, decode=3, batch_size=0)
    assert all(part in str(caught.value) for part in ("4 problems", "module", "encode", "decode", "batch_size"))


def test_reinitialising_keeps_each_tensors_weights_and_the_network_itself():
    net = network()
    before = {k: v.clone() for k, v in net.module.state_dict().items()}
    other = reinitialised(net, np.random.default_rng(0))
    for name, weights in other.module.state_dict().items():
        assert torch.equal(weights.flatten().sort().values, before[name].flatten().sort().values)
        assert torch.equal(net.module.state_dict()[name], before[name])
    assert not torch.equal(other.module.mix.weight, net.module.mix.weight)


def test_repeated_inputs_are_run_once_and_answered_each():
    rows = []
    net = network()
    counted = cm.Network(net.module, encode=lambda b: [rows.append(len(b["x"])), encode(b)][1], decode=lambda x: x.argmax(-1))
    draws = np.random.default_rng(0)
    many = {"x": draws.integers(6, size=500), "y": draws.integers(6, size=500)}
    site = net.site("act", position=0)
    assert counted.run(many).tolist() == by_hand(net.module, many, {}).argmax(-1).tolist()
    kept = []
    by_hand(net.module, many, {"act": kept.append})
    assert torch.allclose(counted.activations(many, [site])[site], kept[0][:, 0], atol=1e-6)
    assert [n for n in rows if n > 2] == [36, 36]  # besides the rows by which a pass is measured
    each = net.site("act", position=draws.integers(2, size=500))
    assert torch.allclose(
        counted.activations(many, [each])[each], kept[0][torch.arange(500), torch.tensor(each.position.places)], atol=1e-6
    )
