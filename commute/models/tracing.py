"""Tracing: the few small passes from which it is known how a network's passes can be replayed."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from commute.causal.batches import Batch, rows_of, take
from commute.models.calls import Call
from commute.models.passes import Passes
from commute.models.recording import Recording, record, record_costs
from commute.models.trace import Leaf, Trace, compared, compared_columns

BY_COLUMN = ("input_ids", "inputs_embeds", "position_ids", "token_type_ids")  # what a causal transformer takes for each column
_PLAIN = bool | int | float | str | None  # what an argument may be that is the same for all rows
_KEPT = 64  # traces
_FEWEST = 3  # columns: one to skip, and two that tell from one


@dataclass(frozen=True, eq=False)
class Traces:
    """What is known of the passes of one network over inputs of one shape.

    Attributes:
        whole: of a pass with all columns.
        late: of a pass over the last columns, those before from keys and values; None where the network is no causal transformer.
        keys: bytes of a row's keys and values.
        layers: how many layers have them.
    """

    whole: Trace
    late: Trace | None = None
    keys: int = 0
    layers: int = 1


def traces_of(network: Passes, batch: Batch, call: Call) -> Traces | None:
    """The traces for a network called with `call` for a batch; None where passes must be made in full.

    That is where the user has hooks in the module, which replaying would skip, where the module is asked for its keys and values,
    where it is called with rows that are no tensors, and where passes over two and over three rows do not make the same calls.
    """
    if not network.replays or any(m._forward_hooks or m._forward_pre_hooks for m in network.module.modules()):  # noqa: SLF001
        return None
    if call.kwargs.get("use_cache"):  # what goes on from its keys and values needs those of a pass in full
        return None
    n = rows_of(batch)
    few = np.array([0, min(1, n - 1), min(2, n - 1)])
    flat = [tree_flatten((c.args, c.kwargs))[0] for c in (network.encoded(take(batch, few[:k])) for k in (2, 3))]
    if len(flat[0]) != len(flat[1]) or not all(isinstance(x, Tensor | _PLAIN) for x in flat[1]):
        return None
    leaves = [Leaf(len(a) != len(b), None, 0) if isinstance(a, Tensor) and a.ndim else None for a, b in zip(*flat, strict=True)]
    samples = [rows_of_call(call, leaves, torch.from_numpy(few[:k])) for k in (2, 3)]
    called_with = tree_flatten((samples[0].args, samples[0].kwargs))[0]
    shapes = tuple(tuple(x.shape) if isinstance(x, Tensor) else repr(x) for x in called_with)
    key = shapes, _state(network.module)
    if len(network.traces) > _KEPT:
        network.traces.clear()
        network.confirmed.clear()
    if key not in network.traces:
        with torch.inference_mode(mode=False), torch.no_grad():  # which shows operations in the parts that are counted
            network.traces[key] = _traced(network.module, samples)
    found: Traces | None = network.traces[key]
    return found


def _state(module: nn.Module) -> tuple[Any, ...]:
    """What decides which way a pass takes: the modules, their plain attributes and those of the configuration."""
    config = getattr(module, "config", None)
    holders = [*module.modules(), *([config] if hasattr(config, "__dict__") else [])]
    plain = ((name, x) for holder in holders for name, x in vars(holder).items() if isinstance(x, _PLAIN) and name != "training")
    return (*map(id, module.modules()), *plain)


def _traced(module: nn.Module, samples: Sequence[Call]) -> Traces | None:
    columns = _columns(samples[0])
    two, three = record_costs(module, samples[0]), record(module, samples[1])
    whole = compared(two, three, columns)
    if whole is None or not whole.calls[0].inputs:
        return None
    try:
        found = _with_late(module, samples, two, whole)
    except Exception:  # noqa: BLE001  # a model may keep other things than keys and values, and then columns are not skipped
        found = None
    return found or Traces(whole)


def _with_late(module: nn.Module, samples: Sequence[Call], two: Recording, whole: Trace) -> Traces | None:
    """With the trace of a pass over the last columns alone, for causal transformers of the transformers library."""
    if whole.columns < _FEWEST or not _keeps_keys(module, samples[0]):
        return None
    from commute.models import keyvalues

    skipped = whole.columns // 2
    cache = keyvalues.empty()
    samples[1].with_keys(cache).make(module)
    layers = keyvalues.filled(cache)
    if len(layers) < len(cache.layers):
        return None
    late = [
        columns_of_call(call, slice(skipped, None)).with_keys(keyvalues.shared(layers, torch.arange(2 + i), skipped))
        for i, call in enumerate(samples)
    ]
    runs = record_costs(module, late[0]), record(module, late[1])
    late_trace = compared_columns(*runs, two, whole.columns, whole.columns - skipped)
    size = sum(x.numel() * x.element_size() for layer in layers for x in layer)
    return Traces(whole, late_trace, size // len(layers[0][0]), len(layers))


def _keeps_keys(module: nn.Module, call: Call) -> bool:
    """Whether the module is a causal transformer that takes keys and values, called in a way that leaves them to us."""
    config = getattr(module, "config", None)
    takes = inspect.signature(module.forward).parameters
    causal = getattr(config, "is_encoder_decoder", True) is False and hasattr(module, "prepare_inputs_for_generation")
    return causal and "past_key_values" in takes and not call.args and not call.kwargs.get("use_cache")


def _columns(call: Call) -> int:
    ids = call.kwargs.get("input_ids")
    return ids.shape[1] if isinstance(ids, Tensor) and ids.ndim == 2 else 1  # noqa: PLR2004  # [batch, columns]


def rows_of_call(call: Call, leaves: Sequence[Leaf | None], rows: Tensor) -> Call:
    """A call for some of its rows, given which of its leaves have rows."""
    flat, spec = tree_flatten((call.args, call.kwargs))
    parts = [x[rows.to(x.device)] if leaf is not None and leaf.rows else x for x, leaf in zip(flat, leaves, strict=True)]
    args, kwargs = tree_unflatten(parts, spec)
    return Call(args, kwargs)


def columns_of_call(call: Call, columns: slice) -> Call:
    """A causal transformer's call for some of its columns; its mask goes on beginning with the first."""

    def part(name: str, x: Any) -> Any:
        if name in BY_COLUMN and isinstance(x, Tensor):
            return x[:, columns]
        return x[:, : columns.stop] if name == "attention_mask" and isinstance(x, Tensor) else x

    return Call(call.args, {k: part(k, x) for k, x in call.kwargs.items()})
