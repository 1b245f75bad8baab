"""Behaviours: what of a network's answers a circuit is to keep, as a number for each input."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, rows_of, take
from commute.errors import NetworkError, check, unknown
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.runs import Runs

if TYPE_CHECKING:
    import networkx as nx

Measure = Literal["logit difference", "log probability", "divergence", "agreement", "accuracy"]
SMOOTH: tuple[Measure, ...] = ("logit difference", "log probability", "divergence")  # the measures that have gradients


@dataclass(frozen=True, eq=False)
class Behaviour:
    """A measure of scores, larger where more of the network's behaviour is kept; made by `Behaviour.of(runs, measure)`.

    Attributes:
        measure: "logit difference": the score of the answer less that of the other answer; "log probability": that of the
            answer among the choices, in nats; "divergence": minus the Kullback-Leibler divergence of the choices' probabilities
            from the whole network's, in nats; "agreement": 1 where the answer is the whole network's; "accuracy": 1 where it is
            the right one. The first three have gradients.
        graph: of the network.
        batch: the inputs.
        whole: the scores of the whole network, [batch, choices].
        answers: the choice that is right for each input, [batch] of int64.
        others: the choice that it is held against, [batch] of int64.
        classes: for each choice the first that has the same label, [choices] of int64.
    """

    measure: Measure
    graph: "nx.DiGraph[str]"
    batch: Batch
    whole: Tensor
    answers: Tensor
    others: Tensor
    classes: Tensor

    @classmethod
    def of(
        cls, runs: Runs, measure: Measure = "logit difference", *, answers: Tensor | None = None, others: Tensor | None = None
    ) -> "Behaviour":
        """The behaviour of a graph's network on some inputs.

        Args:
            runs: the inputs, and what edges carry that are left out.
            measure: see above.
            answers: the right choices, [batch] of int64, as `runs.readout.choices(labels)` gives them; None are the whole
                network's.
            others: what the answers are held against; None is what the network chooses when nothing is kept, and where that is
                the answer its second choice.
        """
        if measure not in get_args(Measure):
            raise NetworkError(unknown("measure", measure, get_args(Measure)))
        whole, none = runs.scores([residual_edges(runs.graph), ()])
        choices = {"answers": answers, "others": others}
        wrong = [p for name, x in choices.items() if x is not None for p in _misfits(name, x, whole)]
        check(wrong, NetworkError, "the behaviour")
        right = whole.argmax(-1) if answers is None else answers.to(whole.device)
        best, classes = none.argmax(-1), runs.readout.classes.to(whole.device)
        second = whole.masked_fill(classes == classes[right][:, None], -torch.inf).argmax(-1)
        other = torch.where(classes[best] == classes[right], second, best) if others is None else others.to(whole.device)
        return cls(measure, runs.graph, runs.batch, whole, right, other, classes)

    def __call__(self, scores: Tensor) -> Tensor:
        """The measure of scores [..., batch, choices], for each input, [..., batch]."""
        return _MEASURES[self.measure](self, scores)

    def answered(self, scores: Tensor) -> Tensor:
        """The answer, as the first choice with its label, [..., batch] of int64, by scores [..., batch, choices]."""
        return self.classes[scores.argmax(-1)]

    def take(self, rows: Tensor) -> "Behaviour":
        """The behaviour on some of the inputs."""
        batch = take(self.batch, rows.cpu().numpy())
        return replace(self, batch=batch, whole=self.whole[rows], answers=self.answers[rows], others=self.others[rows])

    def misfits(self, runs: Runs) -> list[str]:
        """Why this is not the behaviour of the inputs of some runs, if it is not."""
        rows, own = rows_of(runs.batch), rows_of(self.batch)
        if self.graph is not runs.graph:
            return ["the behaviour is of another computation graph than the runs; take it from these runs"]
        if rows != own:
            return [f"the behaviour is that of {own} rows and the runs have {rows}; take it from these runs"]
        if not _equal(self.batch, runs.batch):
            return ["the behaviour is that of other inputs than the runs have; take it from these runs"]
        return []


def _equal(first: Batch, second: Batch) -> bool:
    return first.keys() == second.keys() and all(x is second[v] or np.array_equal(x, second[v]) for v, x in first.items())


def _misfits(name: str, choices: Tensor, whole: Tensor) -> list[str]:
    n, many = whole.shape
    if not isinstance(choices, Tensor):
        return [f"{name} must be choices, a tensor [{n}] of int64, such as runs.readout.choices(labels); given {choices!r}"]
    if choices.shape != (n,) or choices.dtype != torch.int64:
        given = f"{type(choices).__name__} {list(choices.shape)} of {choices.dtype}"
        return [f"{name} must be choices, a tensor [{n}] of int64, such as runs.readout.choices(labels); given {given}"]
    if not ((choices >= 0) & (choices < many)).all():
        return [f"{name} must be choices from 0 to {many - 1}; given {int(choices.min())} to {int(choices.max())}"]
    return []


def _chosen(scores: Tensor, choices: Tensor) -> Tensor:
    return scores.gather(-1, choices.expand(scores.shape[:-1])[..., None])[..., 0]


def _difference(behaviour: Behaviour, scores: Tensor) -> Tensor:
    return _chosen(scores, behaviour.answers) - _chosen(scores, behaviour.others)


def _log_probability(behaviour: Behaviour, scores: Tensor) -> Tensor:
    return _chosen(scores.log_softmax(-1), behaviour.answers)


def _divergence(behaviour: Behaviour, scores: Tensor) -> Tensor:
    whole = behaviour.whole.log_softmax(-1)
    likely = whole > -torch.inf  # what is never chosen, as where scores are masked, adds nothing
    return -torch.where(likely, whole.exp() * (whole - scores.log_softmax(-1)), 0).sum(-1)


def _agreement(behaviour: Behaviour, scores: Tensor) -> Tensor:
    return (behaviour.answered(scores) == behaviour.answered(behaviour.whole)).to(scores)


def _accuracy(behaviour: Behaviour, scores: Tensor) -> Tensor:
    return (behaviour.answered(scores) == behaviour.classes[behaviour.answers]).to(scores)


_MEASURES: dict[str, Callable[[Behaviour, Tensor], Tensor]] = {
    "logit difference": _difference,
    "log probability": _log_probability,
    "divergence": _divergence,
    "agreement": _agreement,
    "accuracy": _accuracy,
}
