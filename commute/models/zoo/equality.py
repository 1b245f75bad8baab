"""Networks trained on hierarchical equality, on the task alone: no interchange is seen in training."""

from importlib.resources import files
from numbers import Integral

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from commute.causal.batches import Batch
from commute.errors import NetworkError
from commute.models.network import Network

SIZES = (4, 6, 8, 12, 16, 20)  # values an object, of the networks that ship
EMBEDDING = 8
WIDTH = 32


class EqualityNetwork(nn.Module):
    """Four objects, [batch, 4] of int64, through an embedding and three hidden ReLU layers to two logits, [batch, 2].

    Only the table of embeddings, [values, 8], depends on how many values an object can have.
    """

    def __init__(self, values: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(values, EMBEDDING)
        self.linear1, self.relu1 = nn.Linear(4 * EMBEDDING, WIDTH), nn.ReLU()
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


def hierarchical_equality(values: int = 8) -> Network:
    """A trained network: inputs a, b, c, d in 0…values - 1, output whether a == b and c == d are both true or both false.

    Args:
        values: how many values an object can have: 4, 6, 8, 12, 16 or 20.

    Raises:
        NetworkError: for other sizes, which do not ship.
    """
    if not isinstance(values, Integral) or values not in SIZES:
        raise NetworkError(
            f"the zoo has no network of hierarchical equality with values={values!r}; it has "
            f"{', '.join(map(str, SIZES[:-1]))} and {SIZES[-1]}; others are trained by "
            "python -m commute.models.zoo train hierarchical_equality --values …"
        )
    with torch.device("meta"):  # draws no weights, which would change torch's random state
        module = EqualityNetwork(values)
    weights = files("commute.models.zoo").joinpath(f"hierarchical_equality_{values}.safetensors").read_bytes()
    module.to_empty(device="cpu").load_state_dict(load(weights))
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
