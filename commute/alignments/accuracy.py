"""Interchange intervention accuracy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count
from commute.causal.batches import Batch, Column
from commute.causal.domains import Finite
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError, check, unknown
from commute.models.network import Network


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
    """

    overall: Count
    changed: Count
    unchanged: Count
    noop: Count
    independent: bool
    confidence: float = 0.99

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
    algorithm: CausalModel, network: Network, alignment: Alignment, pairs: Pairs, *, confidence: float = 0.99
) -> Accuracy:
    """Interchange intervention accuracy of an alignment on pairs.

    Raises:
        AlignmentError: when a variable of the pairs is not aligned, or the network's outputs are not the algorithm's.
    """
    right = agreement(algorithm, network, alignment, pairs)
    alone = agrees(algorithm, network.run(pairs.base), pairs.expected)
    return accuracy_of(pairs, right, alone, confidence=confidence)


def agreement(algorithm: CausalModel, network: Network, alignment: Alignment, pairs: Pairs) -> Column:
    """Whether the network's answer after the interchange is the algorithm's, [pairs] of bool."""
    return agrees(algorithm, interchanged(network, alignment, pairs), pairs.expected)


def interchanged(network: Network, alignment: Alignment, pairs: Pairs) -> Any:
    """The network's labels after the interchanges of `pairs`."""
    return network.interchange(pairs.base, {alignment[v]: source for v, source in pairs.sources.items()})


def accuracy_of(pairs: Pairs, right: Column, alone: Column, *, confidence: float) -> Accuracy:
    """Count what was `right` after the interchange and `alone` without it, [pairs] of bool each."""
    return Accuracy(
        count(right),
        count(right[pairs.changed]),
        count(right[~pairs.changed]),
        count(alone),
        pairs.independent,
        confidence,
    )


def count(right: Column) -> Count:
    """The count of a column of bool."""
    return Count(int(right.sum()), len(right))


def agrees(algorithm: CausalModel, answered: Any, expected: Batch) -> Column:
    """Whether the network's labels are the expected ones in every output, [batch] of bool.

    Raises:
        AlignmentError: when the network's outputs are not the algorithm's, or none of its labels is in an output's domain.
    """
    named: Mapping[str, Column]
    if isinstance(answered, Mapping):
        named = answered
    elif len(expected) == 1:
        named = {next(iter(expected)): answered}
    else:
        raise AlignmentError(f"the algorithm has outputs {', '.join(expected)}; decode must return a mapping with these names")
    problems = [f"decode returns no {unknown('output', v, named)}" for v in expected if v not in named]
    for output in set(expected) & set(named):
        domain = algorithm.known_domain(output)
        if isinstance(domain, Finite) and not any(label in domain for label in named[output].tolist()):
            told = repr(named[output][:1].tolist()[0])
            problems.append(
                f"decode returns {told} for {output!r}, and no label of its domain {domain}; return the algorithm's labels"
            )
    check(problems, AlignmentError, "the network's answers")
    right: Column = np.all([_equal(named[v], expected[v]) for v in expected], axis=0)
    return right


def _equal(answered: Column, expected: Column) -> Column:
    if answered.dtype.kind in "biuf" and expected.dtype.kind in "biuf":
        return np.asarray(answered == expected)
    pairs = zip(answered.tolist(), expected.tolist(), strict=True)
    return np.fromiter((a == e for a, e in pairs), dtype=bool, count=len(expected))
