"""Training features by gradients: the items of many starts, sizes and places together, in one pass a step.

Rows of a pass belong to different items. Each item has its own rows, parameters and loss, so that it is trained as it would be by
itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.alignments.judging import judged, of_items
from commute.alignments.method import At, Trained, sites_of
from commute.alignments.objectives import Losses
from commute.alignments.rotations import Parameters
from commute.alignments.stacked import passes, values_of_items
from commute.alignments.starts import CHECKS, Start, based, begin, split
from commute.alignments.training import Features, Place, TrainingPairs, at_least_single, named, scores
from commute.errors import AlignmentError
from commute.models.hooks import undisturbed

CHECKED = 512  # pairs of each set of variables that it looks at, at most
_LEAST = 64  # and at least
_DECIDING = 2048  # those by which the best of an item's starts is chosen
_TOGETHER = 0.9  # of the steps, after which only the best of an item's starts goes on
_BACKWARD = 3  # module-FLOPs of a pass with gradients, against one without


@dataclass(frozen=True, eq=False)
class Result:
    """What was trained: features, the loss of each step, and the module-FLOPs that it took."""

    features: Features
    losses: tuple[float, ...]
    flops: float


Ready = Mapping[Place, Sequence[TrainingPairs]]  # one set of variables an item
Sites = dict[Place, Sequence[At]]
OfPlaces = Mapping[Place, TrainingPairs]  # of one set of variables


def train(starts: Sequence[Start], variables: Sequence[str], train_on: Ready, select_by: Ready) -> list[Result | AlignmentError]:
    """Train items side by side, each until it does not improve any more on the selection pairs or is out of steps.

    Args:
        starts: of methods with equal steps and batch.
        variables: in the order of their parameters.
        train_on: pairs at each place.
        select_by: likewise; the parameters with the lowest loss on these are kept.

    Returns:
        What came of each item, or why nothing did.
    """
    here = next(iter(train_on.values()))[0]
    places: Sites = {s.place: sites_of(train_on[s.place], variables) for s in starts}
    items = [split(s) for s in starts]
    with undisturbed(here.network.module), torch.enable_grad():
        for item in items:
            places[item[0].place] = based(item, places[item[0].place])
            for s in item:
                begin(s, places[s.place], len(train_on[s.place][0]))
        _loop([[s for s in item if not s.problem] for item in items], places, train_on, select_by)
    return [_result(item, places[item[0].place]) for item in items]


def _loop(items: Sequence[Sequence[Start]], places: Sites, train_on: Ready, select_by: Ready) -> None:
    starts = list(chain(*items))
    if not starts:
        return
    optimizer, schedule = _optimizer(starts)
    first = next(iter(train_on.values()))
    losses = Losses.of(getattr(starts[0].method, "objective", "cross-entropy"), first[0])
    steps, few = starts[0].method.steps, _rows_of_check(starts[0].method, len(first))
    for step in range(steps):
        alive = [s for s in starts if s.trains]
        if not alive:
            break
        pairs = {p: of_sets[step % len(first)] for p, of_sets in train_on.items()}
        for taken in _passes(_blocks(alive), first[0].at_once):
            _step(taken, places, pairs, step, losses)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        alive = [s for s in alive if not s.problem]
        if step + 1 == min(ceil(_TOGETHER * steps), steps - 1) and max(map(len, items)) > 1:
            _check(alive, places, select_by, losses, _DECIDING)
            _thin_out(items)
        elif step + 1 == steps:
            _check(alive, places, select_by, losses, few)
        elif (step + 1) % max(1, steps // CHECKS) == 0:
            _check([s for s in alive if s.alone], places, select_by, losses, few)


def _rows_of_check(method: Trained, sets: int) -> int:
    """Pairs of each set of variables in a check, so that all checks take about a quarter of the time of training at most."""
    return min(CHECKED, max(_LEAST, int(method.steps * method.batch * _BACKWARD / (4 * CHECKS * sets))))


def _thin_out(items: Sequence[Sequence[Start]]) -> None:
    """Of the starts of each item only the best goes on."""
    for item in items:
        best = min(item, key=lambda s: s.lowest, default=None)
        for s in item:
            s.beaten, s.alone, s.lowest = s is not best, True, np.inf


def _optimizer(starts: Sequence[Start]) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.CosineAnnealingLR]:
    rates: dict[float, list[Tensor]] = {}
    for s in starts:
        trained = [x for site in s.parameters for x in site.values() if x.requires_grad]
        rates.setdefault(_rate(s.method), []).extend(trained)
    groups: Any = [{"params": tensors, "lr": rate} for rate, tensors in rates.items()]
    optimizer = torch.optim.Adam(groups, fused=True)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, starts[0].method.steps)


def _rate(method: Trained) -> float:
    if not isinstance(method.learning_rate, (int, float)):
        raise AlignmentError(f"learning rates {method.learning_rate} are tried by a search; a single fit needs one")
    return method.learning_rate


def _blocks(starts: Sequence[Start]) -> list[list[Start]]:
    """Items whose parameters can be stacked: of one place, and of methods that differ in their learning rate at most."""
    blocks: dict[Any, list[Start]] = {}
    for s in starts:
        blocks.setdefault((s.place, s.kind), []).append(s)
    return list(blocks.values())


_Part = tuple[list[Start], slice]  # items of one block, and which rows of their batch


def _passes(blocks: Sequence[list[Start]], room: int) -> Iterator[list[_Part]]:
    """Blocks, or parts of their items and rows, that are run in one pass."""
    for taken in passes([(len(block), block[0].method.batch) for block in blocks], room):
        yield [(blocks[n][items], rows) for n, items, rows in taken]


def _step(taken: Sequence[_Part], places: Sites, pairs: OfPlaces, step: int, objective: Losses) -> None:
    """Gradients of the losses of items, by one pass."""
    progress = step / taken[0][0][0].method.steps
    parts, stacks = [], []
    for block, some in taken:
        sites, here = places[block[0].place], pairs[block[0].place]
        stacks.append(_stacked([s.parameters for s in block]))
        rows = torch.stack([s.rows[step, some] for s in block])
        parts.append((here, rows.flatten().numpy(), values_of_items(block[0].method, stacks[-1], sites, here, rows, progress)))
    losses: list[Tensor] = []
    for (block, some), stack, (here, places_of_rows, _), found in zip(taken, stacks, parts, scores(parts), strict=True):
        method, sites = block[0].method, places[block[0].place]
        choices = here.choices[torch.from_numpy(places_of_rows)].to(found.device)
        loss = objective.at(progress)(at_least_single(found), choices).reshape(len(block), -1).mean(1)
        penalty = sum(method.penalty(x, at, progress) for x, at in zip(stack, sites, strict=True))
        losses.append((loss + penalty) * ((some.stop - some.start) / method.batch))
    if not all(loss.requires_grad for loss in losses):
        _give_up_without_gradient([block for block, _ in taken], losses)
    graded = [loss.sum() for loss in losses if loss.requires_grad]
    if graded:
        torch.stack(graded).sum().backward()  # type: ignore[no-untyped-call]
    for (block, some), loss, (here, _, _) in zip(taken, losses, parts, strict=True):
        for s, x in zip(block, loss.tolist(), strict=True):
            _note(s, x, step, first=some.start == 0)
            s.flops += _BACKWARD * here.flops * (some.stop - some.start)


def _note(start: Start, loss: float, step: int, *, first: bool) -> None:
    """Keep the loss of a step, which the parts of its rows add up to."""
    if first:
        start.losses.append(0.0)
    start.losses[-1] += loss
    if not np.isfinite(loss):
        start.problem = f"the loss at {named(start.place)} is {loss} in step {step}; try a smaller learning_rate"


def _give_up_without_gradient(blocks: Sequence[list[Start]], losses: Sequence[Tensor]) -> None:
    for block, loss in zip(blocks, losses, strict=True):
        for s in block:
            if not loss.requires_grad:
                s.problem = (
                    f"the network's answer does not depend on {named(s.place)} by a gradient, so nothing can be trained there; "
                    "use a method without gradients, such as Selection"
                )


def _check(starts: Sequence[Start], places: Sites, select_by: Ready, loss: Losses, most: int) -> None:
    """Keep the parameters of items that are better than before on the selection pairs."""
    blocks, sets = _blocks(starts), range(len(next(iter(select_by.values()))))
    with torch.no_grad():
        free = [_stacked([s.parameters for s in block]) for block in blocks]
        penalties, stacks = [], []
        for block, stack in zip(blocks, free, strict=True):
            method, sites = block[0].method, places[block[0].place]
            penalties.append(sum(method.penalty(x, at, 1.0) for x, at in zip(stack, sites, strict=True)))
            stacks.append([method.hardened(x, at) for x, at in zip(stack, sites, strict=True)])
    trials = [
        of_items(block[0].method, stack, places[block[0].place], select_by[block[0].place][i], most)
        for i in sets
        for block, stack in zip(blocks, stacks, strict=True)
    ]
    found = judged(trials, loss.at(1.0))
    for n, (block, stack, penalty) in enumerate(zip(blocks, stacks, penalties, strict=True)):
        here, of_sets = select_by[block[0].place], found[n :: len(blocks)]
        means = np.mean([x.loss.mean(1) for x in of_sets], axis=0) + torch.as_tensor(penalty).cpu().numpy()
        for i, s in enumerate(block):
            s.flops += sum(pairs.flops * min(len(pairs), most) for pairs in here)
            s.consider(means[i], stack, i)


def _stacked(items: Sequence[list[Parameters]]) -> list[Parameters]:
    """At each site the parameters of all items, [items, …]."""
    return [{k: torch.stack([x[k] for x in of_site]) for k in of_site[0]} for of_site in zip(*items, strict=True)]


def _result(item: Sequence[Start], sites: Sequence[At]) -> Result | AlignmentError:
    """What came of an item: of the best of its starts, at the cost of all."""
    best = min(item, key=lambda s: s.lowest)
    if not best.best:
        return AlignmentError(best.problem)
    features: dict[str, list[Any]] = {v: [] for v in sites[0].variables}
    for parameters, at in zip(best.best, sites, strict=True):
        for v, feature in best.method.features(parameters, at).items():
            features[v].append(feature)
    return Result(features, tuple(best.losses), sum(s.flops for s in item))
