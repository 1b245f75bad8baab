"""Runs of a circuit: inputs made ready to be run with what flows along some edges exchanged."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.interventions import Setting
from commute.errors import NetworkError
from commute.models.calls import tensors_of
from commute.models.circuits.circuit import Circuit, edges_of
from commute.models.circuits.graph import REST, Edge, named, stream_of
from commute.models.circuits.instead import Instead, carried, lengths_of
from commute.models.circuits.places import columns_of
from commute.models.circuits.stream import Stream
from commute.models.decoding import Readout
from commute.models.rows import Labels, at, batched, blocks_of, joined

if TYPE_CHECKING:
    import networkx as nx

Keeping = Circuit | Iterable[Any]  # a circuit, or edges or nodes, which need not lead to the output


@dataclass(frozen=True, eq=False)
class Runs:
    """Inputs, and what edges that are left out carry for each; made by `Runs.of(graph, inputs, instead)`.

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
            NetworkError: for what is no batch and none of these, and when the two do not fit: other inputs have as many rows, and
                in each the same columns hold tokens.
        """
        stream, (batch, _) = stream_of(graph), batched(inputs)
        return cls(graph, batch, carried(stream, batch, instead))

    def take(self, rows: Column) -> "Runs":
        """Some of the inputs: numbers of rows, or a mask."""
        n, chosen = rows_of(self.batch), np.asarray(rows)
        try:
            places = np.arange(n)[chosen]  # in memory as torch takes them
        except IndexError:
            places = np.empty(())
        if places.ndim != 1:
            raise NetworkError(f"rows are numbers from 0 to {n - 1}, or a mask of {n} truth values; given {short(rows)}")
        return Runs(self.graph, take(self.batch, places), self.instead if self.instead.shape[1] == 1 else self.instead[:, places])

    @property
    def stream(self) -> Stream:
        """The graph's stream."""
        return stream_of(self.graph)

    @cached_property
    def lengths(self) -> Column:
        """How many tokens each row has, as far as that is told."""
        return lengths_of(self.stream, self.batch)

    @property
    def longest(self) -> int:
        """A row with the most tokens."""
        return int(self.lengths.argmax())

    def blocks(self, size: int) -> Iterator[tuple[Column, int]]:
        """See `blocks_of`; lengths are looked at where there are several passes."""
        n = rows_of(self.batch)
        return blocks_of(np.ones(n) if size >= n else self.lengths, size)

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
        mask[torch.tensor([self.index[edge] for edge in edges], dtype=torch.int64).reshape(-1, 3).unbind(1)] = True
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
        for rows, own in self.blocks(self.rows_at_once):
            output = self._run(mask[None], rows)
            self.check_numbers(tensors_of(output), rows)
            parts.append(at(network.decoded(output, take(self.batch, rows)), np.arange(own)))
        found: Labels = joined(parts)
        return found

    def scores(self, keeps: Iterable[Keeping | Tensor]) -> Tensor:
        """The scores that labels are chosen by, [circuits, batch, choices], for each of some circuits; many are run at once.

        Args:
            keeps: circuits, edges or nodes, or masks as `mask` makes them; numbers between 0 and 1 keep a share.

        Raises:
            NetworkError: for anything else, and for NaN.
        """
        if isinstance(keeps, str) or not isinstance(keeps, Iterable):
            raise NetworkError(f"what is run is a list of circuits, or of lists of edges or nodes; given {short(keeps)}")
        found = [self._checked(x) if isinstance(x, Tensor) else self.mask(x) for x in keeps]
        if not found:
            raise NetworkError("there are no circuits to run; give one or more")
        masks = torch.stack(found)
        found = []
        for group in torch.split(masks, max(1, self.rows_at_once // rows_of(self.batch))):
            n = len(group)
            blocks = self.blocks(self.rows_at_once // n)
            parts = [self._read(self._run(group, rows), n, rows)[:, :own] for rows, own in blocks]
            found.append(torch.cat(parts, 1))
        return torch.cat(found)

    def _checked(self, mask: Tensor) -> Tensor:
        shape = [len(self.stream.readers), len(self.stream.writers), len(self.places)]
        if list(mask.shape) != shape:
            raise NetworkError(f"a mask is [readers, writers, positions of the graph], here {shape}; given {list(mask.shape)}")
        if mask.dtype != torch.bool and (mask.is_complex() or not bool(((mask >= 0) & (mask <= 1)).all())):
            raise NetworkError("a mask keeps shares of edges, numbers between 0 and 1; this one has others")
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
        part = take(self.batch, np.array([row]))
        with torch.no_grad():
            output = self.stream.visited(part, {})
        if any(bool(x.isnan().any()) for x in tensors_of(output)):
            told = "the network itself, with nothing left out, gives NaN, so it has no answer there"
        else:
            told = (
                "the output is NaN, which is made by what edges carry in place of their own values: with nothing left out the "
                "network gives numbers; let these edges carry something else"
            )
        given = short({v: x.tolist()[0] for v, x in part.items()})
        return NetworkError(f"in row {row} {told} (row {row} of the {rows_of(self.batch)} that are run here is {given})")

    @property
    def rows_at_once(self) -> int:
        """Rows in one pass."""
        bytes_ = 4 * self.instead[:, :1].numel() * self.instead.element_size()
        return self.stream.network.batch_size or max(1, self.stream.network.memory // 3 // bytes_)

    def _run(self, masks: Tensor, rows: Column) -> Any:
        """What `decode` takes for inputs under each circuit, circuit after circuit."""
        n, circuits = len(rows), len(masks)
        own = self.instead if self.instead.shape[1] == 1 else self.instead[:, rows]
        batch = take(self.batch, np.tile(rows, circuits))
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
            NetworkError: as of `columns_of`.
        """
        return columns_of(self.stream, batch, self.places[:-1], self.instead.shape[1:])
