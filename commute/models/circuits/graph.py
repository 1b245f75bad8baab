"""Computation graphs: which node of a network reads what which other writes."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import networkx as nx
import numpy as np
import torch

from commute.causal.batches import rows_of, take
from commute.causal.interventions import Setting
from commute.errors import NetworkError
from commute.models.circuits.closing import check_closed
from commute.models.circuits.layouts import ports
from commute.models.circuits.linking import linked
from commute.models.circuits.places import columns_of
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.stream import Stream, inside
from commute.models.network import Network
from commute.models.rows import batched

Edge = tuple[str, str]
REST = "*"  # the positions that are not named
_QUERY = "<q>"  # the port of what acts at its own position alone
_FEW = 2  # inputs that are run to see what passes between modules


def computation_graph(
    network: Network,
    inputs: Setting,
    *,
    neurons: bool = False,
    positions: Sequence[int | str] | None = None,
    writes: Sequence[Writes] | Callable[[Network], Sequence[Writes]] | None = None,
    reads: Sequence[Reads] | Callable[[Network], Sequence[Reads]] | None = None,
) -> "nx.DiGraph[str]":
    """The nodes of a network and the residual edges between them, as a directed graph in the order of computation.

    Of a decoder of transformers, or a network with the hook points and weights of TransformerLens, nodes are `input`, the
    heads (`a0.h1`) with what they read (`a0.h1<q>`, `<k>`, `<v>`; `a0.g0<k>` where heads share keys and values), hidden layers
    (`m0`) or their neurons (`m0.n5`), and `logits`. An edge leads from a node that writes to the residual stream to one that
    reads it; edges from what a head reads to the head are `internal`, and always there. Where attention cannot be told apart in
    heads it is one node (`a0`), which with positions reads as `a0<x>`, as what comes of it may be at any. Any other module is
    given by its `writes` and `reads`; what a node reads through several ports is named by the node and `<…>` after it.

    Args:
        network: the network.
        inputs: a batch, of which a few are run to see what passes between modules; with positions more, to see which are read
            for the answer.
        neurons: whether each neuron of a hidden layer is a node.
        positions: numbers or named positions; each node is then one for each of them (`m0[-1]`), and one for the rest (`m0[*]`).
            None is one node for all positions.
        writes: of a network of another kind what nodes add to its stream, in the order in which they run; or a function of a
            network that gives this. Where they hold weights, only functions let the graph be made of another network too, as the
            control of a verdict needs it.
        reads: what nodes read of it, in that order, or a function likewise; the last is what the answer is read of. With
            positions, a node that reads under its own name, without a port, is one that works position by position, and what is
            read as `<q>`, a query, acts at its own position alone.

    Returns:
        The graph. `graph["stream"]` is the `Stream` that runs it, `graph["positions"]` the positions.

    Raises:
        NetworkError: when the network is not deterministic, its layers are not known, or what is read is not the sum of what
            was written, when positions are not there or the same, and when something reaches the output along no edge: with
            no edge kept, a circuit gives what the network gives for the other inputs.
    """
    if not isinstance(network, Network):
        raise NetworkError(f"a graph is of a network, cm.Network(module, encode=…, decode=…); given {type(network).__name__}")
    every, _ = batched(inputs)
    batch = take(every, np.arange(min(_FEW, rows_of(every))))
    if (writes is None) != (reads is None):
        raise NetworkError("writes and reads are given together; given one of them")
    if writes is None or reads is None:
        writes, reads = ports(network, batch, neurons=neurons, positions=positions is not None)
        again: dict[str, Any] | None = {"neurons": neurons}
    elif neurons:
        raise NetworkError("with writes and reads, neurons are nodes of these; leave out neurons=True")
    else:
        writes, reads, again = _by_hand(network, writes, reads)
    network.check_deterministic(batch)
    stream = linked(network, writes, reads, batch)
    check_closed(stream, every)
    graph = graph_of(stream, positions)
    if positions is not None:
        with torch.no_grad():
            columns_of(stream, batch, positions, stream.written(batch).shape[1:])
    graph.graph["inputs"] = every
    graph.graph["made"] = None if again is None else {"inputs": batch, **again}
    return graph


def _by_hand(network: Network, writes: Any, reads: Any) -> tuple[Sequence[Writes], Sequence[Reads], dict[str, Any] | None]:
    """Ports that are given, and how those of another network are; None where they hold this one's weights."""
    found = {"writes": _listed("writes", writes, network), "reads": _listed("reads", reads, network)}
    weights = any(getattr(port, "weight", None) is not None for listed in found.values() for port in listed)
    again = {"writes": writes, "reads": reads} if callable(writes) and callable(reads) else None if weights else found
    return found["writes"], found["reads"], again


def _listed(name: str, given: Any, network: Network) -> tuple[Any, ...]:
    listed = given(network) if callable(given) else given
    if not isinstance(listed, Iterable):
        raise NetworkError(f"{name} are a list of cm.{name.title()}, or a function of a network that gives one; given {listed!r}")
    return tuple(listed)


def moved(graph: "nx.DiGraph[str]", network: Network) -> "nx.DiGraph[str]":
    """The same graph of another network of the same architecture, such as a re-initialised copy or another checkpoint.

    A graph reads the weights of its own network, and goes on doing so while these are trained in place.

    Raises:
        NetworkError: when the other network's graph differs, and when the graph was made from `writes` and `reads` with weights.
    """
    stream_of(graph)
    made = graph.graph.get("made")
    if made is None:
        raise NetworkError(
            "the graph was made from writes and reads with weights of one network; give computation_graph functions of a network "
            "as writes= and reads= that make them"
        )
    found = computation_graph(network, **made, positions=graph.graph["positions"])
    found.graph["inputs"] = graph.graph["inputs"]
    ours, theirs = set(residual_edges(graph)), set(residual_edges(found))
    if ours != theirs:
        example = "->".join(min(ours ^ theirs))
        raise NetworkError(
            f"the graph has {len(ours)} edges and that of {network.name!r} has {len(theirs)}; {example} is in one of them alone, "
            "so the networks are not of one architecture"
        )
    return found


def graph_of(stream: Stream, positions: Sequence[int | str] | None = None) -> "nx.DiGraph[str]":
    """The graph of a stream; see `computation_graph`."""
    if positions is not None and not _told_apart(positions):
        raise NetworkError(f"positions must be different numbers or names; given {positions!r}")
    places: list[Hashable] = [None] if positions is None else [*positions, REST]
    graph: nx.DiGraph[str] = nx.DiGraph(stream=stream, positions=None if positions is None else tuple(positions))
    for node in _ordered(stream):
        graph.add_nodes_from(named(node, p) for p in places)
    for j, reader in enumerate(stream.readers):
        for i in stream.edges[j].nonzero().flatten().tolist():
            graph.add_edges_from((named(stream.writers[i], p), named(reader, p)) for p in places)
        query = reader.endswith(_QUERY)
        there = [(p, q) for p in places for q in places if p == q or not query]
        for writer in inside(stream, reader):
            graph.add_edges_from(((named(reader, p), named(writer, q)) for p, q in there), internal=True)
    return graph


def _told_apart(positions: object) -> bool:
    """Whether positions are numbers or names, of which none is there twice and none is that of the rest."""
    if not isinstance(positions, (tuple, list)) or not positions:
        return False
    kinds = all(isinstance(p, (int, str, np.integer)) and not isinstance(p, bool) and p != REST for p in positions)
    return kinds and len({str(p) for p in positions}) == len(positions)


def named(node: str, position: Hashable) -> str:
    """A node at a position."""
    return node if position is None else f"{node}[{position}]"


def stream_of(graph: "nx.DiGraph[str]") -> Stream:
    """The stream of a computation graph.

    Raises:
        NetworkError: for another graph.
    """
    stream = graph.graph.get("stream") if isinstance(graph, nx.DiGraph) else None
    if not isinstance(stream, Stream):
        raise NetworkError(f"a circuit is part of a computation graph, cm.computation_graph(network, inputs); given {graph!r}")
    return stream


def residual_edges(graph: "nx.DiGraph[str]") -> list[Edge]:
    """The edges that a circuit keeps or leaves out, in order: those through the residual stream."""
    return [(u, v) for u, v, internal in graph.edges(data="internal", default=False) if not internal]


def _ordered(stream: Stream) -> list[str]:
    """All nodes, each after those that it reads.

    Raises:
        NetworkError: when nodes read what comes of what they write.
    """
    links = nx.DiGraph((w, r) for j, r in enumerate(stream.readers) for i, w in enumerate(stream.writers) if stream.edges[j, i])
    links.add_edges_from((r, w) for r in stream.readers for w in inside(stream, r))
    if not nx.is_directed_acyclic_graph(links):
        nodes = [u for u, _ in nx.find_cycle(links)]
        raise NetworkError(
            f"{' and '.join(nodes)} would read what comes of what they write; writes and reads of one name are to be of one "
            "node, which reads before it writes"
        )
    place = {node: i for i, node in enumerate([*stream.writers, *stream.readers])}
    return list(nx.lexicographical_topological_sort(links, key=place.__getitem__))
