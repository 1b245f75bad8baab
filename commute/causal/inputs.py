"""The inputs of a causal model as a set to list and to draw from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from commute.causal.batches import Batch, Column, as_column, plain, rows_of, take
from commute.causal.domains import Finite
from commute.causal.model import CausalModel
from commute.errors import ModelError, PairsError

Condition = Mapping[str, Any] | Callable[..., bool] | Any  # or a sympy truth value

LISTED = 2**22  # a domain of inputs with no more settings is listed in memory; a larger one is only drawn from
ROUNDS = 1000  # rounds of drawing before what was asked for counts as not to be had
_BLOCK = 4096  # inputs drawn in a round, at least
_GIVEN = "(given)"  # no parameter can have this name


@dataclass(frozen=True, eq=False)
class Inputs:
    """The settings of a model's inputs that meet a condition.

    `given` is a partial setting over any variables (`{"carry": True}`), or a mechanism that says whether a setting belongs: a
    function whose parameters name the variables that it looks at, or a sympy condition.
    """

    model: CausalModel
    given: Condition | None = None

    def __post_init__(self) -> None:
        try:
            _ = self._judged, self._wanted
        except ModelError as error:
            raise PairsError(f"the condition given={self._told} does not fit: {error}") from None

    @cached_property
    def finite(self) -> bool:
        """Whether the settings can be listed."""
        open_ones = [self.model.domain(v) for v in self.model.inputs if v not in self._fixed]
        return (
            all(isinstance(d, Finite) for d in open_ones) and prod(len(d) for d in open_ones if isinstance(d, Finite)) <= LISTED
        )

    @cached_property
    def _fixed(self) -> Batch:
        """The inputs that the condition is about, each as a column of one row."""
        return {v: x for v, x in self._wanted.items() if v in self.model.inputs}

    def product(self, names: Iterable[str], start: int, stop: int) -> tuple[Batch, dict[str, Batch]]:
        """Bases with a source for each name: the given stretch of all combinations of listed inputs, in order."""
        sides = [*names]
        shape = (rows_of(self.listed),) * (1 + len(sides))
        base, *sources = (take(self.listed, index) for index in np.unravel_index(np.arange(start, stop), shape))
        return base, dict(zip(sides, sources, strict=True))

    @cached_property
    def listed(self) -> Batch:
        """Every setting that meets the condition, in the domain's order (the last input varies fastest).

        Raises:
            PairsError: when the settings cannot be listed, or none meets the condition.
        """
        if not self.finite:
            raise PairsError(f"the inputs of {self.model.name!r} are continuous or more than {LISTED:,}; they cannot be listed")
        domains = {v: d for v in self.model.inputs if v not in self._fixed and isinstance(d := self.model.domain(v), Finite)}
        shape = tuple(map(len, domains.values()))
        grid = {v: domain.grid(shape, axis) for axis, (v, domain) in enumerate(domains.items())}
        columns = {v: grid[v] if v in grid else np.repeat(self._fixed[v], prod(shape)) for v in self.model.inputs}
        kept = take(columns, self.meets(columns, prod(shape)))
        if not rows_of(kept):
            raise PairsError(f"no input of {self.model.name!r} meets the condition {self._told}")
        return kept

    def sample(self, generator: np.random.Generator, n: int) -> Batch:
        """Draw `n` settings independently and uniformly among those that meet the condition.

        Raises:
            PairsError: when none is found.
        """
        if self.given is None:
            return {v: self.model.domain(v).sample(generator, n) for v in self.model.inputs}
        if self.finite:
            return take(self.listed, generator.integers(rows_of(self.listed), size=n))
        found: list[Batch] = []
        enough = 0
        block = max(n, _BLOCK)
        for _ in range(ROUNDS):
            drawn = {**Inputs(self.model).sample(generator, block), **{v: np.repeat(x, block) for v, x in self._fixed.items()}}
            found.append(take(drawn, self.meets(drawn, block)))
            enough += rows_of(found[-1])
            if enough >= n:
                return {v: np.concatenate([part[v] for part in found])[:n] for v in self.model.inputs}
        raise PairsError(
            f"of {ROUNDS * block:,} inputs drawn of {self.model.name!r}, {enough:,} meet {self._told}; {n:,} are needed"
        )

    @cached_property
    def _judged(self) -> CausalModel:
        """The model with the condition, if it is a mechanism, as one more."""
        stated = self.given is None or isinstance(self.given, Mapping)
        return self.model if stated else self.model.extended({_GIVEN: self.given})

    @cached_property
    def _wanted(self) -> dict[str, Any]:
        """The values that a partial setting asks for: columns of one code, or labels of variables without a domain."""
        given = self.given if isinstance(self.given, Mapping) else {}
        columns: dict[str, Any] = {}
        for v, x in given.items():
            try:
                columns[v] = x if (domain := self.model.known_domain(v)) is None else domain.encode(as_column([x]))
            except ModelError as error:
                raise ModelError(f"{v!r}: {error}") from None
        return columns

    @property
    def _told(self) -> str:
        """The condition in a message: a function by its name."""
        return str(getattr(self.given, "__name__", repr(self.given)))

    def meets(self, columns: Batch, rows: int) -> Column:
        """Which rows of input columns meet the condition, [rows] of bool."""
        if self.given is None:
            return np.ones(rows, dtype=bool)
        if not isinstance(self.given, Mapping):
            solved = self._judged.labels(self._judged.evaluate(columns, {}, rows, [_GIVEN]))
            said: Column = solved[_GIVEN]
            if said.dtype.kind != "b":
                raise PairsError(f"a condition says True or False of a setting; it gave {plain(said[0])!r}")
            return said
        solved = self.model.evaluate(columns, {}, rows, self._wanted)
        met: Column = np.logical_and.reduce([solved[v] == x for v, x in self._wanted.items()])
        return np.broadcast_to(met, (rows,))


def draw_until(
    n: int,
    draw: Callable[[Column], Batch],
    accept: Callable[[Batch, Column], Column],
    *,
    rounds: int,
) -> tuple[Batch, Column]:
    """Draw each of `n` rows anew until it is accepted, at most `rounds` times.

    `draw` and `accept` are given the indices of the rows that are still wanted. Returns the columns [n] and the indices of the
    rows that were never accepted, whose columns hold their last draw.
    """
    pending = np.arange(n)
    drawn = {v: column.copy() for v, column in draw(pending).items()}
    pending = pending[~accept(drawn, pending)]
    for _ in range(rounds - 1):
        if not len(pending):
            break
        columns = draw(pending)
        for v, column in columns.items():
            drawn[v][pending] = column
        pending = pending[~accept(columns, pending)]
    return drawn, pending
