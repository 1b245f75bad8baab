"""Replaying: a forward pass in which modules return what they are known to give where nothing before them is set."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from commute.models.store import Store
from commute.models.trace import Leaf, ModuleCall, Trace

Place = tuple[str, int]  # a module's path and the number of its call


@dataclass(frozen=True, eq=False)
class Result:
    """What a module call gave: its leaves, where they belong, and how to put them together again."""

    leaves: list[Any]
    devices: list[torch.device | None]
    spec: Any


@dataclass
class Known:
    """What module calls gave for the bases.

    Attributes:
        rows: how many bases there are.
        calls: the calls.
        needed: those whose results something reads; of the others the first row stands for all.
        store: where results are kept.
        first: the column from which on they are kept, where they have columns.
        results: by the call's place.
    """

    rows: int
    calls: Mapping[Place, ModuleCall]
    needed: frozenset[Place]
    store: Store
    first: int = 0
    results: dict[Place, Result] = field(default_factory=dict)

    def put(self, place: Place, output: Any, start: int) -> None:
        """Keep the result of a call for the bases from `start` on."""
        flat, spec = tree_flatten(output)
        leaves = self.calls[place].outputs
        kept = self.rows if place in self.needed else 1
        if start >= kept:
            return
        parts = [_from(x, leaf, self.first) for x, leaf in zip(flat, leaves, strict=True)]
        if place not in self.results:
            rooms = [self._room(x, leaf, kept) for x, leaf in zip(parts, leaves, strict=True)]
            self.results[place] = Result(rooms, [x.device if isinstance(x, Tensor) else None for x in parts], spec)
        for room, part, leaf in zip(self.results[place].leaves, parts, leaves, strict=True):
            if leaf is not None and leaf.rows:
                room[start : start + len(part)] = part[: kept - start]

    def _room(self, part: Any, leaf: Leaf | None, rows: int) -> Any:
        by_row = leaf is not None and leaf.rows
        return self.store.empty((rows, *part.shape[1:]), part) if by_row else part

    def of(self, place: Place, bases: Tensor, first: int) -> list[Any]:
        """The result of a call, flattened, for the bases [rows] of int64, from a column on."""
        result, parts = self.results[place], []
        for kept, device, leaf in zip(result.leaves, result.devices, self.calls[place].outputs, strict=True):
            part = _from(kept, leaf, first - self.first)
            if leaf is not None and leaf.rows:
                part = part[bases.to(part.device)] if place in self.needed else part.expand(len(bases), *part.shape[1:])
                part = part.to(device)
            parts.append(part)
        return parts


def known(trace: Trace, times: Sequence[int], rows: int, store: Store, first: int = 0) -> Known:
    """Room for what is wanted of `rows` bases for patches that begin at the given times."""
    calls, needed = {}, set()
    for time in set(times):
        for call in trace.done(time):
            calls[call.path, call.number] = call
            if time < call.until:
                needed.add((call.path, call.number))
    return Known(rows, calls, frozenset(needed), store, first)


@contextmanager
def capturing(module: nn.Module, kept: Known, start: int) -> Iterator[None]:
    """Keep what calls give in one forward pass over the bases from `start` on."""
    counts: dict[str, int] = {}

    def see(path: str, output: Any) -> None:
        place = path, counts.get(path, 0)
        counts[path] = place[1] + 1
        if place in kept.calls:
            kept.put(place, output, start)

    paths = dict.fromkeys(path for path, _ in kept.calls)
    handles = [module.get_submodule(p).register_forward_hook(lambda _, __, output, p=p: see(p, output)) for p in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class Replay:
    """One forward pass over rows sorted by the time from which they must be computed.

    Attributes:
        trace: of the module.
        known: what its calls gave for the bases.
        bases: which base each row has, [rows] of int64.
        times: from when each row is computed, [rows], ascending.
        skipped: columns at the beginning that are not computed.
        scope: rows that the module running now is called with.
    """

    trace: Trace
    known: Known
    bases: Tensor
    times: list[int]
    skipped: int = 0

    def __post_init__(self) -> None:
        self.scope = len(self.times)
        self.counts: dict[str, int] = {}

    @contextmanager
    def active(self, module: nn.Module, tapped: Iterable[str]) -> Iterator[None]:
        """While active, the known modules within `module` compute only what they must; calls of tapped ones are counted too."""
        paths = dict.fromkeys([*(path for path, _ in self.known.results), *tapped])
        inner = {path: module.get_submodule(path) for path in paths}
        kept = {path: m.__dict__.get("forward") for path, m in inner.items()}
        try:
            for path, m in inner.items():
                m.forward = self._replaying(path, m.forward)
            yield
        finally:
            for path, m in inner.items():
                own = kept[path]  # what accelerate, say, has put there
                if own is None:
                    m.__dict__.pop("forward", None)
                else:
                    m.forward = own

    def _replaying(self, path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def replayed(*args: Any, **kwargs: Any) -> Any:
            place = path, self.counts.get(path, 0)
            self.counts[path] = place[1] + 1
            call = self.trace.by_place.get(place)
            if call is None or place not in self.known.results:
                return forward(*args, **kwargs)
            scope, live = self.scope, min(bisect_left(self.times, call.end), self.scope)
            if live == scope:
                return forward(*args, **kwargs)
            rest = self.known.of(place, self.bases[live:scope], self.skipped)
            if live == 0:
                self._skip(call)
                return tree_unflatten(rest, self.known.results[place].spec)
            part = _first_rows((args, kwargs), call.inputs, live, scope)
            self.scope = live
            try:
                computed = forward(*part[0], **part[1])
            finally:
                self.scope = scope
            return _appended(computed, rest, call.outputs)

        return replayed

    def _skip(self, call: ModuleCall) -> None:
        """Count the calls within one that is not made."""
        for inner in self.trace.children[call.start]:
            self.counts[inner.path] = inner.number + 1
            self._skip(inner)


def _from(value: Any, leaf: Leaf | None, column: int) -> Any:
    """A result from a column on, where it has columns."""
    if leaf is None or leaf.columns is None or not column:
        return value
    return value.narrow(leaf.columns, column, value.shape[leaf.columns] - column)


def _first_rows(value: Any, leaves: Sequence[Leaf | None], rows: int, scope: int) -> Any:
    flat, spec = tree_flatten(value)
    if len(flat) != len(leaves):
        msg = "a module is called with other arguments than in its trace"
        raise RuntimeError(msg)  # after which passes are made in full
    parts = []
    for x, leaf in zip(flat, leaves, strict=True):
        by_row = leaf is None or leaf.rows  # what was nothing in the trace, such as a mask, may be there now
        parts.append(x[:rows] if by_row and isinstance(x, Tensor) and x.shape[:1] == (scope,) else x)
    return tree_unflatten(parts, spec)


def _appended(first: Any, rest: Sequence[Any], leaves: Sequence[Leaf | None]) -> Any:
    flat, spec = tree_flatten(first)
    parts = [torch.cat([x, y]) if leaf is not None and leaf.rows else x for x, y, leaf in zip(flat, rest, leaves, strict=True)]
    return tree_unflatten(parts, spec)
