"""Optimal ablation: constants that nodes are replaced by, trained to lose least (2409.09951)."""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from commute.alignments.circuits.passes import check_graded
from commute.alignments.options import as_plain
from commute.causal.batches import rows_of, take
from commute.causal.interventions import Setting
from commute.errors import AlignmentError, CommuteError, check, not_counts
from commute.models.ablations import Mean
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.runs import Runs
from commute.models.hooks import undisturbed
from commute.runs.seeds import plain_seed
from commute.runs.seeds import stream as seeded

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class OptimalAblation:
    """On edges that are left out flows a constant vector for each node, the same at all positions (2409.09951).

    The constants start at the means and are trained together by Adam, so that the network's choices diverge least from those of
    the whole network where a random part of the nodes is replaced, from none to all of them, other ones for each input.

    Attributes:
        steps: gradient steps.
        batch: inputs a step.
        learning_rate: in shares of the mean length of what nodes add.
        seed: of what is drawn.
    """

    steps: int = 200
    batch: int = 32
    learning_rate: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        as_plain(self)
        rate = self.learning_rate
        good = isinstance(rate, (int, float)) and not isinstance(rate, bool) and 0 < rate < inf
        problems = not_counts(steps=self.steps, batch=self.batch) + not_seed(self.seed)
        problems += [] if good else [f"learning_rate must be a number above 0; given {rate!r}"]
        check(problems, AlignmentError, "OptimalAblation")

    def constants(self, graph: "nx.DiGraph[str]", inputs: Setting) -> Tensor:
        """What each writer is replaced by, [writers, 1, …, width]; the axes between are of length 1.

        Args:
            graph: the computation graph.
            inputs: to train on; prompts of one length.

        Raises:
            NetworkError: in torch's inference mode, and when inputs do not fit.
        """
        check_graded("optimal ablation")
        runs = Runs.of(graph, inputs, Mean(inputs))
        stream, n = runs.stream, rows_of(runs.batch)
        behaviour = Behaviour.of(runs, "divergence")
        axes = tuple(range(2, runs.instead.ndim - 1))
        found = (runs.instead.mean(axes, keepdim=True) if axes else runs.instead).clone()
        scale = float(found.norm(dim=-1).mean()) / found.shape[-1] ** 0.5
        draws = seeded(self.seed, "optimal ablation")
        with undisturbed(stream.network.module), torch.enable_grad():
            found.requires_grad_()
            adam = torch.optim.Adam([found], lr=self.learning_rate * max(scale, 1e-6))
            for _ in range(self.steps):
                rows = draws.integers(n, size=min(self.batch, n))
                share = draws.random(len(rows))
                kept = torch.from_numpy(draws.random((len(stream.writers), len(rows))) < share)
                output = stream.run(
                    take(runs.batch, rows), kept.expand(len(stream.readers), -1, -1), found.expand_as(runs.instead)
                )
                loss = -behaviour.take(torch.from_numpy(rows))(runs.readout.scores(output, len(rows))).mean()
                adam.zero_grad()
                torch.autograd.backward(loss, inputs=[found])
                adam.step()
        return found.detach()


def with_constants(graph: "nx.DiGraph[str]", inputs: Setting, constants: Tensor) -> Runs:
    """Runs in which edges that are left out carry constants."""
    runs = Runs.of(graph, inputs, Mean(inputs))
    return Runs(graph, runs.batch, constants.expand_as(runs.instead))


def not_seed(seed: Any) -> list[str]:
    """Say that something is no seed."""
    try:
        plain_seed(seed)
    except CommuteError as error:
        return [str(error)]
    return []
