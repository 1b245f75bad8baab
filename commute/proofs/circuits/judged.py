"""Circuits run on fresh pairs of an input and another, whose values flow along all other edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.inputs import Inputs
from commute.causal.interventions import Setting
from commute.causal.model import CausalModel
from commute.models.ablations import Mean, Zero
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.runs import Runs
from commute.models.rows import batched
from commute.proofs.counterexample import Counterexample
from commute.runs.seeds import stream

Elsewhere = Setting | Mean | Zero | None  # what other edges carry: for other inputs row by row, or None for others drawn


@dataclass(frozen=True, eq=False)
class Pairs:
    """Independent pairs of an input and another.

    Attributes:
        bases: the inputs.
        others: what flows elsewhere is of these.
        instead: unless it is a mean or nothing.
    """

    bases: Batch
    others: Batch
    instead: Mean | Zero | None

    @classmethod
    def drawn(cls, inputs: CausalModel | Setting, instead: Elsewhere, n: int, seed: int) -> "Pairs":
        """Draw pairs from a model's inputs, or from the rows of a batch, each of which is then in one pair at most.

        A batch of others has one for each row; a mean or nothing needs no others.
        """
        if isinstance(inputs, CausalModel):
            sides = (Inputs(inputs).sample(stream(seed, "verify", "circuit", side), n) for side in ("base", "other"))
            bases, others = (inputs.labels(x) for x in sides)
            return cls(bases, others, None if isinstance(instead, Mapping) else instead)
        batch, _ = batched(inputs)
        order = stream(seed, "verify", "circuit").permutation(rows_of(batch))
        if instead is None:
            n = min(n, len(order) // 2)
            return cls(take(batch, order[:n]), take(batch, order[n : 2 * n]), None)
        bases = take(batch, order[:n])
        if isinstance(instead, Mapping):
            return cls(bases, take(batched(instead)[0], order[:n]), None)
        return cls(bases, bases, instead)


@dataclass(frozen=True, eq=False)
class Judged:
    """A circuit run on pairs.

    Attributes:
        pairs: the pairs.
        runs: them made ready.
        behaviour: that answers are the whole network's.
        none: the scores with nothing kept, [pairs, choices].
        kept: those of the circuit.
    """

    pairs: Pairs
    runs: Runs
    behaviour: Behaviour
    none: Tensor
    kept: Tensor

    @classmethod
    def of(cls, circuit: Circuit, pairs: Pairs) -> "Judged":
        """Run a circuit."""
        runs = Runs.of(circuit.graph, pairs.bases, pairs.others if pairs.instead is None else pairs.instead)
        return cls(pairs, runs, Behaviour.of(runs, "agreement"), *runs.scores([(), circuit]))

    @cached_property
    def right(self) -> Column:
        """Where the circuit answers as the whole network, [pairs]."""
        return self._same(self.kept)

    @cached_property
    def changed(self) -> Column:
        """Where nothing kept answers otherwise, [pairs]."""
        return ~self._same(self.none)

    def _same(self, scores: Tensor) -> Column:
        """Where scores [pairs, choices] give the whole network's answer, [pairs] of bool."""
        same: Column = self.behaviour(scores).bool().cpu().numpy()
        return same

    @property
    def worst(self) -> Counterexample | None:
        """The pair on which the circuit's choice is furthest above the network's; None where the two are always the same."""
        if self.right.all():
            return None
        answers = self.behaviour.whole.argmax(-1)
        behind = (self.kept.amax(-1) - self.kept.gather(-1, answers[:, None])[:, 0]).cpu().numpy()
        row = int(np.where(self.right, -1, behind).argmax())  # of right ones none, though a tie is behind by nothing
        given, right, labels = int(self.kept[row].argmax()), int(answers[row]), self.runs.choices
        return Counterexample(
            "the circuit",
            _setting(self.runs.batch, row),
            {"edges left out": _setting(self.pairs.others, row)} if self.pairs.instead is None else {},
            {"answer": labels[right]},
            {"answer": labels[given]},
            of_models=True,
        )


def _setting(batch: Batch, row: int) -> dict[str, object]:
    return {v: x[row : row + 1].tolist()[0] for v, x in batch.items()}
