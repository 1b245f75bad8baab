"""The pairs that a claim is judged on: left alone, interchanged, and with all that is not aligned exchanged."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from commute.alignments.accuracy import agrees, check_labels, interchanged
from commute.alignments.binomial import count
from commute.causal.batches import Column
from commute.causal.inputs import Inputs
from commute.causal.pairs import Pairs
from commute.proofs.checked import Checked, Cut, Sampler
from commute.proofs.claimed import Claimed
from commute.proofs.slices import Slice, by_change, slices_of
from commute.runs.events import SetVerified
from commute.runs.seeds import stream

ALONE = "no intervention"
REMAINDER = "remainder exchanged"


def alone(claimed: Claimed) -> Sampler:
    """The network as it is, on uniformly drawn inputs."""
    generator = stream(claimed.seed, "verify", ALONE)
    algorithm, network = claimed.fresh.drawn_from, claimed.network

    def draw(n: int) -> Checked:
        drawn = algorithm.labels(Inputs(algorithm).sample(generator, n))
        network.check_deterministic(drawn, claimed.alignment.sites)
        solved = algorithm.solve(drawn)
        expected = {v: solved[v] for v in algorithm.outputs}
        answered = network.run(drawn)
        check_labels(algorithm, answered)
        pairs = Pairs(drawn, {}, expected, np.zeros(n, dtype=bool), "uniform", independent=True)
        return Checked(ALONE, pairs, answered, agrees(answered, expected), _whole)

    return Sampler(ALONE, draw)


def interchange(claimed: Claimed, variables: Sequence[str]) -> Sampler:
    """A set of variables, each taken from an input of its own, by the balanced design."""
    sampler = _sampler(
        claimed,
        variables,
        stream(claimed.seed, "verify", *variables),
        " + ".join(variables),
        partial(slices_of, claimed.algorithm),
        one_source=False,
    )

    def draw(n: int) -> Checked:
        checked = sampler.draw(n)
        claimed.on_event(SetVerified(tuple(variables), float(checked.right.mean())))
        return checked

    return Sampler(sampler.what, draw)


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


def _by_remainder(pairs: Pairs, right: Column) -> list[Slice]:
    says = "with all that is not aligned taken from another input the network answers as the algorithm, where holding the rest"
    return by_change(pairs.variables, pairs.changed, right, (f"{REMAINDER}, changed", f"{REMAINDER}, unchanged"), says)
