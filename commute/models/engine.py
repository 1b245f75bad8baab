"""The engine: bases are run once, and patched passes compute only what comes after the sites that are set.

Modules before a site return what they gave for the base. In a causal transformer the columns before the first one that is set
come from the keys and values of the base. What a module does to rows and columns is read off a trace of a few rows.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from commute.causal.batches import Batch, rows_of, take
from commute.models.calls import Call, without_keys
from commute.models.hooks import visiting
from commute.models.patches import Write, visitors
from commute.models.positions import Frame, frame_of
from commute.models.replay import Known, Replay, capturing, places_of
from commute.models.sites import Columns, Site
from commute.models.trace import Leaf, Trace, compared, compared_columns, record

if TYPE_CHECKING:
    from commute.models.network import Network

_BY_COLUMN = ("input_ids", "inputs_embeds", "position_ids", "token_type_ids")  # what a causal transformer takes for each column


@dataclass(frozen=True, eq=False)
class Bases:
    """What is known of some of the bases: their rows, results of modules, keys and values, and the output."""

    rows: Tensor
    known: Known
    layers: list[tuple[Tensor, Tensor]]
    output: Known


@dataclass(frozen=True, eq=False)
class Engine:
    """How passes of one network over one batch of bases are replayed.

    Attributes:
        network: the network.
        batch: the bases.
        call: the module's call for all of them.
        frame: in which positions are counted.
        trace: of a pass with all columns.
        late: of a pass over the last columns, those before from keys and values; None where the network is no causal transformer.
    """

    network: "Network"
    batch: Batch
    call: Call
    frame: Frame
    trace: Trace
    late: Trace | None

    def first_columns(self, sites: Sequence[Site]) -> Tensor:
        """The first column that is set in each base, [batch]; 0 where columns before it cannot be skipped."""
        first = torch.full((rows_of(self.batch),), self.trace.columns)
        for site in sites:
            if self.late is None or site.position is None or not self._by_column(self.late, site):
                return torch.zeros_like(first)
            columns = self.frame.columns(site, self.trace.columns)
            first = torch.minimum(first, _least(columns))
        return first

    def _by_column(self, late: Trace, site: Site) -> bool:
        """Whether a site's position axis is that of the columns."""
        calls = [c for c in late.calls if c.path == site.path and site.call in (None, c.number)]
        leaves = [leaf for c in calls for leaf in (c.inputs if site.input else c.outputs) if leaf is not None and leaf.rows]
        return bool(leaves) and all(leaf.columns == site.position_axis for leaf in leaves)

    def flops(self, time: int, columns: float) -> float:
        """Floating-point operations a row of what is not over by `time`, with the last `columns` computed."""
        return (self.late or self.trace).flops_after(time, columns)

    def bases_at_once(self, times: Sequence[int]) -> int:
        """How many bases may be held at once with all that is known of them, and be patched in one pass."""
        held = sum(leaf.size for c in places_of(self.trace, times).values() for leaf in c.outputs if leaf and leaf.rows)
        held += 2 * sum(leaf.size for leaf in self.trace.calls[0].outputs if leaf and leaf.rows)
        return max(1, min(self.network.memory // 4 // max(held, 1), self.rows_at_once(0)))

    def rows_at_once(self, skipped: int) -> int:
        """How many rows a patched pass may have."""
        widest = max(sum(x.size for x in (*c.inputs, *c.outputs) if x and x.rows) for c in self.trace.calls)
        share = (self.trace.columns - skipped) / self.trace.columns
        return max(1, int(self.network.memory // 16 // max(widest * share, 1)))

    def bases(self, rows: Tensor, times: Sequence[int], *, late: bool) -> Bases:
        """Run some bases once and keep what patches that begin at `times` need, and keys and values for `late` columns."""
        module, trace = self.network.module, (self.late if late else None) or self.trace
        wanted = list(places_of(trace, times).values())
        known, output, layers = Known(), Known(), []
        for part in torch.split(rows, self.network.batch_size):
            call = self.rows_of_call(part)
            with capturing(module, wanted, known):
                if late:
                    from commute.models import keyvalues

                    cache = keyvalues.empty()
                    found = Call(call.args, {**call.kwargs, "past_key_values": cache, "use_cache": True}).make(module)
                    output.append(("", 0), without_keys(found), trace.calls[0].outputs)
                    layers.append(keyvalues.filled(cache))
                elif wanted:
                    call.make(module)
        joined = [(torch.cat([k for k, _ in parts]), torch.cat([v for _, v in parts])) for parts in zip(*layers, strict=True)]
        return Bases(rows, known, joined, output)

    def patched(self, bases: Bases, index: Tensor, times: list[int], writes: Sequence[Write], skipped: int) -> Any:
        """What `decode` takes after a pass over the bases at `index`, each computed from its time on, with features set."""
        rows = bases.rows[index]
        whole = call = self.rows_of_call(rows)
        trace = self.trace
        if skipped and self.late is not None:
            from commute.models import keyvalues

            trace = self.late
            kwargs = {k: x[:, skipped:] if k in _BY_COLUMN and isinstance(x, Tensor) else x for k, x in call.kwargs.items()}
            cache = keyvalues.shared(bases.layers, index, skipped)
            call = Call(call.args, {**kwargs, "past_key_values": cache, "use_cache": True})
        visits = visitors(writes, (), self.frame.take(rows.numpy()), skipped=skipped)
        replay = Replay(trace, bases.known, index, times, skipped)
        module = self.network.module
        with (
            replay.active(module, (tap.path for tap in visits)),
            visiting(module, visits, rows=lambda: replay.scope, calls=replay.counts),
        ):
            output = call.make(module)
        if skipped:
            output = _completed(without_keys(output), bases.output, index, skipped, trace.calls[0].outputs)
        return self.network.finished(whole, output)

    def plain(self, rows: Tensor, writes: Sequence[Write]) -> Any:
        """What `decode` takes after a pass in full over some bases."""
        call = self.rows_of_call(rows)
        visits = visitors(writes, (), self.frame.take(rows.numpy()))
        with visiting(self.network.module, visits, rows=lambda: len(rows)):
            output = call.make(self.network.module)
        return self.network.finished(call, output)

    def rows_of_call(self, rows: Tensor) -> Call:
        """The module's call for some of the bases."""
        return _rows_of(self.call, self.trace.calls[0].inputs, rows)


def engine_of(network: "Network", batch: Batch) -> Engine | None:
    """The engine for a network and bases; None where passes must be made in full.

    That is where the user has hooks in the module, which replaying would skip, where the module is asked for its keys and values,
    and where passes over two and over three rows do not make the same calls.
    """
    if not network.replays or any(m._forward_hooks or m._forward_pre_hooks for m in network.module.modules()):  # noqa: SLF001
        return None
    n = rows_of(batch)
    call = network.encoded(batch)
    if call.kwargs.get("use_cache"):  # what goes on from its keys and values needs those of a pass in full
        return None
    frame = frame_of(batch, None, call, network.positions)
    few = np.array([0, min(1, n - 1), min(2, n - 1)])
    flat = [tree_flatten((c.args, c.kwargs))[0] for c in (network.encoded(take(batch, few[:k])) for k in (2, 3))]
    leaves = [Leaf(len(a) != len(b), None, 0) if isinstance(a, Tensor) and a.ndim else None for a, b in zip(*flat, strict=True)]
    samples = [_rows_of(call, leaves, torch.from_numpy(few[:k])) for k in (2, 3)]
    key = _made_of(network.module), tuple(tuple(x.shape) if isinstance(x, Tensor) else repr(x) for x in flat[0])
    if key not in network.traces:
        network.traces[key] = _traces(network.module, samples, _columns(call))
    traces = network.traces[key]
    return None if traces is None else Engine(network, batch, call, frame, *traces)


def _made_of(module: nn.Module) -> tuple[int, ...]:
    """What tells whether modules were exchanged since a trace was made."""
    return tuple(id(m) for m in module.modules())


def _traces(module: nn.Module, samples: Sequence[Call], columns: int) -> tuple[Trace, Trace | None] | None:
    two, three = (record(module, call, flops=i == 0) for i, call in enumerate(samples))
    trace = compared(two, three, columns)
    if trace is None or not trace.calls[0].inputs:
        return None
    return trace, _late(module, samples, two, columns)


def _late(module: nn.Module, samples: Sequence[Call], whole: Any, columns: int) -> Trace | None:
    """The trace of a pass over the last columns alone, for causal transformers of the transformers library."""
    if columns < 3 or not _keeps_keys(module, samples[0]):  # noqa: PLR2004  # one column to skip, and two that tell from one
        return None
    from commute.models import keyvalues

    kept = columns - columns // 2
    runs = []
    for i, call in enumerate(samples):
        cache = keyvalues.empty()
        Call(call.args, {**call.kwargs, "past_key_values": cache, "use_cache": True}).make(module)
        kwargs = {k: x[:, -kept:] if k in _BY_COLUMN and isinstance(x, Tensor) else x for k, x in call.kwargs.items()}
        rows = torch.arange(len(call.kwargs["input_ids"]))
        past = keyvalues.shared(keyvalues.filled(cache), rows, columns - kept)
        runs.append(record(module, Call(call.args, {**kwargs, "past_key_values": past, "use_cache": True}), flops=i == 0))
    return compared_columns(runs[0], runs[1], whole, columns, kept)


def _keeps_keys(module: nn.Module, call: Call) -> bool:
    """Whether the module is a causal transformer that takes keys and values, called in a way that leaves them to us."""
    config = getattr(module, "config", None)
    takes = inspect.signature(module.forward).parameters
    causal = getattr(config, "is_encoder_decoder", True) is False and hasattr(module, "prepare_inputs_for_generation")
    return causal and "past_key_values" in takes and not call.args and not call.kwargs.get("use_cache")


def _columns(call: Call) -> int:
    ids = call.kwargs.get("input_ids")
    return ids.shape[1] if isinstance(ids, Tensor) and ids.ndim == 2 else 1  # noqa: PLR2004  # [batch, columns]


def _least(columns: Columns) -> Tensor:
    if isinstance(columns, Tensor):
        return columns.amin(1)
    return torch.tensor(columns if isinstance(columns, int) else columns.start or 0)


def _rows_of(call: Call, leaves: Sequence[Leaf | None], rows: Tensor) -> Call:
    flat, spec = tree_flatten((call.args, call.kwargs))
    parts = [x[rows.to(x.device)] if leaf is not None and leaf.rows else x for x, leaf in zip(flat, leaves, strict=True)]
    args, kwargs = tree_unflatten(parts, spec)
    return Call(args, kwargs)


def _completed(output: Any, bases: Known, index: Tensor, skipped: int, leaves: Sequence[Leaf | None]) -> Any:
    """The output with the base's in the columns that were not computed."""
    flat, spec = tree_flatten(output)
    before, _ = bases.results["", 0]
    of_tensors = [leaf for leaf in leaves if leaf is not None]
    parts = []
    for x, known, leaf in zip(flat, before, of_tensors, strict=True):
        part = x
        if leaf.columns is not None:
            first = known.narrow(leaf.columns, 0, skipped)
            part = torch.cat([first[index.to(first.device)] if leaf.rows else first, x], leaf.columns)
        parts.append(part)
    return tree_unflatten(parts, spec)
