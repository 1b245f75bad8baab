"""From the labels that are given to the codes that are worked with."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from commute.causal.batches import Column, as_column, is_batch
from commute.causal.domains import Domain
from commute.causal.interventions import Setting, shown
from commute.errors import ModelError, check


def coded(
    inputs: Setting,
    do: Mapping[Any, Any],
    taken: Mapping[Any, tuple[Column, bool]],
    domains: Mapping[Any, Domain | None],
    subject: str,
) -> tuple[dict[Any, Column], int, bool]:
    """The columns of inputs and interventions, the number of rows, and whether it is one setting and not a batch.

    Args:
        inputs: labels, or arrays [batch], of the inputs.
        do: likewise of what is set, in place of inputs where it is one.
        taken: columns that are coded already, each with whether it is one setting; they come before both.
        domains: of each of them, None where one is not known.
        subject: what an error is about.

    Raises:
        ModelError: listing values outside of their domains, and arrays that do not go together.
    """
    given = {t: as_column(x) if is_batch(x) else x for t, x in {**inputs, **do}.items()}
    batches = {t: x for side in (inputs, do) for t, x in side.items() if is_batch(x)}
    lengths = {shown(t): len(x) for t, x in batches.items()}
    lengths |= {f"the source of {shown(t)}": len(x) for t, (x, single) in taken.items() if not single}
    if len(set(lengths.values())) > 1:
        raise ModelError(f"the arrays of a batch must have one length; given {lengths}")
    rows = next(iter(lengths.values()), 1)
    alone = not any(is_batch(x) for x in inputs.values())  # then the one setting serves every row
    columns = {t: _repeated(x, rows) for t, (x, _) in taken.items()}
    problems = []
    for target, value in given.items():
        if target in taken:
            continue
        if target not in batches and target not in do and not alone:
            problems.append(f"the input {target!r} is one label and others are arrays; repeat it for each row")
            continue
        try:
            columns[target] = _repeated(encoded(value, domains[target]), rows)
        except ModelError as error:
            problems.append(f"{shown(target)}: {error}")
    check(problems, ModelError, subject)
    return columns, rows, not lengths


def encoded(value: Any, domain: Domain | None) -> Column:
    """A column, or one label as a column of one row, coded by a domain."""
    column = value if isinstance(value, np.ndarray) and value.ndim else as_column([value])
    return column if domain is None else domain.encode(column)


def _repeated(column: Column, rows: int) -> Column:
    return column if len(column) == rows else np.broadcast_to(column, (rows,))
