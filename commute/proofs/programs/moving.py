"""Operations that only move numbers: torch does to names what the network does to numbers."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from commute.errors import NetworkError
from commute.proofs.programs.building import Builder, Numbers

_MOVES = """
    alias broadcast_to cat chunk clone concat constant_pad_nd contiguous copy detach diagonal diagonal_scatter expand
    expand_as fill flatten flip gather hstack index index_fill index_put index_select lift lift_fresh lift_fresh_copy
    masked_fill movedim narrow permute pixel_shuffle repeat repeat_interleave reshape roll scatter select select_scatter slice
    slice_scatter split split_with_sizes squeeze stack swapaxes t take take_along_dim tile transpose tril triu unbind unfold
    unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view view_as vstack where _reshape_alias _unsafe_view
    channel_shuffle rot90
"""
MOVES = frozenset(_MOVES.split())
_AMOUNTS = {"constant_pad_nd": 2, "fill": 1, "index_fill": 3, "masked_fill": 2, "scatter": 3}  # where a plain number is put
_VALUES = {"cat", "copy", "fill", "hstack", "masked_fill", "stack", "vstack", "where"}  # whose whole numbers are put, but masks
_SUMS = 3  # the argument of `index_put` by which it adds
_SELF, _OTHER = 1, 2  # arguments of `where` after its condition


def moved(builder: Builder, name: str, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operation that moves numbers makes of names."""

    def named(x: Any) -> Any:
        if isinstance(x, Numbers):
            return x.names
        whole = isinstance(x, Tensor) and x.dtype != torch.bool and name in _VALUES
        return builder.constant(x).names if isinstance(x, Tensor) and (x.is_floating_point() or whole) else x

    def put(x: Any) -> Any:
        return int(builder.constant(x).names) if isinstance(x, (int, float)) else named(x)

    if kwargs.get("reduce") or kwargs.get("accumulate") or (name == "index_put" and len(args) > _SUMS and args[_SUMS]):
        raise NetworkError("it puts numbers by adding or multiplying them to what is there, which has no rule")
    places = (_SELF, _OTHER) if name == "where" else (_AMOUNTS.get(name),)
    if name == "constant_pad_nd" and len(args) == _AMOUNTS[name]:
        args = (*args, 0)
    given = [put(x) if i in places else tree_map(named, x) for i, x in enumerate(args)]
    if name in ("view", "_unsafe_view", "_reshape_alias", "view_as"):  # names lie in memory in another order than numbers
        shape = given[1].shape if name == "view_as" else given[1]
        return Numbers(given[0].reshape(shape))
    options = {k: tree_map(named, x) for k, x in kwargs.items() if k not in ("memory_format", "dtype", "layout", "device")}
    found = operation(*given, **options)
    return tree_map(lambda x: Numbers(x) if isinstance(x, Tensor) else x, found)
