"""Sites: the places in a network whose values are read and replaced."""

from dataclasses import dataclass

from torch import Tensor

from commute.errors import NetworkError, check


@dataclass(frozen=True)
class Tap:
    """Where a hook goes: the output of the module at `path`, or its first input."""

    path: str
    input: bool = False

    def __str__(self) -> str:
        return self.path + (".input" if self.input else "")


@dataclass(frozen=True)
class Site:
    """A part of one module's output or input.

    Attributes:
        path: the module's path in the network, as in `named_modules`.
        position: the place on the second axis, [batch, position, …]; negative counts from the end; None is all of them.
        head: the place on the last axis but one, […, head, width]; None is all of them.
        input: the module's first input in place of its output.
    """

    path: str
    position: int | None = None
    head: int | None = None
    input: bool = False

    def __post_init__(self) -> None:
        problems = [] if isinstance(self.path, str) else [f"path must be a module's path; given {self.path!r}"]
        for name, place in (("position", self.position), ("head", self.head)):
            if place is not None and (not isinstance(place, int) or isinstance(place, bool)):
                problems.append(f"{name} must be a whole number or None; given {place!r}")
        check(problems, NetworkError, "a site")

    def __str__(self) -> str:
        place = "" if self.position is None else f"[{self.position}]"
        return str(self.tap) + place + ("" if self.head is None else f".head{self.head}")

    @property
    def tap(self) -> Tap:
        """Where the site's hook goes."""
        return Tap(self.path, self.input)

    def overlaps(self, other: "Site") -> bool:
        """Whether both sites may hold a value in common. Positions counted from different ends may be the same."""

        def meet(x: int | None, y: int | None) -> bool:
            return x is None or y is None or x == y or (x < 0) != (y < 0)

        return self.tap == other.tap and meet(self.position, other.position) and meet(self.head, other.head)

    def read(self, value: Tensor) -> Tensor:
        """The site's part of a module's value as vectors, [batch, width]; axes that are not chosen from are flattened.

        Raises:
            NetworkError: when the value has no such position or head.
        """
        return value[self._index(value)].flatten(1)

    def write(self, value: Tensor, part: Tensor) -> Tensor:
        """A copy of a module's value with the site's part replaced by vectors [batch, width]."""
        index = self._index(value)
        replaced = value.clone()
        replaced[index] = part.reshape(value[index].shape).to(value.dtype)
        return replaced

    def _index(self, value: Tensor) -> tuple[slice | int, ...]:
        index: list[slice | int] = [slice(None)] * value.ndim
        for name, axis, place in (("position", 1, self.position), ("head", value.ndim - 2, self.head)):
            if place is None:
                continue
            if axis < 1 or axis >= value.ndim or (name == "position" and value.ndim < 3):  # noqa: PLR2004  # [batch, position, …]
                raise NetworkError(f"the site {self} asks for a {name}, but its value has shape {list(value.shape)}")
            if not -value.shape[axis] <= place < value.shape[axis]:
                raise NetworkError(f"the site {self} asks for {name} {place}, but there are {value.shape[axis]} of them")
            index[axis] = place
        return tuple(index)


def tensor_at(tap: Tap, value: object, rows: int) -> Tensor:
    """The value at a tap as a tensor that can be patched.

    Raises:
        NetworkError: when a module gives or takes something else, or its first axis is not the batch of `rows` rows.
    """
    if isinstance(value, Tensor) and value.ndim > 1 and len(value) == rows:
        return value
    found = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise NetworkError(
        f"the site {tap} holds {found}; it must hold a tensor [batch, …], here of {rows} rows; choose another module"
    )
