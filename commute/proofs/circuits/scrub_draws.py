"""Draws of causal scrubbing: inputs that agree with others on some variables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commute.causal.batches import Batch, Column
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
    def on(cls, variables: Sequence[str], values: Batch, kinds: Column) -> "Alike":
        """The groups of inputs with these values of their variables.

        Args:
            variables: of which the values are the same in a group.
            values: of variables, on all inputs.
            kinds: of inputs, the same for equal ones, [inputs].

        Raises:
            ClaimError: when no two different inputs agree, so that there is none to take the place of another.
        """
        n = len(kinds)
        group = alike({v: values[v] for v in variables}, n)
        _, start, size = np.unique(np.sort(group), return_index=True, return_counts=True)
        if len(start) == len(np.unique(kinds)):
            raise ClaimError(
                f"no two of the {n:,} inputs agree on {', '.join(variables) or 'nothing'}, but for equal ones, so none can stand "
                "in for another, and nothing is tested; leave what carries the whole input without a variable, or give more "
                "inputs"
            )
        return cls(group, np.argsort(group, kind="stable"), start, size)

    def drawn(self, rows: Column, generator: np.random.Generator) -> Column:
        """An input of the group of each of some, itself included, [rows]."""
        group = self.group[rows]
        found: Column = self.order[self.start[group] + generator.integers(self.size[group])]
        return found


def alike(columns: Batch, n: int) -> Column:
    """Which of `n` rows are alike in all columns: a number for each row, the same where they are, [n]."""
    coded = np.array([codes(x) for x in columns.values()]).reshape(len(columns), n)
    found: Column = np.unique(coded, axis=1, return_inverse=True)[1].reshape(n) if columns else np.zeros(n, dtype=np.int64)
    return found


def drawn_rows(draws: Sequence[Draw], values: Batch, own: Column, kinds: Column, generator: np.random.Generator) -> Column:
    """Which inputs each draw is, [draws, batch].

    Args:
        draws: each after the one that it agrees with; the first is `own`.
        values: of the variables on all inputs there are.
        own: the inputs that are asked about, [batch].
        kinds: of all inputs there are, the same for equal ones.
        generator: of what is drawn.
    """
    groups = {variables: Alike.on(variables, values, kinds) for variables in dict.fromkeys(d.variables for d in draws[1:])}
    rows = [own]
    for draw in draws[1:]:
        rows.append(groups[draw.variables].drawn(rows[draw.of], generator))
    return np.stack(rows)
