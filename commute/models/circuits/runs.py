"""Runs of a circuit: inputs made ready to be run with what flows along some edges exchanged."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.interventions import Setting
from commute.errors import NetworkError
from commute.models.ablations import Mean, Resample, Zero
from commute.models.calls import tensors_of
from commute.models.circuits.circuit import Circuit, edges_of
from commute.models.circuits.graph import REST, Edge, named, stream_of
from commute.models.circuits.stream import Stream
from commute.models.decoding import Readout
from commute.models.positions import frame_of
from commute.models.rows import Labels, batched, joined
from commute.models.sites import Site
from commute.runs.seeds import stream as seeded

if TYPE_CHECKING:
    import networkx as nx

Instead = Setting | Resample | Mean | Zero  # other inputs row by row, or drawn from some, or the mean over some, or nothing
Keeping = Circuit | Iterable[Any]  # a circuit, or edges or nodes, which need not lead to the output


@dataclass(frozen=True, eq=False)
class Runs:
    """Inputs, and what edges that are left out carry for each.

    Attributes:
        graph: the computation graph.
        batch: the inputs.
        instead: what each writer adds on edges that are left out, [writers, batch or 1, …, width].
    """

    graph: "nx.DiGraph[str]"
    batch: Batch
    instead: Tensor

    @classmethod
    def of(cls, graph: "nx.DiGraph[str]", inputs: Setting, instead: Instead) -> "Runs":
        """Make inputs ready.

        Args:
            graph: the computation graph.
            inputs: a batch.
            instead: what edges that are left out carry: what they carry for other inputs, given row by row or drawn
                (`Resample(inputs)`), their mean over a set of inputs (`Mean(inputs)`), or nothing (`Zero()`).

        Raises:
            NetworkError: when the two do not fit: other inputs have as many rows, and in each the same columns hold tokens.
        """
        stream, (batch, _) = stream_of(graph), batched(inputs)
        if isinstance(instead, Zero):
            return cls(graph, batch, torch.zeros_like(_written(stream, batch)[:, :1]))
        if isinstance(instead, Mean):
            return cls(graph, batch, _mean(stream, batched(instead.inputs)[0]))
        if isinstance(instead, Resample):
            pool, _ = batched(instead.inputs)
            others = take(pool, seeded(instead.seed, "resample").integers(rows_of(pool), size=rows_of(batch)))
        else:
            others, _ = batched(instead)
        _check_paired(stream, batch, others)
        return cls(graph, batch, _written(stream, others))

    def take(self, rows: Column) -> "Runs":
        """Some of the inputs."""
        return Runs(self.graph, take(self.batch, rows), self.instead if self.instead.shape[1] == 1 else self.instead[:, rows])

    @property
    def stream(self) -> Stream:
        """The graph's stream."""
        return stream_of(self.graph)

    @cached_property
    def longest(self) -> int:
        """A row with the most tokens."""
        mask = self.stream.tokens(self.batch)
        return 0 if mask is None else int(mask.sum(1).argmax())

    def mask(self, keep: Keeping) -> Tensor:
        """What is kept, [readers, writers, positions of the graph] of bool.

        Raises:
            NetworkError: naming edges and nodes that the graph does not have.
        """
        if isinstance(keep, str) or not isinstance(keep, Circuit | Iterable):
            raise NetworkError(f"what is kept is a circuit, or a list of edges or of nodes; given {keep!r}")
        edges = keep.edges if isinstance(keep, Circuit) else edges_of(self.graph, keep)
        if missing := [edge for edge in edges if edge not in self.index]:
            raise NetworkError(
                f"the circuit is of another computation graph: {len(missing)} of its {len(edges)} edges, such as "
                f"{'->'.join(missing[0])}, are not edges of the graph that is run; make it of this graph"
            )
        mask = torch.zeros(len(self.stream.readers), len(self.stream.writers), len(self.places), dtype=torch.bool)
        for edge in edges:
            mask[self.index[edge]] = True
        return mask

    @cached_property
    def places(self) -> list[Hashable]:
        """The positions that nodes are told apart by."""
        positions = self.graph.graph["positions"]
        return [None] if positions is None else [*positions, REST]

    @cached_property
    def index(self) -> dict[Edge, tuple[int, int, int]]:
        """The reader, writer and position of each residual edge."""
        found = {}
        for r, w in self.stream.edges.nonzero().tolist():
            for p, place in enumerate(self.places):
                found[named(self.stream.writers[w], place), named(self.stream.readers[r], place)] = r, w, p
        return found

    def labels(self, keep: Keeping) -> Labels:
        """The network's labels [batch] with only some edges kept."""
        network, mask, parts = self.stream.network, self.mask(keep), []
        for part, rows in self._blocks(1):
            output = self._run(part, mask[None], rows)
            self.check_numbers(tensors_of(output), rows)
            parts.append(network.decoded(output, part))
        found: Labels = joined(parts)
        return found

    def scores(self, keeps: Sequence[Keeping | Tensor]) -> Tensor:
        """The scores that labels are chosen by, [circuits, batch, choices], for each of some circuits; many are run at once.

        Args:
            keeps: circuits, edges or nodes, or masks as `mask` makes them; numbers between 0 and 1 keep a share.
        """
        if not len(keeps):
            raise NetworkError("there are no circuits to run; give one or more")
        masks = torch.stack([self._checked(x) if isinstance(x, Tensor) else self.mask(x) for x in keeps])
        found = []
        for group in torch.split(masks, max(1, self.rows_at_once // rows_of(self.batch))):
            n = len(group)
            parts = [self._read(self._run(part, group, rows), n, rows) for part, rows in self._blocks(n)]
            found.append(torch.cat(parts, 1))
        return torch.cat(found)

    def _checked(self, mask: Tensor) -> Tensor:
        shape = [len(self.stream.readers), len(self.stream.writers), len(self.places)]
        if list(mask.shape) != shape:
            raise NetworkError(f"a mask is [readers, writers, positions of the graph], here {shape}; given {list(mask.shape)}")
        return mask

    @cached_property
    def readout(self) -> Readout:
        """Which scores the network's labels are chosen by."""
        few = take(self.batch, np.arange(min(2, rows_of(self.batch))))
        with torch.no_grad():
            output = self.stream.visited(few, {})
        return Readout.of(self.stream.network.decode, output, rows_of(few))

    @property
    def choices(self) -> tuple[Hashable, ...]:
        """The label that each score stands for."""
        return self.readout.labels

    def _read(self, output: Any, circuits: int, rows: Column) -> Tensor:
        scores = self.readout.scores(output, circuits * len(rows))
        self.check_numbers([scores], rows)
        return scores.reshape(circuits, -1, scores.shape[-1])

    def check_numbers(self, found: Sequence[Tensor], rows: Column) -> None:
        """Check what came of some of the inputs, in one circuit after the other; minus infinity is no choice, NaN no number.

        Raises:
            NetworkError: for NaN, with the row, and whether the network gives it for the input as it is.
        """
        for x in found:
            if x.is_floating_point() and x.ndim and x.numel() and not len(x) % len(rows) and x.amax().isnan():
                wrong = x.isnan().reshape(len(x), -1).any(1)
                raise self._not_a_number(int(rows[int(wrong.nonzero()[0]) % len(rows)]))

    def _not_a_number(self, row: int) -> NetworkError:
        with torch.no_grad():
            output = self.stream.visited(take(self.batch, np.array([row])), {})
        if any(bool(x.isnan().any()) for x in tensors_of(output)):
            return NetworkError(f"in row {row} the network itself, with nothing left out, gives NaN, so it has no answer there")
        return NetworkError(
            f"in row {row} the output is NaN, which is made by what edges carry in place of their own values: with nothing left "
            "out the network gives numbers; let these edges carry something else"
        )

    @property
    def rows_at_once(self) -> int:
        """Rows in one pass."""
        bytes_ = 4 * self.instead[:, :1].numel() * self.instead.element_size()
        return self.stream.network.batch_size or max(1, self.stream.network.memory // 3 // bytes_)

    def _blocks(self, circuits: int) -> Iterator[tuple[Batch, Column]]:
        """Inputs of one pass after the other, each with its places."""
        size = max(1, self.rows_at_once // circuits)
        for start in range(0, rows_of(self.batch), size):
            rows = np.arange(start, min(start + size, rows_of(self.batch)))
            yield take(self.batch, rows), rows

    def _run(self, part: Batch, masks: Tensor, rows: Column) -> Any:
        """What `decode` takes for inputs under each circuit, circuit after circuit."""
        n, circuits = len(rows), len(masks)
        own = self.instead if self.instead.shape[1] == 1 else self.instead[:, rows]
        batch = take(part, np.tile(np.arange(n), circuits))
        kept = masks.to(own)  # [circuits, readers, writers, positions]
        if len(self.places) > 1:
            columns = self.columns(batch).to(own.device)
            kept = kept.repeat_interleave(n, 0).permute(1, 2, 0, 3)  # [readers, writers, batch, positions]
            kept = kept.gather(3, columns.expand(*kept.shape[:2], *columns.shape))
        elif circuits > 1:
            kept = kept[..., 0].repeat_interleave(n, 0).permute(1, 2, 0)
        else:
            kept = kept[0, ..., 0]
        if circuits > 1 and own.shape[1] > 1:
            own = own.repeat(1, circuits, *[1] * (own.ndim - 2))
        with torch.no_grad():
            return self.stream.run(batch, kept, own)

    def columns(self, batch: Batch) -> Tensor:
        """Which of the graph's positions each column of each row of a batch is, [batch, columns] of int64.

        Raises:
            NetworkError: when the network's values have no positions.
        """
        network, ndim = self.stream.network, self.instead.ndim
        if ndim != 4:  # noqa: PLR2004  # [writers, batch, position, width]
            raise NetworkError(
                f"the graph tells positions apart, but what its nodes write has {ndim - 1} axes, not [batch, position, width]; "
                "make the graph without positions="
            )
        frame = frame_of(batch, None, network.encoded(batch), network.positions)
        found = torch.full((rows_of(batch), self.instead.shape[2]), len(self.places) - 1)
        for i, place in enumerate(self.places[:-1]):
            columns = torch.as_tensor(frame.columns(Site("the computation graph", place), found.shape[1])).reshape(-1, 1)
            taken = found.gather(1, columns.expand(len(found), 1)) < len(self.places) - 1
            for row in taken.flatten().nonzero()[:1].flatten().tolist():
                other = self.places[int(found[row, columns.expand(len(found), 1)[row]])]
                raise NetworkError(f"the positions {other!r} and {place!r} are the same in row {row}; give each position once")
            found.scatter_(1, columns.expand(len(found), 1), i)
        return found


def _written(stream: Stream, batch: Batch) -> Tensor:
    """What each writer adds for inputs, [writers, batch, …, width], in passes of as many rows as there is room for."""
    with torch.no_grad():
        parts = [stream.written(take(batch, block)) for block in stream.network.blocks(batch)]
    lengths = sorted({x.shape[2] for x in parts})
    if len(lengths) > 1:
        raise NetworkError(
            f"inputs have from {lengths[0]} to {lengths[-1]} columns in different passes; give ones of one length, or a network "
            "with memory= or batch_size= for all in one pass"
        )
    return torch.cat(parts, 1)


def _mean(stream: Stream, batch: Batch) -> Tensor:
    """The mean of what each writer adds, [writers, 1, …, width], where columns hold padding over the other inputs."""
    written, mask = _written(stream, batch), stream.tokens(batch)
    if mask is None:
        return written.double().mean(1, keepdim=True).to(written)
    real = mask.to(written.device)[:, :, None].double()
    return ((written.double() * real).sum(1, keepdim=True) / real.sum(0).clamp(min=1)).to(written)


def _check_paired(stream: Stream, batch: Batch, others: Batch) -> None:
    """Raise where inputs and those in their place do not fit."""
    n, many = rows_of(batch), rows_of(others)
    if n != many:
        raise NetworkError(f"there are {n} inputs and {many} others in their place; give each one")
    ours, theirs = stream.tokens(batch), stream.tokens(others)
    if ours is None or theirs is None or (ours.shape == theirs.shape and torch.equal(ours, theirs)):
        return
    row = 0 if ours.shape != theirs.shape else int((ours != theirs).any(1).nonzero()[0])
    raise NetworkError(
        f"each input and the one in its place must have tokens in the same columns; row {row} has {int(ours[row].sum())} of "
        f"{ours.shape[1]} columns, the other {int(theirs[row].sum())} of {theirs.shape[1]}"
    )
