"""Every base with every source of some variables: what the network answers, and what the algorithm does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from torch import Tensor

import commute as cm
from commute.alignments.accuracy import agrees
from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.inputs import Inputs
from commute.models.patches import Change, FeatureLike
from commute.runs.seeds import stream

LISTED = 2**21  # combinations of bases and sources up to which all are gone through
DRAWN = 200_000  # of more of them, as many are drawn uniformly
_BLOCK = 2**16
_SAME = 1e-5  # features closer than this share of their spread are one feature

Held = Mapping[cm.Feature, Tensor]  # what features hold, [rows, dims] each
Do = dict[FeatureLike, Tensor | Change]


@dataclass(frozen=True, eq=False)
class Sources:
    """Kinds of sources: those with the same values and features act alike.

    Attributes:
        values: of the variables that are set, codes [kinds] each.
        held: what their features hold.
        uniform: how likely each kind is where all sources are equally likely, [kinds].
        balanced: how likely it is in the balanced design.
    """

    values: Batch
    held: Held
    uniform: Column
    balanced: Column

    @classmethod
    def of(cls, values: Batch, held: Held, uniform: Column, balanced: Column) -> "Sources":
        """The kinds of the rows given, with how likely each row is, up to a factor."""
        told = [np.stack(list(values.values()), 1), *(_rounded(x) for x in held.values())]
        _, first, kind = np.unique(np.concatenate(told, 1), axis=0, return_index=True, return_inverse=True)
        sums = (np.bincount(kind.reshape(-1), weights=w / w.sum()) for w in (uniform, balanced))
        return cls(take(values, first), {f: x[first] for f, x in held.items()}, *sums)

    @cached_property
    def combinations(self) -> tuple[Column, Column]:
        """Which combination of values each kind has, [kinds], and how likely each is in the balanced design."""
        number = _numbered(self.values)
        return number, np.bincount(number, weights=self.balanced)


@dataclass(frozen=True, eq=False)
class Rows:
    """Combinations of a base with a kind of source for each group of variables, as places [rows], and how likely they are."""

    base: Column
    sources: Sequence[Column]
    uniform: Column


@dataclass(frozen=True, eq=False)
class Judged:
    """What became of rows, [rows] each.

    Attributes:
        right: whether the network answers as the algorithm.
        changed: whether the interchange changes the algorithm's answer.
        likely: how likely each row is, uniformly and in the balanced design.
    """

    right: Column
    changed: Column
    likely: tuple[Column, Column]

    def rate(self, rows: Column) -> tuple[float, float]:
        """How often the network is right on some of the rows, where all are equally likely and in the balanced design."""
        uniform, balanced = (float(np.average(self.right[rows], weights=w[rows])) for w in self.likely)
        return uniform, balanced


@dataclass(frozen=True, eq=False)
class Enumeration:
    """All inputs of a claim's algorithm, as bases and as sources.

    Attributes:
        algorithm: the claim's.
        network: of which it is claimed.
        alignment: where its variables are.
        drawn: what was too much to go through, so that it was drawn from; filled in on the way.
    """

    algorithm: cm.CausalModel
    network: cm.Network
    alignment: cm.Alignment
    drawn: list[str]

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

    def sources(self, variables: Sequence[str]) -> Sources:
        """Every input as a source of some variables at once."""
        held = {f: self.held[f] for v in variables for f in self.alignment.parts(v)}
        values = {v: self.solved[v] for v in variables}
        return Sources.of(values, held, np.ones(rows_of(self.inputs)), self._by_value(variables))

    def rows(self, what: str, groups: Sequence[Sources]) -> Rows:
        """Every base with every kind of source of each group, or of too many as many as `DRAWN`."""
        shape = (rows_of(self.inputs), *(len(g.uniform) for g in groups))
        if prod(shape) <= LISTED:
            base, *sources = np.unravel_index(np.arange(prod(shape)), shape)
            return Rows(base, sources, np.prod([g.uniform[s] for g, s in zip(groups, sources, strict=True)], axis=0))
        self.drawn.append(what)
        generator = stream(0, "audit", what)
        base = generator.integers(shape[0], size=DRAWN)
        sources = [generator.choice(len(g.uniform), size=DRAWN, p=g.uniform) for g in groups]
        return Rows(base, sources, np.ones(DRAWN))

    def blocks(self, rows: Rows, groups: Sequence[Sources]) -> Iterator[tuple[Batch, Batch, Do, Column]]:
        """Rows block by block: the bases and the values that are set, in codes; what features are set to; the bases' places."""
        for start in range(0, len(rows.base), _BLOCK):
            block = slice(start, start + _BLOCK)
            base, taken = rows.base[block], [(g, s[block]) for g, s in zip(groups, rows.sources, strict=True)]
            values = {v: x[s] for g, s in taken for v, x in g.values.items()}
            yield take(self.inputs, base), values, {f: x[s] for g, s in taken for f, x in g.held.items()}, base

    def judged(self, rows: Rows, groups: Sequence[Sources]) -> Judged:
        """The network's and the algorithm's answers to rows, compared."""
        right, changed = [], []
        outputs = self.algorithm.outputs
        for inputs, values, do, base in self.blocks(rows, groups):
            after = self.algorithm.evaluate(inputs, values, len(base), outputs)
            expected = self.algorithm.labels({v: after[v] for v in outputs})
            right.append(agrees(self.network.run(take(self.labelled, base), do), expected))
            changed.append(np.any([after[v] != self.solved[v][base] for v in outputs], axis=0))
        changes = np.concatenate(changed)
        return Judged(np.concatenate(right), changes, (rows.uniform, self._balanced(rows, groups, changes)))

    def _by_value(self, variables: Sequence[str]) -> Column:
        """How likely each input is, up to a factor, where each combination of values is as likely as any other."""
        number = _numbered({v: self.solved[v] for v in variables})
        return np.asarray(1 / np.bincount(number)[number])

    def _balanced(self, rows: Rows, groups: Sequence[Sources], changed: Column) -> Column:
        """How likely each row is in the balanced design, [rows].

        Combinations of the values that are set are equally likely; half of the bases are changed by theirs, where some are and
        some are not; and in each half combinations of the bases' own values are as likely as each other, as far as they occur.
        """
        alike = np.zeros(len(changed), dtype=np.int64)  # the combination of the values that are set
        given = rows.uniform * self._by_value([v for g in groups for v in g.values])[rows.base]
        chance = np.ones(len(changed))
        for g, source in zip(groups, rows.sources, strict=True):
            number, likely = g.combinations
            alike = alike * len(likely) + number[source]
            given = given * (g.balanced / g.uniform)[source]
            chance = chance * likely[number[source]]
        total = np.bincount(2 * alike + changed, weights=given, minlength=2 * int(alike.max()) + 2)
        halves = 1 + (total.reshape(-1, 2) > 0).all(1)
        return np.asarray(given / total[2 * alike + changed] * chance / halves[alike])


def _numbered(values: Batch) -> Column:
    """Numbers of the combinations of values, [rows]."""
    return np.unique(np.stack(list(values.values()), 1), axis=0, return_inverse=True)[1].reshape(-1)


def _rounded(vectors: Tensor) -> Column:
    x = vectors.double().numpy()
    return np.asarray(np.round(x / max(_SAME * np.ptp(x, axis=0).max(), 1e-30)).astype(np.int64))
