"""Calls: what a module is called with for one batch."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map


@dataclass(frozen=True, eq=False)
class Call:
    """The arguments of a module for one batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, encoded: Any) -> "Call":
        """From what `encode` returned: a tensor, a tuple of positional arguments or a mapping of keyword arguments."""
        if isinstance(encoded, Mapping):
            return cls((), dict(encoded))
        return cls(encoded if isinstance(encoded, tuple) else (encoded,), {})

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Call":
        """The call with each tensor changed."""
        args, kwargs = tree_map(lambda x: change(x) if isinstance(x, Tensor) else x, (self.args, self.kwargs))
        return Call(args, kwargs)

    def with_keys(self, cache: Any) -> "Call":
        """The call of a causal transformer that goes on from a cache of keys and values, and fills it."""
        return Call(self.args, {**self.kwargs, "past_key_values": cache, "use_cache": True})

    def make(self, module: nn.Module) -> Any:
        """The module's output, with the call's tensors moved to where the module begins."""
        device = _device(module)
        placed = self if device is None else self.mapped(lambda x: x.to(device))
        return module(*placed.args, **placed.kwargs)


def _device(module: nn.Module) -> torch.device | None:
    """Where a module's first weights are; None where they are brought in when they are needed, as accelerate does."""
    parameter = next(iter(module.parameters()), None)
    return None if parameter is None or parameter.device.type == "meta" else parameter.device


def without_keys(output: Any) -> Any:
    """A module's output without its keys and values."""
    if not hasattr(output, "past_key_values"):
        return output
    return type(output)(**{k: x for k, x in output.items() if k != "past_key_values"})


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in a value, in containers and dataclasses within each other."""
    if isinstance(value, Tensor):
        return [value]
    parts: Iterable[Any] = ()
    if isinstance(value, (tuple, list)):
        parts = value
    elif isinstance(value, Mapping):
        parts = value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, f.name) for f in fields(value)]
    return [x for part in parts for x in tensors_of(part)]
