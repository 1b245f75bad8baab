"""Enumeration: every pair of a base and its sources decided."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from math import inf, prod

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.proofs.proving.cells import Cell
from commute.proofs.proving.decisions import Decisions, Sum, summed, weights_of
from commute.proofs.proving.floats import Floats, expected_of
from commute.proofs.proving.outcome import Outcome
from commute.proofs.proving.redo import Redo
from commute.proofs.proving.statement import Statement
from commute.proofs.proving.tiles import Tile, tiles

_KEPT = 2**15  # pairs that are decided one by one together
_EXACTLY = 2**14  # evaluations in exact arithmetic


def enumerated(
    statement: Statement,
    *,
    block: int = 2**18,
    exactly: int = _EXACTLY,
    on_progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Decide every pair: classes of each side, in plain floating point, and those near a tie with more care.

    A pair is right where the score of the algorithm's answer is above every other in exact arithmetic on the stored weights, and
    wrong where another is above it; an exact tie is left undecided.

    Args:
        statement: what is claimed.
        block: numbers of one value of the joint program that are worked on at once.
        exactly: evaluations in exact arithmetic at most; pairs that would need more are left undecided.
        on_progress: is told how many pairs of classes of how many are decided.
    """
