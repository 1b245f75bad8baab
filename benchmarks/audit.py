"""Audits: how often a claim is right on each of its slices, by going through all bases and sources.

This is the truth that verdicts are held against, so it shares with `verify` the interchange itself but neither how pairs are
drawn nor how they are judged. Each slice has two rates: with every base and source equally likely, and as likely as in the
balanced design.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from networkx import descendants

import commute as cm
from benchmarks.enumeration import Enumeration, Judged, Sources
from commute.alignments.accuracy import agrees
from commute.alignments.variable_sets import variable_sets
from commute.causal.batches import Column, take
from commute.causal.domains import Finite
from commute.proofs.evidence import title

_APART = 1e-4  # inputs whose features are closer than this share of their spread are equally near

Rates = dict[str, tuple[float, float]]  # of each slice, over uniform pairs and over balanced ones


@dataclass(frozen=True)
class Audit:
    """The exact accuracy of each slice of a claim.

    Attributes:
        rates: of each slice, over uniform pairs and over balanced ones.
        drawn: the sets of variables whose pairs were too many, so that their rates are of a large sample.
    """

    rates: Rates
    drawn: tuple[str, ...]

    @property
    def worst(self) -> float:
        """The lowest rate over uniform pairs: the claim is true at this level and at no higher one."""
        return min(uniform for uniform, _ in self.rates.values())

    @property
    def balanced(self) -> float:
        """The lowest rate over balanced pairs."""
        return min(balanced for _, balanced in self.rates.values())

    @property
    def where(self) -> str:
        """The slice of the lowest rate of all."""
        return min(self.rates, key=lambda name: min(self.rates[name]))


def audit(algorithm: cm.CausalModel, network: cm.Network, alignment: cm.Alignment) -> Audit:
    """Go through everything that a claim is about; see `Audit`."""
    all_of_it = Enumeration(algorithm, network, alignment, [])
    parts = [_alone(all_of_it), *(_interchanged(all_of_it, s) for s in variable_sets(list(alignment)))]
    if len(alignment) > 1:
        parts.append(_remainder(all_of_it))
    parts += [_read_out(all_of_it, v, w) for v in alignment for w in alignment if w in descendants(algorithm.graph, v)]
    parts += [_told_apart(all_of_it, v) for v in alignment]
    return Audit({name: rate for part in parts for name, rate in part.items()}, tuple(all_of_it.drawn))


def _alone(of: Enumeration) -> Rates:
    """The network as it is."""
    expected = of.algorithm.labels({v: of.solved[v] for v in of.algorithm.outputs})
    rate = float(agrees(of.network.run(of.labelled), expected).mean())
    return {"no intervention": (rate, rate)}


def _interchanged(of: Enumeration, variables: Sequence[str]) -> Rates:
    """A set of variables, each from a source of its own; of a single one each transition as well."""
    groups = [of.sources([v]) for v in variables]
    rows = of.rows(title(tuple(variables), "interchanged"), groups)
    judged = of.judged(rows, groups)
    found = _by_change(judged, tuple(variables))
    if len(variables) == 1:
        (v,) = variables
        before, after = of.solved[v][rows.base], groups[0].values[v][rows.sources[0]]
        labels = _labels(of.algorithm, v)
        place = before.astype(np.int64) * len(labels) + after
        for i in np.unique(place):
            old, new = divmod(int(i), len(labels))
            found[title((v,), f"{labels[old]} → {labels[new]}")] = judged.rate(place == i)
    return found


def _remainder(of: Enumeration) -> Rates:
    """All aligned variables from one source, which exchanges all that is not aligned."""
    groups = [of.sources(list(of.alignment))]
    judged = of.judged(of.rows("remainder exchanged", groups), groups)
    return _by_change(judged, tuple(of.alignment), "remainder exchanged, ")


def _read_out(of: Enumeration, variable: str, below: str) -> Rates:
    """What a variable below the one that is set holds then, set in every other input."""
    groups = [of.sources([variable])]
    name = f"{below} read out"
    rows = of.rows(title((variable,), name), groups)
    values, held = [], []
    for inputs, set_to, do, base in of.blocks(rows, groups):
        values.append(of.algorithm.evaluate(inputs, set_to, len(base), [below])[below])
        held.append(of.network.activations(take(of.labelled, base), of.alignment.parts(below), do))
    united = {f: torch.cat([h[f] for h in held]) for f in of.alignment.parts(below)}
    read = [Sources.of({below: np.concatenate(values)}, united, *of.judged(rows, groups).likely)]
    elsewhere = of.judged(of.rows(title((variable,), f"{name}, elsewhere"), read), read)
    return _by_change(elsewhere, (variable,), f"{name}, ")


def _told_apart(of: Enumeration, variable: str) -> Rates:
    """Each value that acts as another one does, read from the feature: as the value of the nearest other input.

    Values that act differently need no reading, since interchanges tell them apart. Of inputs that are equally near each counts
    in part, and a value of a single input is read rightly where no input is as near as rounding.
    """
    from scipy.spatial.distance import cdist

    parts = [of.held[f].double().numpy() for f in of.alignment.parts(variable)]
    vectors, codes = np.concatenate(parts, 1), of.solved[variable]
    apart = cdist(vectors, vectors, "chebyshev")
    close = _APART * max(apart.max(), 1e-30)
    np.fill_diagonal(apart, np.inf)
    near = apart <= apart.min(1, keepdims=True) + close
    right = (near & (codes[:, None] == codes)).sum(1) / near.sum(1)
    lone = np.bincount(codes)[codes] == 1
    right[lone] = apart.min(1)[lone] > close
    labels = _labels(of.algorithm, variable)
    rates = {c: float(right[codes == c].mean()) for c in _alike(of, variable)}
    return {title((variable,), f"{labels[c]} read"): (rate, rate) for c, rate in rates.items()}


def _alike(of: Enumeration, variable: str) -> Column:
    """The codes that inputs have and that answer every input as another such code does."""
    codes, outputs = of.solved[variable], of.algorithm.outputs
    kept = np.unique(codes)
    effects = [of.algorithm.evaluate(of.inputs, {variable: np.full(len(codes), c)}, len(codes), outputs) for c in kept]
    answers = np.stack([np.concatenate([e[v] for v in outputs]) for e in effects])
    _, group, size = np.unique(answers, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(kept[size[group.reshape(-1)] > 1])


def _by_change(judged: Judged, variables: tuple[str, ...], kind: str = "") -> Rates:
    """The rates where the answer is changed and where it is not."""
    parts = {"changed": judged.changed, "unchanged": ~judged.changed}
    return {title(variables, f"{kind}{k}"): judged.rate(r) for k, r in parts.items() if r.any()}


def _labels(algorithm: cm.CausalModel, variable: str) -> tuple[object, ...]:
    domain = algorithm.domain(variable)
    if not isinstance(domain, Finite):
        raise TypeError(f"{variable!r} of {algorithm.name!r} is not finite")
    return tuple(domain)
