"""Counting floating-point operations, as torch's flop counter does, with less to do for each of them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_LINEAR = torch.ops.aten.linear
_WHOLE: set[Any] = set()  # operators seen not to be made of others


class Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is done within it: matrix products, convolutions and attention.

    torch's own counter keeps track of modules as well, at several times the cost of the operations of a small network.

    Attributes:
        total: floating-point operations so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        options = kwargs or {}
        if func._overloadpacket is _LINEAR:  # noqa: SLF001  # made of a product and a sum, and the most frequent by far
            out = func(*args, **options)
            self.total += 2 * out.numel() * args[0].shape[-1]
            return out
        cost: Callable[..., int] | None = flop_registry.get(func._overloadpacket)  # noqa: SLF001  # its own key there
        if cost is None and func not in _WHOLE:
            with self:
                made = func.decompose(*args, **options)
            if made is not NotImplemented:
                return made
            _WHOLE.add(func)
        out = func(*args, **options)
        if cost is not None:
            self.total += int(cost(*args, **options, out_val=out))
        return out
