"""Attribution: the effects of all edges at once, by gradients."""

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from commute.alignments.circuits.passes import check_graded, passed
from commute.causal.batches import Column
from commute.errors import NetworkError, check
from commute.models.circuits.behaviour import SMOOTH, Behaviour
from commute.models.circuits.graph import named, residual_edges
from commute.models.circuits.ports import Writes
from commute.models.circuits.runs import Runs

Path = Literal["inputs", "activations"]
_SHARE = 5  # times what is written in a pass, about, is what the pass and its gradients take


def attributions(runs: Runs, behaviour: Behaviour, *, steps: int, path: Path) -> Tensor:
    """About what a behaviour loses when an edge carries something else, [edges, rows], edges as `residual_edges` lists them.

    (z_u - z'_u) · 1/m sum_{k=1}^{m} dM/dz_v at z' + k/m (z - z'), for an edge from u, which adds z_u or instead z'_u, to what v
    reads; m = 1 is edge attribution patching (2310.10348). Along `inputs` (EAP-IG, 2403.17806) z are what nodes add that read
    nothing, and all gradients come of the same m runs. Along `activations` (2403.19647) z is what u and the nodes that write
    beside it add, which takes m runs for each such group.

    Args:
        runs: the inputs, and what edges that are left out carry.
        behaviour: of these.
        steps: m.
        path: see above.

    Raises:
        NetworkError: when the behaviour is of other inputs or has no gradients, in torch's inference mode, and for NaN.
    """
    check_graded("attribution")
    check(behaviour.misfits(runs), NetworkError, "attribution")
    if behaviour.measure not in SMOOTH:
        raise NetworkError(f"the {behaviour.measure} has no gradients to attribute by; take the logit difference, or patch edges")
    if behaviour.measure == "divergence" and steps == 1:
        raise NetworkError(
            "the divergence has no slope where nothing is left out, so it attributes nothing in one step; take steps=5, or the "
            "logit difference"
        )
    groups = [_sources(runs)] if path == "inputs" else [[w] for w in runs.stream.writes]
    places = torch.tensor([runs.index[edge] for edge in residual_edges(runs.graph)]).T
    found = []
    for rows, own in runs.blocks(_rows_at_once(runs, steps)):
        tables = (_moved(runs, behaviour, rows, steps, moved, path) for moved in groups)
        found.append(reduce(Tensor.add, tables)[tuple(places)][:, :own])
    return torch.cat(found, 1)


def _rows_at_once(runs: Runs, steps: int) -> int:
    """Inputs in one pass."""
    network = runs.stream.network
    numbers = steps * _SHARE * runs.instead[:, :1].numel() + runs.stream.edges.numel() * len(runs.places)  # of one input
    room = network.memory // (numbers * runs.instead.element_size())
    return max(1, network.batch_size // steps if network.batch_size else room)


def _moved(runs: Runs, behaviour: Behaviour, rows: Column, steps: int, moved: Sequence[Writes], path: Path) -> Tensor:
    """The scores of edges from some writers, with some moved, [readers, writers, positions of the graph, rows]."""
    part, n = runs.take(rows), len(rows)
    here = passed(runs.stream, part.batch, part.instead, torch.arange(1, steps + 1) / steps, moved)
    with torch.enable_grad():
        scores = runs.readout.scores(here.output, steps * n)
        runs.check_numbers([scores.detach()], rows)
        kept = behaviour.take(torch.as_tensor(rows))(scores.reshape(steps, n, -1)).sum()
    change = (here.written - part.instead).transpose(0, 1)  # [rows, writers, …, width]
    scored = [w in moved or path == "inputs" for w in runs.stream.writes for _ in w.nodes]
    edges = runs.stream.edges & torch.tensor(scored)
    columns = None if len(runs.places) == 1 else runs.columns(part.batch).to(change.device)
    table = change.new_zeros(*edges.shape, len(runs.places), n)
    for nodes, slopes in here.slopes(kept):
        readers = [runs.stream.readers.index(node) for node in nodes]
        before = edges[readers].any(0).nonzero().flatten()
        if not len(before):
            continue
        span = slice(int(before[0]), int(before[-1]) + 1)
        slope = slopes.transpose(0, 1)  # [rows, readers, …, width]
        for p in range(len(runs.places)):
            there = slope if columns is None else slope * (columns == p)[:, None, :, None].to(slope)
            product = there.flatten(2) @ change[:, span].flatten(2).mT  # [rows, readers, writers]
            table[:, span, p].index_add_(0, torch.tensor(readers, device=table.device), product.permute(1, 2, 0))
    return table


def _sources(runs: Runs) -> list[Writes]:
    """The groups of writers that read nothing."""
    return [w for w in runs.stream.writes if not any(runs.graph.in_degree(named(x, runs.places[0])) for x in w.nodes)]
