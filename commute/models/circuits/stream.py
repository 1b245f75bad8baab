"""Streams: a network whose nodes communicate by adding to vectors that others read, run with some of what is read exchanged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from commute.causal.batches import Batch
from commute.models.circuits.exchanging import Chosen, change_of
from commute.models.circuits.ports import Reads, Writes
from commute.models.hooks import Visit, evaluating, visiting
from commute.models.network import Network
from commute.models.positions import frame_of
from commute.models.sites import Tap

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

    @cached_property
    def writers(self) -> list[str]:
        """The nodes that write, in order."""
        return [node for w in self.writes for node in w.nodes]

    @cached_property
    def readers(self) -> list[str]:
        """The nodes that read, in order; one that reads at several places, as a gated neuron, once."""
        return list(dict.fromkeys(node for r in self.reads for node in r.nodes))

    def tokens(self, batch: Batch) -> Tensor | None:
        """Which columns hold tokens, [batch, columns] of bool; None where that is not told."""
        return frame_of(batch, None, self.network.encoded(batch), self.network.positions).mask

    def written(self, batch: Batch) -> Tensor:
        """What each writer adds, [writers, batch, …, width], with gradients where they are on."""
        found: list[Tensor] = []
        self.visited(batch, adding(found, self.writes))
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
        counted, kept = kept.detach().float().cpu().numpy(), kept.to(instead)
        there = self.edges.cpu().numpy()
        changes: list[Tensor] = []
        totals: list[Tensor] = []
        parts: dict[int, Tensor] = {}
        visits: dict[Tap, Visit] = {}
        place = {node: i for i, node in enumerate(self.readers)}

        def write(group: Writes, value: Tensor) -> None:
            added = group.of(value, changes[0].shape[1:-1] if changes else value.shape[:-1])
            changes.append(change_of(instead[sum(map(len, changes)) :][: len(added)], added))
            totals.append(changes[-1].sum(0) + (totals[-1] if totals else 0))

        def enter(i: int, x: Tensor) -> Tensor | None:
            read, rows = self.reads[i], [place[node] for node in self.reads[i].nodes]
            chosen = Chosen.of(counted[rows], there[rows[0]], [*map(len, changes)])
            streams = x.reshape(changes[0].shape[1:]) + chosen.exchanged(kept[rows], changes, totals)
            if reading is not None and (other := reading(read, streams)) is not None:
                streams = other
            if read.tap is None:
                return streams[0].reshape(x.shape)
            parts[i] = read.of(self.network.module, streams)
            return None

        def leave(i: int, value: Tensor) -> Tensor:
            return self.reads[i].put(value, parts.pop(i))

        for group in self.writes:
            also(visits, group.tap, partial(write, group))
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


def adding(found: list[Tensor], writes: Sequence[Writes]) -> dict[Tap, Visit]:
    """Visits by which a list is given what each group of nodes writes, [node, batch, …, width], as it runs."""

    def see(group: Writes, value: Tensor) -> None:
        found.append(group.of(value, found[0].shape[1:-1] if found else value.shape[:-1]))

    visits: dict[Tap, Visit] = {}
    for group in writes:
        also(visits, group.tap, partial(see, group))
    return visits


def also(visits: dict[Tap, Visit], tap: Tap, visit: Visit) -> None:
    """Visit a tap after those that visit it already, with what they leave there."""
    first = visits.get(tap)
    visits[tap] = visit if first is None else partial(_both, first, visit)


def _both(first: Visit, second: Visit, value: Tensor) -> Tensor | None:
    found = first(value)
    then = second(value if found is None else found)
    return found if then is None else then


def inside(stream: Stream, reader: str) -> list[str]:
    """The nodes that write what comes of what a port of theirs reads: of the same name, or its group."""
    name, port, _ = reader.partition("<")
    if not port or name in stream.writers:
        return [name] if port else []
    block, _, group = name.rpartition(".g")
    heads = [w for w in stream.writers if w.startswith(f"{block}.h")]
    groups = len({r.partition("<")[0] for r in stream.readers if r.startswith(f"{block}.g")})
    share = len(heads) // max(groups, 1)
    return heads[int(group) * share : (int(group) + 1) * share] if group.isdigit() else []
