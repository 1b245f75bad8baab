"""Reading out: whether an aligned variable downstream of an intervention has the value that the algorithm gives it.

A value is read out by what it does: what the feature holds after the intervention is set in another input, where the network must
answer as the algorithm does with the variable at its new value. No map from activations to values is needed.
"""

from collections.abc import Iterator

from commute.alignments.accuracy import agrees
from commute.alignments.alignment import Alignment
from commute.alignments.drawing import Unseen
from commute.causal.designs import bases_for
from commute.causal.pairs import Pairs
from commute.models.network import Network
from commute.proofs.checked import Checked
from commute.proofs.slices import by_change
from commute.runs.seeds import stream


def read_outs(fresh: Unseen, network: Network, alignment: Alignment, n: int, seed: int) -> Iterator[Checked]:
    """For each aligned variable and each aligned one below it in the graph, how the lower one's new value acts elsewhere."""
    from networkx import descendants

    for variable in alignment:
        for below in alignment:
            if below in descendants(fresh.algorithm.graph, variable):
                yield _read_out(fresh, network, alignment, variable, below, n, seed)


def _read_out(fresh: Unseen, network: Network, alignment: Alignment, variable: str, below: str, n: int, seed: int) -> Checked:
    generator = stream(seed, "verify", "read-out", variable, below)
    set_above, read_below = alignment.parts(variable), alignment.parts(below)
    algorithm, drawn = fresh.drawn_from, fresh.pairs([variable], n, generator)
    value = {below: algorithm.interchange(drawn.base, drawn.sources)[below]}
    elsewhere = bases_for(algorithm, value, seed=generator)
    before, after = (algorithm.solve(elsewhere, do) for do in ({}, value))
    expected = {v: after[v] for v in algorithm.outputs}
    source = network.activations(drawn.sources[variable], set_above)
    held = network.activations(drawn.base, read_below, do=source)
    answered = network.run(elsewhere, do=held)
    right, changed = agrees(answered, expected), ~agrees(before, expected)
    says = f"after {variable} is taken from another input, what {below} holds acts elsewhere as the algorithm says, where that"
    what = f"{below} read out"
    slices = by_change((variable,), changed, right, (f"{what}, changed", f"{what}, unchanged"), says)
    read = Pairs(elsewhere, {below: drawn.base, **drawn.sources}, expected, changed, "balanced", independent=True)
    return Checked(f"{variable} set, {what}", read, answered, right, slices)
