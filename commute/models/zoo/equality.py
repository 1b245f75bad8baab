"""A network trained on hierarchical equality, on the task alone: no interchange is seen in training."""

from importlib.resources import files
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from commute.causal.batches import Batch
from commute.causal.inputs import Inputs
from commute.causal.library import hierarchical_equality as algorithm
from commute.models.network import Network
from commute.runs.seeds import stream, torch_seed

VALUES = 8  # objects that an input can be
WIDTH = 32


class EqualityNetwork(nn.Module):
    """Four objects, [batch, 4] of int64, through an embedding and three hidden ReLU layers to two logits, [batch, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VALUES, VALUES)
        self.linear1, self.relu1 = nn.Linear(4 * VALUES, WIDTH), nn.ReLU()
        self.linear2, self.relu2 = nn.Linear(WIDTH, WIDTH), nn.ReLU()
        self.linear3, self.relu3 = nn.Linear(WIDTH, WIDTH), nn.ReLU()
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, objects: Tensor) -> Tensor:
        """Logits of "the pairs differ in kind" and "both equal or both unequal"."""
        x = self.embed(objects).flatten(1)
        x = self.relu1(self.linear1(x))
        x = self.relu2(self.linear2(x))
        x = self.relu3(self.linear3(x))
        return torch.as_tensor(self.head(x))


def hierarchical_equality() -> Network:
    """The trained network: inputs a, b, c, d in 0…7, output whether a == b and c == d are both true or both false."""
    module = EqualityNetwork()
    weights = files("commute.models.zoo").joinpath("hierarchical_equality.safetensors").read_bytes()
    module.load_state_dict(load(weights))
    return as_network(module)


def as_network(module: EqualityNetwork) -> Network:
    """The module with the meaning of its inputs and outputs."""
    return Network(module.eval(), encode=encode, decode=decode, name="hierarchical equality")


def encode(inputs: Batch) -> Tensor:
    """Objects side by side, [batch, 4]."""
    return torch.from_numpy(np.stack([inputs[v] for v in "abcd"], axis=1)).long()


def decode(logits: Tensor) -> Tensor:
    """Whether both pairs are equal or both unequal, [batch] of bool."""
    return logits.argmax(-1).bool()


def train(
    *, seed: int, steps: int = 3000, batch: int = 1024, learning_rate: float = 3e-3, weight_decay: float = 1.0
) -> tuple[EqualityNetwork, dict[str, Any]]:
    """Train on the task by AdamW with a one-cycle schedule; return the network and the record of its training.

    Inputs are drawn so that each combination of "a equals b" and "c equals d" is equally likely. The weight decay is large on
    purpose: with little of it networks compute the same answers without keeping the two equalities apart.
    """
    generator = stream(seed, "zoo", "train")
    model = algorithm(VALUES)
    every = Inputs(model).listed
    solved = model.labels(model.evaluate(every, {}, VALUES**4))
    objects, answers = encode(every), torch.from_numpy(solved["same"]).long()
    kind = 2 * solved["left"] + solved["right"]
    weight = (1 / np.bincount(kind))[kind]
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(generator))
        module = EqualityNetwork()
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    for _ in range(steps):
        drawn = torch.from_numpy(generator.choice(VALUES**4, size=batch, p=weight / weight.sum()))
        loss = cross_entropy(module(objects[drawn]), answers[drawn])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        logits = module.eval()(objects)
    record = {
        "task": "hierarchical equality over 8 objects, trained on the output alone",
        "seed": seed,
        "steps": steps,
        "batch": batch,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "accuracy": float((logits.argmax(-1) == answers).float().mean()),
        "loss": float(cross_entropy(logits, answers)),
        "inputs": VALUES**4,
        "torch": torch.__version__,
    }
    return module, record
