"""Programs of networks: their scores are the network's after an interchange, and what cannot be one is an error."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import commute as cm
from commute.causal.library import hierarchical_equality
from commute.errors import NetworkError
from commute.proofs.programs.evaluate import values
from commute.proofs.programs.lifting import lifted
from commute.proofs.programs.patched import patched_program
from tests import planted
from tests.proofs.programs import nets
from tests.proofs.programs.nets import ALGORITHM, N, network, rotated


def whole(path, *dims, position=None, **options):
    return cm.Feature(cm.Site(path, position, **options), dims=dims or None)


def check(net, alignment, variables, algorithm=ALGORITHM, *, close=2e-5, rows=40):
    """Compare a program with passes on pairs that are not those it was compared on when it was made."""
    made = patched_program(algorithm, net, alignment, variables)
    base, *sources = nets.drawn(rows, 1 + len(variables), algorithm)
    expected = nets.interchanged(net, alignment, base, dict(zip(variables, sources, strict=True)))
    found = values(made.program, [made.entries(x) for x in (base, *sources)])[-1]
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= close * expected.abs().max()
    assert not np.allclose(expected, nets.interchanged(net, alignment, base, dict.fromkeys(variables, base)))  # it does something
    return made


BLOCK = {
    "fused": {},
    "infinite": {"attention": "infinite"},
    "finite": {"attention": "finite"},
    "added": {"attention": "added"},
    "chosen": {"attention": "chosen"},
    "rms and silu": {"act": nn.SiLU, "norm": nn.RMSNorm},
    "tanh": {"act": lambda: nn.GELU("tanh")},
}


@pytest.mark.parametrize("kind", BLOCK)
def test_transformers(kind):
    check(network(nets.Transformer, **BLOCK[kind]), rotated(8, 3, path="embed", position=1), ["left"])


@pytest.mark.parametrize(
    ("module", "alignment", "variables"),
    [
        (nets.Transformer, rotated(8, 3, 2, path="middle", position=-1), ["left", "right"]),
        (nets.Transformer, cm.Alignment({"left": whole("mix", position=-1, head=1, input=True, heads=2)}), ["left"]),
        (
            nets.Transformer,
            cm.Alignment({"left": [whole("middle", position=-1), whole("act", 1, 2, 3, position=-1)], "right": whole("up", 5)}),
            ["right", "left"],
        ),
        (nets.Gated, rotated(16, 5, path="hidden"), ["left"]),
        (nets.Gated, cm.Alignment({"left": whole("site")}), ["left"]),
        (nets.Encoder, cm.Alignment({"left": whole("layers.layers.0", position=1)}), ["left"]),
        (nets.Mathematical, cm.Alignment({"left": whole("hidden", 1, 3)}), ["left"]),
        (nets.Residual, rotated(16, 4, 3, path="relu1"), ["left", "right"]),
        (nets.Residual, cm.Alignment({"left": whole("relu1", 1, 2, 3), "right": whole("relu2", 0, 1)}), ["left", "right"]),
    ],
)
def test_modules(module, alignment, variables):
    check(network(module), alignment, variables)


@pytest.mark.parametrize("path", ["first", "norm1", "relu"])
def test_convolutions(path):
    check(network(nets.Convolutional, encode=nets.picture), cm.Alignment({"left": whole(path, *range(70))}), ["left"])


def test_double_precision():
    made = check(network(nets.Residual, dtype=torch.float64), rotated(16, 4, path="relu1"), ["left"], close=1e-14)
    assert (made.program.unit, made.program.tiny) == (2.0**-53, 2.0**-1022)


def test_featurizers():
    net, generator = network(nets.Residual), torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    views = [
        cm.PCA.fit(normal(50, 16), standardize=True),
        cm.Mask(torch.arange(16) % 3 == 0),
        cm.SparseAutoencoder(normal(16, 24), normal(24), normal(24, 16), normal(16)),
        cm.Invertible.random(16, layers=2, hidden=4, generator=generator),
    ]
    for view in views:
        check(net, cm.Alignment({"left": cm.Feature(cm.Site("relu1"), view, (1, 2, 3))}), ["left"])


def test_networks_of_the_package():
    o = cm.organisms.compile(ALGORITHM, noise=0.1, backup=["left", "right"])
    check(o.network, o.alignment, ["right", "left"])
    check(cm.organisms.transformer(ALGORITHM, width=8, layers=1, heads=2), rotated(8, 3, path="blocks.0", position=-1), ["left"])
    same = hierarchical_equality(8)
    zoo = cm.zoo.hierarchical_equality()
    made = check(zoo, rotated(32, 8, 8, path="relu1"), ["left", "right"], same)
    assert made.labels == (False, True)
    assert made.program.inputs == (32, 32, 32)
    base = nets.drawn(7, 1, same)[0]
    embedded = zoo.module.embed(zoo.encode(base)).flatten(1)
    assert torch.equal(made.entries(base).float(), embedded)


def test_a_comparison_is_a_choice_between_0_and_the_difference():
    algorithm = cm.CausalModel(
        "large",
        dict.fromkeys("abcd", nets.NUMBERS),
        {"left": lambda a: a > 1, "out": lambda left, b: left},
        domains={"out": cm.Bool},
    )
    net = network(nets.Residual, decode=lambda scores: (scores[:, 0] > 0.1).numpy())
    made = patched_program(algorithm, net, rotated(16, 4, path="relu1"), ["left"])
    (batch,) = nets.drawn(9, 1)
    scores = values(made.program, [made.entries(batch)] * 2)[-1]
    assert made.labels == (False, True)
    assert (scores[:, 0] == 0).all()
    assert scores.argmax(1).bool().tolist() == net.run(batch).tolist()


class Changed(nets.Residual):
    """A network with something in it that a program cannot have."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(self, x, super().forward(x))


def counted(self, x, y):
    self.times = getattr(self, "times", 0) + 1
    return y * (self.times % 3)


GRU = nn.GRU(N, N)
WRONG = {
    "aten.erf": lambda self, x, y: y.erf(),
    "aten.gt.*no rule": lambda self, x, y: y * (y > 0),
    "aten.randn.*random|not deterministic": lambda self, x, y: y + torch.randn(1, N),
    "taken out of torch, by __bool__": lambda self, x, y: y if x[0, 0] > 1 else -y,
    "out of torch, by item|not deterministic": lambda self, x, y: y * torch.rand(()).item(),
    "taken out of torch, by __array__": lambda self, x, y: y + torch.from_numpy(np.asarray(x))[:, :1] * 0.1,
    "float64": lambda self, x, y: (y.double() * 2).float(),
    "does not compute what the network computes": lambda self, x, y: y - y.mean(0),
    "depends on the input": lambda self, x, y: torch.where(x[:, :1] > 2, y, 1.0),
    "aten.gather.*depends on the input": lambda self, x, y: y.gather(1, (x[:, :1] + torch.arange(N)) % N),
    "not finite, such as a mask": lambda self, x, y: y + torch.where(x[:, :1] > 3, -torch.inf, 0.0),
    "beyond 16777216": lambda self, x, y: y + x[:, :1] * 10_000_001,
    "adding or multiplying": lambda self, x, y: y.index_put((torch.arange(1), torch.zeros(1).long()), y[0, :1], accumulate=True),
    "power 2.5": lambda self, x, y: y.abs() ** 2.5,
    "constant that is not finite": lambda self, x, y: y + torch.tensor([torch.inf, 1.0, 1.0, 1.0, 1.0]),
    "no rule for these arguments": lambda self, x, y: torch.div(y, 0.1, rounding_mode="floor"),
    "one_hot without num_classes": lambda self, x, y: y + nn.functional.one_hot(x)[:, 0, :1],
    "changes a tensor in place|not deterministic": lambda self, x, y: y + self.linear1.bias.data.add_(0.1)[:N],
    "not deterministic": counted,
    "uses result 1 of aten.max.*where a maximum is": lambda self, x, y: y + y.max(1, keepdim=True)[1],
    "in place that other operations see, as torch's recurrent layers": lambda self, x, y: y + GRU(y[None])[0][0],
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_a_program_is_named(message):
    net = network(Changed, change=WRONG[message])
    with pytest.raises(NetworkError, match=message):
        patched_program(ALGORITHM, net, rotated(16, 4, path="relu1"), ["left"])


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-12])
def test_scores_that_rounding_does_not_explain_are_another_networks(scale):
    net = network(Changed, change=lambda self, x, y: (y - 0.01 * y.mean(0)) * scale)
    with pytest.raises(NetworkError, match="does not compute what the network computes"):
        patched_program(ALGORITHM, net, rotated(16, 4, path="relu1"), ["left"])


def test_rounding_may_be_larger_than_scores():
    """A layer norm of numbers far from 0: the network's scores are far off, as bounds say."""
    net = network(Changed, change=lambda self, x, y: nn.functional.layer_norm(y + 1e4, (N,)))
    patched_program(ALGORITHM, net, rotated(16, 4, path="relu1"), ["left"])


def test_without_bounds_scores_are_compared_as_they_are():
    def change(self, x, y):
        return y / (-1 - y.abs())  # numbers below 0, of which reciprocals have no bounds

    assert patched_program(ALGORITHM, network(Changed, change=change), rotated(16, 4, path="relu1"), ["left"])
    net = network(Changed, change=lambda self, x, y: change(self, x, y - 0.01 * y.mean(0)) * 1e-4)
    with pytest.raises(NetworkError, match="does not compute what the network computes"):
        patched_program(ALGORITHM, net, rotated(16, 4, path="relu1"), ["left"])


def other_where(condition):
    """A decode that answers by the largest score, but otherwise where a condition of the scores, which is not seen, holds."""

    def decode(scores):
        best = scores.argmax(-1).numpy()
        return np.where(condition(scores.detach().numpy()), (best + 1) % N, best)

    return decode


def test_labels_that_hang_on_more_than_the_largest_score():
    net = network(nets.Residual, decode=other_where(lambda scores: scores[:, 0] * 100 % 2 > 1))
    with pytest.raises(NetworkError, match="where the largest score stands for"):
        patched_program(ALGORITHM, net, rotated(16, 4, path="relu1"), ["left"])


def test_labels_of_scores_after_an_interchange_are_looked_at_too():
    class Twice(nets.Residual):
        """Of which a score tells whether a site is as it was."""

        def __init__(self):
            super().__init__()
            self.site = nn.Identity()

        def forward(self, x):
            y = super().forward(x)
            return torch.cat([y, -(self.site(y) - y).abs().sum(1, keepdim=True)], 1)

    net = network(Twice, decode=other_where(lambda scores: scores[:, N] < 0))
    with pytest.raises(NetworkError, match="where the largest score stands for"):
        patched_program(ALGORITHM, net, cm.Alignment({"left": whole("site")}), ["left"])


def test_equal_scores_may_stand_for_either_label():
    algorithm = cm.CausalModel(
        "at least",
        dict.fromkeys("abcd", nets.NUMBERS),
        {"left": lambda a: a > 1, "out": lambda left, b: left},
        domains={"out": cm.Bool},
    )
    net = network(Changed, change=lambda self, x, y: y.relu() * 0, decode=lambda scores: (scores[:, 0] >= 0).numpy())
    patched_program(algorithm, net, rotated(16, 4, path="relu1"), ["left"])


def test_convolutions_by_transforms(monkeypatch):
    alignment = cm.Alignment({"left": whole("first", *range(70))})
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(NetworkError, match=r"aten\.convolution.*Winograd"):
        patched_program(ALGORITHM, network(nets.Convolutional, encode=nets.picture), alignment, ["left"])
    net = network(nets.Convolutional, encode=lambda batch: nets.picture(batch).double(), dtype=torch.float64)
    assert patched_program(ALGORITHM, net, alignment, ["left"]).program.unit == 2.0**-53


def test_subnormal_numbers_must_be_kept():
    assert torch.set_flush_denormal(True)
    try:
        with pytest.raises(NetworkError, match=r"set_flush_denormal\(False\)"):
            patched_program(ALGORITHM, network(nets.Residual), rotated(16, 4, path="relu1"), ["left"])
    finally:
        torch.set_flush_denormal(False)


def test_a_tensor_that_is_not_filled_may_not_be_used():
    graph = make_fx(lambda x: x + torch.empty(2))(torch.ones(1, 2))
    with pytest.raises(NetworkError, match=r"aten\.add.*not finite"):
        lifted(graph, 1, torch.float32, 1)


def test_the_module_of_an_operation_is_named():
    class Wave(nn.Module):
        def forward(self, x):
            return x.sin()

    net = network(nets.Transformer, act=Wave)
    with pytest.raises(NetworkError, match=r"aten\.sin\.default in act: it has no rule"):
        patched_program(ALGORITHM, net, rotated(8, 3, path="embed", position=1), ["left"])
    with pytest.raises(NetworkError, match=r"aten\.gt"):
        patched_program(planted.algorithm(), planted.network(), planted.alignment(), ["left"])


def test_networks_and_variables_that_do_not_fit():
    alignment = rotated(16, 4, path="relu1")
    with pytest.raises(NetworkError, match="float16"):
        patched_program(ALGORITHM, network(nets.Residual, dtype=torch.float16), alignment, ["left"])
    with pytest.raises(NetworkError, match="no aligned variable 'right'"):
        patched_program(ALGORITHM, network(nets.Residual), alignment, ["right"])
    with pytest.raises(NetworkError, match="at least one"):
        patched_program(ALGORITHM, network(nets.Residual), alignment, [])
    with pytest.raises(NetworkError, match="returns it for 2 choices"):
        patched_program(ALGORITHM, network(nets.Residual, decode=lambda s: s.argmax(-1) % 4), alignment, ["left"])
    with pytest.raises(NetworkError, match="never returns it"):
        patched_program(ALGORITHM, network(nets.Residual, decode=lambda s: s[:, :4].argmax(-1)), alignment, ["left"])
    two = cm.CausalModel(
        "two", dict.fromkeys("abcd", nets.NUMBERS), {"left": lambda a: a, "out": lambda b: b}, outputs=["left", "out"]
    )
    with pytest.raises(NetworkError, match="one output"):
        patched_program(two, network(nets.Residual), alignment, ["left"])


def test_what_the_module_is_called_with_must_be_the_same_where_it_seemed_so():
    class Two(nets.Residual):
        def forward(self, x, rare):
            return super().forward(x) + rare

    rare = [0.0]
    net = network(Two, encode=lambda batch: (nets.tokens(batch), torch.full((len(batch["a"]), 1), rare[0])))
    made = patched_program(ALGORITHM, net, rotated(16, 4, path="relu1"), ["left"])
    (batch,) = nets.drawn(3, 1)
    assert made.entries(batch).shape == (3, 24)
    rare[0] = 1.0
    with pytest.raises(NetworkError, match="the same for nearly all inputs"):
        made.entries(batch)


def test_an_argument_that_is_rarely_another_is_seen_in_small_domains():
    class Two(nets.Residual):
        def forward(self, x, rare):
            return super().forward(x) + rare

    def encode(batch):
        return nets.tokens(batch), torch.from_numpy(sum(batch.values()) == 0).float()[:, None]

    made = check(network(Two, encode=encode), rotated(16, 4, path="relu1"), ["left"])
    assert made.entries(dict.fromkeys("abcd", np.zeros(2, int)))[:, 0].tolist() == [1, 1]


def test_control_flow_that_depends_on_no_input():
    def change(self, x, y):
        mask, table = torch.ones(3, dtype=torch.bool), (torch.arange(N) * 2).numpy() * 0.1
        return y * float(torch.arange(4)[3]) + torch.from_numpy(table).float() if mask.all() else y

    check(network(Changed, change=change), rotated(16, 4, path="relu1"), ["left"])


def test_a_model_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=N + 1, n_positions=4, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = transformers.GPT2LMHeadModel(config)

        def forward(self, x):
            return self.model(input_ids=x, use_cache=False).logits[:, -1, :N]

    check(network(Model), rotated(8, 3, path="model.transformer.h.0", position=-1), ["left"])


def test_positions_that_depend_on_the_input():
    net = network(nets.Transformer)
    net.positions = {"first": lambda batch: batch["a"] * 0, "ath": lambda batch: batch["a"] % 4}
    check(net, rotated(8, 3, path="embed", position="first"), ["left"])
    with pytest.raises(NetworkError, match="depends on the input"):
        patched_program(ALGORITHM, net, rotated(8, 3, path="embed", position="ath"), ["left"])
    with pytest.raises(NetworkError, match="each row"):
        patched_program(ALGORITHM, net, rotated(8, 3, path="embed", position=np.arange(64) % 4), ["left"])


def test_the_module_is_left_as_it_was():
    net = network(nets.Encoder)
    net.module.train()
    fast = torch.backends.mha.get_fastpath_enabled()
    patched_program(ALGORITHM, net, cm.Alignment({"left": whole("layers.layers.0", position=1)}), ["left"])
    assert net.module.training
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.module.modules())
