"""Searching a computation graph for a circuit."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from commute.alignments.circuits.given import check_lengths, not_data, not_options
from commute.alignments.circuits.methods import EdgeAttribution, SearchMethod
from commute.alignments.circuits.optimal import OptimalAblation
from commute.alignments.circuits.ranking import Rank
from commute.alignments.circuits.result import CircuitSearch
from commute.alignments.circuits.stability import frame, over_rows, over_seeds
from commute.alignments.circuits.task import Task
from commute.causal.batches import as_column, rows_of
from commute.causal.interventions import Setting
from commute.errors import AlignmentError, check
from commute.models.circuits.behaviour import Measure
from commute.models.circuits.graph import residual_edges, stream_of
from commute.models.circuits.instead import Instead
from commute.models.rows import batched
from commute.runs.seeds import plain_seed
from commute.runs.seeds import stream as seeded

if TYPE_CHECKING:
    import networkx as nx

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the edges, sizes of circuits as in MIB (2504.13151)


def search_circuit(
    graph: "nx.DiGraph[str]",
    inputs: Setting,
    instead: Instead | OptimalAblation,
    *,
    method: SearchMethod | None = None,
    measure: Measure = "logit difference",
    answers: Any = None,
    others: Any = None,
    rank: Rank = "magnitude",
    n: int | None = None,
    sizes: Iterable[int] | None = None,
    seeds: int = 3,
    resamples: int = 20,
    seed: int = 0,
) -> CircuitSearch:
    """Score the edges of a network, and judge circuits of the best of them on other inputs.

    Prompts need one length, or as many tokens as the inputs that they are given row by row instead.

    Args:
        graph: from `computation_graph`.
        inputs: a batch. A part is searched on, the rest judged on; equal inputs are in one part.
        instead: what edges that are left out carry: other inputs row by row, `Resample(inputs)`, `Mean(inputs)`, `Zero()`, or
            `OptimalAblation()`, trained on the inputs searched on. Of a `Resample` or `Mean`, inputs that are among those of one
            part serve that part alone, and all others both. Given row by row they stay with their rows, whatever they are.
        method: how edges are scored: `EdgeAttribution(steps=5)` by default, `NodeAttribution`, `EdgePatching`, `NodePatching` or
            `GreedyPruning`.
        measure: of the behaviour, see `Behaviour`; methods by gradients need one that has them.
        answers: the right label for each input; None is what the whole network says.
        others: the label that each is held against in the logit difference; None is what the network says when nothing is kept.
        rank: which edges are the best: those of the largest `magnitude` of their scores, or of the largest `value`, which leaves
            out those that work against the behaviour.
        n: inputs to search on; half of them by default.
        sizes: of the circuits judged, in edges; by default ten shares of the edges, from a thousandth to all.
        seeds: whole searches, to see how much chance decides, each on a random part of the same inputs, so that two of them share
            some; the scores are those of the first.
        resamples: draws of the inputs searched on, with replacement, for the same purpose; they cost no runs. 0 is none.
        seed: of all that is drawn.

    Raises:
        AlignmentError: listing what is wrong with what is given.
        NetworkError: when the graph, the inputs and what is carried instead do not fit, and when no edge makes a difference.
    """
    stream_of(graph)
    edges = len(residual_edges(graph))
    method = EdgeAttribution() if method is None else method
    sizes = list(sizes) if isinstance(sizes, Iterator) else sizes  # which is looked through more than once
    given = {name: x for name, x in (("answers", answers), ("others", others)) if x is not None}
    problems = not_options(
        method, measure, rank, sizes=sizes, edges=edges, n=n, seeds=seeds, resamples=resamples, seed=seed
    ) + not_data(inputs, instead, given)
    check(problems, AlignmentError, "the search of a circuit")
    batch, _ = batched(inputs)
    check_lengths(graph, batch, instead)
    n = max(1, rows_of(batch) // 2) if n is None else n
    sizes = sorted({max(1, round(share * edges)) for share in SHARES} if sizes is None else {int(size) for size in sizes})
    labels = {name: as_column(x) for name, x in given.items()}
    task = Task(graph, batch, instead, labels, method, measure, rank, n, tuple(sizes))
    seed = plain_seed(seed)
    drawn = seeded(seed, "circuits", "seeds").integers(2**31, size=seeds - 1).tolist()
    found = [task.found(s) for s in (seed, *drawn)]
    by_row, curve = found[0]
    tables = [*over_rows(by_row, rank, sizes, resamples, seed), *over_seeds(found, rank, sizes)]
    return CircuitSearch(task, seed, by_row, curve, frame(tables))
