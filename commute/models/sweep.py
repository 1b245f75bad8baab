"""Sweeps: the same pairs under many interchanges, each by itself, in as few and as small passes as possible."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, rows_of, take
from commute.models.cost import Cost
from commute.models.engine import Bases, Engine, close, engine_of, falling_back, given_up
from commute.models.hooks import evaluating, ungraded
from commute.models.passes import Passes
from commute.models.patches import Change, FeatureLike, Write
from commute.models.rows import by_row, distinct_rows, joined

_CONFIRMED = 6  # pairs, at sites from the first to the last, in which passes are compared with passes in full


@dataclass(frozen=True)
class Sweep:
    """The labels under each interchange, and what they cost.

    Attributes:
        answers: for each interchange the network's labels [batch], or one array an output.
        cost: of all of them together.
    """

    answers: Mapping[Any, Any]
    cost: Cost


@dataclass(frozen=True, eq=False)
class Sources:
    """What features are taken from: the inputs of each row, and what is set when they are run."""

    batch: Batch
    do: Mapping[FeatureLike, Tensor | Change]


@dataclass(frozen=True, eq=False)
class _Patch:
    """One interchange on all pairs: from when on it matters, and from which column on in each pair."""

    name: Any
    feature: FeatureLike
    time: int
    columns: Tensor


@dataclass(frozen=True, eq=False)
class _Block:
    """Some of the pairs: what is known of their bases, which of these each has, and what each feature takes from its source."""

    rows: Tensor
    bases: Bases
    index: Tensor
    values: Mapping[Any, Tensor]

    def write(self, patch: _Patch, rows: slice, at: slice) -> Write:
        """What a patch sets for some of the pairs, which stand `at` some rows of a pass."""
        return Write(patch.feature, self.values[patch.name][rows], at)


def swept(network: Passes, base: Batch, sources: Sources, features: Mapping[Any, FeatureLike]) -> Sweep | None:
    """The labels for `base` [batch] with each of the features by itself taken from the sources.

    None where they must be found by passes in full.
    """
    with evaluating(network.module), ungraded(network.module), falling_back(network):
        engine = engine_of(network, base)
        return None if engine is None else _replayed(engine, sources, features)
    return None


def _replayed(engine: Engine, sources: Sources, features: Mapping[Any, FeatureLike]) -> Sweep | None:
    """The sweep by replaying; None where that does not give what passes in full give."""
    patches = _patches(engine, features)
    if patches is None:
        return None
    reader = None if sources.do else engine_of(engine.network, sources.batch)
    labels: dict[Any, list[Any]] = {name: [] for name in features}
    cost = Cost(0, 0)
    for rows in torch.split(torch.arange(rows_of(engine.batch)), _rows_at_once(engine, patches)):
        block, spent = _block(engine, reader, sources, patches, rows)
        cost += spent
        if not _confirmed(engine, reader, patches, block):
            return None
        for group, skipped in _groups(engine, patches, rows):
            for patch, answered in _pass(engine, block, group, skipped):
                labels[patch.name].append(answered)
                cost += _cost(engine, patch, rows, skipped)
    return Sweep({name: joined(parts) for name, parts in labels.items()}, cost)


def _patches(engine: Engine, features: Mapping[Any, FeatureLike]) -> list[_Patch] | None:
    """The interchanges in the order in which they begin to matter; None where a site is not reached exactly once."""
    patches = []
    for name, feature in features.items():
        times = engine.time([feature.site])
        if times is None:
            return None  # a pass in full says what is wrong
        patches.append(_Patch(name, feature, times[0], engine.first_columns([feature.site])))
    return sorted(patches, key=lambda p: p.time)


def _rows_at_once(engine: Engine, patches: Sequence[_Patch]) -> int:
    """How many pairs may be held at once with all that is known of them, and be patched in one pass."""
    first, late = _columns(patches)
    vectors = sum(engine.bytes_at(p.feature.site) for p in patches)
    held = engine.bytes_kept([p.time for p in patches], first, late=late) + vectors
    return max(1, engine.network.memory // 3 // max(held, engine.bytes_computed(0)))


def _columns(patches: Sequence[_Patch]) -> tuple[int, bool]:
    """How many columns all patches skip, and whether any skips some."""
    return min(int(p.columns.min()) for p in patches), any(bool(p.columns.any()) for p in patches)


def _block(
    engine: Engine, reader: Engine | None, sources: Sources, patches: Sequence[_Patch], rows: Tensor
) -> tuple[_Block, Cost]:
    """What is needed of some of the pairs, and what it cost."""
    network, features = engine.network, [p.feature for p in patches]
    once = None if any(by_row(f.site) for f in features) else distinct_rows(take(engine.batch, rows.numpy()))
    first, index = (torch.arange(len(rows)),) * 2 if once is None else map(torch.from_numpy, once)
    column, late = _columns(patches)
    bases = engine.bases(rows[first], [p.time for p in patches], column, late=late)
    spent = len(first) * engine.trace.flops
    if reader is None:
        taken = network.read(take(sources.batch, rows.numpy()), features, sources.do, rows.numpy())
        cost = Cost(spent + len(rows) * engine.trace.flops, spent + len(rows) * engine.flops_until(features, rows))
    else:
        taken = reader.read(rows, features)
        needed = len(rows) * reader.flops_until(features, rows)
        cost = Cost(spent + needed, spent + needed)
    return _Block(rows, bases, index, {p.name: x for p, x in zip(patches, taken, strict=True)}), cost


def _groups(engine: Engine, patches: Sequence[_Patch], rows: Tensor) -> Iterator[tuple[list[_Patch], int]]:
    """Patches that one pass makes together, and the columns that it skips."""
    skipped = {p.name: int(p.columns[rows].min()) for p in patches}
    for columns, same in groupby(sorted(patches, key=lambda p: skipped[p.name]), key=lambda p: skipped[p.name]):
        group = list(same)
        at_once = max(1, engine.network.memory // 3 // engine.bytes_computed(columns) // len(rows))
        for start in range(0, len(group), at_once):
            yield group[start : start + at_once], columns


def _pass(engine: Engine, block: _Block, group: Sequence[_Patch], skipped: int) -> Iterator[tuple[_Patch, Any]]:
    """The labels of each patch, from one pass."""
    n = len(block.rows)
    index = block.index.repeat(len(group))
    parts = [slice(i * n, (i + 1) * n) for i in range(len(group))]
    writes = [block.write(patch, slice(None), part) for patch, part in zip(group, parts, strict=True)]
    output = engine.patched(block.bases, index, [p.time for p in group for _ in range(n)], writes, skipped)
    labels = engine.network.decoded(output, take(engine.batch, block.bases.rows[index].numpy()))
    for patch, part in zip(group, parts, strict=True):
        yield patch, {k: x[part] for k, x in labels.items()} if isinstance(labels, dict) else labels[part]


def _cost(engine: Engine, patch: _Patch, rows: Tensor, skipped: int) -> Cost:
    columns = engine.trace.columns
    mean = float(patch.columns[rows].double().mean())
    return Cost(*(len(rows) * engine.flops(patch.time, columns - x) for x in (skipped, mean)))


def _confirmed(engine: Engine, reader: Engine | None, patches: Sequence[_Patch], block: _Block) -> bool:
    """Whether what is read and patched is as in passes in full; looked at once for each set of sites."""
    few = [patches[i] for i in np.linspace(0, len(patches) - 1, _CONFIRMED).astype(int)]
    pairs = [i % len(block.rows) for i in range(len(few))]
    skipped = min(int(p.columns[block.rows[i]]) for p, i in zip(few, pairs, strict=True))
    key = frozenset(p.feature.site.tap for p in patches), skipped > 0
    network = engine.network
    if key in network.confirmed:
        return True
    features, rows, last = [p.feature for p in few], block.rows[:_CONFIRMED], reader.trace.columns - 1 if reader else 0
    if reader is not None and reader.last_column([p.feature.site for p in patches], block.rows) < last:
        read = [block.values[p.name][: len(rows)] for p in few]
        if not close(read, reader.read(rows, features, last=last)):
            return given_up(network)
    writes = [block.write(p, slice(i, i + 1), slice(at, at + 1)) for at, (p, i) in enumerate(zip(few, pairs, strict=True))]
    if not engine.confirmed(block.bases, block.index[pairs], [p.time for p in few], writes, skipped):
        return False
    network.confirmed.add(key)
    return True
