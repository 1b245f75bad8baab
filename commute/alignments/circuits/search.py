"""Searching a computation graph for a circuit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from commute.alignments.circuits.methods import EdgeAttribution, SearchMethod
from commute.alignments.circuits.optimal import OptimalAblation
from commute.alignments.circuits.ranking import Rank
from commute.alignments.circuits.result import CircuitSearch
from commute.alignments.circuits.stability import frame, over_rows, over_seeds
from commute.alignments.circuits.task import Task
from commute.causal.batches import as_column, rows_of
from commute.causal.interventions import Setting
from commute.errors import AlignmentError, check, not_counts, unknown
from commute.models.circuits.behaviour import Measure
from commute.models.circuits.graph import residual_edges, stream_of
from commute.models.circuits.runs import Instead
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
    sizes: Sequence[int] | None = None,
    seeds: int = 3,
    resamples: int = 20,
    seed: int = 0,
) -> CircuitSearch:
    """Score the edges of a network, and judge circuits of the best of them on other inputs.

    Args:
        graph: from `computation_graph`.
        inputs: a batch. A part is searched on, the rest judged on; equal inputs are in one part.
        instead: what edges that are left out carry: other inputs row by row, `Resample(inputs)`, `Mean(inputs)`, `Zero()`, or
            `OptimalAblation()`, trained on the inputs searched on.
        method: how edges are scored; `EdgeAttribution(steps=5)` by default.
        measure: of the behaviour, see `Behaviour`; methods by gradients need "logit difference" or "divergence".
        answers: the right label for each input; None is what the whole network says.
        others: the label that each is held against in the logit difference; None is what the network says when nothing is kept.
        rank: see `CircuitSearch`.
        n: inputs to search on; half of them by default.
        sizes: of the circuits judged; by default ten shares of the edges, from a thousandth to all.
        seeds: whole searches, each on other inputs, to see how much chance decides; the scores are those of the first.
        resamples: draws of the inputs searched on, with replacement, for the same purpose; they cost no runs.
        seed: of all that is drawn.

    Raises:
        AlignmentError: listing what is wrong with the options.
        NetworkError: when the graph, the inputs and what is carried instead do not fit.
    """
    stream_of(graph)
    batch, _ = batched(inputs)
    edges = len(residual_edges(graph))
    sizes = sorted({max(1, round(share * edges)) for share in SHARES}) if sizes is None else list(sizes)
    method = EdgeAttribution() if method is None else method
    n = max(1, rows_of(batch) // 2) if n is None else n
    problems = _misfits(method, rank, sizes, edges) + not_counts(n=n, seeds=seeds)
    if resamples != 0:
        problems += not_counts(resamples=resamples)
    check(problems, AlignmentError, "the search of a circuit")
    labels = {k: as_column(x) for k, x in (("answers", answers), ("others", others)) if x is not None}
    task = Task(graph, batch, instead, labels, method, measure, rank, n, tuple(sizes))
    seed = plain_seed(seed)
    drawn = seeded(seed, "circuits", "seeds").integers(2**31, size=seeds - 1).tolist()
    found = [task.found(s) for s in (seed, *drawn)]
    by_row, curve = found[0]
    tables = [*over_rows(by_row, rank, sizes, resamples, seed), *over_seeds(found, rank, sizes)]
    return CircuitSearch(task, seed, by_row, curve, frame(tables))


def _misfits(method: object, rank: object, sizes: Sequence[int], edges: int) -> list[str]:
    problems = []
    if not isinstance(method, SearchMethod):
        problems.append(f"method must be one of searching circuits, such as EdgeAttribution(); given {method!r}")
    if rank not in get_args(Rank):
        problems.append(unknown("rank", rank, get_args(Rank)))
    if not sizes or not_counts(**{str(x): x for x in sizes}) or max(sizes) > edges:
        problems.append(f"sizes must be whole numbers from 1 to the {edges} edges of the graph; given {list(sizes)}")
    return problems
