"""Places: which of a graph's positions each column of each row is."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from commute.causal.batches import Batch, rows_of
from commute.errors import NetworkError
from commute.models.circuits.stream import Stream
from commute.models.positions import frame_of
from commute.models.sites import Site

_PLACED = 3  # axes of a value with positions, [batch, position, width]


def columns_of(stream: Stream, batch: Batch, positions: Sequence[Hashable], shape: Sequence[int]) -> Tensor:
    """The number of each column's position, and for the rest how many positions there are, [batch, columns] of int64.

    Args:
        stream: the stream.
        batch: inputs.
        positions: numbers or names.
        shape: of the stream, [batch, position, width].

    Raises:
        NetworkError: when the stream has no positions, some row has no such position, and when two are the same in some row.
    """
    if len(shape) != _PLACED:
        raise NetworkError(
            f"the graph tells positions apart, but what its nodes write has {len(shape)} axes, not [batch, position, width]; "
            "make the graph without positions="
        )
    frame = frame_of(batch, None, stream.network.encoded(batch), stream.network.positions)
    found = torch.full((rows_of(batch), shape[1]), len(positions))
    for i, place in enumerate(positions):
        columns = torch.as_tensor(frame.columns(Site("the computation graph", place), shape[1])).reshape(-1, 1)
        columns = columns.expand(len(found), 1)
        for row in (found.gather(1, columns) < len(positions)).flatten().nonzero()[:1].flatten().tolist():
            other = positions[int(found[row, columns[row]])]
            raise NetworkError(f"the positions {other!r} and {place!r} are the same in row {row}; give each position once")
        found.scatter_(1, columns, i)
    return found
