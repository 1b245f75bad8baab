"""Regions: pairs on which a claim that is not true everywhere does hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from commute.alignments.binomial import count
from commute.causal.batches import Column
from commute.causal.domains import Domain, Finite
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.errors import PairsError
from commute.proofs.bounds import FIXED, Inference, stands_out
from commute.proofs.region import Region
from commute.runs.seeds import stream

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

_DEPTH = 3  # conditions that a region has at most
_LEAST = 0.05  # share of the pairs that a region has at least
_APART = 5  # pairs that a condition must set apart
_NAMED = 128  # values up to which a variable's are asked for one by one
_EDGES = 32  # quantiles at which a real variable is compared


@dataclass(frozen=True, eq=False)
class _Term:
    """A variable in the base or in its source, of which a region may ask.

    Attributes:
        name: such as `base carry`.
        codes: the place of its value among `values`, [pairs].
        values: its labels, numbers in order; of a real variable the upper ends of all bins but the last.
        real: whether the values are ends of bins.
        ordered: whether the values are numbers.
    """

    name: str
    codes: Column
    values: tuple[str, ...]
    real: bool
    ordered: bool

    @property
    def size(self) -> int:
        """How many codes there are."""
        return len(self.values) + self.real

    def asked(self) -> Iterator[int | None]:
        """What a tree may ask of it: None for an order of its codes, and codes to be equal to."""
        pair = self.size == 2  # noqa: PLR2004  # of two labels each is the other's opposite
        if self.real or (self.ordered and not pair):
            yield None
        if not self.real and self.size <= _NAMED:
            yield from range(1 if pair else 0, self.size)


Allowed = Mapping[_Term, Column]  # of each term that a region asks of, the codes that are in it, [size] of bool


def describe(
    algorithm: CausalModel,
    pairs: Pairs,
    right: Column,
    *,
    what: str,
    at_least: float,
    confidence: float,
    seed: int = 0,
    by: Inference = FIXED,
) -> Region | None:
    """Conditions on the algorithm's variables under which the network answers as it, from pairs on some of which it does not.

    A decision tree on half of the pairs proposes: of its nodes, conjunctions of at most three conditions that at least a
    twentieth of the pairs meet, the one with the highest lower bound on IIA. It alone is judged, on the other half.

    Args:
        algorithm: gives the variables, as they are in the base and, of those that are interchanged, in their sources.
        pairs: independent draws.
        right: whether the network's answer is the algorithm's, [pairs] of bool.
        what: names the pairs.
        at_least: the IIA that the region must be shown to have; its pairs that change the answer must not stand out.
        confidence: of each bound.
        seed: of the halves.
        by: how bounds follow from counts; by default exactly, for numbers of pairs that were fixed beforehand.

    Returns:
        The region; None where its lower bound is not `at_least` and above the upper bound on the other pairs, where no variable
        tells right from wrong answers, and for pairs that are not independent, since counts of them have no bounds.

    Raises:
        PairsError: unless there is one answer a pair.
    """
    if len(right) != len(pairs):
        raise PairsError(f"a region is found from one answer for each of {len(pairs)} pairs; given {len(right)}")
    if not pairs.independent:
        return None
    generator = stream(seed, "regions")
    halves = generator.permutation(len(pairs))
    fitted, fresh = halves[: len(pairs) // 2], halves[len(pairs) // 2 :]
    best = _proposed(_terms(algorithm, pairs), fitted, right[fitted], confidence, generator)
    if best is None:
        return None
    met, answers = _meets(best, fresh), right[fresh]
    inside, outside = count(answers[met]), count(answers[~met])
    lower, upper = by.lower(inside, confidence), by.upper(inside, confidence)
    changed = pairs.changed[fresh] & met
    if (
        lower < at_least
        or lower <= by.upper(outside, confidence)
        or (changed.any() and stands_out(count(right[fresh][changed]), at_least))
    ):
        return None
    conditions = tuple(_condition(term, allowed) for term, allowed in best.items())
    return Region(what, conditions, inside, outside, lower, upper)


def _terms(algorithm: CausalModel, pairs: Pairs) -> list[_Term]:
    """Every variable in the base and the interchanged ones in their sources; without those whose values cannot be compared."""
    base = algorithm.solve(pairs.base)
    columns = {f"base {v}": (v, base[v]) for v in algorithm.graph}
    columns |= {f"source {v}": (v, algorithm.solve(source, only=[v])[v]) for v, source in pairs.sources.items()}
    found = [_term(name, algorithm.known_domain(v), column) for name, (v, column) in columns.items()]
    return [term for term in found if term is not None]


def _term(name: str, domain: Domain | None, column: Column) -> _Term | None:
    if not isinstance(domain, Finite):
        return _real(name, column) if column.dtype.kind in "iuf" else None
    codes, labels = domain.encode(column).astype(np.int64), domain.values
    ordered = all(isinstance(x, int | float) and not isinstance(x, bool) for x in labels)
    if ordered:
        order = np.argsort(np.array(labels), kind="stable")
        codes, labels = np.argsort(order)[codes], tuple(labels[i] for i in order)
    return _Term(name, codes, tuple(str(x) for x in labels), real=False, ordered=ordered)


def _real(name: str, column: Column) -> _Term:
    """Real numbers in bins that end at quantiles, rounded so that a condition reads as it is measured."""
    ends = np.quantile(column, np.arange(1, _EDGES) / _EDGES)
    read = sorted({f"{x:.4g}" for x in ends}, key=float)
    return _Term(name, np.searchsorted([float(x) for x in read], column), tuple(read), real=True, ordered=True)


def _proposed(
    terms: list[_Term], rows: Column, right: Column, confidence: float, generator: np.random.Generator
) -> Allowed | None:
    """The node of a tree that has the highest lower bound on its right answers, of those that enough pairs meet."""
    from sklearn.tree import DecisionTreeClassifier

    asked = [(term, code) for term in terms for code in term.asked()]
    if not asked or right.all() or not right.any():
        return None
    features = np.stack([t.codes[rows] if code is None else t.codes[rows] == code for t, code in asked], 1, dtype=np.float32)
    tree = DecisionTreeClassifier(max_depth=_DEPTH, min_samples_leaf=_APART, random_state=int(generator.integers(2**31)))
    tree.fit(features, right)
    judged = [(count(right[_meets(allowed, rows)]), allowed) for allowed in _nodes(tree, asked)]
    large = [(c.lower(confidence), allowed) for c, allowed in judged if c.total >= _LEAST * len(rows)]
    return max(large, key=lambda found: found[0], default=(0, None))[1]


def _nodes(tree: "DecisionTreeClassifier", asked: list[tuple[_Term, int | None]]) -> Iterator[Allowed]:
    """What each node but the root asks of its pairs; several questions about a term are one."""
    nodes, open_ = tree.tree_, [(0, dict[_Term, Column]())]
    while open_:
        node, so_far = open_.pop()
        if node:
            yield so_far
        if nodes.children_left[node] < 0:
            continue
        term, code = asked[nodes.feature[node]]
        codes, before = np.arange(term.size), so_far.get(term, True)
        low = codes <= nodes.threshold[node] if code is None else codes != code
        open_ += [
            (int(nodes.children_left[node]), {**so_far, term: before & low}),
            (int(nodes.children_right[node]), {**so_far, term: before & ~low}),
        ]


def _meets(allowed: Allowed, rows: Column) -> Column:
    """Which of the rows are in a region, [rows] of bool."""
    met: Column = np.logical_and.reduce([codes[term.codes[rows]] for term, codes in allowed.items()])
    return met


def _condition(term: _Term, allowed: Column) -> str:
    """The codes of a term that are in a region, in words."""
    inside, outside = np.flatnonzero(allowed).tolist(), np.flatnonzero(~allowed).tolist()
    if not term.real and len(inside) == 1:
        return f"{term.name} = {term.values[inside[0]]}"
    if not term.real and (len(outside) == 1 or not term.ordered):
        return f"{term.name} {_none_of(term, outside)}"
    first, last = inside[0], inside[-1]
    holes = [i for i in outside if first < i < last]
    within = _range(term, first, last)
    return f"{within}{' but ' if within != term.name else ' '}{_none_of(term, holes)}" if holes else within


def _none_of(term: _Term, codes: list[int]) -> str:
    named = [term.values[i] for i in codes]
    return f"≠ {named[0]}" if len(named) == 1 else f"∉ {{{', '.join(named)}}}"


def _range(term: _Term, first: int, last: int) -> str:
    """The codes from `first` to `last`, in words: labels from a least one on, or real numbers above the end of the bin before."""
    below = f" ≤ {term.values[last]}" if last < term.size - 1 else ""
    if not first:
        return f"{term.name}{below}"
    least = term.values[first - term.real]
    if not below:
        return f"{term.name} {'>' if term.real else '≥'} {least}"
    return f"{least} {'<' if term.real else '≤'} {term.name}{below}"
