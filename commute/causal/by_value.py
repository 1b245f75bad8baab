"""Drawing inputs so that rare values of some variables occur as often as common ones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.domains import Finite
from commute.causal.inputs import ROUNDS, Inputs, draw_until
from commute.errors import PairsError


@dataclass(frozen=True, eq=False)
class ByValue:
    """Inputs drawn by the values of `variables`: each combination that occurs is equally likely, and within it each input.

    Continuous variables are left as they come.
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
        model = self.inputs.model
        domains = {v: d for v in self.variables if isinstance(d := model.known_domain(v), Finite)}
        wanted = {v: generator.integers(len(d), size=n) for v, d in domains.items()}

        def as_wanted(columns: Batch, rows: Column) -> Column:
            solved = model.evaluate(columns, {}, len(rows))
            met: Column = np.all([np.ones(len(rows), dtype=bool), *(solved[v] == x[rows] for v, x in wanted.items())], axis=0)
            return met

        drawn, pending = draw_until(n, lambda rows: self.inputs.sample(generator, len(rows)), as_wanted, rounds=ROUNDS)
        if len(pending):
            missing = {v: d.decode(wanted[v][pending[:1]]).tolist()[0] for v, d in domains.items()}
            raise PairsError(
                f"no input of {model.name!r} with {missing} was found in {ROUNDS} draws, so values cannot occur equally often; "
                "leave values that do not occur out of the domain, or use design='uniform'"
            )
        return drawn


def codes(column: Column) -> Column:
    """Integers that tell the values of a column apart."""
    if column.dtype.kind == "i":
        return column
    return Finite(dict.fromkeys(column.tolist())).encode(column)
