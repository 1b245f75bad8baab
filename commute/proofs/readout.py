"""Reading out: whether an aligned variable downstream of an intervention has the value that the algorithm gives it.

A value is read out by what it does: what the feature holds after the intervention is set in another input, where the network must
answer as the algorithm does with the variable at its new value. No map from activations to values is needed.
"""

from collections.abc import Iterator
from functools import partial

from commute.alignments.accuracy import agrees
from commute.causal.batches import Column
from commute.causal.designs import bases_for
from commute.causal.pairs import Pairs
from commute.proofs.checked import Checked, Sampler
from commute.proofs.claimed import Claimed
from commute.proofs.slices import Slice, by_change
from commute.runs.seeds import stream


def read_outs(claimed: Claimed) -> Iterator[Sampler]:
    """For each aligned variable and each aligned one below it in the graph, how the lower one's new value acts elsewhere."""
    from networkx import descendants

    for variable in claimed.alignment:
        for below in claimed.alignment:
            if below in descendants(claimed.algorithm.graph, variable):
                yield _read_out(claimed, variable, below)


def _read_out(claimed: Claimed, variable: str, below: str) -> Sampler:
    generator = stream(claimed.seed, "verify", "read-out", variable, below)
    algorithm, network = claimed.fresh.drawn_from, claimed.network
    set_above, read_below = claimed.alignment.parts(variable), claimed.alignment.parts(below)
    what, cut = f"{variable} set, {below} read out", partial(_by_change, variable, below)

    def draw(n: int) -> Checked:
        drawn = claimed.fresh.pairs([variable], n, generator)
        value = {below: algorithm.interchange(drawn.base, drawn.sources)[below]}
        elsewhere = bases_for(algorithm, value, seed=generator)
        before, after = (algorithm.solve(elsewhere, do) for do in ({}, value))
        expected = {v: after[v] for v in algorithm.outputs}
        source = network.activations(drawn.sources[variable], set_above)
        held = network.activations(drawn.base, read_below, do=source)
        answered = network.run(elsewhere, do=held)
        sources = {below: drawn.base, **drawn.sources}
        pairs = Pairs(elsewhere, sources, expected, ~agrees(before, expected), "balanced", independent=True)
        return Checked(what, pairs, answered, agrees(answered, expected), cut, below)

    return Sampler(what, draw)


def _by_change(variable: str, below: str, pairs: Pairs, right: Column) -> list[Slice]:
    says = f"after {variable} is taken from another input, what {below} holds acts elsewhere as the algorithm says, where that"
    kinds = (f"{below} read out, changed", f"{below} read out, unchanged")
    return by_change((variable,), pairs.changed, right, kinds, says)
