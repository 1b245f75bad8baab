"""Hierarchical equality of noisy objects, for proofs about boxes around them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import commute as cm
from commute.causal.batches import Batch
from commute.runs.seeds import stream, torch_seed

WIDTH = 4  # numbers of an object
HIDDEN = 32
NOISE = 0.05  # on each number in training
DIMS = 8  # of each variable, at the first hidden layer


@dataclass(frozen=True, eq=False)
class Robust:
    """A network, the algorithm that it runs, and where."""

    algorithm: cm.CausalModel
    network: cm.Network
    alignment: cm.Alignment


def algorithm() -> cm.CausalModel:
    """Are both pairs of objects equal, or both unequal? The first object of each pair is always the same."""
    return cm.CausalModel(
        "robust equality",
        {"first": cm.Finite(("AA", "AB")), "second": cm.Finite(("CC", "CD"))},
        {
            "left": lambda first: first[0] == first[1],
            "right": lambda second: second[0] == second[1],
            "same": lambda left, right: left == right,
        },
    )


class Noisy(nn.Module):
    """Four objects' numbers, [batch, 16], through three hidden ReLU layers to two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1, self.relu1 = nn.Linear(4 * WIDTH, HIDDEN), nn.ReLU()
        self.linear2, self.relu2 = nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        self.linear3, self.relu3 = nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of unequal and equal."""
        x = self.relu2(self.linear2(self.relu1(self.linear1(x))))
        return torch.as_tensor(self.head(self.relu3(self.linear3(x))))


def robust_equality(seed: int = 0, *, steps: int = 1500) -> Robust:
    """A network trained on the task with noise, and each equality found in eight dimensions of its first hidden layer."""
    generator = stream(seed, "boxes")
    prototypes = generator.normal(size=(4, WIDTH))
    table = torch.from_numpy(prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)).float()

    def encode(batch: Batch) -> Tensor:
        pairs = zip(batch["first"].tolist(), batch["second"].tolist(), strict=True)
        return torch.stack([table[["ABCD".index(x) for x in one + other]].flatten() for one, other in pairs])

    model = algorithm()
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(generator))
        module = Noisy()
        objects = encode({"first": np.array(["AA", "AA", "AB", "AB"]), "second": np.array(["CC", "CD"] * 2)})
        answers = torch.tensor([1, 0, 0, 1])
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(steps):
            drawn = torch.randint(4, (256,))
            noise = (2 * torch.rand(256, 4 * WIDTH) - 1) * NOISE
            loss = cross_entropy(module(objects[drawn] + noise), answers[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network = cm.Network(module.eval(), encode=encode, decode=lambda logits: logits.argmax(-1).bool(), name="robust equality")
    sites, method = network.sites("relu1"), cm.DAS(dims=DIMS, steps=400)
    found = cm.search(model, network, variables=["left", "right"], sites=sites, method=method, n=256, seed=seed)
    return Robust(model, network, found.best)
