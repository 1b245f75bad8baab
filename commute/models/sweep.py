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
from commute.models.engine import CONFIRMED, Bases, Engine, close, engine_of, falling_back, given_up
from commute.models.hooks import evaluating, ungraded
from commute.models.passes import Passes
from commute.models.patches import Change, FeatureLike, Write, of_rows
from commute.models.rows import by_row, joined, kinds_of, spread
from commute.models.sites import Tap


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
    vectors = sum(engine.bytes_at(p.feature.site) for p in patches)
    held = engine.bytes_kept([p.time for p in patches], *_columns(patches)) + vectors
    rows = max(1, engine.network.memory // 3 // max(held, engine.bytes_computed(0)))
    return min(rows, engine.network.batch_size or rows)


def _columns(patches: Sequence[_Patch]) -> tuple[int, int]:
    """The fewest and the most columns that are skipped."""
    return min(int(p.columns.min()) for p in patches), max(int(p.columns.max()) for p in patches)


def _block(
    engine: Engine, reader: Engine | None, sources: Sources, patches: Sequence[_Patch], rows: Tensor
) -> tuple[_Block, Cost]:
    """What is needed of some of the pairs, and what it cost."""
    features, places = [p.feature for p in patches], rows.numpy()
    each = torch.arange(len(rows))
    alike = not any(by_row(f.site) for f in features)  # else rows with equal inputs are still distinct
    first, index = map(torch.from_numpy, kinds_of(take(engine.batch, places))) if alike else (each, each)
    bases = engine.bases(rows[first], [p.time for p in patches], *_columns(patches))
    spent = len(first) * engine.trace.flops
    if reader is None:
        taken = engine.network.read(take(sources.batch, places), features, of_rows(sources.do, rows), places)
        cost = Cost(spent + len(rows) * engine.trace.flops, spent + len(rows) * engine.flops_until(features, rows))
    else:
        once, of_row = map(torch.from_numpy, kinds_of(take(sources.batch, places))) if alike else (each, each)
        taken = [x[of_row.to(x.device)] for x in reader.read(rows[once], features)]
        needed = len(once) * reader.flops_until(features, rows)
        cost = Cost(spent + needed, spent + needed)
    return _Block(rows, bases, index, {p.name: x for p, x in zip(patches, taken, strict=True)}), cost


def _groups(engine: Engine, patches: Sequence[_Patch], rows: Tensor) -> Iterator[tuple[list[_Patch], int]]:
    """Patches that one pass makes together, and the columns that it skips."""
    skipped = {p.name: int(p.columns[rows].min()) for p in patches}
    for columns, same in groupby(sorted(patches, key=lambda p: skipped[p.name]), key=lambda p: skipped[p.name]):
        group = list(same)
        most = engine.network.memory // 3 // engine.bytes_computed(columns)
        at_once = max(1, min(most, engine.network.batch_size or most) // len(rows))
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
    """Whether what is read and patched is as in passes in full; looked at once for each set of sites and way of passing."""
    skipping = [p for p in patches if int(p.columns[block.rows].min())]
    others = [p for p in patches if not int(p.columns[block.rows].min())]
    return (
        (reader is None or _reads_confirmed(reader, patches, block))
        and _patches_confirmed(engine, skipping, block, skips=True)
        and _patches_confirmed(engine, others, block, skips=False)
    )


def _reads_confirmed(reader: Engine, patches: Sequence[_Patch], block: _Block) -> bool:
    network, last = reader.network, reader.trace.columns - 1
    key = reader.traces, _taps(patches), "read"
    if key in network.confirmed or reader.last_column([p.feature.site for p in patches], block.rows) == last:
        return True
    few = [patches[i] for i in _some(len(patches))]
    rows = spread(take(reader.batch, block.rows.numpy()), CONFIRMED)
    in_full = reader.read(block.rows[rows], [p.feature for p in few], last=last)
    if not close([block.values[p.name][rows] for p in few], in_full):
        return given_up(network)
    if len(rows) > 1:
        network.confirmed.add(key)
    return True


def _patches_confirmed(engine: Engine, patches: Sequence[_Patch], block: _Block, *, skips: bool) -> bool:
    key = engine.traces, _taps(patches), skips
    if not patches or key in engine.network.confirmed:
        return True
    few, rows = [patches[i] for i in _some(len(patches))], spread({"base": block.index.numpy()}, CONFIRMED)
    pairs = [int(rows[i % len(rows)]) for i in range(len(few))]
    skipped = min(int(p.columns[block.rows[i]]) for p, i in zip(few, pairs, strict=True))
    writes = [block.write(p, slice(i, i + 1), slice(at, at + 1)) for at, (p, i) in enumerate(zip(few, pairs, strict=True))]
    if not engine.confirmed(block.bases, block.index[pairs], [p.time for p in few], writes, skipped):
        return False
    if len(rows) > 1:
        engine.network.confirmed.add(key)
    return True


def _taps(patches: Sequence[_Patch]) -> frozenset[Tap]:
    return frozenset(p.feature.site.tap for p in patches)


def _some(n: int) -> list[int]:
    """Places from the first to the last of n, as many as are confirmed."""
    found: list[int] = np.linspace(0, n - 1, CONFIRMED).astype(int).tolist()
    return found
