"""Scores of edges against a circuit that is known to be right."""

from collections.abc import Sequence
from dataclasses import dataclass
from reprlib import repr  # noqa: A004

import numpy as np
from torch import Tensor

from commute.causal.batches import Column
from commute.errors import ClaimError, check
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.scored import named
from commute.proofs.circuits.given import not_circuit, numbers_of


@dataclass(frozen=True)
class RocCurve:
    """How well scores tell a circuit's edges from all others.

    Attributes:
        false_positive: the share of other edges that score at least a threshold, from 0 to 1, as thresholds fall.
        true_positive: the share of the circuit's edges that do.
        edges: how many the circuit has.
        others: how many it does not have.
    """

    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]
    edges: int
    others: int

    def __str__(self) -> str:
        return f"AUROC {self.area:.4f} of {self.edges} edges against {self.others} others"

    @property
    def area(self) -> float:
        """AUROC: how often an edge of the circuit scores higher than another, ties counting half."""
        return float(np.trapezoid(self.true_positive, self.false_positive))


def roc_curve(scores: Sequence[float] | Tensor, known: Circuit) -> RocCurve:
    """The whole ROC curve, from (0, 0) to (1, 1), with a point at each threshold; edges of one score are passed together.

    Args:
        scores: of all edges of the circuit's graph, in its order (`residual_edges`): the surer that an edge belongs to the
            circuit, the higher. Give sizes (`abs`) where the sign says which way an edge works.
        known: the circuit that is right.

    Raises:
        ClaimError: unless there is a finite score of each edge, and an edge to tell from others.
    """
    from sklearn import metrics

    numbers = numbers_of(scores)
    check(_misfits(scores, numbers, known), ClaimError, "a ROC curve")
    edges, kept = residual_edges(known.graph), set(known.edges)
    right = np.array([edge in kept for edge in edges])
    false_positive, true_positive, _ = metrics.roc_curve(right, numbers, drop_intermediate=False)
    return RocCurve(tuple(false_positive.tolist()), tuple(true_positive.tolist()), len(kept), len(edges) - len(kept))


def _misfits(scores: object, numbers: Column, known: object) -> list[str]:
    problems = [] if len(numbers) else [f"scores must be a list of numbers, one of each edge; given {repr(scores)}"]
    if not isinstance(known, Circuit):
        return problems + not_circuit(known, "known")
    edges = residual_edges(known.graph)
    if len(numbers) not in (0, len(edges)):
        problems.append(f"there must be one score of each of {len(edges)} edges; given {len(numbers)}")
    elif not np.isfinite(numbers).all():
        problems.append(f"scores must be finite; that of {named(edges[int((~np.isfinite(numbers)).argmax())])} is not")
    if len(known) == len(edges):
        problems.append(f"the known circuit has all {len(edges)} edges, so there are no others to tell them from")
    return problems
