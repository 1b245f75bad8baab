import numpy as np
import pytest
import torch
from torch import nn

import commute as cm

ROWS = {"i": np.arange(6)}
VALUES = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


def network(**options):
    kept = []
    module = nn.Sequential(nn.Identity(), nn.Identity())
    encode, decode = (lambda b: VALUES[torch.from_numpy(b["i"])]), (lambda x: [kept.append(x), x.argmax(-1)][1])
    return cm.Network(module, encode=encode, decode=decode, **options), kept


def after(ablation, **options):
    """The dims 1 and 2 of the output, and the others, which stay."""
    net, kept = network(**options)
    net.run(ROWS, {cm.Feature(cm.Site("0"), dims=(1, 2)): ablation})
    output = torch.cat(kept)
    assert torch.equal(output[:, [0, 3]], VALUES[:6, [0, 3]])
    return output[:, 1:3]


@pytest.mark.parametrize("size", [1, 4, 64])
def test_ablations_are_what_they_say_for_any_split_into_batches(size):
    assert after(cm.Zero(), batch_size=size).abs().max() == 0
    mean = after(cm.Mean({"i": np.arange(6, 12)}), batch_size=size)
    assert torch.allclose(mean, VALUES[6:, 1:3].mean(0).expand(6, -1))
    drawn = after(cm.Resample({"i": np.arange(6, 12)}, seed=1), batch_size=size)
    assert all(any(torch.equal(row, other) for other in VALUES[6:, 1:3]) for row in drawn)
    noise = after(cm.Noise(2.0, seed=1), batch_size=size) - VALUES[:6, 1:3]
    assert torch.allclose(noise, after(cm.Noise(1.0, seed=1)) * 2 - 2 * VALUES[:6, 1:3], atol=1e-5)
    assert len(noise.unique()) == noise.numel()
    assert torch.equal(after(lambda x: -x, batch_size=size), -VALUES[:6, 1:3])
    assert torch.equal(after(torch.ones(6, 2), batch_size=size), torch.ones(6, 2))


def test_the_seed_decides_what_is_drawn():
    elsewhere = {"i": np.arange(6, 12)}
    assert torch.equal(after(cm.Resample(elsewhere, seed=3)), after(cm.Resample(elsewhere, seed=3)))
    assert not torch.equal(after(cm.Resample(elsewhere, seed=3)), after(cm.Resample(elsewhere, seed=4)))
    assert not torch.equal(after(cm.Noise(1.0, seed=3)), after(cm.Noise(1.0, seed=4)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.ones(1, 2), "6 rows and the values set at {'0': 1}"),
        (torch.tensor(1.0), "6 rows and the values set at {'0': 0}"),
        (0.0, "must be a tensor .*given float"),
    ],
)
def test_nothing_is_broadcast(value, said):
    net, _ = network()
    with pytest.raises(cm.CommuteError, match=said):
        net.run(ROWS, {cm.Feature(cm.Site("0"), dims=(1, 2)): value})


def test_values_of_another_width_are_an_error():
    net, _ = network()
    for value in (torch.ones(6, 1), torch.ones(6, 3), lambda x: x[:1]):
        with pytest.raises(cm.CommuteError, match=r"feature at 0, 2 dims holds values of shape \[6, 2\]; given \[\d, \d\]"):
            net.run(ROWS, {cm.Feature(cm.Site("0"), dims=(1, 2)): value})


def test_path_patching_is_a_nested_source():
    """What reaches the second module through the first alone, by hand."""
    module = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = module["a"], module["b"]

        def forward(self, x):
            a = self.a(x)
            return self.b(x + a) + a

    kept = []
    net = cm.Network(
        Two(),
        encode=lambda b: VALUES[torch.from_numpy(b["i"])],
        decode=lambda x: [kept.append(x), x.argmax(-1)][1],
    )
    a, b = cm.Feature(net.site("a")), cm.Feature(net.site("b"))
    other = {"i": np.arange(6, 12)}
    net.interchange(ROWS, {b: cm.Source(ROWS, sources={a: other})})
    x, y = VALUES[:6], VALUES[6:]
    expected = module["b"](x + module["a"](y)) + module["a"](x)
    assert torch.allclose(kept[-1], expected, atol=1e-6)
    net.interchange(ROWS, {b: cm.Source(ROWS, do={a: cm.Zero()})})
    assert torch.allclose(kept[-1], module["b"](x) + module["a"](x), atol=1e-6)
