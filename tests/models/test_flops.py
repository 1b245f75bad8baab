"""The counter of operations, against torch's own."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from commute.models.flops import Flops

X = torch.randn(4, 6, 16, generator=torch.Generator().manual_seed(0))
MODULES = {
    "linear": (nn.Linear(16, 3), (X,)),
    "convolution": (nn.Sequential(nn.Conv1d(6, 4, 3), nn.ReLU()), (X,)),
    "attention": (nn.MultiheadAttention(16, 4, batch_first=True), (X, X, X)),
    "layer": (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (X,)),
    "recurrent": (nn.GRU(16, 8, batch_first=True), (X,)),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_as_many_are_counted_as_by_torchs_counter(name, graded, training):
    module, inputs = MODULES[name]
    module.train(training)

    def run():
        with torch.set_grad_enabled(graded):
            output = module(*inputs)
            output = output[0] if isinstance(output, tuple) else output
            if graded:
                output.sum().backward()
        return output.detach()

    torch.manual_seed(0)
    alone = run()
    with FlopCounterMode(display=False) as counter:
        run()
    torch.manual_seed(0)
    with Flops() as flops:
        counted = run()
    assert flops.total == counter.get_total_flops()
    assert torch.equal(counted, alone)


def test_what_is_counted_within_is_counted_without_as_well():
    module = nn.Linear(16, 3)
    with Flops() as outer:
        with Flops() as inner:
            module(X)
        module(X)
    assert inner.total > 0
    assert outer.total == 2 * inner.total
