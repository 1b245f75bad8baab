"""The same interchange in pyvene gives the same numbers."""

import warnings
from types import SimpleNamespace

import pytest
import torch

import commute as cm


class Configured(torch.nn.Module):
    """A module as pyvene takes it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.config = SimpleNamespace(hidden_size=32, to_dict=dict)

    def forward(self, objects):
        return self.inner(objects)


@pytest.mark.slow
def test_interchanges_of_a_subspace_are_pyvenes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyvene
    network = cm.zoo.hierarchical_equality()
    logits = []
    spied = cm.Network(network.module, encode=network.encode, decode=lambda x: [logits.append(x), x.argmax(-1)][1])
    for seed, (path, rank) in enumerate([("relu1", 8), ("relu2", 3), ("linear3", 32), ("embed", 20)]):
        width = 32
        q = torch.linalg.qr(torch.randn(width, rank, generator=torch.Generator().manual_seed(seed))).Q
        pairs = cm.pairs(cm.library.hierarchical_equality(), ["left"], 64, seed=seed)
        base, source = network.encode(pairs.base), network.encode(pairs.sources["left"])

        def mix(base, source, q=q):
            part, other = base.reshape(len(base), -1), source.reshape(len(source), -1)
            return (part - part @ q @ q.T + other @ q @ q.T).reshape(base.shape)

        theirs = pyvene.IntervenableModel(
            [{"component": f"inner.{path}.output", "intervention": mix}], Configured(network.module)
        )
        _, expected = theirs({"objects": base}, [{"objects": source}], unit_locations=None)
        spied.interchange(pairs.base, {cm.Feature(network.site(path), cm.Orthogonal(q)): pairs.sources["left"]})
        assert torch.allclose(logits[-1], expected, atol=1e-5)
        assert not torch.allclose(logits[-1], network.module(base), atol=1e-2)
