"""Passes: one forward pass after the other through a module, from inputs to values and labels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from commute.causal.batches import Batch, Column, rows_of, take
from commute.errors import CommuteError, NetworkError
from commute.models.calls import Call, tensors_of
from commute.models.decoding import Decode, labels_of
from commute.models.hooks import visiting
from commute.models.patches import Change, FeatureLike, Read, of_features, of_rows, visitors
from commute.models.positions import Positions, frame_of
from commute.models.recording import measuring
from commute.models.rows import Labels
from commute.models.store import Store

Encode = Callable[[Batch], Any]  # inputs -> a tensor, a tuple of positional arguments or a mapping of keyword arguments
Finish = Callable[[Any, Any], Any]  # the module's call, its output -> what decode takes

MEMORY = 1 << 30
FEW = 32  # rows that are run at once without measuring whether there is room for them, where memory is not made small
_TWO = 2  # rows by which that is measured
_CACHED = 1 << 24  # bytes of a pass above which a processor's caches no longer help
_HELD = 4  # times what its widest call holds is what a pass holds, about


@dataclass(eq=False, repr=False)
class Passes:
    """A module, the meaning of its inputs and outputs, and what its passes may take; see `Network`.

    Modes and gradients of the module are the caller's.

    Attributes:
        replays: whether what is known of some passes may be replayed in others; given up where that was seen to differ.
        confirmed: where and how replaying was compared with passes in full: traces, sets of taps, and ways of passing.
        traces: by what the module is made of and called with.
        measured: bytes that a pass takes for each number that the module is called with, about; None until a pass is measured.
        store: room for what is kept of passes, within `memory`.
    """

    module: nn.Module
    encode: Encode
    decode: Decode
    name: str
    batch_size: int | None
    positions: Positions
    finish: Finish | None
    memory: int
    spill: Path | None
    replays: bool = True
    confirmed: set[Any] = field(default_factory=set)
    traces: dict[Any, Any] = field(default_factory=dict)
    measured: float | None = None

    def __post_init__(self) -> None:
        self.store = Store(self.memory, self.spill)

    def call(
        self,
        batch: Batch,
        do: Mapping[FeatureLike, Tensor | Change] | None = None,
        reads: Sequence[Read] = (),
        *,
        rows: Column | None = None,
    ) -> Any:
        """What `decode` takes, for one batch, with features set and read; gradients and modes are the caller's.

        Args:
            batch: inputs.
            do: values [batch, dims] of features, or functions of their values.
            reads: features to read, after those at the same site are set.
            rows: the batch's places in what the user gave, for positions given row by row.

        Raises:
            NetworkError: when `encode` or the module raises, saying with which inputs.
        """
        with self.told("encode or the module", batch):
            call = self.encoded(batch)
            frame = frame_of(batch, rows, call, self.positions)
            with visiting(self.module, visitors(of_features(do or {}), reads, frame), rows=lambda: rows_of(batch)):
                output = call.make(self.module)
            return self.finished(call, output)

    def read(
        self,
        batch: Batch,
        features: Sequence[FeatureLike],
        do: Mapping[FeatureLike, Tensor | Change] | None = None,
        rows: Column | None = None,
    ) -> list[Tensor]:
        """The values of features [batch, dims], as `call`, in passes of as many rows as there is room for."""
        n = rows_of(batch)
        kept: list[Tensor] = []
        for block in self.blocks(batch):
            parts: list[list[Tensor]] = [[] for _ in features]
            reads = [Read(f, values) for f, values in zip(features, parts, strict=True)]
            places = (np.arange(n) if rows is None else rows)[block]
            self.call(take(batch, block), of_rows(do or {}, block), reads, rows=places)
            for i, (values,) in enumerate(parts):
                if len(kept) <= i:
                    kept.append(values if len(values) == n else self.store.empty((n, *values.shape[1:]), values))
                if kept[i].shape[1:] != values.shape[1:]:
                    raise NetworkError(
                        f"the site {features[i].site} holds {values.shape[1]} values in some prompts and {kept[i].shape[1]} in "
                        "others; choose positions that each prompt has equally many of"
                    )
                if kept[i] is not values:
                    kept[i][block] = values
        return kept

    def finished(self, call: Call, output: Any) -> Any:
        """What `decode` takes, from the module's call and its output."""
        return output if self.finish is None else self.finish(call.kwargs or call.args, output)

    def encoded(self, batch: Batch) -> Call:
        """What the module is called with for a batch of inputs."""
        with self.told("encode or the module", batch), torch.inference_mode(mode=False):  # encode may keep what it makes
            return Call.of(self.encode({v: x.copy() for v, x in batch.items()}))

    def decoded(self, output: Any, batch: Batch) -> Labels:
        """The labels in what `call` returned for a batch.

        Raises:
            NetworkError: for NaN, another number of labels than rows, and when `decode` raises.
        """
        for tensor in tensors_of(output):
            if tensor.is_floating_point() and tensor.numel() and tensor.amax().isnan():
                raise NetworkError(f"the output of {self.name!r} has NaN; no answer can be read from it")
        with self.told("decode", batch):
            labels = labels_of(self.decode(output))
        for column in labels.values() if isinstance(labels, dict) else [labels]:
            if len(column) != rows_of(batch):
                raise NetworkError(f"decode must return one label a row; it returned {len(column)} for {rows_of(batch)} rows")
        return labels

    @contextmanager
    def told(self, what: str, batch: Batch) -> Iterator[None]:
        """Turn an error of the user's functions into one that says where it came up; our own errors pass."""
        try:
            yield
        except (CommuteError, Warning):
            raise
        except Exception as error:
            first = {v: x[:1].tolist()[0] for v, x in batch.items()}
            raise NetworkError(
                f"{what} of {self.name!r} raised {type(error).__name__} on {rows_of(batch)} rows, the first {first}: {error}"
            ) from error

    def rows_at_once(self, size: int) -> int:
        """Rows in one pass, given the bytes that a row takes."""
        return self.batch_size or max(1, min(self.memory // 3, _CACHED) // max(size, 1))

    def blocks(self, batch: Batch) -> Iterator[slice]:
        """The rows of one pass after the other."""
        n = rows_of(batch)
        small = FEW if self.memory >= MEMORY else _TWO
        size = self.batch_size or (n if n <= small else self.rows_at_once(self._size(batch)))
        return (slice(start, start + size) for start in range(0, n, size))

    def _size(self, batch: Batch) -> int:
        """Bytes that a row takes in a pass, about: in proportion to what the module is called with, as measured in one pass."""
        two = take(batch, slice(_TWO))
        with self.told("encode or the module", two):
            call = self.encoded(two)
            given = sum(x.numel() for x in tensors_of((call.args, call.kwargs)))
            if self.measured is None:
                with measuring(self.module) as widest:
                    call.make(self.module)
                self.measured = _HELD * widest() / max(given, 1)
        return int(self.measured * given / _TWO)
