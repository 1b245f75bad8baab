"""Audits: how often a claim is right on each of its slices, by going through all bases and sources.

This is the truth that verdicts are held against, so it shares with `verify` the interchange itself but neither how pairs are drawn
nor how they are judged. Pairs are uniform: every base with every source.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from networkx import descendants
from torch import Tensor

import commute as cm
from commute.alignments.accuracy import agrees
from commute.alignments.variable_sets import variable_sets
from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.inputs import Inputs
from commute.proofs.evidence import title
from commute.runs.seeds import stream

LISTED = 2**21  # combinations of bases and sources up to which all are gone through
DRAWN = 200_000  # of more of them, as many are drawn uniformly
_BLOCK = 2**16
_SAME = 1e-5  # features closer than this share of their spread are one feature
_APART = 1e-4  # likewise, inputs that are as near as rounding makes them

Rates = dict[str, float]
Held = Mapping[cm.Feature, Tensor]  # what features hold, [rows, dims] each


@dataclass(frozen=True)
class Audit:
    """The exact accuracy of each slice of a claim.

    Attributes:
        rates: of each slice.
        drawn: the sets of variables whose pairs were too many, so that their rates are of a large sample.
    """

    rates: Rates
    drawn: tuple[str, ...]

    @property
    def worst(self) -> float:
        """The lowest rate: the claim is true at this level and at no higher one."""
        return min(self.rates.values())

    @property
    def where(self) -> str:
        """The slice of that rate."""
        return min(self.rates, key=lambda name: self.rates[name])


def audit(algorithm: cm.CausalModel, network: cm.Network, alignment: cm.Alignment) -> Audit:
    """Go through everything that a claim is about; see `Audit`."""
    audited = _Audited(algorithm, network, alignment)
    parts = [audited.alone(), *(audited.interchanged(s) for s in variable_sets(list(alignment)))]
    if len(alignment) > 1:
        parts.append(audited.remainder())
    parts += [audited.read_out(v, w) for v in alignment for w in alignment if w in descendants(algorithm.graph, v)]
    parts += [audited.told_apart(v) for v in alignment]
    return Audit({name: rate for part in parts for name, rate in part.items()}, tuple(audited.drawn))


@dataclass(frozen=True, eq=False)
class _Sources:
    """Kinds of sources: those with the same values and features act alike.

    Attributes:
        values: of the variables that are set, codes [kinds] each.
        held: what their features hold.
        count: how many sources are of each kind, [kinds].
    """

    values: Batch
    held: Held
    count: Column

    @classmethod
    def of(cls, values: Batch, held: Held, count: Column | None = None) -> "_Sources":
        """The kinds of the rows given, each of which may stand for several."""
        told = [np.stack(list(values.values()), 1), *(_rounded(x) for x in held.values())]
        _, first, kind = np.unique(np.concatenate(told, 1), axis=0, return_index=True, return_inverse=True)
        count = np.ones(len(kind)) if count is None else count
        total = np.bincount(kind.reshape(-1), weights=count)
        return cls(take(values, first), {f: x[first] for f, x in held.items()}, total)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Combinations of a base with a kind of source for each group of variables, [rows] of places each, and their weights."""

    base: Column
    sources: Sequence[Column]
    weight: Column


@dataclass(frozen=True, eq=False)
class _Audited:
    algorithm: cm.CausalModel
    network: cm.Network
    alignment: cm.Alignment

    @cached_property
    def drawn(self) -> list[str]:
        """What was too much to go through, filled in on the way."""
        return []

    @cached_property
    def inputs(self) -> Batch:
        """Every input, in codes."""
        return Inputs(self.algorithm).listed

    @cached_property
    def solved(self) -> Batch:
        """Every variable's code for every input."""
        return self.algorithm.evaluate(self.inputs, {}, rows_of(self.inputs))

    @cached_property
    def labelled(self) -> Batch:
        """Every input, in labels."""
        return self.algorithm.labels(self.inputs)

    @cached_property
    def held(self) -> Held:
        """What each aligned variable's features hold for every input."""
        return self.network.activations(self.labelled, [f for v in self.alignment for f in self.alignment.parts(v)])

    def alone(self) -> Rates:
        """The network as it is."""
        expected = self.algorithm.labels({v: self.solved[v] for v in self.algorithm.outputs})
        return {"no intervention": float(agrees(self.network.run(self.labelled), expected).mean())}

    def interchanged(self, variables: Sequence[str]) -> Rates:
        """A set of variables, each from a source of its own."""
        rows = self._rows(title(tuple(variables), "interchanged"), [self._sources([v]) for v in variables])
        groups = [self._sources([v]) for v in variables]
        right, changed = self._judged(rows, groups)
        found = _by_change(tuple(variables), rows.weight, right, changed)
        if len(variables) == 1:
            (v,) = variables
            found |= self._transitions(v, self.solved[v][rows.base], groups[0].values[v][rows.sources[0]], rows.weight, right)
        return found

    def remainder(self) -> Rates:
        """All aligned variables from one source, which exchanges all that is not aligned."""
        groups = [self._sources(list(self.alignment))]
        rows = self._rows("remainder exchanged", groups)
        return _by_change(tuple(self.alignment), rows.weight, *self._judged(rows, groups), "remainder exchanged, ")

    def read_out(self, variable: str, below: str) -> Rates:
        """What a variable below the one that is set holds then, set in every other input."""
        groups = [self._sources([variable])]
        name = f"{below} read out"
        rows = self._rows(title((variable,), name), groups)
        values, held = [], []
        for do, block in self._blocks(rows, groups):
            values.append(self.algorithm.evaluate(*self._set(block, groups), [below])[below])
            held.append(self.network.activations(take(self.labelled, block.base), self.alignment.parts(below), do))
        united = {f: _joined([h[f] for h in held]) for f in self.alignment.parts(below)}
        read = [_Sources.of({below: np.concatenate(values)}, united, rows.weight)]
        elsewhere = self._rows(title((variable,), f"{name}, elsewhere"), read)
        return _by_change((variable,), elsewhere.weight, *self._judged(elsewhere, read), f"{name}, ")

    def told_apart(self, variable: str) -> Rates:
        """Each value that acts as another one does, read from the feature: as the value of the nearest other input.

        Values that act differently need no reading, since interchanges tell them apart. Of inputs that are equally near each
        counts in part, and a value of a single input is read rightly where no input is as near as rounding.
        """
        from scipy.spatial.distance import cdist

        parts = [self.held[f].double().numpy() for f in self.alignment.parts(variable)]
        vectors, codes = np.concatenate(parts, 1), self.solved[variable]
        apart = cdist(vectors, vectors, "chebyshev")
        close = _APART * max(apart.max(), 1e-30)
        np.fill_diagonal(apart, np.inf)
        near = apart <= apart.min(1, keepdims=True) + close
        right = (near & (codes[:, None] == codes)).sum(1) / near.sum(1)
        lone = np.bincount(codes)[codes] == 1
        right[lone] = apart.min(1)[lone] > close
        labels = self._labels(variable)
        return {title((variable,), f"{labels[c]} read"): float(right[codes == c].mean()) for c in self._alike(variable, codes)}

    def _alike(self, variable: str, codes: Column) -> Column:
        """The values that inputs have and that answer every input as another such value does."""
        n, kept = len(codes), np.unique(codes)
        effects = [self.algorithm.evaluate(self.inputs, {variable: np.full(n, c)}, n, self.algorithm.outputs) for c in kept]
        answers = np.stack([np.concatenate([e[v] for v in self.algorithm.outputs]) for e in effects])
        _, group, size = np.unique(answers, axis=0, return_inverse=True, return_counts=True)
        return kept[size[group.reshape(-1)] > 1]

    def _sources(self, variables: Sequence[str]) -> _Sources:
        held = {f: self.held[f] for v in variables for f in self.alignment.parts(v)}
        return _Sources.of({v: self.solved[v] for v in variables}, held)

    def _rows(self, what: str, groups: Sequence[_Sources]) -> _Rows:
        shape = (rows_of(self.inputs), *(len(g.count) for g in groups))
        if prod(shape) <= LISTED:
            base, *sources = np.unravel_index(np.arange(prod(shape)), shape)
            return _Rows(base, sources, np.prod([g.count[s] for g, s in zip(groups, sources, strict=True)], axis=0))
        self.drawn.append(what)
        generator = stream(0, "audit", what)
        base = generator.integers(shape[0], size=DRAWN)
        sources = [generator.choice(len(g.count), size=DRAWN, p=g.count / g.count.sum()) for g in groups]
        return _Rows(base, sources, np.ones(DRAWN))

    def _blocks(self, rows: _Rows, groups: Sequence[_Sources]) -> Iterator[tuple[dict[cm.Feature, Tensor], _Rows]]:
        """Rows block by block, with what features are set to there."""
        for start in range(0, len(rows.base), _BLOCK):
            block = slice(start, start + _BLOCK)
            sources = [s[block] for s in rows.sources]
            do = {f: x[s] for g, s in zip(groups, sources, strict=True) for f, x in g.held.items()}
            yield do, _Rows(rows.base[block], sources, rows.weight[block])

    def _set(self, rows: _Rows, groups: Sequence[_Sources]) -> tuple[Batch, Batch, int]:
        """The bases, and the values of the variables that are set, in codes."""
        values = {v: x[s] for g, s in zip(groups, rows.sources, strict=True) for v, x in g.values.items()}
        return take(self.inputs, rows.base), values, len(rows.base)

    def _judged(self, rows: _Rows, groups: Sequence[_Sources]) -> tuple[Column, Column]:
        """Whether the network answers as the algorithm, and whether the interchange changes the algorithm's answer."""
        right, changed = [], []
        for do, block in self._blocks(rows, groups):
            after = self.algorithm.evaluate(*self._set(block, groups), self.algorithm.outputs)
            expected = self.algorithm.labels({v: after[v] for v in self.algorithm.outputs})
            right.append(agrees(self.network.run(take(self.labelled, block.base), do), expected))
            changed.append(np.any([after[v] != self.solved[v][block.base] for v in self.algorithm.outputs], axis=0))
        return np.concatenate(right), np.concatenate(changed)

    def _transitions(self, variable: str, before: Column, after: Column, weight: Column, right: Column) -> Rates:
        labels = self._labels(variable)
        place = before.astype(np.int64) * len(labels) + after
        total, correct = (np.bincount(place, weights=w, minlength=len(labels) ** 2) for w in (weight, weight * right))
        return {
            title((variable,), f"{labels[i // len(labels)]} → {labels[i % len(labels)]}"): float(correct[i] / total[i])
            for i in np.flatnonzero(total)
        }

    def _labels(self, variable: str) -> tuple[object, ...]:
        return tuple(self.algorithm.domain(variable))


def _by_change(variables: tuple[str, ...], weight: Column, right: Column, changed: Column, kind: str = "") -> Rates:
    parts = {"changed": changed, "unchanged": ~changed}
    return {title(variables, f"{kind}{k}"): float(np.average(right[r], weights=weight[r])) for k, r in parts.items() if r.any()}


def _rounded(vectors: Tensor) -> Column:
    x = vectors.double().numpy()
    return np.round(x / max(_SAME * np.ptp(x, axis=0).max(), 1e-30)).astype(np.int64)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.cat(list(parts))
