"""Closing: whether nothing but the nodes of a stream carries anything from a network's inputs to its output."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.errors import NetworkError
from commute.models.circuits.linking import noised
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.stream import Stream, also
from commute.models.decoding import Readout
from commute.models.engine import close
from commute.models.hooks import Visit, evaluating, visiting
from commute.models.sites import Tap
from commute.runs.seeds import stream as seeded

_MOST, _LEAST = 4, 2  # inputs that are run
_LOOKED_AT = 64  # inputs that these are chosen among
_SAME = 1e-3  # of the largest change of a number of the stream, what other kernels than the network's may explain
_ROUNDINGS = 32  # of all that is added to it, one for each of many layers


def check_closed(stream: Stream, inputs: Batch) -> None:
    """Raise where what nodes write is not all that tells what is read, or the output, of one input from that of another.

    The network is run as it is, and again with noise in all that nodes write and read, but with the last reader given what it
    reads of another input. The scores are then to be those of that input, and each stream changed by what was written alone.

    Args:
        stream: the stream, with its edges.
        inputs: a batch, of which a few are run. Each stands for another whose tokens are in the same columns, if there is one.

    Raises:
        NetworkError: naming what is read and where.
    """
    n = min(rows_of(inputs), max(_LEAST, min(stream.network.batch_size or _MOST, _MOST)))
    batch = take(inputs, _alike(stream, inputs)[:n])
    turned = _turned(stream.tokens(batch), n)
    others, last = take(batch, turned.numpy()), set(stream.reads[-1].nodes)
    ends = [r for r in stream.reads if not last.isdisjoint(r.nodes)]
    inner = [r for r in stream.reads if last.isdisjoint(r.nodes)]
    plain = _passed(stream, batch, batch)
    held = {r.entry: plain.streams[r.entry][turned] for r in ends}
    first = list({r.entry: r for r in reversed(stream.reads)}.values())[::-1]  # one for each entry
    for read in first:
        if not _explained(stream, read, plain, plain, turned):
            raise NetworkError(
                f"what {read.nodes[0]} reads at {read.entry} differs from input to input by more than what nodes write, so "
                "something is added along no edge; name it with cm.Writes"
            )
    noisy = _passed(stream, batch, others, shaken=inner, held=held)
    if inner and (moved := next((r for r in first if not _explained(stream, r, plain, noisy)), None)):
        by = (r for r in inner if not _explained(stream, moved, plain, _passed(stream, batch, others, shaken=[r], held=held)))
        raise NetworkError(_spread(next(by, inner[-1]), moved))
    if plain.scores is not None and noisy.scores is not None and not close(noisy.scores, expected := plain.scores[turned]):
        far = float((noisy.scores - expected).abs().nan_to_num().max())
        raise NetworkError(
            f"with all that {stream.reads[-1].nodes[0]} reads given, the scores still differ by up to {far:.3g} with what "
            "else is written or given to the module, so something reaches the output along no edge; name it with cm.Writes and "
            "cm.Reads, or read last where all of it has come together; inputs filled up to one length need an attention_mask"
        )


def _spread(read: Reads, moved: Reads) -> str:
    return (
        f"changing what {read.nodes[0]} reads at {read.tap or read.entry} also changes what {moved.nodes[0]} reads at "
        f"{moved.entry}, past all that is written, as where a block adds its own input to what it makes of it; read at the "
        "first module inside the block, or give as tap= what that node alone makes of the stream"
    )


def _alike(stream: Stream, inputs: Batch) -> Column:
    """The first inputs, those first that have their tokens in the same columns as most, [some] of int64."""
    first = np.arange(min(rows_of(inputs), _LOOKED_AT))
    mask = stream.tokens(take(inputs, first))
    return first if mask is None else (mask[:, None] != mask).any(-1).sum(1).argsort(stable=True).numpy()


def _turned(mask: Tensor | None, n: int) -> Tensor:
    """For each row another, whose tokens are in the same columns, [batch] of int64; its own where there is none."""
    if mask is None:
        return torch.arange(n).roll(1)
    found = torch.arange(n)
    for row in range(n):
        alike = (mask == mask[row]).all(1).nonzero().flatten()
        found[row] = alike[(alike == row).nonzero().flatten() - 1]
    return found


@dataclass(eq=False)
class _Pass:
    """One pass, and what was seen in it.

    Attributes:
        stream: the stream.
        held: what is read at some entries, with noise added to all that is written; None where all is as it is.
        written: what each group of writers added, [batch, …, width].
        streams: the stream at each reader's entry, as it came there, [batch, …, width].
        scores: that the answers are chosen by, [batch, choices]; None where they cannot be told.
    """

    stream: Stream
    held: dict[Tap, Tensor] | None
    written: list[Tensor] = field(default_factory=list)
    streams: dict[Tap, Tensor] = field(default_factory=dict)
    scores: Tensor | None = None

    def __post_init__(self) -> None:
        self.draws = seeded(0, "closed graph")

    def laid(self, x: Tensor) -> Tensor:
        """A value as [batch, …, value], with the axes of the first that was written."""
        return x.reshape(*(self.written[0] if self.written else x).shape[:-1], -1)

    def write(self, part: Writes, x: Tensor) -> Tensor:
        """See what is written, with noise where something is held."""
        value = self.laid(x) if self.held is None else noised(self.laid(x), part.columns, self.draws)
        self.written.append(part.total(value, value.shape[:-1]))
        return value.reshape(x.shape)

    def enter(self, entry: Tap, x: Tensor) -> None:
        """See the stream."""
        self.streams[entry] = self.laid(x).clone()  # what comes after it may work in place

    def shake(self, read: Reads, x: Tensor) -> Tensor:
        """Add noise to what is read."""
        return noised(self.laid(x), read.columns, self.draws).reshape(x.shape)

    def hold(self, read: Reads, x: Tensor) -> Tensor:
        """Give what is held."""
        there = (self.held or {})[read.entry]
        return there.reshape(x.shape) if read.tap is None else read.put(x, read.of(self.stream.network.module, there[None]))

    def visits(self, shaken: Sequence[Reads]) -> dict[Tap, Visit]:
        """All of these, in the order in which they are to be at one tap."""
        visits: dict[Tap, Visit] = {}
        for w in self.stream.writes:
            also(visits, w.tap, partial(self.write, w))
        for entry in dict.fromkeys(r.entry for r in self.stream.reads):
            also(visits, entry, partial(self.enter, entry))
        for r in shaken:
            also(visits, r.tap or r.entry, partial(self.shake, r))
        for r in self.stream.reads:
            if self.held and r.entry in self.held:
                also(visits, r.tap or r.entry, partial(self.hold, r))
        return visits


def _passed(
    stream: Stream, batch: Batch, others: Batch, *, shaken: Sequence[Reads] = (), held: dict[Tap, Tensor] | None = None
) -> _Pass:
    """One pass of a batch, with noise in what some read; where places depend on the inputs, the others' answers are read off."""
    found, network = _Pass(stream, held), stream.network
    with torch.no_grad(), network.told("encode or the module", batch), evaluating(network.module):
        with visiting(network.module, found.visits(shaken), rows=lambda: None):
            output = network.encoded(batch).make(network.module)
        output = network.finished(network.encoded(others), output)
        with suppress(NetworkError), network.told("decode", batch):  # where answers are chosen otherwise, by several decisions
            found.scores = Readout(network.decode, ()).scores(output, rows_of(batch))
    return found


def _explained(stream: Stream, read: Reads, one: _Pass, other: _Pass, turned: Tensor | None = None) -> bool:
    """Whether what is read somewhere differs between passes, or from row to row, by what nodes wrote; NaN is told elsewhere."""
    row = stream.edges[stream.readers.index(read.nodes[0])]
    starts = np.cumsum([0, *(len(w.nodes) for w in stream.writes)])
    groups = [i for i in range(len(stream.writes)) if row[starts[i]]]
    rows = slice(None) if turned is None else turned
    before, after = (torch.stack([p.written[i].cpu().double() for i in groups]) for p in (one, other))
    after = after[:, rows]
    made, size = (after - before).sum(0), torch.maximum(before.abs(), after.abs()).sum(0)  # what is added may cancel out
    x, y = one.streams[read.entry].cpu(), other.streams[read.entry][rows].cpu()
    change = y.double() - x.double()
    room = torch.maximum(_ROUNDINGS * torch.finfo(x.dtype).eps * size, _SAME * change.abs()).flatten(0, -2).amax(0)
    return not bool(((made - change).abs() > room).any())
