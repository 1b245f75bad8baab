"""Whether each edge of a circuit does more than one that was added to it at random (2410.13032)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from commute.causal.batches import Column
from commute.errors import ClaimError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import Edge
from commute.models.circuits.runs import Runs
from commute.proofs.circuits.given import check_measured, is_number
from commute.proofs.circuits.random_circuits import Paths
from commute.proofs.circuits.values import changes, values, without_each
from commute.runs.seeds import stream

_TRIES = 1000  # random paths, of which one must lead along an edge that the circuit does not have


@dataclass(frozen=True)
class MinimalityTest:
    """How an edge's effect within a circuit compares with those of random edges added to it.

    Attributes:
        edges: the circuit's.
        effects: the mean absolute change of the measure without each.
        random: the same of the edge that was added to each inflated circuit.
        exceeded: how many of these each edge's effect exceeds.
        quantile: the share of random edges that an edge should exceed.
        p_values: of each edge, of exceeding at least that share; a small one refutes that the edge belongs to a minimal circuit.
    """

    edges: tuple[Edge, ...]
    effects: tuple[float, ...]
    random: tuple[float, ...]
    exceeded: tuple[int, ...]
    quantile: float
    p_values: tuple[float, ...]

    def __str__(self) -> str:
        return (
            f"minimality: p = {self.p_value:.2g} that each of {len(self.edges)} edges does more than a share of {self.quantile:g}"
            f" of random ones, by {len(self.random)} of them"
        )

    @property
    def p_value(self) -> float:
        """The smallest, of all edges together (Bonferroni)."""
        return min(1.0, len(self.edges) * min(self.p_values))


def minimality_test(
    circuit: Circuit, runs: Runs, behaviour: Behaviour, *, paths: int = 100, quantile: float = 0.9, seed: int = 0
) -> MinimalityTest:
    """The minimality test of 2410.13032.

    An inflated circuit is the circuit with a random path added, from a node that reads nothing to one that the answer is read of,
    along at least one new edge, of which one is drawn. The effect of an edge e in a circuit C is δ(e, C) = E|m(C) - m(C without
    e)|. The null hypothesis, of each edge e of the circuit, is that P(δ(e, C) > δ(e', C')) is at least `quantile`, over random
    new edges e' of random inflated circuits C'. The statistic is how many of `paths` such effects its own exceeds, and the
    p-value the chance of no more of them with probability `quantile`. Edges are corrected together by Bonferroni's method. The
    paper's package (`circuitry`) takes the square for the absolute change, and leaves the correction out.

    Args:
        circuit: whose edges are tested.
        runs: fresh inputs.
        behaviour: of the network on these inputs.
        paths: how many inflated circuits are drawn.
        quantile: the share of random edges that an edge should exceed.
        seed: of the draws.

    Raises:
        ClaimError: unless `quantile` is between 0 and 1 and some path leads along an edge that the circuit does not have.
    """
    from scipy.stats import binom

    wrong = [] if is_number(quantile) and 0 < quantile < 1 else [f"quantile must be between 0 and 1; given {quantile!r}"]
    check_measured([circuit], runs, behaviour, also=wrong, paths=paths)
    (kept,) = values(runs, behaviour, [circuit.edges])
    effects = np.abs(changes(kept, values(runs, behaviour, without_each(runs, circuit.edges, circuit.edges)), behaviour)).mean(1)
    random = _random_effects(circuit, runs, behaviour, paths, seed)
    exceeded = (effects[:, None] > random).sum(1)
    p_values = binom.cdf(exceeded, paths, quantile)
    return MinimalityTest(
        circuit.edges,
        tuple(effects.tolist()),
        tuple(random.tolist()),
        tuple(exceeded.tolist()),
        quantile,
        tuple(p_values.tolist()),
    )


def _random_effects(circuit: Circuit, runs: Runs, behaviour: Behaviour, paths: int, seed: int) -> Column:
    """The effect of a random new edge in each inflated circuit, [paths]."""
    found = values(runs, behaviour, _inflated(circuit, runs, paths, stream(seed, "minimality", "paths")))
    random: Column = np.abs(changes(found[::2], found[1::2], behaviour)).mean(1)
    return random


def _inflated(circuit: Circuit, runs: Runs, paths: int, generator: np.random.Generator) -> Iterator[Tensor]:
    """The mask of each inflated circuit, and after it the same without one of the new edges."""
    mask = runs.mask(circuit.edges)
    for _ in range(paths):
        new = _new_edges(circuit, runs, generator)
        larger = mask.clone()
        for edge in new:
            larger[runs.index[edge]] = True
        less = larger.clone()
        less[runs.index[new[generator.integers(len(new))]]] = False
        yield larger
        yield less


def _new_edges(circuit: Circuit, runs: Runs, generator: np.random.Generator) -> list[Edge]:
    """The edges of a random path that the circuit does not have; of paths without any another is drawn."""
    kept, paths = set(circuit.edges), Paths.of(circuit.graph)
    for _ in range(_TRIES):
        if new := [edge for edge in paths.drawn(generator) if edge in runs.index and edge not in kept]:
            return new
    raise ClaimError(
        f"none of {_TRIES} random paths leads along an edge that {circuit} does not have, so none can be added; "
        "the minimality test needs a smaller circuit"
    )
