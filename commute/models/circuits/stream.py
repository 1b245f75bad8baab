"""Streams: a network whose nodes communicate by adding to vectors that others read, run with some of what is read exchanged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, take
from commute.errors import NetworkError
from commute.models.circuits.ports import Reads, Writes
from commute.models.hooks import Visit, evaluating, visiting
from commute.models.network import Network
from commute.models.sites import Tap

_SAME = 1e-3  # of the largest difference that an input makes in the stream, what rounding may explain
_ROUNDINGS = 8  # of the stream's own numbers, which in half precision are coarser than that
Kept = Tensor  # what of each writer reaches each reader, from 0 to 1: [readers, writers], or with more axes; see `Stream.run`


@dataclass(frozen=True, eq=False)
class Stream:
    """Writers and readers of a residual stream.

    Attributes:
        network: the network.
        writes: what is written, in the order in which it is.
        reads: what is read, in that order.
        edges: which writer reaches which reader, [readers, writers] of bool.
    """

    network: Network
    writes: tuple[Writes, ...]
    reads: tuple[Reads, ...]
    edges: Tensor

    @classmethod
    def of(cls, network: Network, writes: Sequence[Writes], reads: Sequence[Reads], inputs: Batch) -> "Stream":
        """A stream, of which two inputs show what each reader reads: a run of writers whose sum the stream is there.

        Args:
            network: the network.
            writes: in the order in which they run.
            reads: in that order.
            inputs: at least two that differ.

        Raises:
            NetworkError: when what is read somewhere is no such sum.
        """
        streams, written = _seen(network, writes, reads, take(inputs, np.arange(2)))
        ends = np.cumsum([0, *(len(w.nodes) for w in writes)])
        rows: dict[str, Tensor] = {}
        for read, (x, before) in zip(reads, streams, strict=True):
            begin, end = _summed(read, x, written, ends[: before + 1].tolist())
            places = torch.arange(int(ends[-1]))
            rows |= dict.fromkeys(read.nodes, (places >= begin) & (places < end))
        return cls(network, tuple(writes), tuple(reads), torch.stack(list(rows.values())))

    @cached_property
    def writers(self) -> list[str]:
        """The nodes that write, in order."""
        return [node for w in self.writes for node in w.nodes]

    @cached_property
    def readers(self) -> list[str]:
        """The nodes that read, in order; one that reads at several places, as a gated neuron, once."""
        return list(dict.fromkeys(node for r in self.reads for node in r.nodes))

    def written(self, batch: Batch) -> Tensor:
        """What each writer adds, [writers, batch, …, width], with gradients where they are on."""
        found: list[Tensor] = []
        visits: dict[Tap, Visit] = {}
        for w in self.writes:
            also(visits, w.tap, _adding(found, w))
        self.visited(batch, visits)
        return torch.cat(found)

    def run(
        self,
        batch: Batch,
        kept: Kept,
        instead: Tensor,
        *,
        reading: Callable[[Reads, Tensor], Tensor | None] | None = None,
    ) -> Any:
        """What `decode` takes, when readers get something else from some writers (path patching, 2304.05969).

        Every other value is as it then comes out: a writer whose readings changed writes something else to those it reaches.

        Args:
            batch: inputs.
            kept: the share of each writer that reaches each reader, [readers, writers]; with a third axis [.., batch] row by row,
                and with a fourth [.., batch or 1, columns] position by position.
            instead: what else is carried, [writers, batch or 1, …, width].
            reading: is told what each group of readers reads, [nodes, batch, …, width]; what it returns is read instead.
        """
        gone = 1 - kept.to(instead)
        written: list[Tensor] = []
        parts: dict[int, Tensor] = {}
        visits: dict[Tap, Visit] = {}
        place = {node: i for i, node in enumerate(self.readers)}

        def enter(i: int, x: Tensor) -> Tensor | None:
            read, rows = self.reads[i], [place[node] for node in self.reads[i].nodes]
            before = self.edges[rows[0]].nonzero().flatten()
            change = _exchanged(gone[rows][:, before], torch.cat(written)[before], instead[before])
            streams = x.reshape(change.shape[1:]) + change
            if reading is not None and (other := reading(read, streams)) is not None:
                streams = other
            if read.tap is None:
                return streams[0].reshape(x.shape)
            parts[i] = read.of(self.network.module, streams)
            return None

        def leave(i: int, value: Tensor) -> Tensor:
            return self.reads[i].put(value, parts.pop(i))

        for w in self.writes:
            also(visits, w.tap, _adding(written, w))
        for i, read in enumerate(self.reads):
            also(visits, read.entry, partial(enter, i))
            if read.tap is not None:
                also(visits, read.tap, partial(leave, i))
        return self.visited(batch, visits)

    def visited(self, batch: Batch, visits: Mapping[Tap, Visit]) -> Any:
        """What `decode` takes, with the values at taps visited."""
        network = self.network
        with network.told("encode or the module", batch), evaluating(network.module):
            call = network.encoded(batch)
            with visiting(network.module, visits, rows=lambda: None):  # OPT lays rows and positions in one axis
                output = call.make(network.module)
            return network.finished(call, output)


def _adding(found: list[Tensor], writes: Writes) -> Callable[[Tensor], None]:
    def see(value: Tensor) -> None:
        found.append(writes.of(value, found[0].shape[1:-1] if found else value.shape[:-1]))

    return see


def also(visits: dict[Tap, Visit], tap: Tap, visit: Visit) -> None:
    """Visit a tap after those that visit it already, with what they leave there."""
    first = visits.get(tap)
    visits[tap] = visit if first is None else partial(_both, first, visit)


def _both(first: Visit, second: Visit, value: Tensor) -> Tensor | None:
    found = first(value)
    then = second(value if found is None else found)
    return found if then is None else then


def _exchanged(gone: Tensor, written: Tensor, instead: Tensor) -> Tensor:
    """What is added to what readers read, [readers, batch, …, width]."""
    if instead.shape[2:] != written.shape[2:]:
        raise NetworkError(
            f"what edges carry instead has the shape {list(instead.shape[2:])} for each input, what nodes write here "
            f"{list(written.shape[2:])}; give inputs of one length, or a network with memory= or batch_size= for all in one pass"
        )
    change = instead - written
    if gone.ndim == 2:  # noqa: PLR2004  # [readers, writers]
        return (gone @ change.flatten(1)).reshape(len(gone), *change.shape[1:])
    letters = "bp"[: gone.ndim - 2]
    gone = gone.expand(*gone.shape[:2], *change.shape[1 : gone.ndim - 1])
    return torch.einsum(f"rs{letters},s{letters}...->r{letters}...", gone, change)


def _seen(
    network: Network, writes: Sequence[Writes], reads: Sequence[Reads], batch: Batch
) -> tuple[list[tuple[Tensor, int]], Tensor]:
    """The stream at each reader's entry, with how many groups had written by then, and what each writer adds, in one pass."""
    written: list[Tensor] = []
    streams: dict[Tap, tuple[Tensor, int]] = {}
    visits: dict[Tap, Visit] = {}
    for w in writes:
        also(visits, w.tap, _adding(written, w))

    def see(entry: Tap, x: Tensor) -> None:
        streams[entry] = x, len(written)

    for entry in dict.fromkeys(r.entry for r in reads):
        also(visits, entry, partial(see, entry))
    with torch.no_grad():
        Stream(network, tuple(writes), tuple(reads), torch.zeros(0, 0)).visited(batch, visits)
    for w, parts in zip(writes, written, strict=True):
        if parts.shape[1:] != written[0].shape[1:]:
            raise NetworkError(
                f"what {w.nodes[0]} writes at {w.tap} has the shape {list(parts.shape[1:])}, what {writes[0].nodes[0]} writes "
                f"{list(written[0].shape[1:])}, so they do not add up in one stream; the network may norm what nodes add to it"
            )
    return [streams[r.entry] for r in reads], torch.cat(written)


def _summed(read: Reads, x: Tensor, written: Tensor, ends: Sequence[int]) -> tuple[int, int]:
    """The first and last of the writers whose sum changes as the stream does from one input to the other."""
    x = x.reshape(written.shape[1:])
    change, parts = x[0] - x[1], written[:, 0] - written[:, 1]
    rounding = _ROUNDINGS * torch.finfo(x.dtype).eps * float(x.abs().max())
    allowed = max(_SAME * float(change.abs().max()), rounding)
    for begin, end in _runs(ends):
        if float((parts[begin:end].sum(0) - change).abs().max()) <= allowed:
            return begin, end
    raise NetworkError(
        f"what {read.nodes[0]} reads at {read.entry} is not the sum of what nodes before it wrote, so no edge leads to it alone; "
        "the network may norm its stream, or add something that has no node"
    )


def _runs(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    """All runs of groups, the longest first."""
    groups = list(pairwise(ends))
    for length in range(len(groups), 0, -1):
        for start in range(len(groups) - length, -1, -1):
            yield groups[start][0], groups[start + length - 1][1]
