"""Interchanges of many items in one pass: the parameters of features stacked, each item with rows of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from commute.alignments.method import At, Trained
from commute.alignments.rotations import Parameters
from commute.alignments.training import TrainingPairs, Values, at_least_single
from commute.models.patches import Whole


@dataclass(frozen=True, eq=False)
class Patch:
    """What is set at a site in rows of several items: a function of the vectors there, of which rows can be taken.

    Attributes:
        method: of all items.
        parameters: [items, …] each.
        sources: vectors of each set variable's source, [items, batch, width].
        at: where.
        progress: the share of training that is over.
    """

    method: Trained
    parameters: Parameters
    sources: Mapping[str, Tensor]
    at: At
    progress: float

    def __call__(self, held: Tensor) -> Tensor:
        """The vectors [items * batch, width] after the interchange."""
        items = len(next(iter(self.sources.values())))
        exact = at_least_single(held).reshape(items, -1, held.shape[-1])
        return self.method.patch(self.parameters, exact, self.sources, self.at, self.progress).flatten(0, 1)

    def __getitem__(self, rows: Tensor) -> "Patch":
        """The same in some of the rows, each as an item of its own."""
        batch = next(iter(self.sources.values())).shape[1]
        return replace(
            self,
            parameters={k: x[rows // batch] for k, x in self.parameters.items()},
            sources={v: x.flatten(0, 1)[rows][:, None] for v, x in self.sources.items()},
        )


Block = tuple[int, slice, slice]  # which group of items, and some of its items and of their rows


def passes(groups: Sequence[tuple[int, int]], room: int) -> Iterator[list[Block]]:
    """Blocks that are run in one pass, of groups with so many items of so many rows each, in order.

    An item is cut only where its rows are more than there is room for.
    """
    together: list[Block] = []
    left = room
    for group, (items, rows) in enumerate(groups):
        several, few = max(1, room // rows), min(room, rows)
        for i in range(0, items, several):
            for r in range(0, rows, few):
                block = group, slice(i, min(i + several, items)), slice(r, min(r + few, rows))
                size = (block[1].stop - i) * (block[2].stop - r)
                if size > left and together:
                    yield together
                    together, left = [], room
                together.append(block)
                left -= size
    if together:
        yield together


def values_of_items(
    method: Trained, stack: Sequence[Parameters], sites: Sequence[At], here: TrainingPairs, rows: Tensor, progress: float
) -> Values:
    """What is set at each site.

    Args:
        method: of all items.
        stack: at each site their parameters, [items, …].
        sites: of the place.
        here: the pairs.
        rows: of them, [items, batch].
        progress: the share of training that is over.
    """

    def sources(at: At) -> dict[str, Tensor]:
        return {v: at_least_single(x[at.index][rows]) for v, x in here.vectors.items()}

    return {Whole(at.site): Patch(method, x, sources(at), at, progress) for at, x in zip(sites, stack, strict=True)}
