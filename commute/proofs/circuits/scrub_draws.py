"""Draws of causal scrubbing: inputs that agree with others on some variables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commute.causal.batches import Batch, Column, rows_of
from commute.causal.by_value import codes
from commute.errors import ClaimError
from commute.proofs.circuits.scrub_tree import Draw


@dataclass(frozen=True, eq=False)
class Alike:
    """Inputs in groups that agree on some variables.

    Attributes:
        group: of each input, [inputs].
        order: the inputs, group after group, [inputs].
        start: where each group begins there, [groups].
        size: of each group, [groups].
    """

    group: Column
    order: Column
    start: Column
    size: Column

    @classmethod
    def on(cls, variables: Sequence[str], values: Batch) -> "Alike":
        """The groups of inputs with these values of their variables.

        Raises:
            ClaimError: when no two inputs agree, so that there is none to take the place of another.
        """
        n = rows_of(values)
        coded = np.array([codes(values[v]) for v in variables]).reshape(len(variables), n)
        group = np.unique(coded, axis=1, return_inverse=True)[1].reshape(n) if variables else np.zeros(n, dtype=np.int64)
        _, start, size = np.unique(np.sort(group), return_index=True, return_counts=True)
        if size.max() == 1:
            raise ClaimError(
                f"no two of the {n:,} inputs agree on {', '.join(variables) or 'nothing'}, so none can stand in for another, "
                "and nothing is tested; leave what carries the whole input without a variable, or give more inputs"
            )
        return cls(group, np.argsort(group, kind="stable"), start, size)

    def drawn(self, rows: Column, generator: np.random.Generator) -> Column:
        """An input of the group of each of some, itself included, [rows]."""
        group = self.group[rows]
        found: Column = self.order[self.start[group] + generator.integers(self.size[group])]
        return found


def drawn_rows(draws: Sequence[Draw], values: Batch, own: Column, generator: np.random.Generator) -> Column:
    """Which inputs each draw is, [draws, batch].

    Args:
        draws: each after the one that it agrees with; the first is `own`.
        values: of the variables on all inputs there are.
        own: the inputs that are asked about, [batch].
        generator: of what is drawn.
    """
    groups = {variables: Alike.on(variables, values) for variables in dict.fromkeys(d.variables for d in draws[1:])}
    rows = [own]
    for draw in draws[1:]:
        rows.append(groups[draw.variables].drawn(rows[draw.of], generator))
    return np.stack(rows)
