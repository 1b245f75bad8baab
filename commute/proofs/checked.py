"""Fresh pairs, what the network answered to them, and the slices they are judged by."""

from dataclasses import dataclass
from typing import Any

from commute.causal.batches import Column
from commute.causal.pairs import Pairs
from commute.proofs.slices import Slice


@dataclass(frozen=True, eq=False)
class Checked:
    """Pairs and how the network did on them.

    Attributes:
        what: what was done with the pairs.
        pairs: the pairs; of a read-out the base is the input in which the value is set, and its sources are those of the
            interchange before.
        answered: the network's labels.
        right: whether they are the algorithm's, [pairs] of bool.
        slices: the slices of these pairs.
    """

    what: str
    pairs: Pairs
    answered: Any
    right: Column
    slices: list[Slice]
