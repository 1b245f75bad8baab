"""Runs of copies of a network side by side, between which some edges lead."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.errors import NetworkError
from commute.models.circuits.graph import named
from commute.models.circuits.ports import Reads
from commute.models.circuits.runs import Runs
from commute.models.circuits.stream import adding
from commute.models.hooks import visiting
from commute.models.positions import frame_of
from commute.proofs.circuits.scrub_tree import OWN, Tree

_Wires = dict[str, tuple[Tensor, ...]]  # by reader: in which copies, which writers, in which copies


def scrubbed_scores(runs: Runs, tree: Tree, inputs: Batch, rows: Column) -> Tensor:
    """The scores that labels are chosen by, [batch, choices], when nodes read each other as a tree says.

    All copies of the network are run in one pass, so that what is written in one is there when another reads it.

    Args:
        runs: those of the inputs that are asked about.
        tree: what is read where.
        inputs: from which all are drawn.
        rows: which of them each draw of the tree is, [draws, batch].
    """
    of_copies, wires = rows[list(tree.copies)], _wires(runs, tree)
    size = max(1, runs.rows_at_once // len(tree.copies))
    blocks = [of_copies[:, start : start + size] for start in range(0, rows.shape[1], size)]
    with torch.no_grad():
        found = torch.cat([_block(runs, wires, take(inputs, block.reshape(-1)), len(block)) for block in blocks])
    runs.check_numbers([found], np.arange(len(found)))
    return found


def _block(runs: Runs, wires: _Wires, batch: Batch, copies: int) -> Tensor:
    """The scores of some inputs, of which those of one copy follow those of another in the batch, as in the first copy."""
    stream, rows = runs.stream, rows_of(batch) // copies
    written: list[Tensor] = []
    visits = adding(written, stream.writes)
    plain = replace(stream, edges=torch.zeros_like(stream.edges))  # by itself it exchanges nothing
    none = torch.ones(len(stream.readers), len(stream.writers)), torch.zeros_like(runs.instead[:, :1])
    with visiting(stream.network.module, visits, rows=lambda: None):
        output = plain.run(batch, *none, reading=partial(_Side(runs, batch, copies).read, wires, written))
    return runs.readout.scores(output, rows_of(batch))[OWN * rows : (OWN + 1) * rows]


@dataclass(frozen=True, eq=False)
class _Side:
    """Copies of a network side by side in one batch."""

    runs: Runs
    batch: Batch
    copies: int

    def __post_init__(self) -> None:
        network = self.runs.stream.network
        tokens = frame_of(self.batch, None, network.encoded(self.batch), network.positions).mask
        if tokens is not None:
            self._own(tokens)

    @cached_property
    def places(self) -> Tensor:
        """Which of the graph's positions each column of each row is, [batch of one copy, columns]."""
        return self._own(self.runs.columns(self.batch))

    def _own(self, columns: Tensor) -> Tensor:
        """What is told of columns, [batch, columns], in the first copy.

        Raises:
            NetworkError: where it is not the same in all copies, so that what is written at one place is read at another.
        """
        found = columns.reshape(self.copies, -1, columns.shape[1])
        if bool((found != found[OWN]).any()):
            raise NetworkError(
                "inputs that take each other's place must have tokens, and the graph's positions, in the same columns; scrub "
                "inputs of one length, or a graph without positions"
            )
        return found[OWN]

    def read(self, wires: _Wires, written: Sequence[Tensor], read: Reads, streams: Tensor) -> Tensor:
        """What nodes read, [nodes, batch, …, width], with what is written in other copies in place of their own."""
        made, found = (x.reshape(len(x), self.copies, -1, *x.shape[2:]) for x in (torch.cat([*written]), streams.clone()))
        for i, node in enumerate(read.nodes):
            for p, place in enumerate(self.runs.places):
                if (wired := wires.get(named(node, place))) is None:
                    continue
                at, writers, sources = wired
                change = made[writers, sources] - made[writers, at]
                if place is not None:
                    change = change * (self.places == p)[..., None].to(change)
                found[i].index_add_(0, at, change.to(found))
        return found.flatten(1, 2)


def _wires(runs: Runs, tree: Tree) -> _Wires:
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for (reader, copy), (writer, source) in tree.wires:
        found[reader].append((copy, runs.index[writer, reader][1], source))
    return {reader: torch.tensor(wires, device=runs.instead.device).unbind(1) for reader, wires in found.items()}
