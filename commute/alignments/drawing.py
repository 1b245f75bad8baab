"""The pairs of a search: to train on, to select by, and those that are left to verify with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from commute.alignments.spec import Found, Search
from commute.alignments.training import Drawn
from commute.alignments.variable_sets import variable_sets
from commute.causal.batches import Column
from commute.causal.designs import pairs
from commute.causal.domains import Finite
from commute.causal.heldout import held_out, pair_keys, unseen
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.errors import AlignmentError, check, unknown
from commute.runs.seeds import stream

_COARSE = 512  # pairs of a coarse pass, at most
CLAIM = "claim"  # the path of a claim's own search, where a control has its name


@dataclass(frozen=True, eq=False)
class SearchPairs:
    """The pairs of one search.

    Attributes:
        train: to train on, for each set of variables.
        select: to select by, likewise.
        coarse: with one source for all variables, for a coarse pass over whole sites; None without one.
        shared: how many of those to select by were trained on too, since the domain has no others of their kind.
    """

    train: Sequence[Drawn]
    select: Sequence[Drawn]
    coarse: Pairs | None
    shared: int

    @property
    def all(self) -> list[Pairs]:
        """All of them."""
        return [*(d.pairs for d in (*self.train, *self.select)), *([] if self.coarse is None else [self.coarse])]


def search_pairs(spec: Search, algorithm: CausalModel, seed: int, path: Sequence[str]) -> SearchPairs:
    """Draw the pairs of a search; those to select by are none of those to train on, as far as the domain allows."""
    by_values = spec.heldout == "values"
    to_train, to_select = (held_out(algorithm, part, seed) if by_values else algorithm for part in ("train", "select"))
    generators = [stream(seed, *path, part) for part in ("train", "select")]
    sets = variable_sets(spec.variables)
    train = [pairs(to_train, chosen, spec.n, seed=generators[0]) for chosen in sets]
    select, shared = [], 0
    for chosen, seen in zip(sets, train, strict=True):
        drawn, again = unseen(_drawer(to_select, chosen, generators[1]), algorithm, spec.n // 2, pair_keys(algorithm, seen))
        select.append(drawn)
        shared += again
    coarse = None
    if spec.halving is not None and spec.halving.coarse:
        n, generator = min(spec.n, _COARSE), stream(seed, *path, "coarse")
        coarse = pairs(to_train, list(spec.variables), n, seed=generator, one_source=True)
    return SearchPairs([_coded(algorithm, p) for p in train], [_coded(algorithm, p) for p in select], coarse, shared)


def _drawer(model: CausalModel, variables: Sequence[str], generator: np.random.Generator) -> Callable[[int], Pairs]:
    return lambda n: pairs(model, variables, n, seed=generator)


def _coded(algorithm: CausalModel, drawn: Pairs) -> Drawn:
    """Pairs with the value of each variable in its source: a code, or a number of an interval."""
    values = {}
    for v, source in drawn.sources.items():
        domain, column = algorithm.domain(v), algorithm.solve(source)[v]
        values[v] = domain.encode(column) if isinstance(domain, Finite) else column
    return Drawn(drawn, values)


def seen_by(found: Found, algorithm: CausalModel, control: str = CLAIM) -> Column:
    """The keys of all pairs that a search trained on or selected by, drawn again from its seed, sorted."""
    known = [unknown("variable", v, algorithm.graph) for v in found.search.variables if v not in algorithm.graph]
    check(known, AlignmentError, "the alignment was found by a search for variables that this algorithm does not have")
    drawn = search_pairs(found.search, algorithm, found.seed, ("search", control))
    return np.unique(np.concatenate([pair_keys(algorithm, p) for p in drawn.all]))


@dataclass(eq=False)
class Unseen:
    """Draws pairs to verify with: none of those that the search saw, as far as the domain has others.

    Attributes:
        algorithm: of which the pairs are.
        drawn_from: the same, or with the values of inputs that were held out.
        seen: the keys of the pairs that the search saw.
        shared: how many of the pairs drawn so far it saw all the same, since there are no others of their kind.
    """

    algorithm: CausalModel
    drawn_from: CausalModel
    seen: Column
    shared: int = 0

    @classmethod
    def of(cls, algorithm: CausalModel, found: Found | None, control: str = CLAIM) -> "Unseen":
        """For an alignment that was found by a search, that of a control if it is named, or that was given."""
        if found is None:
            return cls(algorithm, algorithm, np.empty(0, dtype=np.uint64))
        by_values = found.search.heldout == "values"
        drawn_from = held_out(algorithm, "verify", found.seed) if by_values else algorithm
        return cls(algorithm, drawn_from, seen_by(found, algorithm, control))

    def pairs(self, variables: Sequence[str], n: int, generator: np.random.Generator, *, one_source: bool = False) -> Pairs:
        """Pairs by the balanced design; see `cm.pairs`."""

        def draw(rows: int) -> Pairs:
            return pairs(self.drawn_from, variables, rows, seed=generator, one_source=one_source)

        drawn, again = unseen(draw, self.algorithm, n, self.seen)
        self.shared += again
        return drawn
