"""Sweeps: the same pairs under many interventions, each by itself, in as few and as small passes as possible."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from commute.causal.batches import Batch, rows_of, take
from commute.errors import ReplayWarning
from commute.models.cost import Cost
from commute.models.engine import Bases, Engine, engine_of
from commute.models.hooks import undisturbed
from commute.models.patches import FeatureLike, Write

if TYPE_CHECKING:
    from commute.models.network import Network

_SAME = 1e-4  # difference that rounding may make, against the largest output
Do = Mapping[FeatureLike, Tensor]  # values [batch, dims] of features


@dataclass(frozen=True)
class Sweep:
    """The labels under each intervention, and what they cost.

    Attributes:
        answers: for each intervention the network's labels [batch], or one array an output.
        cost: of all of them together.
    """

    answers: Mapping[Any, Any]
    cost: Cost


@dataclass(frozen=True, eq=False)
class _Patch:
    """One intervention on all pairs: what it sets, from when on it matters, and from which column on in each pair."""

    name: Any
    values: Do
    time: int
    columns: Tensor

    def writes(self, rows: Tensor, at: slice) -> list[Write]:
        """What it sets for some of the pairs, which stand `at` some rows of a pass."""
        return [Write(f, x[rows.to(x.device)], at) for f, x in self.values.items()]


def swept(network: "Network", base: Batch, interventions: Mapping[Any, Do]) -> Sweep:
    """The labels for `base` [batch] under each of the interventions."""
    with undisturbed(network.module), torch.no_grad(), network.told("encode or the module", base):
        engine = engine_of(network, base)
        found = None if engine is None else _replayed(engine, interventions)
    if found is not None:
        return found
    answers = {name: network.run(base, do) for name, do in interventions.items()}
    flops = 0.0 if engine is None else engine.trace.flops * rows_of(base) * len(interventions)
    return Sweep(answers, Cost(flops, flops))


def _replayed(engine: Engine, interventions: Mapping[Any, Do]) -> Sweep | None:
    """The sweep by replaying; None where that does not give what passes in full give."""
    patches = _patches(engine, interventions)
    if patches is None:
        return None
    times = [p.time for p in patches]
    late = any(bool((p.columns > 0).any()) for p in patches)
    labels: dict[Any, list[Any]] = {name: [] for name in interventions}
    cost = _cost_of_sources(engine, interventions)
    for rows in torch.split(torch.arange(rows_of(engine.batch)), engine.bases_at_once(times)):
        bases = engine.bases(rows, times, late=late)
        run_once = len(rows) * engine.trace.flops
        cost += Cost(run_once, run_once)
        if not _verified(engine, bases, patches):
            return None
        for group, skipped in _groups(engine, patches, rows):
            for patch, answered in _pass(engine, bases, group, skipped):
                labels[patch.name].append(answered)
                cost += _cost(engine, patch, rows, skipped)
    return Sweep({name: _joined(parts) for name, parts in labels.items()}, cost)


def _patches(engine: Engine, interventions: Mapping[Any, Do]) -> list[_Patch] | None:
    """The interventions in the order in which they begin to matter; None where a site is not reached exactly once."""
    patches = []
    for name, do in interventions.items():
        times = [engine.trace.time(f.site.tap) for f in do]
        if not times or None in times:
            return None  # a pass in full says what is wrong
        patches.append(_Patch(name, do, min(t for t in times if t is not None), engine.first_columns([f.site for f in do])))
    return sorted(patches, key=lambda p: p.time)


def _groups(engine: Engine, patches: Sequence[_Patch], rows: Tensor) -> Iterator[tuple[list[_Patch], int]]:
    """Patches that one pass makes together, and the columns that it skips."""
    skipped = {p.name: int(p.columns[rows].min()) for p in patches}
    for columns, same in groupby(sorted(patches, key=lambda p: skipped[p.name]), key=lambda p: skipped[p.name]):
        group = list(same)
        at_once = max(1, engine.rows_at_once(columns) // len(rows))
        for start in range(0, len(group), at_once):
            yield group[start : start + at_once], columns


def _pass(engine: Engine, bases: Bases, group: Sequence[_Patch], skipped: int) -> Iterator[tuple[_Patch, Any]]:
    """The labels of each patch, from one pass."""
    n = len(bases.rows)
    index = torch.arange(n).repeat(len(group))
    parts = [slice(i * n, (i + 1) * n) for i in range(len(group))]
    writes = [w for patch, part in zip(group, parts, strict=True) for w in patch.writes(bases.rows, part)]
    output = engine.patched(bases, index, [p.time for p in group for _ in range(n)], writes, skipped)
    labels = engine.network.decoded(output, take(engine.batch, bases.rows[index].numpy()))
    for patch, part in zip(group, parts, strict=True):
        yield patch, {k: x[part] for k, x in labels.items()} if isinstance(labels, dict) else labels[part]


def _cost_of_sources(engine: Engine, interventions: Mapping[Any, Do]) -> Cost:
    """One run of the sources, of which what comes after the last site is not needed."""
    n, whole = rows_of(engine.batch), engine.trace.flops
    last = max(engine.trace.time(f.site.tap) or 0 for do in interventions.values() for f in do)
    return Cost(n * whole, n * (whole - engine.flops(last, engine.trace.columns)))


def _cost(engine: Engine, patch: _Patch, rows: Tensor, skipped: int) -> Cost:
    columns = engine.trace.columns
    mean = float(patch.columns[rows].double().mean())
    return Cost(*(len(rows) * engine.flops(patch.time, columns - x) for x in (skipped, mean)))


def _verified(engine: Engine, bases: Bases, patches: Sequence[_Patch]) -> bool:
    """Whether a few patched rows come out as in a pass in full; looked at once for each set of sites."""
    network = engine.network
    key = frozenset(f.site.tap for p in patches for f in p.values)
    if key in network.verified:
        return True
    index = torch.arange(min(2, len(bases.rows)))
    rows = bases.rows[index]
    for place in dict.fromkeys(np.linspace(0, len(patches) - 1, 3).astype(int).tolist()):
        patch = patches[place]
        writes = patch.writes(rows, slice(None))
        replayed = engine.patched(bases, index, [patch.time] * len(rows), writes, int(patch.columns[rows].min()))
        if not _close(replayed, engine.plain(rows, writes), engine.frame.take(rows.numpy()).mask):
            network.replays = False
            warnings.warn(
                f"replaying what is known of {network.name!r} does not give what passes in full give: its modules have side "
                "effects or randomness, or mix rows; every pass is made in full from now on",
                ReplayWarning,
                stacklevel=5,
            )
            return False
    network.verified.add(key)
    return True


def _close(one: Any, other: Any, mask: Tensor | None) -> bool:
    """Whether two outputs are the same up to rounding, what they hold at padding aside."""

    def real(x: Tensor) -> Tensor:
        return x[mask.to(x.device)] if mask is not None and x.shape[:2] == mask.shape else x

    ours, theirs = ([real(x).float() for x in tree_leaves(v) if isinstance(x, Tensor)] for v in (one, other))
    return len(ours) == len(theirs) and all(
        x.shape == y.shape and torch.allclose(x, y, rtol=_SAME, atol=_SAME * float(y.abs().max().clamp(min=1)), equal_nan=True)
        for x, y in zip(ours, theirs, strict=True)
    )


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], dict):
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    return np.concatenate(parts)
