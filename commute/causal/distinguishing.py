"""Interchange pairs that tell two rival algorithms apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commute.causal.batches import BLOCK, Batch, Column, rows_of, take
from commute.causal.designs import EXHAUSTIVE_ROWS
from commute.causal.domains import Interval
from commute.causal.equivalence import check_comparable
from commute.causal.inputs import Condition, Inputs
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs, make_pairs
from commute.errors import PairsError, check, not_counts, unknown
from commute.runs.seeds import stream

_SAMPLED = 2**16  # pairs drawn where they cannot all be gone through
_SHRUNK = 256  # of the drawn pairs that differ, those that are made smaller
_ROUNDS = 8

_Drawn = tuple[Batch, dict[str, Batch]]  # bases and sources, as columns of the first model


def distinguishing_pairs(
    first: CausalModel,
    second: CausalModel,
    variables: Sequence[str] | Mapping[str, str],
    n: int = 10,
    *,
    given: Condition | None = None,
    seed: int = 0,
) -> Pairs:
    """Pairs after whose interchange two algorithms answer differently, the smallest first; `expected` is the first one's answer.

    A pair is smaller when fewer inputs of its sources differ from the base, then when its labels come earlier in their domains.
    Where there are at most 2**24 pairs all are gone through, and none found means that there is none. Of more, and of continuous
    inputs, 2**16 are drawn and those that differ are made smaller one input at a time; then none found proves nothing.

    Args:
        first: an algorithm.
        second: its rival, with the same inputs and outputs.
        variables: the variables to interchange, by the names that they have in both, or each name in `first` with the one in
            `second`.
        n: how many pairs at most.
        given: inputs are taken from those that meet this condition on `first`.
        seed: of what is drawn.

    Raises:
        ModelError: when the models' inputs or outputs differ.
        PairsError: for unknown variables.
    """
    check_comparable(first, second)
    if isinstance(variables, str) or not isinstance(variables, (Mapping, Sequence)) or not variables:
        raise PairsError(f"variables is a list or mapping of one or more names; given {variables!r}")
    names = dict(variables) if isinstance(variables, Mapping) else {v: v for v in variables}
    problems = [f"{unknown('variable', v, m.graph)} in {m.name!r}" for v, m in _named(names, first, second) if v not in m.graph]
    check([*problems, *not_counts(n=n)], PairsError, "pairs that tell two algorithms apart")
    rivals = _Rivals(first, second, names, Inputs(first, given))
    rows = rows_of(rivals.inputs.listed) ** (1 + len(names)) if rivals.inputs.finite else None
    found = _searched(rivals, n, seed) if rows is None or rows > EXHAUSTIVE_ROWS else _gone_through(rivals, n, rows)
    return make_pairs(first, *found, design="distinguishing", independent=False)


def _named(names: Mapping[str, str], first: CausalModel, second: CausalModel) -> list[tuple[str, CausalModel]]:
    return [(v, m) for one, other in names.items() for v, m in ((one, first), (other, second))]


@dataclass(frozen=True, eq=False)
class _Rivals:
    first: CausalModel
    second: CausalModel
    names: Mapping[str, str]
    inputs: Inputs

    def differ(self, drawn: _Drawn) -> Column:
        """On which pairs the two answer differently, [pairs] of bool."""
        base, sources = (self.first.labels(drawn[0]), {v: self.first.labels(s) for v, s in drawn[1].items()})
        ours = self.first.interchange(base, sources, only=self.first.outputs)
        other = {self.names[v]: source for v, source in sources.items()}
        theirs = self.second.interchange(base, other, only=self.first.outputs)
        differs: Column = np.logical_or.reduce([ours[v] != theirs[v] for v in self.first.outputs])
        return differs

    def size(self, drawn: _Drawn) -> Column:
        """The sizes of pairs, to be compared by rows, [pairs, 2]."""
        base, sources = drawn
        moved = sum((source[v] != base[v]).astype(np.int64) for source in sources.values() for v in source)
        labels = sum(x.astype(np.float64) for batch in (base, *sources.values()) for x in batch.values())
        return np.stack([moved, labels], axis=1)

    def smallest(self, drawn: _Drawn, n: int) -> _Drawn:
        """The `n` smallest pairs, in order; of equally small ones those that come first."""
        size = self.size(drawn)
        return _rows(drawn, np.lexsort((size[:, 1], size[:, 0]))[:n])


def _gone_through(rivals: _Rivals, n: int, rows: int) -> _Drawn:
    kept: _Drawn | None = None
    for start in range(0, rows, BLOCK):
        drawn = rivals.inputs.product(rivals.names, start, min(start + BLOCK, rows))
        fresh = _rows(drawn, rivals.differ(drawn))
        kept = rivals.smallest(fresh if kept is None else _joined(kept, fresh), n)
    return kept or ({}, {})


def _searched(rivals: _Rivals, n: int, seed: int) -> _Drawn:
    generator = stream(seed, "distinguishing")
    drawn = rivals.inputs.sample(generator, _SAMPLED), {v: rivals.inputs.sample(generator, _SAMPLED) for v in rivals.names}
    found = rivals.smallest(_rows(drawn, rivals.differ(drawn)), _SHRUNK)
    unshrunk = found
    for _ in range(_ROUNDS if rows_of(found[0]) else 0):
        before = rivals.size(found).sum()
        found = _shrunk(rivals, found)
        if rivals.size(found).sum() == before:
            break
    smallest, others = (_distinct(drawn) for drawn in (found, _joined(found, unshrunk)))
    return rivals.smallest(smallest if rows_of(smallest[0]) >= n else others, n)


def _distinct(drawn: _Drawn) -> _Drawn:
    """The pairs, each once, in order."""
    every = np.stack([x for batch in (drawn[0], *drawn[1].values()) for x in batch.values()])
    return _rows(drawn, np.sort(np.unique(every, axis=1, return_index=True)[1]))


def _shrunk(rivals: _Rivals, found: _Drawn) -> _Drawn:
    """The pairs with one input after another made as in the base, or an earlier label, wherever they still differ."""
    base, sources = found
    for variable in rivals.first.inputs:
        domain = rivals.first.domain(variable)
        low = domain.low if isinstance(domain, Interval) else 0
        for name in sources:
            found = _kept(rivals, found, {name: {variable: found[0][variable]}})
        for part in (0.0, 0.5, 0.9):  # of the way from the first label
            column = low + (found[0][variable] - low) * part
            earlier = column if isinstance(domain, Interval) else column.astype(base[variable].dtype)
            found = _kept(rivals, found, {None: {variable: earlier}, **{name: {variable: earlier} for name in sources}})
            for side in (None, *sources):
                found = _kept(rivals, found, {side: {variable: earlier}})
    return found


def _kept(rivals: _Rivals, found: _Drawn, change: Mapping[str | None, Batch]) -> _Drawn:
    """The pairs with a change to the base (None) and sources made where they still differ, meet the condition and are smaller."""
    base = {**found[0], **change.get(None, {})}
    sources = {v: {**source, **change.get(v, {})} for v, source in found[1].items()}
    size, before = rivals.size((base, sources)), rivals.size(found)
    smaller = (size[:, 0] < before[:, 0]) | ((size[:, 0] == before[:, 0]) & (size[:, 1] < before[:, 1]))
    met = np.logical_and.reduce([rivals.inputs.meets(batch, len(smaller)) for batch in (base, *sources.values())])
    better = smaller & met & rivals.differ((base, sources))
    return _chosen(better, base, found[0]), {v: _chosen(better, sources[v], found[1][v]) for v in sources}


def _chosen(rows: Column, new: Batch, old: Batch) -> Batch:
    return {v: np.where(rows, new[v], old[v]) for v in old}


def _rows(drawn: _Drawn, rows: Column) -> _Drawn:
    return take(drawn[0], rows), {v: take(source, rows) for v, source in drawn[1].items()}


def _joined(one: _Drawn, other: _Drawn) -> _Drawn:
    base = {v: np.concatenate([x, other[0][v]]) for v, x in one[0].items()}
    return base, {k: {v: np.concatenate([x, other[1][k][v]]) for v, x in source.items()} for k, source in one[1].items()}
