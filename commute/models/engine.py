"""The engine: bases are run once, and patched passes compute only what comes after the sites that are set.

Modules before a site return what they gave for the base. In a causal transformer the columns before the first one that is set
come from the keys and values of the base. What a module does to rows and columns is read off a trace of a few rows.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from commute.causal.batches import Batch, rows_of
from commute.errors import CommuteError, ReplayWarning
from commute.models.calls import Call, tensors_of, without_keys
from commute.models.hooks import as_built, remembered, visiting
from commute.models.passes import Passes
from commute.models.patches import FeatureLike, Read, Window, Write, visitors
from commute.models.positions import Frame, frame_of
from commute.models.replay import Known, Replay, capturing, known
from commute.models.sites import Site
from commute.models.stopping import run_until
from commute.models.store import Store
from commute.models.trace import Leaf, Trace
from commute.models.tracing import Traces, columns_of_call, rows_of_call, traces_of

CONFIRMED = 6  # rows in which passes are compared with passes in full
_SAME = 1e-4  # difference that rounding may make in single precision, against the largest of those compared
_MASKED = 1e4  # size from which on numbers that are the same mask a score


@dataclass(frozen=True, eq=False)
class Bases:
    """What is known of some of the bases: their rows, results of modules, keys and values, and the output's first columns."""

    rows: Tensor
    known: Known
    layers: Sequence[Sequence[Tensor]]
    first: Sequence[Tensor | None]


@dataclass(frozen=True, eq=False)
class Engine:
    """How passes of one network over one batch are replayed.

    Attributes:
        network: the network.
        batch: the inputs.
        call: the module's call for all of them.
        frame: in which positions are counted.
        traces: of its passes.
    """

    network: Passes
    batch: Batch
    call: Call
    frame: Frame
    traces: Traces

    @property
    def trace(self) -> Trace:
        """Of a pass with all columns."""
        return self.traces.whole

    def first_columns(self, sites: Sequence[Site]) -> Tensor:
        """The first column that is set in each row, [batch]; 0 where columns before it cannot be skipped."""
        first = torch.full((rows_of(self.batch),), self.trace.columns)
        for site in sites:
            if not self._by_column(site):
                return torch.zeros_like(first)
            first = torch.minimum(first, self._ends(site, self.frame)[0])
        return first

    def last_column(self, sites: Sequence[Site], rows: Tensor) -> int:
        """The last column at any of the sites in some rows; the last of all where the rest cannot be left out."""
        if not all(self._by_column(site) for site in sites):
            return self.trace.columns - 1
        frame = self.frame.take(rows.numpy())
        return max(int(self._ends(site, frame)[1].max()) for site in sites)

    def _by_column(self, site: Site) -> bool:
        """Whether a site is at positions that are columns of a causal transformer."""
        if self.traces.late is None or site.position is None:
            return False
        calls = [c for c in self.traces.late.calls if c.path == site.path and site.call in (None, c.number)]
        leaves = [leaf for c in calls for leaf in (c.inputs if site.input else c.outputs) if leaf is not None and leaf.rows]
        return bool(leaves) and all(leaf.columns == site.position_axis for leaf in leaves)

    def _ends(self, site: Site, frame: Frame) -> tuple[Tensor, Tensor]:
        """The first and the last of a site's columns, in each row or in all."""
        columns = frame.columns(site, self.trace.columns)
        if isinstance(columns, Tensor):
            return columns.amin(1), columns.amax(1)
        places = [columns] if isinstance(columns, int) else range(self.trace.columns)[columns]
        return torch.tensor(min(places)), torch.tensor(max(places))

    def time(self, sites: Sequence[Site]) -> tuple[int, int] | None:
        """When the first and the last of some sites are reached; None where one is not reached exactly once."""
        times = [self.trace.time(site.tap) for site in sites]
        reached = [t for t in times if t is not None]
        return (min(reached), max(reached)) if reached and len(reached) == len(times) else None

    def flops(self, time: int, columns: float) -> float:
        """Floating-point operations a row of what is not over by `time`, with the last `columns` computed."""
        return (self.traces.late or self.trace).flops_after(time, columns)

    def flops_until(self, features: Sequence[FeatureLike], rows: Tensor) -> float:
        """Floating-point operations a row of what `read` computes."""
        sites = [f.site for f in features]
        times, columns = self.time(sites), self.last_column(sites, rows) + 1
        return self.flops(-1, columns) - (self.flops(times[1], columns) if times else 0)

    def bytes_at(self, site: Site) -> int:
        """Bytes of what a site's module holds for a row."""
        calls = [c for c in self.trace.calls if c.path == site.path and site.call in (None, c.number)]
        return sum(leaf.size for c in calls for leaf in (c.inputs if site.input else c.outputs) if leaf and leaf.rows)

    def bytes_kept(self, times: Sequence[int], first: int, last: int) -> int:
        """Bytes that are kept of each base, as by `bases`."""
        share = 1 - first / self.trace.columns
        wanted = known(self._trace(late=last > 0), times, 1, Store(0))
        whole = [c for c in self.trace.calls if (c.path, c.number) in wanted.needed]
        kept = sum(leaf.size * share for c in whole for leaf in c.outputs if leaf and leaf.rows)
        leaves = self._trace(late=last > 0).calls[0].outputs
        output = sum(x.size for x, leaf in zip(self.trace.calls[0].outputs, leaves, strict=True) if x and leaf and leaf.columns)
        return int(kept + (self.traces.keys + output * last / self.trace.columns if last else 0))

    def bytes_computed(self, skipped: int, *, attending: bool = True) -> int:
        """Bytes that a pass takes for each row, with columns skipped, which it attends to or not."""
        if not skipped:
            return max(1, 2 * self.trace.largest)
        share = 1 - skipped / self.trace.columns
        keys = 4 * self.traces.keys // self.traces.layers if attending else 0  # chosen, joined with new ones, and for each head
        return int(2 * (self.trace.largest * share + self._trace(late=True).widest_fixed)) + keys

    def bases(self, rows: Tensor, times: Sequence[int], first: int, last: int) -> Bases:
        """Run some bases once and keep what patches need.

        Args:
            rows: of the batch.
            times: when patches begin.
            first: columns that all patches skip.
            last: the most columns that any of them skips, of which it needs keys and values, and the output.
        """
        module, trace = self.network.module, self._trace(late=last > 0)
        store = self.network.store
        kept = known(trace, times, len(rows), store, first)
        layers: list[list[Tensor]] = []
        outputs: list[Tensor | None] = []
        stop = max(times) if as_built(module) else None
        for start, part in self._blocks(rows):
            call = self.rows_of_call(part)
            with capturing(module, kept, start):
                if last:
                    from commute.models import keyvalues

                    cache = keyvalues.empty()
                    output = without_keys(call.with_keys(cache).make(module))
                    layers = _put(store, layers, keyvalues.filled(cache), len(rows), start)
                    outputs = _put(store, outputs, _first_columns(output, last, trace.calls[0].outputs), len(rows), start)
                elif kept.calls:
                    run_until(module, call, trace, stop)
        return Bases(rows, kept, layers, outputs)

    def read(self, rows: Tensor, features: Sequence[FeatureLike], *, last: int | None = None) -> list[Tensor]:
        """The values of features in some rows, by passes that end with the last site, and with its last column.

        Args:
            rows: of the batch.
            features: what is read.
            last: the last column that is computed; None is the last that is read.
        """
        module, sites = self.network.module, [f.site for f in features]
        last = self.last_column(sites, rows) if last is None else last
        window = Window(0, self.trace.columns - 1 - last, self.trace.columns)
        kept: list[list[Tensor]] = [[] for _ in features]
        times = self.time(sites)
        for _, part in self._blocks(rows):
            n = len(part)
            reads = [Read(feature, values) for feature, values in zip(features, kept, strict=True)]
            call = self.rows_of_call(part)
            call = columns_of_call(call, slice(last + 1)) if window.after else call
            visits = visitors((), reads, self.frame.take(part.numpy()), window=window)
            with visiting(module, visits, rows=partial(int, n)):
                run_until(module, call, self.trace, times[1] if times and as_built(module) else None)
        return [torch.cat(values) for values in kept]

    def patched(self, bases: Bases, index: Tensor, times: list[int], writes: Sequence[Write], skipped: int) -> Any:
        """What `decode` takes after a pass over some bases, with features set.

        Args:
            bases: what is known of them.
            index: which of them each row of the pass has.
            times: from when each row is computed, ascending.
            writes: what is set.
            skipped: columns that are not computed; none of them is set.
        """
        rows, module, trace = bases.rows[index], self.network.module, self._trace(late=skipped > 0)
        whole = call = self.rows_of_call(rows)
        if skipped:
            from commute.models import keyvalues

            call = columns_of_call(call, slice(skipped, None)).with_keys(keyvalues.shared(bases.layers, index, skipped))
        visits = visitors(writes, (), self.frame.take(rows.numpy()), window=Window(skipped, 0, trace.columns))
        replay = Replay(trace, bases.known, index, times, skipped)
        with (
            replay.active(module, (tap.path for tap in visits)),
            visiting(module, visits, rows=lambda: replay.scope, calls=replay.counts),
        ):
            output = call.make(module)
        if skipped:
            output = _completed(without_keys(output), bases.first, index, skipped, trace.calls[0].outputs)
        return self.network.finished(whole, output)

    def confirmed(self, bases: Bases, index: Tensor, times: list[int], writes: Sequence[Write], skipped: int) -> bool:
        """Whether a patched pass gives what the pass in full gives; if not, replaying is given up with a warning."""
        rows, restore = bases.rows[index], remembered(self.network.module)
        found = self.patched(bases, index, times, writes, skipped)
        restore()
        call, frame = self.rows_of_call(rows), self.frame.take(rows.numpy())
        with visiting(self.network.module, visitors(writes, (), frame), rows=lambda: len(rows)):
            output = call.make(self.network.module)
        expected = self.network.finished(call, output)
        return close(found, expected, frame.mask) or given_up(self.network)

    def rows_of_call(self, rows: Tensor) -> Call:
        """The module's call for some of the rows."""
        return rows_of_call(self.call, self.trace.calls[0].inputs, rows)

    def _trace(self, *, late: bool) -> Trace:
        return self.traces.late if late and self.traces.late is not None else self.trace

    def _blocks(self, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Rows that are run at once, and how many were run before them."""
        size = self.network.rows_at_once(self.trace.largest)
        return ((start, rows[start : start + size]) for start in range(0, len(rows), size))


def engine_of(network: Passes, batch: Batch) -> Engine | None:
    """The engine for a network and a batch of inputs; None where passes must be made in full."""
    call = network.encoded(batch)
    traces = traces_of(network, batch, call)
    return None if traces is None else Engine(network, batch, call, frame_of(batch, None, call, network.positions), traces)


def given_up(network: Passes, reason: str = "does not give what passes in full give") -> bool:
    """Make every pass in full from now on, and say so with a warning; False."""
    network.replays = False
    warnings.warn(
        f"replaying what is known of {network.name!r} {reason}: its modules have side effects or randomness, or mix rows; "
        "every pass is made in full from now on",
        ReplayWarning,
        stacklevel=6,
    )
    return False


@contextmanager
def falling_back(network: Passes) -> Iterator[None]:
    """Give replaying up where it raises an error that is not ours, which a pass in full then makes again or does not."""
    restore = remembered(network.module)
    try:
        yield
    except (CommuteError, Warning, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # whatever a module does when it is called with some of the rows
        restore()
        given_up(network, f"raises {type(error).__name__} ({error})")


def close(one: Any, other: Any, mask: Tensor | None = None) -> bool:
    """Whether two outputs hold the same up to rounding, what they hold at padding aside; False where no tensors are seen."""

    def real(x: Tensor) -> Tensor:
        return x[mask.to(x.device)] if mask is not None and x.shape[:2] == mask.shape else x

    ours, theirs = ([real(x) for x in tensors_of(v)] for v in (one, other))
    return len(ours) == len(theirs) > 0 and all(x.shape == y.shape and _close(x, y) for x, y in zip(ours, theirs, strict=True))


def _close(x: Tensor, y: Tensor) -> bool:
    rounding = max(_SAME, 8 * torch.finfo(y.dtype).eps) if y.is_floating_point() else 0.0
    x, y = x.double(), y.double()
    size = y.abs()
    counted = y.isfinite() & ((x != y) | (size < _MASKED))
    largest = float(size[counted].max()) if bool(counted.any()) else 0.0
    return torch.allclose(x, y, rtol=rounding, atol=rounding * largest, equal_nan=True)


# The columns of an output that a patched pass does not compute are the base's.


def _first_columns(output: Any, columns: int, leaves: Sequence[Leaf | None]) -> list[Tensor | None]:
    """The first columns of the tensors of an output that have any; None for others."""
    return [
        x.narrow(leaf.columns, 0, columns) if leaf is not None and leaf.rows and leaf.columns is not None else None
        for x, leaf in zip(tree_flatten(output)[0], leaves, strict=True)
    ]


def _completed(output: Any, bases: Sequence[Tensor | None], index: Tensor, skipped: int, leaves: Sequence[Leaf | None]) -> Any:
    """The output with the base's in the columns that were not computed."""
    flat, spec = tree_flatten(output)
    parts = []
    for x, known_before, leaf in zip(flat, bases, leaves, strict=True):
        part = x
        if known_before is not None and leaf is not None and leaf.columns is not None:
            first = known_before.narrow(leaf.columns, 0, skipped)
            part = torch.cat([first[index.to(first.device)].to(x.device), x], leaf.columns)
        parts.append(part)
    return tree_unflatten(parts, spec)


def _put(store: Store, rooms: Any, parts: Any, rows: int, start: int) -> Any:
    """Rooms for `rows` rows of tensors, or of lists of them, with the parts of a block in them; made where there are none yet."""
    if isinstance(parts, (list, tuple)):
        return [_put(store, room, part, rows, start) for room, part in zip(rooms or [None] * len(parts), parts, strict=True)]
    if parts is None:
        return None
    room = store.empty((rows, *parts.shape[1:]), parts) if rooms is None else rooms
    room[start : start + len(parts)] = parts
    return room
