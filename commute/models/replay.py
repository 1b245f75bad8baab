"""Replaying: a forward pass in which modules return what they are known to give where nothing before them is set."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from commute.errors import NetworkError
from commute.models.trace import Leaf, ModuleCall, Trace

Place = tuple[str, int]  # a module's path and the number of its call


@dataclass
class Known:
    """What module calls gave for the bases: a call's place -> its result, flattened, and how to put it together again."""

    results: dict[Place, tuple[list[Any], Any]] = field(default_factory=dict)

    def append(self, place: Place, output: Any, leaves: Sequence[Leaf | None]) -> None:
        """Add the result for further rows."""
        found, spec = tree_flatten(output)
        if place in self.results:
            before = self.results[place][0]
            found = [
                torch.cat([old, new]) if leaf is not None and leaf.rows else old
                for old, new, leaf in zip(before, found, leaves, strict=True)
            ]
        self.results[place] = found, spec


@contextmanager
def capturing(module: nn.Module, calls: Sequence[ModuleCall], known: Known) -> Iterator[None]:
    """Append the results of the given calls of one forward pass to `known`."""
    wanted = {(c.path, c.number): c for c in calls}
    counts: dict[str, int] = {}

    def see(path: str, output: Any) -> None:
        place = path, counts.get(path, 0)
        counts[path] = place[1] + 1
        if place in wanted:
            known.append(place, output, wanted[place].outputs)

    paths = dict.fromkeys(c.path for c in calls)
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
            if live == 0:
                self._skip(call)
                return self._known(call, slice(0, scope))
            part = _first_rows((args, kwargs), call.inputs, live, scope)
            self.scope = live
            try:
                computed = forward(*part[0], **part[1])
            finally:
                self.scope = scope
            return _appended(computed, self._known(call, slice(live, scope)), call.outputs)

        return replayed

    def _known(self, call: ModuleCall, rows: slice) -> Any:
        """The result of a call for some of the rows."""
        leaves, spec = self.known.results[call.path, call.number]
        chosen = self.bases[rows]
        parts = []
        for value, leaf in zip(leaves, call.outputs, strict=True):
            part = value
            if leaf is not None and leaf.columns is not None:
                part = part.narrow(leaf.columns, self.skipped, part.shape[leaf.columns] - self.skipped)
            parts.append(part[chosen.to(part.device)] if leaf is not None and leaf.rows else part)
        return tree_unflatten(parts, spec)

    def _skip(self, call: ModuleCall) -> None:
        """Count the calls within one that is not made."""
        for inner in self.trace.children[call.start]:
            self.counts[inner.path] = inner.number + 1
            self._skip(inner)


def _first_rows(value: Any, leaves: Sequence[Leaf | None], rows: int, scope: int) -> Any:
    flat, spec = tree_flatten(value)
    if len(flat) != len(leaves):
        raise NetworkError("a module is called with other arguments than in its trace")
    parts = []
    for x, leaf in zip(flat, leaves, strict=True):
        by_row = leaf is None or leaf.rows  # what was nothing in the trace, such as a mask, may be there now
        parts.append(x[:rows] if by_row and isinstance(x, Tensor) and x.shape[:1] == (scope,) else x)
    return tree_unflatten(parts, spec)


def _appended(first: Any, rest: Any, leaves: Sequence[Leaf | None]) -> Any:
    flat, spec = tree_flatten(first)
    others, _ = tree_flatten(rest)
    parts = [torch.cat([x, y]) if leaf is not None and leaf.rows else x for x, y, leaf in zip(flat, others, leaves, strict=True)]
    return tree_unflatten(parts, spec)


def places_of(trace: Trace, times: Sequence[int]) -> Mapping[Place, ModuleCall]:
    """The calls whose results are wanted for rows that must be computed from the given times on."""
    return {(c.path, c.number): c for time in set(times) for c in trace.done(time)}
