"""Values that no answer tells apart: whether the network does.

An interchange shows a variable's value only by what it does. Values that never act differently could be one value for the
network, and then the variable is finer than what it encodes. Such values are read from the feature itself, as the value of the
nearest among other inputs' features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count, count
from commute.causal.batches import Batch, Column
from commute.causal.by_value import ByValue
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.models.network import Network
from commute.proofs.claimed import Claimed
from commute.runs.seeds import stream

_BASES = 1024  # inputs in which values may act differently
_READ = 2000  # inputs whose values are read


@dataclass(frozen=True)
class Distinction:
    """How often a variable's value is read rightly from its feature, among values that no answer tells apart."""

    variable: str
    values: tuple[str, ...]
    count: Count


def distinctions(claimed: Claimed) -> Iterator[Distinction]:
    """For each aligned variable that has values which no answer tells apart, how they are read from its feature."""
    from scipy.spatial import cKDTree

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
        drawn = [algorithm.labels(inputs.sample(generator, _READ)) for _ in range(2)]
        values = [domain.encode(algorithm.solve(x)[variable]) for x in drawn]
        known, asked = (_held(network, alignment, variable, x) for x in drawn)
        nearest = cKDTree(known).query(asked)[1]
        rows = alike[values[1]]
        right = values[0][nearest][rows] == values[1][rows]
        yield Distinction(variable, tuple(str(v) for v, a in zip(domain, alike, strict=True) if a), count(right))


def _held(network: Network, alignment: Alignment, variable: str, inputs: Batch) -> Column:
    """What a variable's features hold, side by side, [batch, dims]."""
    held = network.activations(inputs, alignment.parts(variable)).values()
    return np.concatenate([x.float().cpu().numpy() for x in held], axis=1)


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
