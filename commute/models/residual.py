"""Sites of the residual stream: what each layer hands on to the next."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from commute.errors import NetworkError
from commute.models.sites import Site

_HOOK = "hook_resid_post"  # of TransformerLens


def residual_sites(module: nn.Module, positions: Sequence[Any]) -> list[Site]:
    """The output of every layer at each of the positions, layer by layer.

    Layers are the elements of the longest `nn.ModuleList` that is in no other; in TransformerLens, their hook points.

    Raises:
        NetworkError: when there is no such list.
    """
    lists = {path: m for path, m in module.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    outer = [path for path in lists if not any(path.startswith(f"{other}.") for other in lists)]
    if not outer:
        raise NetworkError(
            "there is no nn.ModuleList of layers, so its residual stream is not known; choose sites by pattern, network.sites(…)"
        )
    path = max(outer, key=lambda name: len(lists[name]))
    layers = [f"{path}.{i}.{_HOOK}" if hasattr(layer, _HOOK) else f"{path}.{i}" for i, layer in enumerate(lists[path])]
    return [Site(layer, position) for layer in layers for position in positions]
