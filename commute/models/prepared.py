"""Bases made ready to be patched at the same sites time and again, as in training and where inputs are repeated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.models.engine import CONFIRMED, Bases, Engine, engine_of, falling_back
from commute.models.passes import Passes
from commute.models.patches import Change, FeatureLike, Write, of_features, of_rows
from commute.models.rows import by_row, distinct_rows, spread
from commute.models.sites import Site

Values = Mapping[FeatureLike, Tensor | Change]  # what features are set to

_GAIN = 0.8  # share of the operations of passes in full, below which replaying is worth it


@dataclass(frozen=True, eq=False)
class Prepared:
    """A batch of bases, of which each distinct one was run once, and what is needed of them after some sites was kept.

    Attributes:
        engine: how passes are replayed.
        bases: what is known of the distinct bases.
        index: which of these each row of the batch has, [batch] of int64.
        time: from when on passes are computed.
        skipped: columns that are not computed.
    """

    engine: Engine
    bases: Bases
    index: Tensor
    time: int
    skipped: int

    @property
    def flops(self) -> float:
        """Floating-point operations that a patched row takes."""
        return self.engine.flops(self.time, self.engine.trace.columns - self.skipped)

    @property
    def at_once(self) -> int:
        """Patched rows that there is room for in one pass."""
        return self.engine.network.rows_at_once(self.engine.bytes_computed(self.skipped))

    def output(self, places: Column, values: Values) -> Any:
        """What `decode` takes for some of the bases, with features at the sites set.

        Args:
            places: of the bases in the batch, [rows] of int64.
            values: [rows, dims] of each feature, or a function of its own.
        """
        output = together([(self, places, values)])
        network = self.engine.network
        return network.call(take(self.engine.batch, places), values, rows=places) if output is None else output

    def confirmed(self, index: Tensor, values: Values) -> bool:
        """Whether replaying gives what passes in full give; looked at once for each set of sites."""
        network = self.engine.network
        key = self.engine.traces, frozenset(f.site.tap for f in values), self.skipped > 0, "together"
        if key in network.confirmed or not network.replays:
            return network.replays
        rows = torch.from_numpy(spread({"base": index.numpy()}, CONFIRMED))
        few, writes = index[rows], of_features(of_rows(values, rows))
        with torch.no_grad():
            same = self.engine.confirmed(self.bases, few, [self.time] * len(few), writes, self.skipped)
        if same and len(rows) > 1:
            network.confirmed.add(key)
        return same


def together(parts: Sequence[tuple[Prepared, Column, Values]]) -> Any:
    """As `output`, for the rows of several parts one after the other, in one pass; None where replaying is given up.

    Args:
        parts: of one call of `prepared`, those first whose sites come first.
    """
    first = parts[0][0]
    with falling_back(first.engine.network):
        indices = [p.index[torch.from_numpy(places)] for p, places, _ in parts]
        if not all(p.confirmed(index, values) for (p, _, values), index in zip(parts, indices, strict=True)):
            return None
        times, writes, start = [], [], 0
        for (p, _, values), index in zip(parts, indices, strict=True):
            rows = slice(start, start + len(index))
            times += [p.time] * len(index)
            writes += [Write(feature, value, rows) for feature, value in values.items()]
            start += len(index)
        return first.engine.patched(first.bases, torch.cat(indices), times, writes, first.skipped)
    return None


def prepared(network: Passes, batch: Batch, groups: Sequence[Sequence[Site]], *, patches: float) -> list[Prepared | None]:
    """Run bases once for patches at some sites.

    Args:
        network: the network, whose modes are the caller's.
        batch: the bases.
        groups: sites that are patched together.
        patches: rows that will be patched at each of them, for each base.

    Returns:
        For each group what is prepared for it; None where it is not worth it.
    """
    with torch.no_grad(), falling_back(network):
        n = rows_of(batch)
        once = None if any(by_row(s) for sites in groups for s in sites) else distinct_rows(batch)
        first, index = (torch.arange(n),) * 2 if once is None else map(torch.from_numpy, once)
        engine = engine_of(network, batch)
        if engine is None:
            return [None] * len(groups)
        skipped = min(int(engine.first_columns(sites).min()) for sites in groups)
        times = [_worthwhile(engine, sites, skipped, len(first) / n, patches) for sites in groups]
        wanted = [t for t in times if t is not None]
        if not wanted:
            return [None] * len(groups)
        bases = engine.bases(first, wanted, skipped, skipped)
        return [None if t is None else Prepared(engine, bases, index, t, skipped) for t in times]
    return [None] * len(groups)


def _worthwhile(engine: Engine, sites: Sequence[Site], skipped: int, distinct: float, patches: float) -> int | None:
    """From when on passes are computed for patches at some sites; None where that saves little."""
    times, whole = engine.time(sites), engine.trace.flops
    if times is None:
        return None
    after = engine.flops(times[0], engine.trace.columns - skipped)
    return times[0] if distinct * whole + patches * after <= _GAIN * patches * whole else None
