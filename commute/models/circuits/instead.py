"""What edges carry that are left out: what nodes write for other inputs, the mean of that, or nothing."""

from collections.abc import Mapping
from reprlib import repr as short

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.interventions import Setting
from commute.errors import NetworkError, check
from commute.models.ablations import Mean, Resample, Zero
from commute.models.circuits.stream import Stream
from commute.models.rows import batched, blocks_of
from commute.runs.seeds import stream as seeded

Instead = Setting | Resample | Mean | Zero  # other inputs row by row, or drawn from some, or the mean over some, or nothing


def not_instead(instead: object, *more: type) -> list[str]:
    """Say that something is not of the kinds that edges may carry instead, nor of some more."""
    if isinstance(instead, Resample | Mean):
        kind, pool = type(instead).__name__, instead.inputs
        return [] if isinstance(pool, Mapping) else [f"instead must be {kind}(inputs), of a batch; given {kind}({short(pool)})"]
    if isinstance(instead, (Mapping, Zero, *more)):
        return []
    kinds = ["other inputs row by row", "Resample(inputs)", "Mean(inputs)", "Zero()", *(f"{kind.__name__}()" for kind in more)]
    return [f"instead must be {', '.join(kinds[:-1])} or {kinds[-1]}; given {short(instead)}"]


def carried(stream: Stream, batch: Batch, instead: Instead) -> Tensor:
    """What each writer adds for inputs on edges that are left out, [writers, batch or 1, …, width]; see `Runs.of`."""
    check(not_instead(instead), NetworkError, "what edges carry that are left out")
    if isinstance(instead, Zero):
        return torch.zeros_like(_written(stream, batch)[:, :1])
    if isinstance(instead, Mean):
        return _mean(stream, batched(instead.inputs)[0])
    if isinstance(instead, Resample):
        pool, _ = batched(instead.inputs)
        others = take(pool, seeded(instead.seed, "resample").integers(rows_of(pool), size=rows_of(batch)))
    else:
        others, _ = batched(instead)
    _check_paired(stream, batch, others)
    return _written(stream, others)


def lengths_of(stream: Stream, batch: Batch) -> Column:
    """How many tokens each row has, [batch]; all 1 where that is not told."""
    mask = stream.tokens(batch)
    return np.ones(rows_of(batch), dtype=np.int64) if mask is None else mask.sum(1).numpy()


def _written(stream: Stream, batch: Batch) -> Tensor:
    """What each writer adds for inputs, [writers, batch, …, width], in passes of as many rows as there is room for."""
    n, first = rows_of(batch), next(iter(stream.network.blocks(batch)))
    lengths = np.ones(n) if first.stop >= n else lengths_of(stream, batch)
    with torch.no_grad():
        parts = [stream.written(take(batch, rows))[:, :own] for rows, own in blocks_of(lengths, first.stop)]
    columns = sorted({x.shape[2] for x in parts})
    if len(columns) > 1:
        raise NetworkError(
            f"inputs have from {columns[0]} to {columns[-1]} columns in different passes; give ones of one length, or a network "
            "with memory= or batch_size= for all in one pass"
        )
    return torch.cat(parts, 1)


def _mean(stream: Stream, batch: Batch) -> Tensor:
    """The mean of what each writer adds, [writers, 1, …, width], where columns hold padding over the other inputs."""
    written, mask = _written(stream, batch), stream.tokens(batch)
    if mask is None:
        return written.double().mean(1, keepdim=True).to(written)
    real = mask.to(written.device)[:, :, None].double()
    return ((written.double() * real).sum(1, keepdim=True) / real.sum(0).clamp(min=1)).to(written)


def _check_paired(stream: Stream, batch: Batch, others: Batch) -> None:
    """Raise where inputs and those in their place do not fit."""
    n, many = rows_of(batch), rows_of(others)
    if n != many:
        raise NetworkError(f"there are {n} inputs and {many} others in their place; give each one")
    ours, theirs = stream.tokens(batch), stream.tokens(others)
    if ours is None or theirs is None or (ours.shape == theirs.shape and torch.equal(ours, theirs)):
        return
    row = 0 if ours.shape != theirs.shape else int((ours != theirs).any(1).nonzero()[0])
    raise NetworkError(
        f"each input and the one in its place must have tokens in the same columns; row {row} has {int(ours[row].sum())} of "
        f"{ours.shape[1]} columns, the other {int(theirs[row].sum())} of {theirs.shape[1]}"
    )
