"""Fresh pairs and what the network answered to them, drawn as many at a time as are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from commute.causal.batches import Column, joined
from commute.causal.pairs import Pairs, concatenated
from commute.proofs.slices import Slice

Cut = Callable[[Pairs, Column], list[Slice]]  # pairs, and whether each was answered rightly -> the slices they are judged by


@dataclass(frozen=True, eq=False)
class Checked:
    """Pairs and how the network did on them.

    Attributes:
        what: what was done with the pairs.
        pairs: the pairs; of a read-out the base is the input in which the value is set, and its sources are those of the
            interchange before.
        answered: the network's labels, [pairs], or one array an output.
        right: whether they are the algorithm's, [pairs] of bool.
        cut: what makes slices of them.
        read_out: the variable that was read out, if any.
    """

    what: str
    pairs: Pairs
    answered: Any
    right: Column
    cut: Cut
    read_out: str | None = None

    @cached_property
    def slices(self) -> list[Slice]:
        """The slices of these pairs."""
        return self.cut(self.pairs, self.right)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws pairs of one kind, each time others, and puts them to the network."""

    what: str
    draw: Callable[[int], Checked]


def together(parts: Sequence[Checked]) -> Checked:
    """Pairs of one kind that were drawn one after the other."""
    if len(parts) == 1:
        return parts[0]
    answers = [p.answered for p in parts]
    answered = {v: joined([a[v] for a in answers]) for v in answers[0]} if isinstance(answers[0], dict) else joined(answers)
    return replace(
        parts[0],
        pairs=concatenated([p.pairs for p in parts]),
        answered=answered,
        right=joined([p.right for p in parts]),
    )
