"""Ports: where nodes write to a stream of vectors that is added up, and where they read it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from commute.errors import NetworkError, check
from commute.models.sites import Tap


@dataclass(frozen=True, eq=False)
class Writes:
    """What nodes add to the stream: each a linear map of its part of one value, as heads do of what the output projection takes.

    Attributes:
        nodes: their names.
        tap: where the value is, [batch, …, value]; more than one last axis, as of [head, width of a head], counts as one.
        weight: from each node's part to the stream, [node, part, width]; None for a single node that adds the value itself.
        columns: which numbers of the value are each node's part, [node, part] of int64; None with `weight` None, and where parts
            are equal and follow each other.
    """

    nodes: tuple[str, ...]
    tap: Tap
    weight: Tensor | None = None
    columns: Tensor | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.weight is None and (len(self.nodes) != 1 or self.columns is not None):
            problems.append(f"without a weight there is one node and no columns; given {len(self.nodes)} nodes")
        if self.weight is not None and (self.weight.ndim != 3 or len(self.weight) != len(self.nodes)):  # noqa: PLR2004
            problems.append(f"weight must be [node, part, width] with {len(self.nodes)} nodes; given {list(self.weight.shape)}")
        check(problems + _misfits(self.columns, self.weight, 1), NetworkError, f"what {', '.join(self.nodes[:3])} write")

    def of(self, value: Tensor, places: Sequence[int]) -> Tensor:
        """What each node adds, [node, *places, width], where the stream has these places, [batch, …]."""
        parts = value.reshape(*places, -1)
        if self.weight is None:
            return parts[None]
        parts = parts.reshape(*places, *self.weight.shape[:2]) if self.columns is None else parts[..., self.columns]
        return torch.einsum("...np,npw->n...w", parts, self.weight.to(value))


@dataclass(frozen=True, eq=False)
class Reads:
    """What nodes make of the stream: the stream itself, or linear maps of it, after a norm.

    Attributes:
        nodes: their names.
        entry: where the stream is, [batch, …, width].
        norm: the path of the norm that it then goes through; None for none.
        tap: where the maps' values are, [batch, …, value]; None for a single node, whose whole stream is changed at `entry`.
        weight: from the normed stream to each node's part of the value, [node, width, part].
        bias: of that, [node, part]; None is none.
        columns: which numbers of the value are each node's part, [node, part]; None where parts are equal and follow each other.
    """

    nodes: tuple[str, ...]
    entry: Tap
    norm: str | None = None
    tap: Tap | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    columns: Tensor | None = None

    def __post_init__(self) -> None:
        problems = []
        if (self.tap is None) != (self.weight is None) or (self.tap is None and len(self.nodes) != 1):
            problems.append("several nodes need a tap and a weight, and a tap a weight")
        if self.weight is not None and (self.weight.ndim != 3 or len(self.weight) != len(self.nodes)):  # noqa: PLR2004
            problems.append(f"weight must be [node, width, part] with {len(self.nodes)} nodes; given {list(self.weight.shape)}")
        check(problems + _misfits(self.columns, self.weight, 2), NetworkError, f"what {', '.join(self.nodes[:3])} read")

    def of(self, module: nn.Module, streams: Tensor) -> Tensor:
        """Each node's part of the value, [node, batch, …, part], from what each reads, [node, batch, …, width]."""
        if self.weight is None:
            return streams
        normed = streams if self.norm is None else module.get_submodule(self.norm).forward(streams.flatten(0, 1))
        parts = torch.einsum("n...w,nwp->n...p", normed.reshape(streams.shape), self.weight.to(streams))
        if self.bias is None:
            return parts
        return parts + self.bias.to(parts).reshape(len(self.nodes), *[1] * (parts.ndim - 2), -1)

    def put(self, value: Tensor, parts: Tensor) -> Tensor:
        """A copy of the value with each node's part in its place."""
        laid = parts.movedim(0, -2)
        if self.columns is None:
            return laid.reshape(value.shape)
        found = value.reshape(*laid.shape[:-2], -1).clone()
        found[..., self.columns.flatten()] = laid.flatten(-2)
        return found.reshape(value.shape)


def _misfits(columns: Tensor | None, weight: Tensor | None, axis: int) -> list[str]:
    if columns is None or weight is None or tuple(columns.shape) == (len(weight), weight.shape[axis]):
        return []
    return [f"columns must be [node, part], {[len(weight), weight.shape[axis]]}; given {list(columns.shape)}"]
