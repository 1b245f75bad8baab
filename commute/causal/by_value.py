"""Drawing inputs so that rare values of some variables occur as often as common ones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.domains import Finite
from commute.causal.inputs import ROUNDS, Inputs
from commute.errors import PairsError

_BLOCK = 4096  # inputs drawn in a round, at least


@dataclass(frozen=True, eq=False)
class ByValue:
    """Inputs drawn by the values of `variables`: each combination that occurs is equally likely, and within it each input.

    Continuous variables are left as they come. Where the inputs cannot be listed each row is balanced in one of the variables.
    """

    inputs: Inputs
    variables: tuple[str, ...]

    @cached_property
    def _groups(self) -> tuple[Column, Column, Column]:
        """The listed inputs sorted by group, and the start and size of each group."""
        listed = self.inputs.listed
        solved = self.inputs.model.evaluate(listed, {}, rows_of(listed))
        group = np.unique([codes(solved[v]) for v in self.variables], axis=1, return_inverse=True)[1].reshape(-1)
        order = np.argsort(group, kind="stable")
        _, start, size = np.unique(group[order], return_index=True, return_counts=True)
        return order, start, size

    @cached_property
    def weights(self) -> Column:
        """The probability of each listed input, up to a factor."""
        order, _, size = self._groups
        weights = np.empty(len(order))
        weights[order] = np.repeat(1 / size, size)
        return weights

    def sample(self, generator: np.random.Generator, n: int) -> Batch:
        """Draw `n` inputs independently.

        Raises:
            PairsError: when the inputs cannot be listed and some value in a variable's domain is not found by drawing.
        """
        if self.inputs.finite:
            order, start, size = self._groups
            group = generator.integers(len(start), size=n)
            return take(self.inputs.listed, order[start[group] + generator.integers(size[group])])
        values = {v: d for v in self.variables if isinstance(d := self.inputs.model.known_domain(v), Finite)}
        if not values:
            return self.inputs.sample(generator, n)
        balanced = generator.integers(len(values), size=n)  # each row is balanced in one of the variables
        drawn = self.inputs.sample(generator, n)
        for i, (variable, domain) in enumerate(values.items()):
            rows = np.flatnonzero(balanced == i)
            for v, column in self._with_values(variable, domain, generator, len(rows)).items():
                drawn[v][rows] = column
        return drawn

    def _with_values(self, variable: str, domain: Finite, generator: np.random.Generator, n: int) -> Batch:
        """Inputs with every value of a variable equally likely, by drawing: each draw serves one row that wants its value."""
        wanted = generator.integers(len(domain), size=n)
        pending = np.arange(n)
        block = max(n, _BLOCK)
        drawn = self.inputs.sample(generator, n)
        for _ in range(ROUNDS):
            if not len(pending):
                return drawn
            fresh = self.inputs.sample(generator, block)
            found = self.inputs.model.evaluate(fresh, {}, block)[variable]
            _, served, used = np.intersect1d(_ranked(wanted[pending], block), _ranked(codes(found), block), return_indices=True)
            for v, column in fresh.items():
                drawn[v][pending[served]] = column[used]
            pending = np.delete(pending, served)
        label = domain.decode(wanted[pending[:1]]).tolist()[0]
        raise PairsError(
            f"no input of {self.inputs.model.name!r} with {variable}={label!r} was found in {ROUNDS * block:,} draws; leave "
            "values that do not occur out of its domain, or use design='uniform'"
        )


def _ranked(values: Column, most: int) -> Column:
    """A number for each row that says its value and how many rows before it have the same, at most `most`."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered)
    ranked = np.empty(len(values), dtype=np.int64)
    ranked[order] = ordered * (most + 1) + np.arange(len(values)) - first
    return ranked


def codes(column: Column) -> Column:
    """Integers that tell the values of a column apart, [batch] of int64."""
    coded = column if column.dtype.kind in "iu" else Finite(dict.fromkeys(column.tolist())).encode(column)
    return coded.astype(np.int64)
