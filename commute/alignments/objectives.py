"""What training lowers: the cross-entropy of the right answers, or the share of wrong ones made smooth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from commute.alignments.training import TrainingPairs, at_least_single
from commute.causal.batches import take
from commute.models.hooks import evaluating

Objective = Literal["cross-entropy", "error"]
Loss = Callable[[Tensor, Tensor], Tensor]  # scores [rows, choices] and right choices [rows] -> [rows]

_WARM, _COLD = 0.6, 0.12  # temperature of `error` at the start and at the end, in margins of the network's own answers
_ROWS = 256  # of which the margin is taken


@dataclass(frozen=True)
class Losses:
    """The loss of each row, at any time of training.

    With `error` it is one less the probability of the right answer, from scores at a temperature that falls: in the end nearly
    the share of wrong answers, which is what IIA counts. Cross-entropy is ruled by few answers that are wrong with confidence.

    Attributes:
        objective: what is lowered.
        margin: by how much the network's own answers lead, on average.
    """

    objective: Objective
    margin: float

    @classmethod
    def of(cls, objective: Objective, here: TrainingPairs) -> "Losses":
        """For a network, whose margins are those of its answers to the first bases."""
        if objective == "cross-entropy":
            return cls(objective, 1.0)
        batch = take(here.pairs.base, slice(min(_ROWS, len(here))))
        with evaluating(here.network.module), torch.no_grad():
            scores = here.readout.scores(here.network.call(batch), min(_ROWS, len(here)))
        best = at_least_single(scores).topk(2, dim=-1).values
        return cls(objective, float((best[:, 0] - best[:, 1]).mean().clamp(min=1e-6)))

    def at(self, progress: float) -> Loss:
        """The loss when a share of training is over."""
        if self.objective == "cross-entropy":
            return entropy
        temperature = self.margin * _WARM * (_COLD / _WARM) ** progress

        def error(scores: Tensor, choices: Tensor) -> Tensor:
            wrong: Tensor = 1 - (scores / temperature).softmax(-1).gather(1, choices[:, None])[:, 0]
            return wrong

        return error


def entropy(scores: Tensor, choices: Tensor) -> Tensor:
    """Cross-entropy."""
    return cross_entropy(scores, choices, reduction="none")
