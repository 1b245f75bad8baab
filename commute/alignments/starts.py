"""Starts: items of a search as they are trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from commute.alignments.method import At, Trained
from commute.alignments.rotations import Parameters
from commute.alignments.training import Place, at_least_single
from commute.errors import AlignmentError
from commute.runs.seeds import torch_seed

CHECKS = 20  # times that training looks at the selection pairs
_LOWER = 0.95  # of the loss, which counts as an improvement


@dataclass(eq=False)
class Start:
    """One item as it is trained, or one of several random starts that it begins with.

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
    parameters: list[Parameters] = field(default_factory=list)  # at each of the place's sites, in the beginning
    rows: Tensor = field(default_factory=lambda: torch.empty(0))
    losses: list[float] = field(default_factory=list)
    best: list[Parameters] = field(default_factory=list)
    lowest: float = np.inf  # loss of the best on the selection pairs
    unimproved: int = 0
    problem: str = ""
    alone: bool = True  # of the starts of its item
    beaten: bool = False  # by another of them
    flops: float = 0.0

    @property
    def trains(self) -> bool:
        """Whether it goes on."""
        return not self.problem and not self.beaten and self.unimproved < getattr(self.method, "patience", CHECKS)

    def consider(self, loss: float, stack: Sequence[Parameters], place: int) -> None:
        """Keep parameters, at their place in a stack, with a lower loss than before."""
        self.unimproved = 0 if loss < _LOWER * self.lowest else self.unimproved + 1
        if loss < self.lowest:
            self.lowest, self.best = loss, [{k: x[place].detach().clone() for k, x in site.items()} for site in stack]


def split(start: Start) -> list[Start]:
    """The random starts that an item begins with."""
    n = getattr(start.method, "starts", 1)
    generators = [start.generator] if n == 1 else start.generator.spawn(n)
    return [Start(start.method, start.place, g, start.restart, alone=n == 1) for g in generators]


def based(item: Sequence[Start], sites: Sequence[At]) -> Sequence[At]:
    """The sites with the view of their vectors in which an item is trained; where there is none, the item's problem."""
    try:
        return [replace(at, basis=item[0].method.basis(at)) for at in sites]
    except AlignmentError as error:
        for start in item:
            start.problem = str(error)
        return sites


def begin(start: Start, sites: Sequence[At], pairs: int) -> None:
    """Draw a start's parameters, in the precision of the vectors but at least single, and the rows of all its steps."""
    if start.problem:
        return
    draws = torch.Generator().manual_seed(torch_seed(start.generator))
    like = at_least_single(next(iter(sites[0].train[0].vectors.values()))[0][:1])
    try:
        drawn = [start.method.start(at, draws, start.restart) for at in sites]
    except AlignmentError as error:
        start.problem = str(error)
        return
    start.rows = torch.randint(pairs, (start.method.steps, start.method.batch), generator=draws)
    start.parameters = [{k: x.detach().to(like).requires_grad_(x.requires_grad) for k, x in site.items()} for site in drawn]


@dataclass(frozen=True, eq=False)
class Block:
    """Starts of one method at one place, with their parameters stacked; those that train no more stay there, of no effect.

    Attributes:
        starts: in the order of the stack.
        parameters: at each of the place's sites, [starts, …].
    """

    starts: Sequence[Start]
    parameters: Sequence[Parameters]

    @property
    def method(self) -> Trained:
        """Of all starts."""
        return self.starts[0].method

    @property
    def place(self) -> Place:
        """Where they are."""
        return self.starts[0].place

    def training(self, *, alone: bool = False) -> list[int]:
        """The places in the stack of those that go on, or only of those that are alone for their item."""
        return [i for i, s in enumerate(self.starts) if s.trains and (s.alone or not alone)]

    def of(self, places: Sequence[int]) -> Sequence[Parameters]:
        """The parameters of some, [places, …]."""
        if len(places) == len(self.starts):
            return self.parameters
        return [{k: x[torch.tensor(places, device=x.device)] for k, x in site.items()} for site in self.parameters]


def blocks_of(starts: Sequence[Start]) -> list[Block]:
    """Starts whose parameters can be stacked, together."""
    alike: dict[tuple[Place, str], list[Start]] = {}
    for s in starts:
        alike.setdefault((s.place, repr(s.method)), []).append(s)
    return [
        Block(same, [_stacked(of_site) for of_site in zip(*(s.parameters for s in same), strict=True)]) for same in alike.values()
    ]


def _stacked(items: Sequence[Parameters]) -> Parameters:
    first = items[0]
    return {k: torch.stack([x[k].detach() for x in items]).requires_grad_(first[k].requires_grad) for k in first}
