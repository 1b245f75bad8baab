"""Interchange pairs: bases, sources and the algorithm's counterfactual answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from commute.causal.batches import Batch, Column, joined, rows_of, take
from commute.causal.model import CausalModel
from commute.errors import PairsError, check, unknown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Bases with one source for each intervened variable, and what the algorithm answers after the interchange.

    Attributes:
        base: the base inputs, one array of labels [pairs] an input.
        sources: for each intervened variable its source inputs, likewise.
        expected: the algorithm's outputs after the interchange, one array [pairs] an output.
        changed: whether the interchange changes the algorithm's output, [pairs] of bool.
        design: how the pairs were chosen.
        independent: whether the rows are independent draws, which a confidence interval needs.
    """

    base: Batch
    sources: dict[str, Batch]
    expected: Batch
    changed: Column
    design: str
    independent: bool

    def __len__(self) -> int:
        return len(self.changed)

    def __repr__(self) -> str:
        rows = "independent" if self.independent else "not independent"
        return f"Pairs({len(self)} of {' + '.join(self.sources) or 'no variable'}, {self.design}, {rows})"

    def __getitem__(self, rows: Column | slice) -> "Pairs":
        """The pairs at the given rows: indices, a mask or a slice. Rows that were picked do not count as independent draws."""
        return Pairs(
            take(self.base, rows),
            {v: take(source, rows) for v, source in self.sources.items()},
            take(self.expected, rows),
            self.changed[rows],
            self.design,
            self.independent and isinstance(rows, slice),
        )

    @property
    def variables(self) -> tuple[str, ...]:
        """The intervened variables."""
        return tuple(self.sources)

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair, with columns `base.<input>`, `source.<variable>.<input>`, `expected.<output>` and `changed`."""
        import pandas as pd

        named = {f"base.{k}": x for k, x in self.base.items()}
        named |= {f"source.{v}.{k}": x for v, batch in self.sources.items() for k, x in batch.items()}
        named |= {f"expected.{k}": x for k, x in self.expected.items()}
        return pd.DataFrame({**named, "changed": self.changed})

    @classmethod
    def from_frame(cls, frame: "pd.DataFrame", model: CausalModel, *, independent: bool = False) -> "Pairs":
        """Prepared counterfactual data as pairs, in the columns that `to_frame` writes (`changed` is computed).

        Args:
            frame: one row a pair. Without `expected` columns the algorithm's own answers are used.
            model: the algorithm, against which labels are checked.
            independent: say so if the rows were drawn independently; a frame cannot show it, and without it no interval is given.

        Raises:
            PairsError: listing missing and unknown columns, and rows whose `expected` is not the algorithm's answer.
        """
        if not hasattr(frame, "columns"):
            raise PairsError(f"pairs are read from a pandas.DataFrame; given {frame!r}")
        read: dict[tuple[str, ...], Batch] = {}
        columns = _columns(model)
        problems = []
        for name in map(str, frame.columns):
            if name in columns:
                *side, variable = columns[name]
                read.setdefault(tuple(side), {})[variable] = frame[name].to_numpy()
            elif name != "changed":
                problems.append(
                    f"{unknown('column', name, columns)} (base.<input>, source.<variable>.<input>, expected.<output>)"
                )
        sources = {side[1]: batch for side, batch in read.items() if side[0] == "source"}
        problems += [
            f"there are no columns {what}"
            for what, found in (("base.<input>", ("base",) in read), ("source.<variable>.<input>", sources))
            if not found
        ]
        check(problems, PairsError, "the frame of pairs")
        found = make_pairs(
            model,
            model.columns(read["base",])[0],
            {v: model.columns(b)[0] for v, b in sources.items()},
            design="given",
            independent=independent,
        )
        _check_expected(read.get(("expected",), {}), found.expected)
        return found


def concatenated(parts: Sequence[Pairs]) -> Pairs:
    """The rows of several pairs of the same variables, in order."""
    first = parts[0]
    return Pairs(
        _rows([p.base for p in parts]),
        {v: _rows([p.sources[v] for p in parts]) for v in first.sources},
        _rows([p.expected for p in parts]),
        joined([p.changed for p in parts]),
        first.design,
        all(p.independent for p in parts),
    )


def _rows(batches: Sequence[Batch]) -> Batch:
    return {v: joined([batch[v] for batch in batches]) for v in batches[0]}


def _columns(model: CausalModel) -> dict[str, tuple[str, ...]]:
    """The columns that a frame of pairs can have, and where each belongs."""
    places: list[tuple[str, ...]] = [("base", v) for v in model.inputs]
    places += [("source", v, i) for v in model.graph for i in model.inputs]
    places += [("expected", v) for v in model.graph]
    return {".".join(place): place for place in places}


def make_pairs(model: CausalModel, base: Batch, sources: Mapping[str, Batch], *, design: str, independent: bool) -> Pairs:
    """The pairs of base and source columns, with the algorithm's answers."""
    rows = rows_of(base)
    values = {v: model.evaluate(source, {}, rows)[v] for v, source in sources.items()}
    after, changed = answers(model, base, values)
    outputs = model.labels({v: after[v] for v in model.outputs})
    return Pairs(
        model.labels({v: base[v] for v in model.inputs}),
        {v: model.labels({k: source[k] for k in model.inputs}) for v, source in sources.items()},
        outputs,
        changed,
        design,
        independent,
    )


def answers(model: CausalModel, base: Batch, values: Batch) -> tuple[Batch, Column]:
    """Every variable's column after setting `values` in `base`, and whether an output changed, [batch] of bool."""
    rows = rows_of(base)
    before = model.evaluate(base, {}, rows)
    after = model.evaluate(base, values, rows)
    return after, np.logical_or.reduce([before[v] != after[v] for v in model.outputs])


def _check_expected(given: Batch, answered: Batch) -> None:
    problems = [unknown("output", v, answered) for v in given if v not in answered]
    for variable in set(given) & set(answered):
        wrong: Any = given[variable] != answered[variable]
        if np.any(wrong):
            row = int(np.argmax(wrong))
            problems.append(
                f"expected.{variable} is {given[variable][row]!r} in row {row}; the algorithm answers {answered[variable][row]!r}"
            )
    check(problems, PairsError, "the frame of pairs")
