"""Ports: where nodes write to a stream of vectors that is added up, and where they read it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from commute.errors import NetworkError, check
from commute.models.sites import Tap

_NAME = r"[^\s<>\[\]](?:[^<>\[\]\t\r\n]*[^\s<>\[\]])?"  # what else edges, ports and positions are told by is in no name


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
        problems = _unfit(self.nodes, _NAME, "a name", self.tap)
        if self.weight is None and (len(self.nodes) != 1 or self.columns is not None):
            problems.append(f"without a weight there is one node and no columns; given {len(self.nodes)} nodes")
        if self.weight is not None and (self.weight.ndim != 3 or len(self.weight) != len(self.nodes)):  # noqa: PLR2004
            problems.append(f"weight must be [node, part, width] with {len(self.nodes)} nodes; given {list(self.weight.shape)}")
        check(problems + _misfits(self.columns, self.weight, 1), NetworkError, f"what {_listed(self.nodes)} write")

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
        tap: where the maps' values are, [batch, …, value]; None for a single node, whose whole stream is changed at `entry`,
            where then no other may read.
        weight: from the normed stream to each node's part of the value, [node, width, part]; None for a single node, which at
            `tap` reads the normed stream itself.
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
        problems = _unfit(self.nodes, f"{_NAME}(?:<{_NAME}>)?", "a name, or a name<port>", self.entry)
        if self.tap is None and (self.weight is not None or self.norm is not None):
            problems.append("a weight or norm needs a tap, which is where what comes of it is")
        if self.weight is None and (len(self.nodes) != 1 or self.bias is not None or self.columns is not None):
            problems.append(f"without a weight there is one node, no bias and no columns; given {len(self.nodes)} nodes")
        if self.weight is not None and (self.weight.ndim != 3 or len(self.weight) != len(self.nodes)):  # noqa: PLR2004
            problems.append(f"weight must be [node, width, part] with {len(self.nodes)} nodes; given {list(self.weight.shape)}")
        check(problems + _misfits(self.columns, self.weight, 2), NetworkError, f"what {_listed(self.nodes)} read")

    def of(self, module: nn.Module, streams: Tensor) -> Tensor:
        """Each node's part of the value, [node, batch, …, part], from what each reads, [node or 1, batch, …, width]."""
        normed = streams if self.norm is None else module.get_submodule(self.norm).forward(streams.flatten(0, 1))
        normed = normed.reshape(streams.shape)
        if self.weight is None:
            return normed
        parts = torch.einsum("n...w,nwp->n...p", normed, self.weight.to(streams))
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


def _unfit(nodes: object, pattern: str, kind: str, tap: object) -> list[str]:
    """What is wrong with names, each of which is to be of a kind, and with where they are."""
    problems = [] if isinstance(tap, Tap) else [f"it is at a Tap(path); given {tap!r}"]
    if not isinstance(nodes, tuple) or not nodes:
        return [*problems, f"nodes are a tuple of names, ('m0',); given {nodes!r}"]
    return problems + [
        f"each node is {kind}, with no [, ], <, > or tab in it and no blanks around it; given {node!r}"
        for node in nodes
        if not isinstance(node, str) or not re.fullmatch(pattern, node)
    ]


def _listed(nodes: object) -> str:
    return ", ".join(map(str, nodes[:3])) if isinstance(nodes, tuple) else repr(nodes)
