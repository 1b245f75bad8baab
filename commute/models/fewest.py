"""The fewest module-FLOPs that the answers to interchanges need."""

from collections.abc import Mapping
from math import nan
from typing import Any

import torch

from commute.causal.batches import Batch, rows_of, take
from commute.models.engine import engine_of
from commute.models.hooks import evaluating
from commute.models.passes import Passes
from commute.models.rows import kinds_of

_ROWS = 3  # from which the cost of a row is known


def fewest_flops(network: Passes, base: Batch, sources: Mapping[Any, Batch]) -> float:
    """Operations to answer each base by itself, and each with the features taken from their sources.

    Distinct bases are run once, distinct sources up to the last site, and for each pair what comes after the first site, all as
    costly as the first rows are.

    Args:
        network: the network.
        base: the bases.
        sources: for each feature the inputs that it is taken from.

    Returns:
        Operations; NaN where it is not known what modules need.
    """
    with evaluating(network.module), torch.no_grad(), network.told("encode or the module", base):
        engine = engine_of(network, take(base, slice(_ROWS)))
        times = None if engine is None else engine.time([f.site for f in sources])
        if engine is None or times is None:
            return nan
        first = torch.arange(min(_ROWS, rows_of(base)))
        skipped = float(engine.first_columns([f.site for f in sources]).double().mean())
        read = sum(
            len(kinds_of(batch)[0]) * engine.flops_until([f for f in sources if sources[f] is batch], first)
            for batch in {id(x): x for x in sources.values()}.values()
        )
        patched = rows_of(base) * engine.flops(times[0], engine.trace.columns - skipped)
        return len(kinds_of(base)[0]) * engine.trace.flops + read + patched
