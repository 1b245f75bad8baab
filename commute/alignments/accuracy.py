"""Interchange intervention accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count, count
from commute.causal.batches import Batch, Column
from commute.causal.domains import Finite
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError, check, unknown
from commute.models.cost import Cost
from commute.models.fewest import fewest_flops
from commute.models.flops import Flops
from commute.models.network import Network

EngineName = Literal["commute", "pyvene"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


@dataclass(frozen=True)
class Accuracy:
    """How often the network's answer after an interchange is the algorithm's (IIA, 2301.04709 section 2.5).

    Attributes:
        overall: over all pairs.
        changed: over the pairs whose interchange changes the algorithm's output.
        unchanged: over those where it does not.
        noop: the baseline: how often the network's answer to the base alone is already the expected one.
        independent: whether the pairs were independent draws; without that there is no interval.
        confidence: of each bound of the interval.
        cost: of the answers alone and after the interchange; None where it was not counted.
    """

    overall: Count
    changed: Count
    unchanged: Count
    noop: Count
    independent: bool
    confidence: float = 0.99
    cost: Cost | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        right: Column,
        alone: Column,
        changed: Column,
        *,
        independent: bool,
        confidence: float,
        cost: Cost | None = None,
    ) -> "Accuracy":
        """Count the pairs that are `right` after the interchange and those that are without it, [pairs] of bool each."""
        counts = count(right), count(right[changed]), count(right[~changed]), count(alone)
        return cls(*counts, independent=independent, confidence=confidence, cost=cost)

    def __str__(self) -> str:
        bounds = f" [{self.interval[0]:.4f}, {self.interval[1]:.4f}]" if self.interval else ""
        return (
            f"IIA {self.rate:.4f}{bounds} on {self.overall.total} pairs"
            f" (changed {self.changed.rate:.4f}, unchanged {self.unchanged.rate:.4f}, no-op {self.noop.rate:.4f})"
        )

    @property
    def rate(self) -> float:
        """IIA over all pairs."""
        return self.overall.rate

    @property
    def interval(self) -> tuple[float, float] | None:
        """Exact binomial bounds on the rate, each one-sided at `confidence`; None when the pairs are not independent."""
        return (self.overall.lower(self.confidence), self.overall.upper(self.confidence)) if self.independent else None


def interchange_accuracy(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    pairs: Pairs,
    *,
    confidence: float = 0.99,
    engine: EngineName = "commute",
) -> Accuracy:
    """Interchange intervention accuracy of an alignment on pairs.

    Args:
        algorithm: what the outputs are those of.
        network: the network.
        alignment: the feature of each variable of the pairs.
        pairs: what is interchanged and expected.
        confidence: of each bound of the interval.
        engine: what carries out the interchanges: this package, or `pyvene`, which gives the same numbers more slowly.

    Raises:
        AlignmentError: when a variable of the pairs is not aligned, the network's outputs are not the algorithm's, or there is no
            such engine.
    """
    if engine not in ENGINES:
        raise AlignmentError(unknown("engine", engine, ENGINES))
    with Flops() as counter:
        alone = network.run(pairs.base)
        check_labels(algorithm, alone)
        if engine == "commute":
            right = agreement(network, alignment, pairs)
        else:
            from commute.alignments.pyvene_engine import pyvene_interchange

            answered = pyvene_interchange(network, pairs.base, _sources(alignment, pairs))
            right = agrees(answered, pairs.expected)
    cost = Cost(counter.total, fewest_flops(network, pairs.base, _sources(alignment, pairs)))
    return _counted(pairs, right, alone, confidence, cost)


def measured_accuracy(network: Network, alignment: Alignment, pairs: Pairs, *, confidence: float = 0.99) -> Accuracy:
    """As `interchange_accuracy`, for a network whose labels need not be the algorithm's, such as a control's."""
    return _counted(pairs, agreement(network, alignment, pairs), network.run(pairs.base), confidence)


def _counted(pairs: Pairs, right: Column, alone: Any, confidence: float, cost: Cost | None = None) -> Accuracy:
    known = agrees(alone, pairs.expected)
    return Accuracy.of(right, known, pairs.changed, independent=pairs.independent, confidence=confidence, cost=cost)


def _sources(alignment: Alignment, pairs: Pairs) -> dict[Any, Batch]:
    return {feature: source for v, source in pairs.sources.items() for feature in alignment.parts(v)}


def agreement(network: Network, alignment: Alignment, pairs: Pairs) -> Column:
    """Whether the network's answer after the interchange is the algorithm's, [pairs] of bool."""
    return agrees(interchanged(network, alignment, pairs), pairs.expected)


def interchanged(network: Network, alignment: Alignment, pairs: Pairs) -> Any:
    """The network's labels after the interchanges of `pairs`."""
    return network.interchange(pairs.base, _sources(alignment, pairs))


def check_labels(algorithm: CausalModel, answered: Any) -> None:
    """Check that a network speaks the algorithm's language.

    Raises:
        AlignmentError: when an output is missing, or none of the network's labels is in its domain.
    """
    problems = []
    for output, column in _by_output(answered, algorithm.outputs).items():
        domain = algorithm.known_domain(output)
        if isinstance(domain, Finite) and not any(label in domain for label in column.tolist()):
            told = repr(column[:1].tolist()[0])
            problems.append(
                f"decode returns {told} for {output!r}, and no label of its domain {domain}; return the algorithm's labels"
            )
    check(problems, AlignmentError, "the network's answers")


def check_network(algorithm: CausalModel, network: Network, alignment: Alignment, inputs: Batch) -> None:
    """Check on some inputs that a network is deterministic, its sites included, and speaks the algorithm's language.

    Raises:
        AlignmentError: as `check_labels` does.
        NetworkError: when it is not deterministic, or a site does not fire.
    """
    network.check_deterministic(inputs, alignment.sites)
    check_labels(algorithm, network.run(inputs))


def agrees(answered: Any, expected: Batch) -> Column:
    """Whether the network's labels are the expected ones in every output, [batch] of bool.

    Raises:
        AlignmentError: when an output is missing.
    """
    named = _by_output(answered, tuple(expected))
    right: Column = np.all([_equal(named[v], expected[v]) for v in expected], axis=0)
    return right


def _by_output(answered: Any, outputs: Sequence[str]) -> Mapping[str, Column]:
    """The network's labels by the algorithm's output; a lone array belongs to a lone output."""
    if not isinstance(answered, Mapping):
        if len(outputs) == 1:
            return {outputs[0]: answered}
        raise AlignmentError(f"the algorithm has outputs {', '.join(outputs)}; decode must return a mapping with these names")
    check(
        [f"in what decode returns {unknown('output', v, answered)}" for v in outputs if v not in answered],
        AlignmentError,
        "the network",
    )
    return {v: answered[v] for v in outputs}


def _equal(answered: Column, expected: Column) -> Column:
    if answered.dtype.kind in "biuf" and expected.dtype.kind in "biuf":
        return np.asarray(answered == expected)
    pairs = zip(answered.tolist(), expected.tolist(), strict=True)
    return np.fromiter((a == e for a, e in pairs), dtype=bool, count=len(expected))
