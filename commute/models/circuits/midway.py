"""Passes from the middle: one edge patched in each copy of some inputs, beginning where the edge ends.

What precedes a reader is not computed again: the stream that it reads is the clean one and the change along the edge. Nodes that
read at once, as the heads of a layer do, are first run together up to what each gives, all with the edge from one writer patched;
from there on each edge has rows of its own. Where nothing but the last columns matters, the others are left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.runs import Runs
from commute.models.circuits.stream import Stream, inside
from commute.models.engine import Bases, Engine
from commute.models.hooks import remembered, visiting
from commute.models.patches import Whole, Write
from commute.models.sites import Site, Tap

_ROUNDINGS = 8  # of the largest change, below which a column does not change
_NOWHERE = 60  # an axis of positions that no value has, whatever its axes: a site is all of it, also where columns are left out
Place = tuple[int, int, int]  # a reader, a writer and a position, as in `Runs.index`


@dataclass(frozen=True, eq=False)
class Group:
    """Readers that are patched at once.

    Attributes:
        reads: where they read; at each of these places all do.
        readers: their places among the readers of the stream.
        writers: the places of the writers that reach them.
        result: what their nodes write, from where on each is patched by itself; None for a single one that is patched where it
            reads.
        parts: the numbers of the result's value that come of what each reads.
    """

    reads: tuple[Reads, ...]
    readers: tuple[int, ...]
    writers: tuple[int, ...]
    result: Writes | None
    parts: tuple[Tensor, ...]

    @property
    def taps(self) -> list[Tap]:
        """Where they are patched."""
        return [read.tap or read.entry for read in self.reads]

    @property
    def begin(self) -> list[Tap]:
        """From where on each edge has rows of its own."""
        return self.taps if self.result is None else [self.result.tap]


def groups_of(stream: Stream, engine: Engine) -> list[Group] | None:
    """All readers of a stream in groups, in order; None where these cannot be told, or a value at a tap has no axis of rows."""
    groups = []
    for nodes in dict.fromkeys(read.nodes for read in stream.reads):
        reads = tuple(read for read in stream.reads if read.nodes == nodes)
        inner = [[node] if node in stream.writers else inside(stream, node) for node in nodes]
        held = {node for some in inner for node in some}
        found = [(w, w.weight) for w in stream.writes if w.weight is not None and all(inner) and held <= {*w.nodes}]
        if not found and len(nodes) > 1:
            return None
        result = found[0][0] if found else None
        parts = tuple(_columns(w, weight, some) for w, weight in found[:1] for some in inner)
        readers = tuple(stream.readers.index(node) for node in nodes)
        groups.append(Group(reads, readers, tuple(stream.edges[readers[0]].nonzero().flatten().tolist()), result, parts))
    distinct = sum(len(group.readers) for group in groups) == len(stream.readers)
    taps = {tap for group in groups for tap in [*group.taps, *group.begin]}
    return groups if distinct and all(_by_row(engine, tap) for tap in taps) else None


def _columns(writes: Writes, weight: Tensor, nodes: Sequence[str]) -> Tensor:
    """The numbers that some of the nodes write from."""
    each = weight.shape[:2]
    columns = torch.arange(each.numel()).reshape(each) if writes.columns is None else writes.columns
    return columns[[writes.nodes.index(node) for node in nodes]].flatten()


def _by_row(engine: Engine, tap: Tap) -> bool:
    """Whether a tap is reached once, and rows are the first axis of what is there."""
    time = engine.trace.time(tap)
    call = next((c for c in engine.trace.calls if time in (c.start, c.end)), None)
    leaves = () if call is None else call.inputs if tap.input else call.outputs
    return any(leaf is not None and leaf.rows for leaf in leaves)


@dataclass(frozen=True, eq=False)
class Clean:
    """What is known of some inputs.

    Attributes:
        runs: of these inputs.
        engine: of passes.
        bases: what modules gave.
        values: what is at each tap, [batch, …, value].
        changes: for each position of the graph what each writer adds when it is patched less what it adds, [writers, batch, …,
            width], and the first column in which that is not nothing.
        unread: by tap, how many columns at the beginning have no part in the scores from there on.
        short: modules of which nothing but the last columns is read, and whose other columns are not computed.
    """

    runs: Runs
    engine: Engine
    bases: Bases
    values: Mapping[Tap, Tensor]
    changes: Sequence[tuple[Tensor, int]]
    unread: dict[Tap, int] = field(default_factory=dict)
    short: tuple[nn.Module, ...] = ()

    def patched(self, group: Group) -> Iterator[tuple[list[Place], Tensor]]:
        """Edges into a group, and the scores [edges, batch, choices] when each is patched by itself."""
        for place in range(len(self.changes)):
            if group.result is None:
                yield from self._where_read(group, place)
            else:
                yield from self._from_result(group, group.result.tap, place)

    def _where_read(self, group: Group, place: int) -> Iterator[tuple[list[Place], Tensor]]:
        """Edges into a single reader, patched where it reads."""
        change, first = self.changes[place]
        for some in torch.split(torch.tensor(group.writers), self._copies_at_once(group.taps, first)):
            values = self._read(group, change[some])
            yield [(group.readers[0], w, place) for w in some.tolist()], self._scores(values, first)

    def _from_result(self, group: Group, tap: Tap, place: int) -> Iterator[tuple[list[Place], Tensor]]:
        """Edges into readers that are run together up to what their nodes write; from there on each is patched by itself."""
        change, first = self.changes[place]
        size = self._copies_at_once([tap], first)
        for some in torch.split(torch.tensor(group.writers), self._read_at_once([*group.taps, tap])):
            result = self._result(tap, self._read(group, change[some]), first)
            result = result.reshape(len(some), -1, *result.shape[1:])
            alone = list(product(range(len(group.readers)), range(len(some))))
            for pairs in (alone[start : start + size] for start in range(0, len(alone), size)):
                value = self._copies(tap, len(pairs))
                for one, (r, i) in zip(value.chunk(len(pairs)), pairs, strict=True):
                    one[..., group.parts[r]] = result[i][..., group.parts[r]]
                yield [(group.readers[r], int(some[i]), place) for r, i in pairs], self._scores({tap: value}, first)

    def _skipped(self, taps: Iterable[Tap], first: int) -> int:
        """Columns left out of passes in which taps are set from a column on."""
        return max(first, min(self.unread.get(tap, 0) for tap in taps))

    def _copies_at_once(self, taps: Iterable[Tap], first: int) -> int:
        """Copies of the inputs in such a pass."""
        skipped = self._skipped(taps, first)
        attending = not all(tap in self.unread for tap in taps)
        size = self.engine.bytes_computed(skipped, attending=attending) if skipped else self.engine.trace.largest
        return max(1, self.engine.network.rows_at_once(size) // len(self.bases.rows))

    def _read_at_once(self, taps: Iterable[Tap]) -> int:
        """Copies of the inputs in a pass from some taps to another."""
        held = max(self.engine.bytes_at(_site(tap)) for tap in taps)
        return max(1, self.engine.network.rows_at_once(2 * held) // len(self.bases.rows))

    def _copies(self, tap: Tap, copies: int) -> Tensor:
        """What is at a tap, [copies * batch, …, value]."""
        value = self.values[tap]
        return value.repeat(copies, *[1] * (value.ndim - 1))

    def _read(self, group: Group, change: Tensor) -> dict[Tap, Tensor]:
        """What is at a group's taps when what all of it reads is changed, [copies, batch, …, width]."""
        found: dict[Tap, Tensor] = {}
        for read, tap in zip(group.reads, group.taps, strict=True):
            streams = (self.values[read.entry] + change).flatten(0, 1)
            parts = read.of(self.engine.network.module, streams[None])
            found[tap] = parts[0] if read.tap is None else read.put(found.get(tap, self._copies(tap, len(change))), parts)
        return found

    def _result(self, tap: Tap, values: Mapping[Tap, Tensor], first: int) -> Tensor:
        """What is at a tap after others are set, [copies * batch, …, value]; the pass ends there."""
        seen: list[Tensor] = []

        def stop(value: Tensor) -> Tensor:
            seen.append(value)
            raise _Enough

        restore = remembered(self.engine.network.module)
        try:
            self.output(values, first, Write(Whole(_site(tap)), stop))
        except _Enough:
            restore()
        result = self._copies(tap, len(seen[0]) // len(self.bases.rows))
        part = result[:, first:] if first else result
        part.copy_(seen[0].reshape(part.shape))
        return result

    def _scores(self, values: Mapping[Tap, Tensor], first: int) -> Tensor:
        """The scores after values are set from a column on, [copies, batch, choices]."""
        n, rows = len(self.bases.rows), len(next(iter(values.values())))
        last, skipped = max(self.unread.values(), default=0), self._skipped(values, first)
        with _shortened(self.short if last > skipped else (), last - skipped):
            output = self.output(values, skipped)
        scores = self.runs.readout.scores(output, rows)
        return scores.reshape(rows // n, n, -1)

    def output(self, values: Mapping[Tap, Tensor], skipped: int, *more: Write) -> Any:
        """What `decode` takes after values [copies * batch, …, value] are set, with the first columns left out."""
        n, rows = len(self.bases.rows), len(next(iter(values.values())))
        begin = min(time for tap in values if (time := self.engine.trace.time(tap)) is not None)
        writes = [Write(Whole(_site(tap)), (x[:, skipped:] if skipped else x).flatten(1)) for tap, x in values.items()]
        return self.engine.patched(self.bases, torch.arange(n).repeat(rows // n), [begin] * rows, [*writes, *more], skipped)


class _Enough(BaseException):
    """Leaves a pass whose rest is not needed."""


def _site(tap: Tap) -> Site:
    return Site(tap.path, input=tap.input, element=tap.element, call=tap.call, position_axis=_NOWHERE)


@contextmanager
def _shortened(modules: Sequence[nn.Module], columns: int) -> Iterator[None]:
    """While active, modules compute nothing in the first columns and give zeros there."""
    kept = [(m, m.__dict__.get("forward")) for m in modules]
    try:
        for m in modules:
            m.forward = partial(_short, m.forward, columns)
        yield
    finally:
        for m, own in kept:
            if own is None:
                m.__dict__.pop("forward", None)
            else:
                m.forward = own


def _short(forward: Callable[..., Any], columns: int, *args: Any, **kwargs: Any) -> Any:
    if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
        return forward(*args, **kwargs)
    part = forward(args[0][:, columns:].contiguous())
    return torch.cat([part.new_zeros(len(part), columns, *part.shape[2:]), part], 1)


def clean_of(whole: Runs, engine: Engine, rows: Tensor, groups: Sequence[Group]) -> Clean:
    """Run some rows of all inputs, which are the engine's batch, once."""
    runs, found = whole.take(rows.numpy()), dict[Tap, Tensor]()
    stream, columns = runs.stream, None if len(runs.places) == 1 else whole.columns(whole.batch)[rows]
    taps = dict.fromkeys([w.tap for w in stream.writes] + [r.entry for r in stream.reads] + [t for g in groups for t in g.taps])
    with visiting(engine.network.module, {tap: partial(_keep, found, tap) for tap in taps}, rows=lambda: None):
        engine.rows_of_call(rows).make(engine.network.module)
    places = found[stream.reads[0].entry].shape[:-1]
    values = {tap: x.reshape(*places, -1) for tap, x in found.items()}
    changes = _changes(
        engine, columns, len(runs.places), runs.instead - torch.cat([w.of(values[w.tap], places) for w in stream.writes])
    )
    most = engine.trace.columns - 1 if _has_columns(engine, values[stream.reads[0].entry]) else 0
    times = [time for g in groups for tap in [*g.taps, *g.begin] if (time := engine.trace.time(tap)) is not None]
    bases = engine.bases(rows, times, min(first for _, first in changes), most)
    clean = Clean(runs, engine, bases, values, changes)
    return _with_unread(clean, groups, most) if most else clean


def _keep(found: dict[Tap, Tensor], tap: Tap, value: Tensor) -> None:
    found[tap] = value.clone()  # a module after it may work in place


def _has_columns(engine: Engine, stream: Tensor) -> bool:
    """Whether the columns of a stream are those of a causal transformer, of which the first can be left out."""
    return engine.traces.late is not None and stream.ndim == 3 and stream.shape[1] == engine.trace.columns  # noqa: PLR2004


def _changes(engine: Engine, columns: Tensor | None, places: int, change: Tensor) -> list[tuple[Tensor, int]]:
    """See `Clean.changes`; `columns` are the positions of columns, [batch, columns]."""
    found = []
    for p in range(places):
        here = change if columns is None else change * (columns == p)[..., None].to(change)
        first = 0
        if _has_columns(engine, change[0]):
            sizes = here.abs().amax((0, 1, 3))
            first = int((sizes > _ROUNDINGS * torch.finfo(change.dtype).eps * float(sizes.max())).to(torch.int8).argmax())
        found.append((here, first))
    return found


def _with_unread(clean: Clean, groups: Sequence[Group], most: int) -> Clean:
    """With which columns are not read at the end: what is not a number in them does not reach the scores."""
    last = groups[-1].taps[0]
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _unread(clean, [last], middle) else (low, middle - 1)
    unread: dict[Tap, int] = {}
    for group in reversed(groups):
        if not low or not _unread(clean, group.begin, low):
            break
        unread |= dict.fromkeys(group.begin, low)
    module, writes = clean.engine.network.module, clean.runs.stream.writes[-1]
    paths = {tap.path for tap in unread if tap.input}
    if any(group.reads[0].nodes == writes.nodes and set(group.begin) <= {*unread} for group in groups) and not writes.tap.input:
        paths.add(writes.tap.path)  # what comes of unread columns, such as a hidden layer
    short = tuple(module.get_submodule(path) for path in paths)
    return replace(clean, unread=unread, short=short)


def _unread(clean: Clean, taps: Sequence[Tap], columns: int) -> bool:
    """Whether the first columns at some taps have no part in the scores."""
    values = {}
    for tap in taps:
        values[tap] = clean.values[tap].clone()
        values[tap][:, :columns] = torch.nan
    skipped = min(first for _, first in clean.changes)
    scores = clean.runs.readout.scores(clean.output(values, skipped), len(clean.bases.rows))
    return not bool(scores.isnan().any())
