"""Sites: the places in a network whose values are read and replaced."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.errors import NetworkError, check

Place = int | tuple[Any, ...] | str | Callable[..., Any]  # one position as it is kept in a site, besides `Span` and `EachRow`
Columns = int | slice | Tensor  # columns of a padded batch: the same for all rows, or [batch, positions] of int64


@dataclass(frozen=True)
class Tap:
    """Where a hook goes: the output of the module at `path` or an input of it, in its n-th call of a forward pass."""

    path: str
    input: bool = False
    element: int | str | None = None
    call: int | None = None

    def __str__(self) -> str:
        parts = ".input" * self.input, "" if self.element is None else f"<{self.element}>"
        return self.path + "".join(parts) + ("" if self.call is None else f"#{self.call}")


@dataclass(frozen=True)
class Span:
    """Positions from `start` up to `stop`, as in a Python slice."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    @property
    def slice(self) -> slice:
        """As a Python slice."""
        return slice(self.start, self.stop, self.step)

    def __str__(self) -> str:
        shown = ["" if x is None else str(x) for x in (self.start, self.stop, self.step)]
        return ":".join(shown[:2] if self.step is None else shown)


@dataclass(frozen=True)
class EachRow:
    """One position, or a tuple of equally many, for each row of the batch that is run."""

    places: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{len(self.places)} given"


@dataclass(frozen=True)
class Site:
    """A part of one module's output or input.

    Positions count the real tokens of each row where the module's call has an `attention_mask` [batch, position], whichever side
    the batch is padded on: 0 is the first real token and -1 the last. Without a mask they count columns.

    Attributes:
        path: the module's path in the network, as in `named_modules`.
        position: the places on the position axis: a whole number (negative counts from the end), a slice, a list of numbers, the
            name of a position of the network (`"subject"`), a function from the batch of inputs to places [batch], or an array of
            places [batch] or [batch, places]; None is all of them.
        head: the place on the head axis, or, with `heads`, among the equal parts of the last axis; None is all of them.
        input: an input of the module in place of its output.
        element: of an output that is a tuple or mapping, which element; of inputs, which positional argument or keyword. None is
            the output itself, or the first input.
        call: which call, from 0, of a module that runs several times in a forward pass.
        heads: the number of equal parts in which the last axis is cut, for values that hold all heads side by side.
        position_axis: the axis of positions; 2 for attention patterns [batch, head, query, key].
        head_axis: the axis of heads where they have one of their own; 1 for attention patterns.
        shape: the value's shape in a traced run, with rows and positions as they were there; not part of what the site is.
    """

    path: str
    position: Any = None
    head: int | None = None
    input: bool = False
    element: int | str | None = field(default=None, kw_only=True)
    call: int | None = field(default=None, kw_only=True)
    heads: int | None = field(default=None, kw_only=True)
    position_axis: int = field(default=1, kw_only=True)
    head_axis: int = field(default=-2, kw_only=True)
    shape: tuple[int, ...] | None = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        problems = [] if isinstance(self.path, str) else [f"path must be a module's path; given {self.path!r}"]
        try:
            object.__setattr__(self, "position", _kept(self.position))
        except (TypeError, ValueError):
            problems.append(
                "position must be a whole number, a slice, numbers, a name, a function of the inputs or None; given "
                f"{self.position!r}"
            )
        for name in ("head", "call", "heads", "position_axis", "head_axis"):
            place = getattr(self, name)
            if not ((place is None and name in ("head", "call", "heads")) or _whole(place)):
                problems.append(f"{name} must be a whole number or None; given {place!r}")
        if not problems and self.heads is not None and (self.head is None or not 0 <= self.head < self.heads):
            problems.append(f"head must be one of the {self.heads} heads, from 0; given {self.head!r}")
        check(problems, NetworkError, "a site")

    def __str__(self) -> str:
        place = "" if self.position is None else f"[{_shown(self.position)}]"
        return str(self.tap) + place + ("" if self.head is None else f".head{self.head}")

    def __repr__(self) -> str:
        return f"Site({str(self)!r}{'' if self.shape is None else f', shape={list(self.shape)}'})"

    @property
    def tap(self) -> Tap:
        """Where the site's hook goes."""
        return Tap(self.path, self.input, self.element, self.call)

    def overlaps(self, other: "Site") -> bool:
        """Whether both sites may hold a value in common. Positions counted from different ends or by name may be the same."""

        def apart(x: Any, y: Any) -> bool:
            return isinstance(x, int) and isinstance(y, int) and x != y and (x < 0) == (y < 0)

        same_heads = self.heads == other.heads
        return (
            self.tap == other.tap
            and not apart(self.position, other.position)
            and not (same_heads and apart(self.head, other.head))
        )

    def read(self, value: Tensor, columns: Columns = slice(None)) -> Tensor:
        """The site's part of a module's value as vectors, [batch, width]; axes that are not chosen from are flattened.

        Args:
            value: the module's value [batch, …].
            columns: the site's position on the padded batch, as `Frame.columns` finds it.

        Raises:
            NetworkError: when the value has no such position or head.
        """
        part = self._part(value)
        if isinstance(columns, Tensor):
            columns = columns.to(value.device)
            return part[torch.arange(len(part), device=value.device)[:, None], columns].flatten(1)
        return part[:, columns].reshape(len(part), -1)

    def write(self, value: Tensor, vectors: Tensor, columns: Columns = slice(None)) -> Tensor:
        """A copy of a module's value with the site's part replaced by vectors [batch, width]."""
        replaced = value.clone()
        part = self._part(replaced)
        index: Any = (slice(None), columns)
        if isinstance(columns, Tensor):
            index = (torch.arange(len(part), device=value.device)[:, None], columns.to(value.device))
        part[index] = vectors.reshape(part[index].shape).to(value.dtype)
        return replaced

    def _part(self, value: Tensor) -> Tensor:
        """A view of the value with the head chosen and the position axis second."""
        axis = self.position_axis % value.ndim
        if self.heads is not None:
            if value.shape[-1] % self.heads:
                raise NetworkError(
                    f"the site {self} cuts the last axis into {self.heads} heads, but its width is {value.shape[-1]}"
                )
            value = value.reshape(*value.shape[:-1], self.heads, -1).select(-2, self.head or 0)
        elif self.head is not None:
            heads = self.head_axis % value.ndim if -value.ndim <= self.head_axis < value.ndim else 0
            if heads == 0 or (self.position is not None and heads == axis):
                raise NetworkError(f"the site {self} asks for a head, but its value has shape {list(value.shape)}")
            if not -value.shape[heads] <= self.head < value.shape[heads]:
                raise NetworkError(f"the site {self} asks for head {self.head}, but there are {value.shape[heads]} of them")
            value = value.select(heads, self.head)
            axis -= heads < axis
        return value.movedim(axis, 1) if axis > 1 and value.ndim > axis else value

    def to_record(self) -> dict[str, Any]:
        """The site as JSON values.

        Raises:
            NetworkError: when the position is a function, which cannot be stored.
        """
        if callable(self.position):
            raise NetworkError(f"the site {self} has a function as its position, which cannot be saved; name it in the network")
        record = {k: x for k, x in asdict(self).items() if k != "shape"}
        if isinstance(self.position, Span):
            record["position"] = {"span": [self.position.start, self.position.stop, self.position.step]}
        if isinstance(self.position, EachRow):
            record["position"] = {"each": self.position.places}
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Site":
        """The site that `to_record` wrote."""
        position = record["position"]
        if isinstance(position, Mapping):
            position = Span(*position["span"]) if "span" in position else EachRow(_frozen(position["each"]))
        elif isinstance(position, list):
            position = tuple(position)
        return cls(**{**record, "position": position})


def _whole(x: Any) -> bool:
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def _kept(position: Any) -> Any:
    """A position as a hashable value."""
    if position is None or isinstance(position, (str, Span, EachRow)) or callable(position):
        return position
    if _whole(position):
        return int(position)
    if isinstance(position, slice):
        return Span(position.start, position.stop, position.step)
    if isinstance(position, (np.ndarray, Tensor)):
        places = position.detach().cpu().numpy() if isinstance(position, Tensor) else position
        if places.dtype.kind not in "iu" or places.ndim not in (1, 2) or not places.size:
            raise ValueError
        return EachRow(_frozen(places.tolist()))
    if isinstance(position, (list, tuple, range)) and len(position) and all(_whole(p) for p in position):
        return tuple(int(p) for p in position)
    raise TypeError


def _frozen(places: Any) -> Any:
    return tuple(map(_frozen, places)) if isinstance(places, (list, tuple)) else int(places)


def _shown(position: Any) -> str:
    if callable(position):
        return getattr(position, "__name__", "function")
    return ",".join(map(str, position)) if isinstance(position, tuple) else str(position)
