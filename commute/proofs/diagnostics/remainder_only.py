"""Remainder only: whether what an alignment leaves out carries a variable."""

import numpy as np

from commute.alignments.accuracy import agrees
from commute.alignments.binomial import count
from commute.causal.batches import Batch, Column, take
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs
from commute.models.patches import Whole
from commute.proofs.claimed import Claimed
from commute.proofs.diagnostics.alike import alike
from commute.proofs.diagnostics.lines import measured, not_measured
from commute.proofs.diagnostics.vectors import by_site, fills, patched
from commute.proofs.evidence import Evidence
from commute.runs.seeds import stream

NAME = "remainder only"


def remainder_only(claimed: Claimed) -> list[Evidence]:
    """How often the network takes a variable's value from what is left out of its feature.

    Everything at the variable's sites is taken from the source but its features, which keep the base's values. What is not
    claimed rightly acts through that remainder, so the source is made to differ from the base in the variable alone: in the
    inputs that the variable is computed from, with all others as in the base. And only such pairs count for which the algorithm
    says that the variable makes all the difference: the source's own answer is the base's with the variable taken from the
    source, it is not the base's own, and the base's own is the source's with the variable taken from the base. On these a
    network answers as for the base wherever the features are all that carries the variable, whatever else the remainder holds
    and whether or not other paths lead around the sites; what is counted are answers as if the variable had been taken too. It
    is 0 for a variable that is where it is said to be, and 1 for one that is only in what is left out.
    """
    return [_of(claimed, v) for v in claimed.alignment]


def _of(claimed: Claimed, variable: str) -> Evidence:
    network, sites = claimed.network, by_site(claimed.alignment.parts(variable))
    drawn = claimed.fresh.pairs([variable], claimed.n, stream(claimed.seed, "diagnostic", NAME, variable))
    source = alike(claimed.algorithm, variable, drawn)
    rows = np.flatnonzero(_decided_by(claimed.algorithm, variable, drawn, source))
    if not len(rows):
        return not_measured(NAME, [variable], f"in none of the pairs does {variable} make all the difference to the answer")
    base, source, taken = (take(x, rows) for x in (drawn.base, source, drawn.expected))
    held, others = (network.activations(x, sites) for x in (base, source))
    if all(fills(features, others[site]) for site, features in sites.items()):
        return not_measured(NAME, [variable], "its feature is all of its site, so nothing is left out there")
    answered = network.run(base, {Whole(site): patched(fs, others[site], held[site]) for site, fs in sites.items()})
    carried = count(agrees(answered, taken))
    says = (
        f"with all at its site but {variable} taken from an input that differs in {variable} alone, the network answers as if "
        f"{variable} had been taken too"
    )
    warning = carried.lower(claimed.confidence) > 1 - claimed.at_least
    says += "; so what is left out carries it as well" if warning else ""
    return measured(claimed, NAME, [variable], carried, says, warning=warning)


def _decided_by(algorithm: CausalModel, variable: str, pairs: Pairs, source: Batch) -> Column:
    """On which pairs the variable makes all the difference between base and source, [pairs] of bool."""
    own, theirs = (algorithm.solve(x, only=algorithm.outputs) for x in (pairs.base, source))
    back = algorithm.interchange(source, {variable: pairs.base}, only=algorithm.outputs)
    return pairs.changed & agrees(theirs, pairs.expected) & agrees(back, own)
