"""Greedy pruning: edges taken out one after the other, as long as little is lost by it (ACDC, 2304.14997)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from commute.alignments.options import as_plain
from commute.errors import AlignmentError, NetworkError, check, not_counts
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import Edge, residual_edges
from commute.models.circuits.runs import Runs


@dataclass(frozen=True)
class GreedyPruning:
    """Visit edges from the output backwards, and leave out each by which the behaviour loses less than a threshold (2304.14997).

    Edges already left out stay so. Many visits are made at once, on the guess that all edges before are left out, and those after
    a wrong guess again, so that each decision is as one after the other. An edge scores by what was lost when it was visited, not
    less than 0, so that those kept are those of at least the threshold: rank by magnitude.

    Attributes:
        threshold: of the mean over inputs, in units of the measure; for the divergence ACDC's tau.
        batch: visits at once, at most.
    """

    threshold: float
    batch: int = 64

    def __post_init__(self) -> None:
        as_plain(self)
        t = self.threshold
        good = isinstance(t, (int, float)) and not isinstance(t, bool) and 0 < t < inf
        check(
            not_counts(batch=self.batch) + ([] if good else [f"threshold must be a number above 0; given {t!r}"]),
            AlignmentError,
            "GreedyPruning",
        )

    def scores(self, runs: Runs, behaviour: Behaviour) -> Tensor:
        """See `SearchMethod`: [edges, 1]."""
        check(behaviour.misfits(runs), NetworkError, "greedy pruning")
        order = [e for node in reversed(list(runs.graph)) for e in reversed(list(runs.graph.in_edges(node))) if e in runs.index]
        kept = runs.mask(order)
        value = float(behaviour(behaviour.whole).mean())
        lost: dict[Edge, float] = {}
        width = 1
        while len(lost) < len(order):
            masks = _cumulative(runs, kept, order[len(lost) : len(lost) + width])
            width = min(2 * width, self.batch)
            for mask, found in zip(masks, behaviour(runs.scores(masks)).mean(-1).tolist(), strict=True):
                loss = value - found
                lost[order[len(lost)]] = max(loss, 0.0)
                if loss >= self.threshold:
                    width = max(1, width // 4)  # the masks that follow lack an edge that is kept
                    break
                kept, value = mask, found
        return torch.tensor([[lost[edge]] for edge in residual_edges(runs.graph)])


def _cumulative(runs: Runs, kept: Tensor, edges: Sequence[Edge]) -> list[Tensor]:
    """Masks, each with one edge less than that before it."""
    masks = []
    for edge in edges:
        kept = kept.clone()
        kept[runs.index[edge]] = False
        masks.append(kept)
    return masks
