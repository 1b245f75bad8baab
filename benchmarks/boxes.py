"""Hierarchical equality of noisy objects, for proofs about boxes around them."""

from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import commute as cm
from commute.causal.batches import Batch, rows_of
from commute.causal.inputs import Inputs
from commute.runs.seeds import stream, torch_seed

LETTERS = ascii_uppercase
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


def algorithm(objects: int = 4) -> cm.CausalModel:
    """Are both pairs of objects equal, or both unequal?

    Objects are letters; the first pair is of the first half of them, the second of the other half. A pair begins with the first
    object of its half: of four objects the pairs are AA and AB, and CC and CD.
    """
    half = objects // 2
    first, second = LETTERS[:half], LETTERS[half:objects]
    return cm.CausalModel(
        "robust equality",
        {"first": cm.Finite(first[0] + x for x in first), "second": cm.Finite(second[0] + x for x in second)},
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
        return self.rest(self.relu1(self.linear1(x)))

    def rest(self, x: Tensor) -> Tensor:
        """Logits from the first hidden layer."""
        return torch.as_tensor(self.head(self.relu3(self.linear3(self.relu2(self.linear2(x))))))


def robust_equality(seed: int = 0, *, objects: int = 4, steps: int = 1500) -> Robust:
    """A network trained with noise and interchanges, and each equality found in eight dimensions of its first hidden layer.

    Objects have random numbers, vectors of length 1.
    """
    generator = stream(seed, "boxes")
    drawn = torch.from_numpy(generator.normal(size=(objects, WIDTH)))
    table = (drawn / drawn.norm(dim=1, keepdim=True)).float()

    def encode(batch: Batch) -> Tensor:
        pairs = zip(batch["first"].tolist(), batch["second"].tolist(), strict=True)
        return torch.stack([table[[LETTERS.index(x) for x in one + other]].flatten() for one, other in pairs])

    model = algorithm(objects)
    inputs = Inputs(model).listed
    solved = model.labels(model.evaluate(inputs, {}, rows_of(inputs)))
    equal = torch.from_numpy(np.stack([solved["left"], solved["right"]], 1))
    module = _trained(encode(solved), equal, steps, torch_seed(generator))
    network = cm.Network(module.eval(), encode=encode, decode=lambda logits: logits.argmax(-1).bool(), name="robust equality")
    sites, method = network.sites("relu1"), cm.DAS(dims=DIMS, steps=200)
    found = cm.search(model, network, variables=["left", "right"], sites=sites, method=method, n=256, seed=seed)
    return Robust(model, network, found.best)


def _trained(objects: Tensor, equal: Tensor, steps: int, seed: int) -> Noisy:
    """Trained with noise on inputs as they are and with the first neurons of a layer, or the next ones, from another input.

    Args:
        objects: the numbers of each input, [inputs, 4 · WIDTH].
        equal: whether its first pair is equal, and its second, [inputs, 2].
        steps: of training.
        seed: of weights, inputs and noise.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Noisy()
        kind = 2 * equal[:, 0].long() + equal[:, 1]
        weight = (1 / kind.bincount())[kind]  # each combination of answers is as likely as the others
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(steps):
            base, source = (torch.multinomial(weight, 256, replacement=True) for _ in range(2))
            runs = [module.relu1(module.linear1(objects[i] + _noise(len(i)))) for i in (base, source)]
            loss = cross_entropy(module.rest(runs[0]), _same(equal[base]))
            for j in range(2):
                mixed, wanted = runs[0].clone(), equal[base].clone()
                mixed[:, j * DIMS : (j + 1) * DIMS] = runs[1][:, j * DIMS : (j + 1) * DIMS]
                wanted[:, j] = equal[source, j]
                loss = loss + cross_entropy(module.rest(mixed), _same(wanted))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return module


def _noise(rows: int) -> Tensor:
    return (2 * torch.rand(rows, 4 * WIDTH) - 1) * NOISE


def _same(equal: Tensor) -> Tensor:
    return (equal[:, 0] == equal[:, 1]).long()
