"""Shuffled sources: a control in which the network is given another value than the algorithm."""

from commute.alignments.accuracy import agrees
from commute.alignments.binomial import count
from commute.causal.batches import take
from commute.proofs.claimed import Claimed
from commute.proofs.control import Control
from commute.runs.seeds import stream

NAME = "shuffled sources"


def shuffled_sources(claimed: Claimed) -> list[Control]:
    """For each variable, how often the answer is right although its value comes from another pair's source.

    Where that other source happens to hold the same value, the answer is rightly right; these pairs count too. The other pairs
    are draws of their own instead of the same ones in another order, so that no two rows share a source and rows stay
    independent.
    """
    return [_of(claimed, v) for v in claimed.alignment]


def _of(claimed: Claimed, variable: str) -> Control:
    drawn = claimed.fresh.pairs([variable], 2 * claimed.n, stream(claimed.seed, "control", NAME, "pairs", variable))
    pairs, other = drawn[: claimed.n], take(drawn.sources[variable], slice(claimed.n, None))
    answered = claimed.network.interchange(pairs.base, dict.fromkeys(claimed.alignment.parts(variable), other))
    says = "the value taken from another source than the algorithm's"
    return Control(NAME, variable, count(agrees(answered, pairs.expected)), says)
