"""Measures of a circuit: how much of a behaviour it keeps, how much is left without it, and which of its edges matter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as short

import numpy as np

from commute.causal.batches import Column
from commute.errors import ClaimError, check
from commute.models.circuits.behaviour import Behaviour, Measure
from commute.models.circuits.circuit import Circuit, edges_of
from commute.models.circuits.graph import Edge, residual_edges
from commute.models.circuits.runs import Runs
from commute.proofs.circuits.given import check_measured, not_confidence, numbers_of
from commute.proofs.circuits.intervals import Estimate, Spread, difference, holm, mean, rate, ratio, ratio_of_rates
from commute.proofs.circuits.values import BITS, changes, of_whole, values, without_each

_FEW = 4  # edges that are named


@dataclass(frozen=True)
class Faithfulness:
    """How much of a behaviour some edges keep, over rows.

    Attributes:
        measure: of the behaviour.
        edges: how many are kept.
        of: how many there are.
        rows: how many inputs were run.
        value: the mean measure with these edges kept, m(C): an accuracy, a logit difference, minus a divergence.
        whole: that of the whole network, m(all).
        none: that with nothing kept, m(none).
        share: what is kept of it, (m(C) - m(none)) / (m(all) - m(none)).
    """

    measure: Measure
    edges: int
    of: int
    rows: int
    value: Estimate
    whole: Estimate
    none: Estimate
    share: Estimate

    def __str__(self) -> str:
        return (
            f"{self.edges} of {self.of} edges keep {self.share} of the {self.measure} on {self.rows} rows:"
            f" {self.value}, of the whole network {self.whole}, of nothing kept {self.none}"
        )


def faithfulness(circuit: Circuit, runs: Runs, behaviour: Behaviour, *, confidence: float = 0.99) -> Faithfulness:
    """How much of a behaviour a circuit keeps, as in MIB (2504.13151), with bounds over rows.

    The share is a ratio of means over the same rows. It is bounded by Fieller's theorem, and the means by Student's t. These
    bounds are approximate: they hold as often as they say for normal numbers, or as rows are many, and far less often where few
    rows have most of the effect. Those of accuracy and agreement, which are 0 or 1 on each row, are exact: binomial bounds.
    Bounds need rows that are independent draws, and hold for what left-out edges carry in these runs: for other draws of that
    see `over_repetitions`.

    Args:
        circuit: what is kept.
        runs: fresh inputs, on which the circuit was not chosen.
        behaviour: of the network on these inputs.
        confidence: of each bound.

    Raises:
        ClaimError: when nothing kept does as well as the whole network, so that there is nothing to keep.
    """
    check_measured([circuit], runs, behaviour, confidence=confidence)
    return _kept(circuit.edges, runs, behaviour, confidence)


def completeness(circuit: Circuit, runs: Runs, behaviour: Behaviour, *, confidence: float = 0.99) -> Faithfulness:
    """How much of a behaviour is left when the circuit's edges are left out and all others kept (2403.19647).

    A circuit is complete where this is near 0; see `faithfulness`.
    """
    check_measured([circuit], runs, behaviour, confidence=confidence)
    return _kept(circuit.complement, runs, behaviour, confidence)


def _kept(edges: Sequence[Edge], runs: Runs, behaviour: Behaviour, confidence: float) -> Faithfulness:
    whole = of_whole(behaviour)
    kept, none = values(runs, behaviour, [edges, ()])
    check_gap(whole, none, behaviour)
    if behaviour.measure in BITS:
        means = [rate(x, confidence) for x in (kept, whole, none)]
        share = ratio_of_rates(kept, whole, none, confidence)
    else:
        means = [mean(x, confidence) for x in (kept, whole, none)]
        share = ratio(kept - none, whole - none, confidence)
    value, all_, nothing = means
    return Faithfulness(behaviour.measure, len(edges), len(residual_edges(runs.graph)), len(kept), value, all_, nothing, share)


def check_gap(whole: Column, none: Column, behaviour: Behaviour) -> None:
    """Check that the whole network differs from nothing kept, [rows] each.

    Raises:
        ClaimError: when it does not.
    """
    if not changes(whole, none, behaviour).any() or whole.mean() == none.mean():
        raise ClaimError(
            f"with nothing kept the {behaviour.measure} is as with the whole network, {whole.mean():.4g} on {len(whole)} rows, "
            "so no share of it can be kept; take another measure, or let edges that are left out carry something else"
        )


def over_repetitions(numbers: Sequence[float], *, confidence: float = 0.99) -> Spread:
    """How much a number depends on random seeds or on resampled data, such as the share kept for each of several `Resample`s.

    Bounds are as wide as the numbers are spread, so equal numbers have none between them: repeat more often before taking these
    for certain.

    Args:
        numbers: one of each repetition.
        confidence: of each bound on their mean.

    Raises:
        ClaimError: when there are fewer than two, and when one is not finite.
    """
    found, problems = numbers_of(numbers), not_confidence(confidence)
    if len(found) <= 1 or not np.isfinite(found).all():
        problems.append(f"it needs two finite numbers or more; given {numbers!r}")
    check(problems, ClaimError, "a spread over repetitions")
    return Spread(tuple(found.tolist()), mean(found, confidence))


@dataclass(frozen=True)
class EdgeEffect:
    """What one edge of a circuit does for the behaviour.

    Attributes:
        edge: that is left out.
        effect: how much is lost without it, m(C) - m(C without it).
        p_value: one-sided, of no loss.
        corrected: the same over all edges of the circuit together (Holm).
    """

    edge: Edge
    effect: Estimate
    p_value: float
    corrected: float

    def __str__(self) -> str:
        return f"{'->'.join(self.edge)} {self.effect}, p = {self.p_value:.2g}, corrected {self.corrected:.2g}"


@dataclass(frozen=True)
class Minimality:
    """Which edges of a circuit are shown to matter within it.

    Attributes:
        measure: of the behaviour.
        rows: how many inputs were run.
        effects: of each edge, in the circuit's order.
        confidence: at which an edge is shown to matter, of all together.
    """

    measure: Measure
    rows: int
    effects: tuple[EdgeEffect, ...]
    confidence: float

    def __str__(self) -> str:
        idle = self.idle
        named = ", ".join("->".join(e) for e in idle[:_FEW]) + (", …" if len(idle) > _FEW else "")
        return (
            f"{len(self.effects) - len(idle)} of {len(self.effects)} edges are each shown to raise the {self.measure} on"
            f" {self.rows} rows{f'; not {named}' if idle else ''}"
        )

    @property
    def idle(self) -> tuple[Edge, ...]:
        """The edges that are not shown to matter: none in a minimal circuit, given rows enough."""
        return tuple(e.edge for e in self.effects if e.corrected > 1 - self.confidence)


def minimality(
    circuit: Circuit,
    runs: Runs,
    behaviour: Behaviour,
    *,
    edges: Sequence[Edge] | None = None,
    confidence: float = 0.99,
) -> Minimality:
    """What is lost when one edge of a circuit is left out after the other, on the same rows.

    For each edge: the paired t-test that nothing is lost on average, with no p-value below the least of a sign test; of accuracy
    and agreement McNemar's exact test. All are one-sided and corrected together (Holm, 1979). Two edges that do the same may
    both be idle though one of them is needed.

    The t-test and the bounds on effects of smooth measures are approximate: where a little is lost on most rows and much is won
    on few, an edge that raises nothing on average is shown to matter far more often than `confidence` says. Exact are McNemar's
    test and the bounds of accuracy and agreement.

    Args:
        circuit: whose edges are left out.
        runs: fresh inputs.
        behaviour: of the network on these inputs.
        edges: that are tested; None is all of the circuit's.
        confidence: of each bound on an effect, and of all tests together.

    Raises:
        ClaimError: listing all that is wrong, such as edges that the circuit does not have.
    """
    check_measured([circuit], runs, behaviour, confidence=confidence)
    tested = circuit.edges if edges is None else _tested(circuit, edges)
    (kept,) = values(runs, behaviour, [circuit.edges])
    less = values(runs, behaviour, without_each(runs, circuit.edges, tested))
    lost = changes(kept, less, behaviour)
    if behaviour.measure in BITS:
        effects = [difference(kept, x, confidence) for x in less]
        p = _mcnemar(lost)
    else:
        effects = [mean(x, confidence) for x in lost]
        p = _one_sided(lost)
    found = tuple(map(EdgeEffect, tested, effects, p.tolist(), holm(p).tolist()))
    return Minimality(behaviour.measure, len(kept), found, confidence)


def _tested(circuit: Circuit, edges: object) -> tuple[Edge, ...]:
    """Some of a circuit's edges, in its order."""
    if not isinstance(edges, Iterable) or isinstance(edges, str | Mapping):
        raise ClaimError(f"edges must be a list of the circuit's, as pairs of nodes or 'm0->logits'; given {short(edges)}")
    named, kept = list(edges), set(circuit.edges)
    nodes = [x for x in named if isinstance(x, str) and "->" not in x]
    wrong = [f"edges are pairs of nodes or 'm0->logits'; given the node {x!r}" for x in nodes]
    found = () if nodes else edges_of(circuit.graph, named)
    wrong += [f"the edge {'->'.join(x)} is not one of the circuit's {len(kept)}" for x in found if x not in kept]
    check(wrong[:_FEW] or ([] if found else ["there are none; None tests all of the circuit's"]), ClaimError, "the edges tested")
    return found


def _one_sided(lost: Column) -> Column:
    """p-values of a mean of at most 0, [tests], from numbers [tests, rows]."""
    from scipy.special import stdtr

    n = lost.shape[1]
    if n == 1:
        return np.where(lost[:, 0] > 0, 0.5, 1.0)
    error = lost.std(1, ddof=1) / np.sqrt(n)
    centre = lost.mean(1)
    t = np.divide(centre, error, out=np.where(centre > 0, np.inf, -np.inf), where=error > 0)
    found: Column = np.maximum(stdtr(n - 1, -t), 0.5**n)
    return found


def _mcnemar(lost: Column) -> Column:
    """p-values of no more rows lost than won, [tests], from -1, 0 and 1 in [tests, rows]."""
    from scipy.stats import binom

    won, gone = (lost < 0).sum(1), (lost > 0).sum(1)
    found: Column = binom.sf(gone - 1, won + gone, 0.5)
    return found
