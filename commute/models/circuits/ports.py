"""Ports: where nodes write to a stream of vectors that is added up, and where they read it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

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
        problems = _unfit(self.nodes, _NAME, "a name") + _no_tap(self.tap)
        problems += _misfits(self.nodes, self.weight, "[node, part, width]") + _without_weight(self)
        check(problems + _wrong_columns(self, 1), NetworkError, f"what {_listed(self.nodes)} write")
        _keep(self)

    def of(self, value: Tensor, places: Sequence[int]) -> Tensor:
        """What each node adds, [node, *places, width], where the stream has these places, [batch, …]."""
        parts = self._parts(value, places)
        return parts[None] if self.weight is None else torch.einsum("...np,npw->n...w", parts, self.weight.to(value))

    def total(self, value: Tensor, places: Sequence[int]) -> Tensor:
        """What all nodes add together, [*places, width], in single precision at least."""
        parts = self._parts(value, places).to(torch.promote_types(value.dtype, torch.float32))
        return parts if self.weight is None else parts.flatten(-2) @ self.weight.to(parts).flatten(0, 1)

    def _parts(self, value: Tensor, places: Sequence[int]) -> Tensor:
        """Each node's part of the value, [*places, node, part]; without weights [*places, width]."""
        parts = value.reshape(*places, -1)
        if self.weight is None:
            return parts.clone()  # what comes after it may add to the value in place
        return parts.reshape(*places, *self.weight.shape[:2]) if self.columns is None else parts[..., self.columns]


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
        problems = _unfit(self.nodes, f"{_NAME}(?:<{_NAME}>)?", "a name, or a name<port>") + _no_tap(self.entry)
        problems += [] if self.tap is None else _no_tap(self.tap)
        if not isinstance(self.norm, str | None):
            problems.append(f"norm is the path of a module; given {self.norm!r}")
        if self.tap is None and (self.weight is not None or self.norm is not None):
            problems.append("a weight or norm needs a tap, which is where what comes of it is")
        wrong = _misfits(self.nodes, self.weight, "[node, width, part]")
        problems += wrong + _without_weight(self)
        if self.weight is not None and not wrong and self.bias is not None:
            problems += _unlike(self.bias, "bias", [len(self.weight), self.weight.shape[2]])
        check(problems + _wrong_columns(self, 2), NetworkError, f"what {_listed(self.nodes)} read")
        _keep(self)

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


def _keep(port: Writes | Reads) -> None:
    """Keep weights without their gradients, as views that are trained with them."""
    for name in ("weight", "bias"):
        if isinstance(value := getattr(port, name, None), Tensor):
            object.__setattr__(port, name, value.detach())


def _misfits(nodes: object, weight: object, axes: str) -> list[str]:
    """What is wrong with a weight, where there is one."""
    if weight is None or (_numbers(weight) and weight.ndim == 3 and len(weight) == _many(nodes)):  # noqa: PLR2004
        return []
    return [f"weight must be {axes} with {_many(nodes)} nodes; given {_shown(weight)}"]


def _without_weight(port: Writes | Reads) -> list[str]:
    given = [f"{_many(port.nodes)} nodes", *(name for name in ("bias", "columns") if getattr(port, name, None) is not None)]
    if port.weight is not None or (_many(port.nodes) <= 1 and len(given) == 1):
        return []
    return [f"without a weight there is one node, no bias and no columns; given {', '.join(given)}"]


def _wrong_columns(port: Writes | Reads, axis: int) -> list[str]:
    columns, weight = port.columns, port.weight
    if columns is None or not (_numbers(weight) and weight.ndim == 3):  # noqa: PLR2004
        return []
    problems = _unlike(columns, "columns", [len(weight), weight.shape[axis]])
    if not problems and columns.dtype != torch.int64:
        return [f"columns are whole numbers, of int64; given {columns.dtype}"]
    if not problems and bool((columns < 0).any()):
        return [f"columns are counted from 0; given {int(columns.min())}"]
    return problems


def _unlike(value: object, name: str, shape: list[int]) -> list[str]:
    if _numbers(value) and list(value.shape) == shape:
        return []
    return [f"{name} must be [node, part], {shape}; given {_shown(value)}"]


def _numbers(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dtype != torch.bool and not value.is_complex()


def _shown(value: object) -> str:
    """A shape, or of what is no tensor of real numbers its kind."""
    if _numbers(value):
        return str(list(value.shape))
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}, which is no torch tensor"


def _no_tap(tap: object) -> list[str]:
    return [] if isinstance(tap, Tap) and isinstance(tap.path, str) else [f"it is at a Tap(path); given {tap!r}"]


def _unfit(nodes: object, pattern: str, kind: str) -> list[str]:
    """What is wrong with names, each of which is to be of a kind."""
    if not isinstance(nodes, tuple) or not nodes:
        return [f"nodes are a tuple of names, ('m0',); given {nodes!r}"]
    return [
        f"each node is {kind}, with no [, ], <, > or tab in it and no blanks around it; given {node!r}"
        for node in nodes
        if not isinstance(node, str) or not re.fullmatch(pattern, node)
    ]


def _many(nodes: object) -> int:
    return len(nodes) if isinstance(nodes, tuple) else 0


def _listed(nodes: object) -> str:
    return ", ".join(map(str, nodes[:3])) if isinstance(nodes, tuple) else repr(nodes)
