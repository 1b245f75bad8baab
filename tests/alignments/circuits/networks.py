"""Small networks with a residual stream, and attribution by its definition, one reader and input after the other."""

import numpy as np
import torch
from torch import nn

import commute as cm
from commute.models.circuits.graph import computation_graph, named, residual_edges
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.runs import Runs
from commute.models.sites import Tap
from tests.models import families

SLOT = 3


class Residual(nn.Module):
    """Blocks that add to a stream: a map, and a ReLU that works in place."""

    def __init__(self, blocks, width, act):
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.acts = nn.ModuleList(act() for _ in range(blocks))
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        stream = self.embed(x)
        for inner, act in zip(self.maps, self.acts, strict=True):
            stream = stream + act(inner(stream))
        return self.out(stream)


def relu():
    return nn.ReLU(inplace=True)


def network(module):
    return cm.Network(
        module, encode=lambda x: torch.tensor(np.stack([x["a"], x["b"]], 1), dtype=torch.float32), decode=lambda y: y.argmax(-1)
    )


def inputs(n=12, seed=0):
    draws = np.random.default_rng(seed)
    return {"a": draws.normal(size=n), "b": draws.normal(size=n)}


def graph_by_hand(module, *, mapped=False, parts=False):
    """Nodes of blocks; `mapped` reads them by their weights, `parts` gives each number of the input a node."""
    embed = Writes(("a", "b"), Tap("embed", input=True), module.embed.weight.detach().T[:, None]) if parts else None
    writes = [embed or Writes(("input",), Tap("embed"))]
    reads = []
    for i, inner in enumerate(module.maps):
        entry, weight = Tap(f"maps.{i}", input=True), inner.weight.detach().T[None]
        reads.append(
            Reads((f"m{i}",), entry, None, Tap(f"maps.{i}"), weight, inner.bias.detach()[None])
            if mapped
            else Reads((f"m{i}",), entry)
        )
        writes.append(Writes((f"m{i}",), Tap(f"acts.{i}")))
    reads.append(Reads(("logits",), Tap("out", input=True)))
    return computation_graph(network(module), inputs(), writes=writes, reads=reads)


def residual(blocks=3, width=6, act=relu, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Residual(blocks, width, act)


def planted(edges, blocks):
    """A network in which block j reads just what the blocks before it write that it has an edge from, and the edges of that.

    Each block writes in a slot of its own of the stream.
    """
    module = residual(blocks, SLOT * (blocks + 1), relu)
    slots = {name: slice(SLOT * i, SLOT * (i + 1)) for i, name in enumerate(["input", *(f"m{i}" for i in range(blocks))])}
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in (module.embed, *module.maps, module.out):
            layer.weight.zero_()
            layer.bias.zero_()
        module.embed.weight[slots["input"]] = torch.randn(SLOT, 2, generator=draws)
        for i, inner in enumerate(module.maps):
            inner.bias[slots[f"m{i}"]] = 3  # so that most units are active
        for u, v in edges:
            layer = module.out if v == "logits" else module.maps[int(v[1:])]
            rows = slice(None) if v == "logits" else slots[v]
            layer.weight[rows, slots[u]] = torch.randn(SLOT, SLOT, generator=draws)
    return graph_by_hand(module)


def language(family="gpt2", **options):
    """A tiny language model's graph, prompts and others of the same length."""
    model = families.model(family)
    net = cm.Network.from_transformers(
        model, None, prompts=lambda x: [x["a"], x["b"], 7, x["a"], 9], answers={str(i): [i] for i in range(6, 12)}
    )
    first = {"a": np.array([6, 7, 8, 9]), "b": np.array([10, 11, 12, 13])}
    others = {k: x[::-1].copy() for k, x in first.items()}
    return computation_graph(net, first, **options), first, others


def by_definition(runs, behaviour, steps, moved):
    """Scores [edges, rows] of edges from all writers, with some moved together, by runs with every reader's stream of its own."""
    stream, n = runs.stream, len(behaviour.whole)
    slopes = {}
    for k in range(1, steps + 1):
        kept = torch.ones(len(stream.readers), len(stream.writers))
        kept[:, [w in moved for w in stream.writers]] = k / steps
        leaves = []

        def reading(read, x, leaves=leaves):
            held = x.clone() if x.requires_grad else x.detach().clone().requires_grad_()
            leaves.append((read, held))
            return held

        output = stream.run(runs.batch, kept, runs.instead, reading=reading)
        total = behaviour(runs.readout.scores(output, n)).sum()
        found = torch.autograd.grad(total, [x for _, x in leaves], allow_unused=True, materialize_grads=True)
        for (read, _), slope in zip(leaves, found, strict=True):
            for node, x in zip(read.nodes, slope, strict=True):
                slopes[node] = slopes.get(node, 0) + x / steps
    with torch.no_grad():
        change = stream.written(runs.batch) - runs.instead
    columns = None if len(runs.places) == 1 else runs.columns(runs.batch)
    scores = []
    for edge in residual_edges(runs.graph):
        reader, writer, place = runs.index[edge]
        product = (slopes[stream.readers[reader]] * change[writer]).sum(-1)
        scores.append((product if columns is None else product * (columns == place)).reshape(n, -1).sum(1))
    return torch.stack(scores)


def sources(runs):
    return [w for w in runs.stream.writers if not runs.graph.in_degree(named(w, runs.places[0]))]


def runs_of(graph, first=None, instead=None):
    return Runs.of(graph, inputs(seed=1) if first is None else first, inputs(seed=2) if instead is None else instead)
