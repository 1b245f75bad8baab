"""Ends: the nodes of a computation graph that the network's answer is read of."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, rows_of, take
from commute.errors import NetworkError
from commute.models.circuits.graph import REST, named, stream_of
from commute.models.circuits.linking import noised
from commute.models.circuits.places import columns_of
from commute.models.circuits.stream import Stream
from commute.models.decoding import Readout
from commute.runs.seeds import stream as seeded

if TYPE_CHECKING:
    import networkx as nx

_MOST = 128  # inputs on which it is seen what the answer depends on
_SAME = 1e-3  # of the largest score, what rounding may change


def ends_of(graph: "nx.DiGraph[str]") -> tuple[str, ...]:
    """The nodes of the last reader; with positions those at which noise changes the scores that answers are chosen by.

    Found once for a graph. Where no scores can be told, it is the last reader's nodes at all positions.
    """
    if "ends" not in graph.graph:
        stream, positions, inputs = stream_of(graph), graph.graph["positions"], graph.graph.get("inputs")
        places: list[Hashable] = [None] if positions is None else [*positions, REST]
        if len(places) > 1 and inputs is not None:
            places = _answering(stream, take(inputs, np.arange(min(_MOST, rows_of(inputs)))), places) or places
        graph.graph["ends"] = tuple(named(node, place) for place in places for node in stream.reads[-1].nodes)
    found: tuple[str, ...] = graph.graph["ends"]
    return found


def _answering(stream: Stream, inputs: Batch, places: Sequence[Hashable]) -> list[Hashable]:
    """The positions at which what the last reader reads has a part in the scores; none where that cannot be told."""
    found: set[Hashable] = set()
    try:
        for rows in stream.network.blocks(inputs):
            found |= _in_block(stream, take(inputs, rows), places)
    except NetworkError:  # of positions or scores that the inputs do not have, which whoever runs the graph is told
        return []
    return [place for place in places if place in found]


def _in_block(stream: Stream, batch: Batch, places: Sequence[Hashable]) -> set[Hashable]:
    network, entry, n = stream.network, stream.reads[-1].entry, rows_of(batch)
    seen: list[Tensor] = []
    with torch.no_grad():
        output = stream.visited(batch, {stream.writes[0].tap: seen.append})
        readout = Readout.of(network.decode, output, n)
        whole = readout.scores(output, n)
        columns = columns_of(stream, batch, places[:-1], seen[0].shape)
        found = set()
        for p, place in enumerate(places):

            def disturb(x: Tensor, here: Tensor = columns == p) -> Tensor:
                laid = x.reshape(*here.shape, -1)
                changed = noised(laid, None, seeded(0, "ends"))
                return torch.where(here.to(x.device)[..., None], changed, laid).reshape(x.shape)

            scores = readout.scores(stream.visited(batch, {entry: disturb}), n)
            if bool(((scores - whole).abs() > _SAME * whole.abs().amax()).any()):
                found.add(place)
    return found
