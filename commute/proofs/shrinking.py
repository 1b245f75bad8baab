"""Making failing pairs as small as they go, and saying which of their inputs matter."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np

from commute.alignments.alignment import Alignment
from commute.causal.batches import Column
from commute.causal.model import CausalModel
from commute.errors import CommuteError
from commute.models.network import Network
from commute.proofs.counterexample import Counterexample
from commute.proofs.moves import doubly, lowered, restored
from commute.proofs.replaying import Codes, Trial, where_possible
from commute.proofs.smallness import order, others, sizes, smaller

BUDGET = 2**15  # pairs that are tried to make one smaller, at most
_AT_FIRST = 64  # of the candidates, the smallest that are tried before the next
_SUBSETS = 5  # variables up to which every subset of them is tried

Within = Callable[[Codes], Column]  # pairs -> whether each is of the kind that is looked at


def shrunk(algorithm: CausalModel, network: Network, alignment: Alignment, example: Counterexample) -> Counterexample:
    """A failing pair as small as it goes, with the inputs that matter (`commute.proofs.smallness` says what is smaller).

    It stays of its kind: the same variables, from one source if they were; the interchange changes the algorithm's answer, or
    does not, as before; and of a transition (`left: True → False`) the variable has the same values. No change of one input, in
    one place or wherever the sides share its value, makes it a smaller pair of this kind that fails, where `BUDGET` pairs are
    enough to tell. An example that does not fail, or only at an edge of continuous inputs (see `refute`), is returned as it is.
    """
    sources = list(example.sources.values())
    tied = len(sources) > 1 and example.read_out is None and all(s == sources[0] for s in sources)
    trial = Trial(algorithm, network, alignment, tuple(example.sources), example.read_out, tied=tied)
    try:
        pair = trial.coded(example.base, example.sources)[0]
        if not trial.compared(pair[None])[1][0]:
            return example
        small = smallest(trial, pair, within=_kind(trial, pair, values=" → " in example.slice))
        return replace(trial.example(small, example.slice), matters=matters(trial, small))
    except CommuteError:  # of a network or algorithm that cannot be asked about any pair
        return example


def _kind(trial: Trial, pair: Codes, *, values: bool) -> Within:
    """Tells pairs that change the answer, or do not, as one does; with `values`, also that give a lone variable its values."""
    variable = trial.variables[0] if values and len(trial.variables) == 1 else None

    def kinds(codes: Codes) -> list[Column]:
        base, sources = trial.batches(codes)
        before, after = trial.algorithm.solve(base), trial.expected(base, sources)
        found = [np.logical_or.reduce([before[v] != after[v] for v in trial.algorithm.outputs])]
        if variable is not None:
            found += [before[variable], trial.algorithm.solve(sources[variable])[variable]]
        return found

    wanted = [column[0] for column in kinds(pair[None])]

    def alike(codes: Codes) -> Column:
        same: Column = np.logical_and.reduce([x == w for x, w in zip(kinds(codes), wanted, strict=True)])
        return same

    return lambda codes: where_possible(alike, codes).astype(bool)


def smallest(trial: Trial, pair: Codes, *, within: Within | None = None, budget: int = BUDGET) -> Codes:
    """A failing pair [sides, inputs] from which no change that is tried leads to a smaller one that fails.

    Each step goes to the smallest such pair; changes of two inputs are tried where those of one lead nowhere.
    """
    search = _Search(trial, within, budget)
    while True:
        one = np.concatenate([restored(pair), lowered(pair, trial.domains)])
        found = search.first(one, pair)
        if found is None:
            found = search.first(doubly(pair, trial.domains), pair)
        if found is None:
            return pair
        pair = found


class _Search:
    """Tries candidates, as long as there is budget."""

    def __init__(self, trial: Trial, within: Within | None, budget: int) -> None:
        self.trial, self.within, self.left = trial, within, budget

    def first(self, candidates: Codes, pair: Codes) -> Codes | None:
        """The smallest of those that are smaller than a pair and fail; None if there is none."""
        candidates = np.unique(candidates, axis=0)
        size = sizes(candidates, self.trial.domains)
        rows = order(size)
        rows = rows[smaller(size[rows], sizes(pair[None], self.trial.domains)[0])]
        count = _AT_FIRST
        while len(rows) and self.left > 0:
            tried, rows = candidates[rows[: min(count, self.left)]], rows[min(count, self.left) :]
            self.left -= len(tried)
            count *= 2
            failing = tried[self.trial.compared(tried)[1]]
            if self.within is not None and len(failing):
                failing = failing[self.within(failing)]
            if len(failing):
                first: Codes = failing[0]
                return first
        return None


def fewer(trial: Trial, pair: Codes) -> tuple[Trial, Codes]:
    """A failing pair with as few of its variables as it fails with: none, where the two sides left alone differ."""
    n = len(trial.variables)
    for size in range(n) if n <= _SUBSETS else (0, 1, n - 1):
        for chosen in combinations(range(n), size):
            less = replace(trial, variables=tuple(trial.variables[i] for i in chosen))
            kept = pair[[0, *(1 + i for i in chosen)]]
            if less.compared(kept[None])[1][0]:
                return (less, kept) if size <= 1 or n <= _SUBSETS else fewer(less, kept)
    return trial, pair


def matters(trial: Trial, pair: Codes) -> tuple[str, ...]:
    """The inputs of a failing pair [sides, inputs] that matter: `base.a`, or `left.a` of the source of `left`.

    An input matters if the network answers as the algorithm once it has some other value and all else stays. Values are all of
    finite domains up to 64 labels, else some that are evenly spread.
    """
    places = [(side, i) for side in range(pair.shape[0]) for i in range(pair.shape[1])]
    changes = [(place, y) for place in places for y in others(float(pair[place]), trial.domains[place[1]])]
    tried = np.repeat(pair[None], len(changes), axis=0)
    for row, (place, y) in enumerate(changes):
        tried[(row, *place)] = y
    agree, _ = trial.compared(tried)
    mended = {place for (place, _), right in zip(changes, agree.tolist(), strict=True) if right}
    sides, inputs = trial.sides, trial.algorithm.inputs
    return tuple(f"{sides[side]}.{inputs[i]}" for side, i in places if (side, i) in mended)
