"""Interchanges of coordinates by masks: which coordinate belongs to which variable, softly while it is learned."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from commute.alignments.rotations import Parameters, Parametrisation, orthonormal

HARD = "mask"  # the parameter that holds a hardened mask


def swapped(held: Tensor, sources: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
    """Coordinates [items, batch, dims], each moved towards the sources' by its mask, [items, dims] of each variable."""
    moved = held
    for variable, source in sources.items():
        moved = moved + masks[variable].unsqueeze(-2) * (source - held)
    return moved


def by_variable(masks: Tensor, variables: Sequence[str]) -> dict[str, Tensor]:
    """Masks [items, variables, dims] as one for each variable, [items, dims]."""
    return dict(zip(variables, masks.unbind(-2), strict=True))


def one_hot(owners: Tensor, variables: int) -> Tensor:
    """Masks [items, variables, dims] by owner of each coordinate, [items, dims] of int64; the last is no variable."""
    return torch.nn.functional.one_hot(owners, variables + 1)[..., :variables].mT


def dims_of(mask: Tensor, variables: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The coordinates of each variable in one item's hard mask, [variables, dims]."""
    return {v: tuple(torch.nonzero(m).flatten().tolist()) for v, m in zip(variables, mask, strict=True)}


def rotated_swap(
    parametrisation: Parametrisation,
    parameters: Parameters,
    held: Tensor,
    sources: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
) -> Tensor:
    """Vectors [items, batch, width] whose coordinates along the parameters' rotation are swapped by masks."""
    q = orthonormal(parametrisation, parameters)
    moved = swapped(held @ q, {v: x @ q for v, x in sources.items()}, masks)
    return held + (moved - held @ q) @ q.mT
