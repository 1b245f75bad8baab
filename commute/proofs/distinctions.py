"""Values that no answer tells apart: whether the network does.

An interchange shows a variable's value only by what it does. Values that never act differently could be one value for the
network, and then the variable is finer than what it encodes. Such values are read from the feature itself, as the value of the
nearest among other inputs' features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count, count
from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.by_value import ByValue
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.models.network import Network
from commute.proofs.claimed import Claimed
from commute.runs.seeds import stream

_BASES = 1024  # inputs in which values may act differently
_READ = 2000  # inputs whose values are read
_ROUNDING = 1e-4  # distance, against the largest, that rounding may make


@dataclass(frozen=True)
class Distinction:
    """How often a variable's value is read rightly from its feature, among values that no answer tells apart."""

    variable: str
    values: tuple[str, ...]
    count: Count


def distinctions(claimed: Claimed) -> Iterator[Distinction]:
    """For each aligned variable that has values which no answer tells apart, how they are read from its feature."""
    algorithm, network, alignment = claimed.algorithm, claimed.network, claimed.alignment
    for variable in alignment:
        domain = algorithm.domain(variable)
        if not isinstance(domain, Finite):
            continue
        generator = stream(claimed.seed, "verify", "distinctions", variable)
        alike = _alike(algorithm, variable, domain, generator)
        if not alike.any():
            continue
        inputs = ByValue(Inputs(algorithm), (variable,))
        known, asked = (inputs.sample(generator, _READ) for _ in range(2))
        place = _places([known, asked])
        known, place[0] = _distinct(known, place[0])
        labels = [algorithm.labels(x) for x in (known, asked)]
        values = [domain.encode(algorithm.solve(x)[variable]) for x in labels]
        held = [_held(network, alignment, variable, x) for x in labels]
        right = _read(held, values, place, generator)[alike[values[1]]]
        yield Distinction(variable, tuple(str(v) for v, a in zip(domain, alike, strict=True) if a), count(right))


def _read(held: Sequence[Tensor], values: Sequence[Column], place: Sequence[Column], generator: np.random.Generator) -> Column:
    """Whether each input's value is that of the nearest among the known inputs, itself aside, [asked] of bool.

    Of several that are equally near but for rounding one is drawn. A value that no other known input has is read rightly where
    none is as near as rounding.
    """
    apart = torch.cdist(held[1], held[0])
    close = _ROUNDING * float(apart.max())
    apart[torch.from_numpy(place[1][:, None] == place[0])] = torch.inf
    nearest = apart.min(1, keepdim=True).values
    tied = (apart <= nearest + close).numpy()
    chosen = np.where(tied, generator.random(tied.shape), -1).argmax(1)
    right = values[0][chosen] == values[1]
    others = (values[1][:, None] == values[0]) & (place[1][:, None] != place[0])
    return np.where(others.any(1), right, nearest[:, 0].numpy() > close)


def _places(batches: Sequence[Batch]) -> list[Column]:
    """A number for each input of several batches, equal for equal inputs."""
    rows = np.concatenate([np.stack(list(batch.values()), 1) for batch in batches])
    _, place = np.unique(rows, axis=0, return_inverse=True)
    return np.split(place.reshape(-1), np.cumsum([rows_of(batch) for batch in batches])[:-1])


def _distinct(batch: Batch, place: Column) -> tuple[Batch, Column]:
    """Each input of a batch once."""
    once, first = np.unique(place, return_index=True)
    return take(batch, first), once


def _held(network: Network, alignment: Alignment, variable: str, inputs: Batch) -> Tensor:
    """What a variable's features hold, side by side, [batch, dims]."""
    held = network.activations(inputs, alignment.parts(variable)).values()
    return torch.cat([x.double().cpu() for x in held], dim=1)


def _alike(algorithm: CausalModel, variable: str, domain: Finite, generator: np.random.Generator) -> Column:
    """Which values act on every input as some other value of the variable does, [values] of bool."""
    inputs = Inputs(algorithm)
    bases = inputs.sample(generator, _BASES)
    effects = []
    for code in range(len(domain)):
        after = algorithm.evaluate(bases, {variable: np.full(_BASES, code)}, _BASES)
        effects.append(np.concatenate([algorithm.labels(after)[v] for v in algorithm.outputs]))
    _, group, size = np.unique(np.stack([_told(e) for e in effects]), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(size[group.reshape(-1)] > 1)


def _told(column: Column) -> Column:
    return column if column.dtype.kind in "biuf" else np.array([repr(v) for v in column.tolist()])
