"""Circuits run on fresh pairs of an input and another, whose values flow along all other edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.inputs import Inputs
from commute.causal.interventions import Setting
from commute.causal.model import CausalModel
from commute.models.ablations import Mean, Zero
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import residual_edges
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
        whole: the scores of the whole network, [pairs, choices].
        none: those with nothing kept.
        kept: those of the circuit.
    """

    pairs: Pairs
    runs: Runs
    whole: Tensor
    none: Tensor
    kept: Tensor

    @classmethod
    def of(cls, circuit: Circuit, pairs: Pairs) -> "Judged":
        """Run a circuit."""
        runs = Runs.of(circuit.graph, pairs.bases, pairs.others if pairs.instead is None else pairs.instead)
        return cls(pairs, runs, *runs.scores([residual_edges(circuit.graph), (), circuit]))

    @cached_property
    def behaviour(self) -> Behaviour:
        """That answers are the whole network's."""
        return Behaviour.of(self.runs, "agreement")

    @property
    def right(self) -> Column:
        """Where the circuit answers as the whole network, [pairs]."""
        return _same_choice(self.kept, self.whole)

    @property
    def changed(self) -> Column:
        """Where nothing kept answers otherwise, [pairs]."""
        return ~_same_choice(self.none, self.whole)

    @property
    def worst(self) -> Counterexample | None:
        """The pair on which the circuit's choice is furthest above the network's; None where the two are always the same."""
        answers = self.whole.argmax(-1)
        behind = self.kept.amax(-1) - self.kept.gather(-1, answers[:, None])[:, 0]
        row = int(behind.argmax())
        given, right = int(self.kept[row].argmax()), int(answers[row])
        if given == right:
            return None
        labels = self.runs.choices
        return Counterexample(
            "the circuit",
            _setting(self.runs.batch, row),
            {"edges left out": _setting(self.pairs.others, row)} if self.pairs.instead is None else {},
            {"answer": labels[right]},
            {"answer": labels[given]},
            of_models=True,
        )


def _same_choice(first: Tensor, second: Tensor) -> Column:
    """Where the largest of two rows of scores is the same, [batch]."""
    same: Column = (first.argmax(-1) == second.argmax(-1)).cpu().numpy()
    return same


def _setting(batch: Batch, row: int) -> dict[str, object]:
    return {v: x[row : row + 1].tolist()[0] for v, x in batch.items()}
