"""Exact patching of every edge by itself."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import rows_of
from commute.errors import NetworkError, check
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.midway import Group, Place, clean_of, groups_of
from commute.models.circuits.runs import Runs
from commute.models.engine import Engine, close, engine_of, falling_back, given_up
from commute.models.hooks import evaluating, ungraded

_GROUP = 64  # edges whose circuits are run at once in full
_FEW = 2  # inputs on which passes are compared with passes in full


def edge_effects(runs: Runs, behaviour: Behaviour) -> Tensor:
    """How the behaviour changes when one edge alone is left out, for each edge and each input.

    As in a sweep, passes begin where the edge ends and are compared with passes in full on a few edges and inputs; where they
    differ, passes in full are made throughout, with a `ReplayWarning`.

    Args:
        runs: the inputs, and what edges carry that are left out.
        behaviour: of these inputs.

    Returns:
        The behaviour without the edge less that of the whole network, in the order of `residual_edges`, [edges, batch].

    Raises:
        NetworkError: when the behaviour is of other inputs, and for NaN.
    """
    network = runs.stream.network
    check(behaviour.misfits(runs), NetworkError, "the effects of edges")
    places = [runs.index[edge] for edge in residual_edges(runs.graph)]
    found = None
    with evaluating(network.module), ungraded(network.module), falling_back(network):
        found = _midway(runs, behaviour, places)
    if found is None:
        found = _in_full(runs, behaviour, places)
    return found.clone() - behaviour(behaviour.whole)  # a clone made here is no tensor of inference mode


def _in_full(runs: Runs, behaviour: Behaviour, places: Sequence[Place]) -> Tensor:
    """The behaviour without each edge, by runs of the circuits of all others."""
    groups = (places[start : start + _GROUP] for start in range(0, len(places), _GROUP))
    return torch.cat([behaviour(runs.scores(_without(runs, group))) for group in groups])


def _without(runs: Runs, places: Sequence[Place]) -> list[Tensor]:
    """All edges but one, for each of some, [readers, writers, positions] of bool."""
    masks = runs.stream.edges[None, :, :, None].repeat(len(places), 1, 1, len(runs.places))
    for mask, place in zip(masks, places, strict=True):
        mask[place] = False
    return list(masks)


def _midway(runs: Runs, behaviour: Behaviour, places: Sequence[Place]) -> Tensor | None:
    """The behaviour without each edge, by passes that begin where it ends; None where passes must be made in full."""
    network, n = runs.stream.network, rows_of(runs.batch)
    engine = engine_of(network, runs.batch)
    groups = None if engine is None else groups_of(runs.stream, engine)
    if engine is None or groups is None:
        return None
    order = {place: i for i, place in enumerate(places)}
    found = behaviour.whole.new_empty(len(places), n)
    compared: dict[int, tuple[int, Tensor]] = {}
    size = _rows(runs, engine, groups)
    for rows in torch.split(torch.arange(n), size):
        clean = clean_of(runs, engine, rows, groups)
        here = behaviour.take(rows.to(behaviour.whole.device))
        for group in groups:
            for edges, scores in clean.patched(group):
                runs.check_numbers([scores.flatten(0, 1)], rows.numpy())
                chosen = [order[edge] for edge in edges]
                found[torch.tensor(chosen)[:, None], rows] = here(scores).to(found)
                if not int(rows[0]):
                    compared |= {edge[0]: (place, own[:_FEW]) for edge, place, own in zip(edges, chosen, scores, strict=True)}
    key = engine.traces, frozenset(tap for group in groups for tap in group.taps), "edges"
    if key not in network.confirmed:
        few = runs.take(np.array([*range(min(_FEW, n, size)), runs.longest]))  # the longest, so that all are filled up as much
        expected = few.scores(_without(runs, [places[i] for i, _ in compared.values()]))[:, :-1]
        if not close([x for _, x in compared.values()], list(expected)):
            given_up(network)
            return None
        network.confirmed.add(key)
    return found


def _rows(runs: Runs, engine: Engine, groups: Sequence[Group]) -> int:
    """Inputs of which all that is needed can be held at once."""
    times = [time for g in groups for tap in [*g.taps, *g.begin] if (time := engine.trace.time(tap)) is not None]
    late = 0 if engine.traces.late is None else engine.trace.columns - 1
    written = runs.instead[:, :1].numel() * runs.instead.element_size() * (2 + len(runs.places))
    most = max(1, engine.network.memory // 3 // (engine.bytes_kept(times, 0, late) + written))
    return min(most, engine.network.batch_size or most)
