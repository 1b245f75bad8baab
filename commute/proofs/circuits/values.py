"""What circuits keep of a behaviour, row by row."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Column
from commute.errors import ClaimError
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import Edge
from commute.models.circuits.runs import Keeping, Runs

BITS = ("agreement", "accuracy")  # the measures that are 0 or 1
_NUMBERS = 2**24  # scores, or numbers of masks, held at once
_ROUNDING = 64  # units in the last place of the largest score that runs of one circuit may differ by


def values(runs: Runs, behaviour: Behaviour, keeps: Iterable[Keeping | Tensor]) -> Column:
    """The measure of each circuit on each row, [circuits, rows]; many circuits are run at once."""
    one = max(behaviour.whole.numel(), runs.stream.edges.numel() * len(runs.places))
    step, rest = max(1, _NUMBERS // one), iter(keeps)
    parts = []
    while group := list(islice(rest, step)):
        parts.append(behaviour(runs.scores(group)).double().cpu())
    found: Column = torch.cat(parts).numpy()
    return found


def of_whole(behaviour: Behaviour) -> Column:
    """The measure of the whole network on each row, [rows]."""
    found: Column = behaviour(behaviour.whole).double().cpu().numpy()
    return found


def changes(first: Column, second: Column, behaviour: Behaviour) -> Column:
    """`first` less `second`, values of the measure; 0 where they differ by no more than rounding."""
    change = first - second
    return np.where(np.abs(change) <= rounding(behaviour), 0.0, change)


def rounding(behaviour: Behaviour) -> float:
    """How far values of the measure may be apart and still be the same."""
    if behaviour.measure in BITS:
        return 0.0
    return _ROUNDING * torch.finfo(behaviour.whole.dtype).eps * float(behaviour.whole.abs().max())


def without_each(runs: Runs, edges: Sequence[Edge], tested: Sequence[Edge]) -> Iterator[Tensor]:
    """The mask of some edges, with each of those tested in turn left out."""
    mask = runs.mask(edges)
    for edge in tested:
        less = mask.clone()
        less[runs.index[edge]] = False
        yield less


def check_varies(whole: Column, behaviour: Behaviour, test: str) -> None:
    """Check that the measure of the whole network, [rows], differs between rows.

    Raises:
        ClaimError: when it does not.
    """
    if np.ptp(whole) <= rounding(behaviour):
        raise ClaimError(
            f"the {behaviour.measure} of the whole network is {whole[0]:z.4g} on all {len(whole)} rows, so the {test} test has "
            "nothing to compare circuits with; take the logit difference, or the accuracy on rows of which it has some wrong"
        )
