"""What several of the algorithms are made with."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

from commute.causal.domains import Finite
from commute.causal.mechanisms import by_name
from commute.errors import ModelError


@dataclass(frozen=True, eq=False)
class Over:
    """A function as the mechanism over `parents`, in order, for parents whose names are made up in a loop."""

    parents: tuple[str, ...]
    function: Callable[..., Any]

    def __call__(self, /, *places: Any, **given: Any) -> Any:
        """The function's value at one setting of the parents."""
        values = by_name(self.parents, places, given)
        return self.function(*(values[p] for p in self.parents))


def numbered(name: str, count: int) -> tuple[str, ...]:
    """The names of `count` variables: name0, name1, …."""
    return tuple(f"{name}{i}" for i in range(count))


def running(name: str, items: Sequence[str], step: Callable[[Any, Any], Any], start: Any) -> dict[str, Over]:
    """The mechanisms of name0, name1, …: each is `step` of the one before, or at first of `start`, and its own item."""
    names = numbered(name, len(items))
    first = Over((items[0],), partial(step, start))
    return {names[0]: first, **{names[i]: Over((names[i - 1], items[i]), step) for i in range(1, len(items))}}


def check_count(name: str, given: object, least: int = 1) -> None:
    """Raise a ModelError unless the argument `name` is a whole number of at least `least`."""
    if not isinstance(given, Integral) or isinstance(given, bool) or given < least:
        raise ModelError(f"{name} must be a whole number of at least {least}; given {given!r}")


def labels(name: str, given: Sequence[Hashable], least: int = 1) -> Finite:
    """The domain of the labels listed in the argument `name`; a ModelError unless there are at least `least`."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) < least:  # a string would be cut into letters
        raise ModelError(f"{name} must be a list of at least {least} different labels; given {given!r}")
    try:
        return Finite(given)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
