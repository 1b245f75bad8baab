"""A network that adds up its inputs, each with a weight, so that what any edges keep is known."""

import numpy as np
import torch
from torch import nn

import commute as cm
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import computation_graph
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.runs import Runs
from commute.models.sites import Tap


class Additive(nn.Module):
    """The scores of "no", which are 0, and of "yes", which is the weighted sum of the inputs."""

    def __init__(self, weights):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(1, 2, bias=False, dtype=torch.float64) for _ in weights)
        for part, weight in zip(self.parts, weights, strict=True):
            part.weight.data = torch.tensor([[0.0], [weight]], dtype=torch.float64)
        self.out = nn.Identity()

    def forward(self, x):
        return self.out(sum(part(x[:, i : i + 1]) for i, part in enumerate(self.parts)))


class Holed(Additive):
    """Its score of "yes" is no number where the sum is between -1 and 1."""

    def forward(self, x):
        no, yes = super().forward(x).unbind(1)
        return torch.stack([no, yes + 0 * (yes.square() - 1).sqrt()], 1)


def columns(x):
    return {f"x{i}": column for i, column in enumerate(np.asarray(x, dtype=np.float64).T)}


def encode(batch):
    return torch.stack([torch.as_tensor(np.asarray(column, dtype=np.float64)) for column in batch.values()], 1)


def decode(scores):
    return np.array(["no", "yes"])[scores.argmax(-1).numpy()]


def graph(weights, made=Additive, *, decode=decode):
    """Nodes p0, p1, …, each of which `logits` reads along one edge."""
    network = cm.Network(made(weights), encode=encode, decode=decode)
    writes = [Writes((f"p{i}",), Tap(f"parts.{i}")) for i in range(len(weights))]
    some = columns(np.random.default_rng(0).standard_normal((2, len(weights))))
    return computation_graph(network, some, writes=writes, reads=[Reads(("logits",), Tap("out", input=True))])


def measured(graph, x, instead, measure="logit difference", answers=None):
    """Runs of inputs [rows, inputs] with others in their place, and the behaviour for which "yes" is right, or `answers`."""
    runs = Runs.of(graph, columns(x), columns(instead))
    right = torch.ones(len(x), dtype=torch.int64) if answers is None else torch.as_tensor(answers)
    return runs, Behaviour.of(runs, measure, answers=right, others=1 - right)


def edges(*places):
    return [(f"p{i}", "logits") for i in places]
