"""Keys and values of the bases, shared by all rows that differ from their base only in later columns.

Imported where it is used, since it needs transformers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer


class SharedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values of the bases up to a column; what is computed for the rows is put after them."""

    def __init__(self, keys: Tensor, values: Tensor, bases: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.known, self.bases = keys, values, (keys, values), bases
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """The keys and values of the first rows, as many as are computed, [rows, heads, columns, width] each."""
        rows = self.bases[: len(key_states)]
        known = (x[rows.to(x.device)].to(new.device) for x, new in zip(self.known, (key_states, value_states), strict=True))
        keys, values = (torch.cat([x, new], dim=-2) for x, new in zip(known, (key_states, value_states), strict=True))
        return keys, values


def empty() -> DynamicCache:
    """A cache to be filled; it holds all columns, also of layers with a sliding window, whose mask says what they see."""
    return DynamicCache()


def filled(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """The keys and values of each layer, [batch, heads, columns, width]."""
    return [(layer.keys, layer.values) for layer in cache.layers if isinstance(layer, DynamicLayer)]  # type: ignore[misc]


def shared(layers: Sequence[Sequence[Tensor]], bases: Tensor, columns: int) -> Cache:
    """A cache in which each row begins with the first `columns` of its base."""
    return Cache(layers=[SharedLayer(k[..., :columns, :], v[..., :columns, :], bases.to(k.device)) for k, v in layers])
