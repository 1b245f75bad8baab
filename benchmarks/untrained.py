"""Networks that were never trained, in which a search has found what it could."""

import torch
from torch.nn.functional import cross_entropy

import commute as cm
from commute.causal.inputs import Inputs
from commute.models.organisms.modules import mlp

WIDTH = 64
SEARCH = cm.DAS(dims=8, steps=150, batch=128, restarts=1)
PAIRS = 1024
_STEPS = 300  # of training the readout


def untrained(model: cm.CausalModel, seed: int, *, readout: bool) -> tuple[cm.Network, cm.Alignment]:
    """A random network with the alignment that a search finds in its hidden layer; with `readout` its last layer is trained."""
    network = mlp(model, width=WIDTH, depth=1, seed=seed)
    if readout:
        _fit(model, network)
    variables = [v for v in model.internal if not _below(model, v)]
    found = cm.search(model, network, variables=variables, sites=[network.site("blocks.0")], method=SEARCH, n=PAIRS, seed=seed)
    return network, found.best


def _below(model: cm.CausalModel, variable: str) -> bool:
    """Whether a variable is computed from another one that could be aligned, and so cannot be at the same site."""
    return any(p in model.internal for p in model.graph.predecessors(variable))


def _fit(model: cm.CausalModel, network: cm.Network) -> None:
    """Train the head alone on all inputs, until it answers as well as it can."""
    inputs = Inputs(model).listed
    (output,) = model.outputs
    wanted = torch.from_numpy(model.evaluate(inputs, {}, len(next(iter(inputs.values()))))[output].astype("int64"))
    held = network.activations(model.labels(inputs), [network.site("blocks.0")])
    (hidden,) = held.values()
    head = network.module.get_submodule("head")
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(_STEPS):
        loss = cross_entropy(head(hidden), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
