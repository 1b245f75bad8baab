"""The pairs that a claim is judged on: left alone, interchanged, and with all that is not aligned exchanged."""

from collections.abc import Sequence
from functools import partial
from math import comb

import numpy as np

from commute.alignments.accuracy import agrees, interchanged
from commute.alignments.binomial import count
from commute.causal.batches import Column
from commute.causal.inputs import Inputs
from commute.causal.pairs import Pairs, make_pairs
from commute.proofs.checked import Checked, Cut, Sampler
from commute.proofs.claimed import Claimed
from commute.proofs.slices import Slice, by_change, slices_of
from commute.runs.events import SetVerified
from commute.runs.seeds import stream

ALONE = "no intervention"
REMAINDER = "remainder exchanged"
LARGER = "larger sets"
_APART = 100  # pairs, about, for each larger set to be looked at by itself


def alone(claimed: Claimed) -> Sampler:
    """The network as it is, on uniformly drawn inputs."""
    generator = stream(claimed.seed, "verify", ALONE)
    algorithm, network = claimed.fresh.drawn_from, claimed.network

    def draw(n: int) -> Checked:
        drawn = algorithm.labels(Inputs(algorithm).sample(generator, n))
        solved = algorithm.solve(drawn)
        expected = {v: solved[v] for v in algorithm.outputs}
        answered = network.run(drawn)
        pairs = Pairs(drawn, {}, expected, np.zeros(n, dtype=bool), "uniform", independent=True)
        return Checked(ALONE, pairs, answered, agrees(answered, expected), _whole)

    return Sampler(ALONE, draw)


def interchange(claimed: Claimed, variables: Sequence[str], planned: int) -> Sampler:
    """A set of variables, each taken from an input of its own, by the balanced design; so many pairs at most."""
    sampler = _sampler(
        claimed,
        variables,
        stream(claimed.seed, "verify", *variables),
        " + ".join(variables),
        partial(slices_of, claimed.algorithm, planned=planned),
        one_source=False,
    )

    def draw(n: int) -> Checked:
        checked = sampler.draw(n)
        claimed.on_event(SetVerified(tuple(variables), float(checked.right.mean())))
        return checked

    return Sampler(sampler.what, draw)


def larger_sets(claimed: Claimed, planned: int) -> Sampler:
    """Sets of three or more variables, of five or more in all, drawn anew for every pair: too many to be judged one by one.

    A variable that is not in a pair's set is taken from the base itself, which changes nothing on either side. Each set that may
    have enough pairs to stand out is looked at by itself, as a single transition is.
    """
    variables, algorithm = tuple(claimed.alignment), claimed.algorithm
    generator = stream(claimed.seed, "verify", LARGER)

    def draw(n: int) -> Checked:
        drawn = claimed.fresh.pairs(variables, n, generator)
        size = generator.integers(3, len(variables), size=n)
        order = generator.permuted(np.tile(np.arange(len(variables)), (n, 1)), axis=1)
        sources = {
            v: {i: np.where(order[:, k] < size, x, drawn.base[i]) for i, x in drawn.sources[v].items()}
            for k, v in enumerate(variables)
        }
        coded = {v: algorithm.columns(source)[0] for v, source in sources.items()}
        base = algorithm.columns(drawn.base)[0]
        pairs = make_pairs(algorithm, base, coded, design="balanced", independent=True)
        answered = interchanged(claimed.network, claimed.alignment, pairs)
        return Checked(LARGER, pairs, answered, agrees(answered, pairs.expected), cut)

    sets = 2 ** len(variables) - 2 - len(variables) - comb(len(variables), 2)
    cut = partial(_by_larger, apart=planned >= _APART * sets)
    return Sampler(LARGER, draw)


def remainder_exchanged(claimed: Claimed) -> Sampler:
    """One input's aligned variables, all of them, in another input: the rest must not matter more than the algorithm says.

    With one aligned variable these are the pairs of that variable.
    """
    generator = stream(claimed.seed, "verify", "remainder")
    return _sampler(claimed, tuple(claimed.alignment), generator, REMAINDER, _by_remainder, one_source=True)


def _sampler(
    claimed: Claimed, variables: Sequence[str], generator: np.random.Generator, what: str, cut: Cut, *, one_source: bool
) -> Sampler:
    def draw(n: int) -> Checked:
        pairs = claimed.fresh.pairs(variables, n, generator, one_source=one_source)
        answered = interchanged(claimed.network, claimed.alignment, pairs)
        return Checked(what, pairs, answered, agrees(answered, pairs.expected), cut)

    return Sampler(what, draw)


def _whole(pairs: Pairs, right: Column) -> list[Slice]:
    return [Slice((), ALONE, np.arange(len(pairs)), count(right), "left alone, the network answers as the algorithm")]


def _by_larger(pairs: Pairs, right: Column, *, apart: bool) -> list[Slice]:
    says = "with three or more of the variables taken from other inputs the network answers as the algorithm, where that"
    found = by_change(pairs.variables, pairs.changed, right, (f"{LARGER}, changed", f"{LARGER}, unchanged"), says)
    taken = [np.logical_or.reduce([x != pairs.base[i] for i, x in source.items()]) for source in pairs.sources.values()]
    kinds, kind = np.unique(np.stack(taken, 1), axis=0, return_inverse=True)
    for k, chosen in enumerate(kinds if apart else ()):
        names = tuple(v for v, x in zip(pairs.variables, chosen, strict=True) if x)
        rows = np.flatnonzero(kind.reshape(-1) == k)
        if len(names) > 2:  # noqa: PLR2004  # else a source happens to be the base
            put = f"with {' and '.join(names)} taken from other inputs the network answers as the algorithm"
            found.append(Slice(names, "all pairs", rows, count(right[rows]), put, bounded=False))
    return found


def _by_remainder(pairs: Pairs, right: Column) -> list[Slice]:
    says = "with all that is not aligned taken from another input the network answers as the algorithm, where holding the rest"
    return by_change(pairs.variables, pairs.changed, right, (f"{REMAINDER}, changed", f"{REMAINDER}, unchanged"), says)
