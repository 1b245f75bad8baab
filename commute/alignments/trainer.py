"""Training features by gradients: the items of many starts, sizes and places together, in one pass a step.

Rows of a pass belong to different items. Each item has its own rows, parameters and loss, so that it is trained as it would be by
itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from commute.alignments.judging import judged, lowest, of_items
from commute.alignments.method import At, Trained
from commute.alignments.rotations import Parameters
from commute.alignments.stacked import values_of_items
from commute.alignments.training import Features, Place, TrainingPairs, at_least_single, scores
from commute.errors import AlignmentError
from commute.models.hooks import undisturbed
from commute.runs.seeds import torch_seed

CHECKS = 20  # times that training looks at the selection pairs
CHECKED = 256  # pairs of each set of variables that it looks at, at most
_LOWER = 0.95  # of the loss, which counts as an improvement
_BACKWARD = 3  # module-FLOPs of a pass with gradients, against one without


@dataclass(frozen=True, eq=False)
class Result:
    """What was trained: features, the loss of each step, and the module-FLOPs that it took."""

    features: Features
    losses: tuple[float, ...]
    flops: float


@dataclass(eq=False)
class Start:
    """One item as it is trained.

    Attributes:
        method: of one size and learning rate.
        place: where.
        generator: of its start and its rows.
        restart: which start it is.
    """

    method: Trained
    place: Place
    generator: np.random.Generator
    restart: int
    kind: str = ""  # equal for items whose parameters can be stacked
    parameters: list[Parameters] = field(default_factory=list)  # at each of the place's sites
    rows: Tensor = field(default_factory=lambda: torch.empty(0))
    losses: list[float] = field(default_factory=list)
    best: list[Parameters] = field(default_factory=list)
    iia: float = -1.0  # of the best on the selection pairs, in the worst slice
    loss: float = np.inf  # likewise, with the penalty
    unimproved: int = 0
    problem: str = ""
    flops: float = 0.0

    @property
    def trains(self) -> bool:
        """Whether it goes on."""
        return not self.problem and self.unimproved < getattr(self.method, "patience", CHECKS)

    def consider(self, iia: float, loss: float, stack: Sequence[Parameters], place: int) -> None:
        """Keep parameters, at their place in a stack, with a higher IIA or as high a one and a lower loss."""
        self.unimproved += 1
        if iia > self.iia or (iia == self.iia and loss < self.loss):
            if iia > self.iia or loss < _LOWER * self.loss:
                self.unimproved = 0
            self.iia, self.loss = iia, loss
            self.best = [{k: x[place].detach().clone() for k, x in site.items()} for site in stack]


Prepared = Mapping[Place, Sequence[TrainingPairs]]  # one set of variables an item
Sites = Mapping[Place, Sequence[At]]


def train(
    starts: Sequence[Start], variables: Sequence[str], train_on: Prepared, select_by: Prepared
) -> list[Result | AlignmentError]:
    """Train items side by side, each until it does not improve any more on the selection pairs or is out of steps.

    Args:
        starts: of methods with equal steps and batch.
        variables: in the order of their parameters.
        train_on: pairs at each place.
        select_by: likewise; the parameters with the highest IIA in the worst slice of these are kept.

    Returns:
        What came of each item, or why nothing did.
    """
    network = next(iter(train_on.values()))[0].network
    places = {s.place: _sites(s, variables, train_on[s.place]) for s in starts}
    with undisturbed(network.module), torch.enable_grad():
        for s in starts:
            _begin(s, places[s.place], len(train_on[s.place][0]))
        _loop([s for s in starts if not s.problem], places, train_on, select_by)
    return [AlignmentError(s.problem) if s.problem else _result(s, places[s.place]) for s in starts]


def _sites(start: Start, variables: Sequence[str], train_on: Sequence[TrainingPairs]) -> list[At]:
    """Where an item has parameters."""
    first = next(iter(train_on[0].vectors.values()))
    found = [At(tuple(variables), s, i, first[i].shape[1], train_on) for i, s in enumerate(start.place)]
    return [replace(at, basis=start.method.basis(at)) for at in found]


def _begin(start: Start, sites: Sequence[At], pairs: int) -> None:
    draws = torch.Generator().manual_seed(torch_seed(start.generator))
    try:
        drawn = [start.method.start(at, draws, start.restart) for at in sites]
    except AlignmentError as error:
        start.problem = str(error)
        return
    start.kind = repr(replace(start.method, learning_rate=1.0))  # type: ignore[type-var]
    start.rows = torch.randint(pairs, (start.method.steps, start.method.batch), generator=draws)
    device = next(iter(sites[0].train[0].vectors.values()))[0].device
    start.parameters = [{k: x.detach().to(device).requires_grad_(x.requires_grad) for k, x in site.items()} for site in drawn]


def _loop(starts: Sequence[Start], places: Sites, train_on: Prepared, select_by: Prepared) -> None:
    if not starts:
        return
    optimizer, schedule = _optimizer(starts)
    steps, sets = starts[0].method.steps, len(next(iter(train_on.values())))
    every = max(1, steps // CHECKS)
    for step in range(steps):
        alive = [s for s in starts if s.trains]
        if not alive:
            break
        pairs = {p: of_sets[step % sets] for p, of_sets in train_on.items()}
        for blocks in _passes(_blocks(alive), pairs):
            _step(blocks, places, pairs, step)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            _check([s for s in alive if not s.problem], places, select_by)


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


def _passes(blocks: Sequence[list[Start]], pairs: Mapping[Place, TrainingPairs]) -> Iterator[list[list[Start]]]:
    """Blocks, or parts of them, whose rows are run in one pass."""
    room, together = next(iter(pairs.values())).at_once, list[list[Start]]()
    left = room
    for block in blocks:
        batch = block[0].method.batch
        rest = block
        while rest:
            if left < batch and together:
                yield together
                together, left = [], room
            n = max(1, left // batch)
            together.append(rest[:n])
            left -= batch * len(rest[:n])
            rest = rest[n:]
    yield together


def _step(blocks: Sequence[list[Start]], places: Sites, pairs: Mapping[Place, TrainingPairs], step: int) -> None:
    """Gradients of the losses of items, by one pass."""
    progress = step / blocks[0][0].method.steps
    parts, stacks = [], []
    for block in blocks:
        sites, here = places[block[0].place], pairs[block[0].place]
        stacks.append(_stacked([s.parameters for s in block]))
        rows = torch.stack([s.rows[step] for s in block])
        parts.append((here, rows.flatten().numpy(), values_of_items(block[0].method, stacks[-1], sites, here, rows, progress)))
    losses: list[Tensor] = []
    for block, stack, (here, places_of_rows, _), found in zip(blocks, stacks, parts, scores(parts), strict=True):
        choices = here.choices[torch.from_numpy(places_of_rows)].to(found.device)
        loss = cross_entropy(at_least_single(found), choices, reduction="none").reshape(len(block), -1).mean(1)
        losses.append(
            loss + sum(block[0].method.penalty(x, at, progress) for x, at in zip(stack, places[block[0].place], strict=True))
        )
    if not all(loss.requires_grad for loss in losses):
        _give_up_without_gradient(blocks, losses)
    graded = [loss.sum() for loss in losses if loss.requires_grad]
    if graded:
        torch.stack(graded).sum().backward()  # type: ignore[no-untyped-call]
    for block, loss, (here, _, _) in zip(blocks, losses, parts, strict=True):
        for s, x in zip(block, loss.tolist(), strict=True):
            s.losses.append(x)
            s.flops += _BACKWARD * here.flops * s.method.batch
            if not np.isfinite(x):
                s.problem = f"the loss at {_named(s.place)} is {x} in step {step}; try a smaller learning_rate"


def _give_up_without_gradient(blocks: Sequence[list[Start]], losses: Sequence[Tensor]) -> None:
    for block, loss in zip(blocks, losses, strict=True):
        for s in block:
            if not loss.requires_grad:
                s.problem = (
                    f"the network's answer does not depend on {_named(s.place)} by a gradient, so nothing can be trained there; "
                    "use a method without gradients, such as Selection"
                )


def _check(starts: Sequence[Start], places: Sites, select_by: Prepared) -> None:
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
        of_items(block[0].method, stack, places[block[0].place], select_by[block[0].place][i], CHECKED)
        for i in sets
        for block, stack in zip(blocks, stacks, strict=True)
    ]
    found = judged(trials)
    for n, (block, stack, penalty) in enumerate(zip(blocks, stacks, penalties, strict=True)):
        here, of_sets = select_by[block[0].place], found[n :: len(blocks)]
        worst = np.min([lowest(x, pairs) for x, pairs in zip(of_sets, here, strict=True)], axis=0)
        loss = np.mean([x.loss.mean(1) for x in of_sets], axis=0) + torch.as_tensor(penalty).cpu().numpy()
        for i, s in enumerate(block):
            s.flops += sum(pairs.flops * min(len(pairs), CHECKED) for pairs in here)
            s.consider(worst[i], loss[i], stack, i)


def _stacked(items: Sequence[list[Parameters]]) -> list[Parameters]:
    """At each site the parameters of all items, [items, …]."""
    return [{k: torch.stack([x[k] for x in of_site]) for k in of_site[0]} for of_site in zip(*items, strict=True)]


def _result(start: Start, sites: Sequence[At]) -> Result:
    features: dict[str, list[Any]] = {v: [] for v in sites[0].variables}
    for parameters, at in zip(start.best, sites, strict=True):
        for v, feature in start.method.features(parameters, at).items():
            features[v].append(feature)
    return Result(features, tuple(start.losses), start.flops)


def _named(place: Place) -> str:
    return " + ".join(map(str, place))
