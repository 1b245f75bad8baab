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
_ROUNDING = 64  # units in the last place that scores of runs of one circuit may differ by
_OF_HALF = 4  # the same of half types, which are added up in wider ones
_HALF = 16  # bits


def values(runs: Runs, behaviour: Behaviour, keeps: Iterable[Keeping | Tensor]) -> Column:
    """The measure of each circuit on each row, [circuits, rows]; many circuits are run at once."""
    one = max(behaviour.whole.numel(), runs.stream.edges.numel() * len(runs.places))
    step, rest = max(1, _NUMBERS // one), iter(keeps)
    parts = []
    while group := list(islice(rest, step)):
        parts.append(of_scores(behaviour, runs.scores(group)))
    return np.concatenate(parts)


def of_whole(behaviour: Behaviour) -> Column:
    """The measure of the whole network on each row, [rows]."""
    return of_scores(behaviour, behaviour.whole)


def of_scores(behaviour: Behaviour, scores: Tensor) -> Column:
    """The measure of scores [..., rows, choices] on each row, [..., rows].

    Raises:
        ClaimError: where it is no finite number.
    """
    found: Column = behaviour(scores).double().cpu().numpy()
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        raise ClaimError(
            f"in row {wrong[0][-1]} the {behaviour.measure} is {found[tuple(wrong[0])]:g}, of which there is no mean: a score "
            "that it is made of is infinite, as that of a masked choice; leave such rows out, give answers= and others= that are "
            "never masked, or take the agreement or the accuracy"
        )
    return found


def changes(first: Column, second: Column, behaviour: Behaviour) -> Column:
    """`first` less `second`, values of the measure; 0 where they differ by no more than rounding."""
    change = first - second
    return np.where(np.abs(change) <= rounding(behaviour), 0.0, change)


def rounding(behaviour: Behaviour) -> float:
    """How far values of the measure may be apart and still be the same.

    It goes by the scores that the measure is made of: others, such as those of masked choices, may be as large as they like.
    """
    if behaviour.measure in BITS:
        return 0.0
    scores, kind = behaviour.whole.double(), torch.finfo(behaviour.whole.dtype)
    if behaviour.measure == "logit difference":
        sizes = scores.gather(-1, torch.stack([behaviour.answers, behaviour.others], -1)).abs()
    else:
        sizes = scores.amax(-1).abs().clamp(min=1)  # nats are logarithms of sums of about 1
    if behaviour.measure == "log probability":
        sizes = torch.maximum(sizes, scores.gather(-1, behaviour.answers[:, None])[:, 0].abs())
    units = _ROUNDING if kind.bits > _HALF else _OF_HALF
    return units * kind.eps * float(sizes.nan_to_num(0, 0, 0).amax())


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
