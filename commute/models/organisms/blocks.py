"""Blocks: the weights of a compiled network, one hidden layer of ReLU units for each generation of variables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from commute.causal.batches import Column
from commute.models.organisms.cases import Cases
from commute.models.organisms.streams import Stream, spread

NOISE = "noise in all directions"  # the name of what noise units make up
_SLACK = 0.1  # how far amounts may be off before a unit speaks in a case that is not met; errors grow by 1 / 0.9 a block
_NOISES = 32  # random units that noise is mixed from, besides one for each direction


class Block(nn.Module):
    """One hidden layer: vectors [batch, width before] to vectors [batch, width].

    Attributes:
        makes: for each hidden unit the name of what it helps to make up.
    """

    def __init__(self, read: nn.Linear, write: nn.Linear, makes: Sequence[str]) -> None:
        super().__init__()
        self.read, self.relu, self.write = read, nn.ReLU(), write
        self.makes = tuple(makes)

    def forward(self, vectors: Tensor) -> Tensor:
        """What the block computes and what it passes on."""
        return torch.as_tensor(self.write(self.relu(self.read(vectors))))


class Blocks(nn.Module):
    """Blocks, and the scores of the outputs read off the last one's vectors."""

    def __init__(self, blocks: Sequence[Block], head: nn.Linear) -> None:
        super().__init__()
        self.blocks, self.head = nn.ModuleList(blocks), head

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores, [batch, values of all outputs], of one-hot inputs side by side, [batch, values of all inputs]."""
        for block in self.blocks:
            inputs = block(inputs)
        return torch.as_tensor(self.head(inputs))


@dataclass(frozen=True, eq=False)
class Units:
    """ReLU units and what they add to the amounts that they make up.

    Attributes:
        weights, biases: on the vectors that are read, [units, width] and [units].
        adds: [units, amounts].
        start: the amounts without any unit.
    """

    weights: Column
    biases: Column
    adds: Column
    start: Column

    def __call__(self, vectors: Column) -> Column:
        """The units' activations, [batch, units]."""
        active: Column = np.maximum(vectors @ self.weights.T + self.biases, 0)
        return active


def computing(cases: Cases, stream: Stream) -> Units:
    """A unit for each case, which is 1 where every parent meets it and silent where one does not."""
    matrix, back = stream.read
    asked = np.zeros((len(cases.values), len(back)))
    needed = np.zeros(len(cases.values))
    for parent, met in cases.met.items():
        said = ~met.all(1)  # a parent that always meets a case need not be asked
        asked[said, stream.amounts[parent]] = met[said]
        needed += said
    gain = 1 / (1 - _SLACK)
    values = np.eye(cases.size)
    adds, start = values[cases.values] - values[cases.otherwise], values[cases.otherwise]
    return Units(gain * asked @ matrix, gain * (asked @ back - needed) + 1, adds, start)


def passing(name: str, stream: Stream) -> Units:
    """A unit for each amount that is passed on; none is ever negative."""
    matrix, back = stream.read
    place = stream.amounts[name]
    amounts = place.stop - place.start
    return Units(matrix[place], back[place], np.eye(amounts), np.zeros(amounts))


def random(count: int, vectors: Column, generator: np.random.Generator) -> Units:
    """Random functions, whose thresholds lie in the middle of what they see in `vectors` [batch, width]."""
    weights = generator.standard_normal((count, vectors.shape[1]))
    seen = vectors @ weights.T
    weights /= spread(seen)[:, None]
    biases = generator.uniform(-0.5, 0.5, count) - (vectors @ weights.T).mean(0)
    return Units(weights, biases, np.eye(count), np.zeros(count))


def noisy(noise: float, width: int, vectors: Column, generator: np.random.Generator) -> tuple[Units, Column]:
    """Units whose sum is a random function with mean 0 and standard deviation `noise` in each coordinate, and what to add to it.

    Their amounts are coordinates of the vectors that are written, not of a variable.
    """
    drawn = random(_NOISES + width, vectors, generator)
    active = drawn(vectors)
    mix = generator.standard_normal((len(drawn.biases), width))
    mix *= noise / spread(active @ mix)
    return Units(drawn.weights, drawn.biases, mix, np.zeros(width)), -active.mean(0) @ mix


def joined(named: Mapping[str, Units], stream: Stream, noises: tuple[Units, Column] | None = None) -> Block:
    """The block that writes a stream, whose amounts are those of the units in order."""
    from scipy.linalg import block_diag

    units = list(named.values())
    makes = [name for name, u in named.items() for _ in u.biases]
    matrix, shift = stream.written
    weights, biases = np.concatenate([u.weights for u in units]), np.concatenate([u.biases for u in units])
    adds = block_diag(*(u.adds for u in units)) @ matrix.T
    shift = shift + matrix @ np.concatenate([u.start for u in units])
    if noises is not None:
        noise, centre = noises
        makes += [NOISE] * len(noise.biases)
        weights, biases = np.concatenate([weights, noise.weights]), np.concatenate([biases, noise.biases])
        adds, shift = np.concatenate([adds, noise.adds]), shift + centre
    if not len(biases):  # of constants; a layer needs a unit, which makes up nothing
        weights, biases, adds = np.zeros((1, weights.shape[1])), np.zeros(1), np.zeros((1, stream.width))
    return Block(linear(weights, biases), linear(adds.T, shift), makes)


def linear(weights: Column, biases: Column) -> nn.Linear:
    """A layer with the given weights [out, in] and biases [out]."""
    layer = nn.Linear(weights.shape[1], len(weights), device="meta")  # draws no weights, which would change torch's random state
    layer.weight = nn.Parameter(torch.from_numpy(weights).float())
    layer.bias = nn.Parameter(torch.from_numpy(biases).float())
    return layer


def activations(block: Block, vectors: Column) -> Column:
    """What a block writes for vectors [batch, width], in double precision."""
    with torch.no_grad():
        layers = [(layer.weight.double().numpy(), layer.bias.double().numpy()) for layer in (block.read, block.write)]
    (read, back), (write, shift) = layers
    written: Column = np.maximum(vectors @ read.T + back, 0) @ write.T + shift
    return written
