"""Trees of causal scrubbing: on which input each node of a circuit is run, each path to the output by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import networkx as nx

from commute.errors import ClaimError
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import Edge, stream_of

Names = Mapping[str | Edge, tuple[str, ...]]  # the variables of a node, or of what flows along one edge
Sharing = Literal["edge", "node", "run"]
Copied = tuple[str, int]  # a node in one of the copies of the network

MOST = 2**12  # nodes of a tree
OWN = 0  # the copy that is run on the inputs that are asked about, and how these are drawn


@dataclass(frozen=True)
class Draw:
    """How the inputs of a copy are drawn.

    Attributes:
        of: the draw whose inputs these agree with.
        variables: on which they agree; none for any inputs.
    """

    of: int = OWN
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Tree:
    """Copies of a network, each run on inputs of its own, in which nodes read what others write in other copies.

    Attributes:
        draws: of inputs; the first are those that are asked about.
        copies: the draw that each copy is run on; the first is run on the first.
        graph: from the outputs to what is read for them, nodes in copies (`("m0", 3)`) with the `draw` that each stands for. An
            edge says whether it is `kept` and whether it is `internal`. A node is read by several where no draw tells them apart.
    """

    draws: tuple[Draw, ...]
    copies: tuple[int, ...]
    graph: "nx.DiGraph[Copied]"

    @property
    def wires(self) -> Iterator[tuple[Copied, Copied]]:
        """Each node that reads what is written in another copy, and what it reads."""
        edges = self.graph.edges(data="internal")
        return ((reader, writer) for reader, writer, internal in edges if not internal and reader[1] != writer[1])


def treeified(circuit: Circuit, names: Names, sharing: Sharing) -> Tree:
    """The tree of a circuit.

    Args:
        circuit: the circuit.
        names: the variables on which a node's input agrees with that of its reader; a node without is run on its reader's.
        sharing: whether all edges that are left out carry what they do for one input, or those into one node, or each by itself.

    Raises:
        ClaimError: when it has too many nodes.
    """
    parts = _Parts(circuit, names, sharing)
    stream = stream_of(circuit.graph)
    readers = {node for node in circuit.graph if node.partition("[")[0] in stream.readers}
    ends = [node for node in readers if not circuit.graph.out_degree(node)]
    size = sum(parts.sizes[node] for node in ends)
    if size > MOST:
        raise ClaimError(
            f"the tree of inputs has {size:,} nodes, since each path through the circuit to the output is scrubbed by itself; "
            f"there is room for {MOST:,}. Keep fewer edges, or have less drawn anew for each path: leave nodes without a "
            "variable, or let all edges that are left out share one input (others='run')"
        )
    grown = _Grown(parts)
    for end in sorted(ends):
        grown.read((end, OWN), grown.drawn(OWN, names.get(end)))
    return Tree(tuple(grown.draws), tuple(grown.copies), grown.graph)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What is known of a circuit's nodes before its tree is grown."""

    circuit: Circuit
    names: Names
    sharing: Sharing

    @cached_property
    def kept(self) -> frozenset[Edge]:
        return frozenset(self.circuit.edges)

    @cached_property
    def whole(self) -> frozenset[str]:
        """Nodes that are as in the network itself: nothing before them is left out or drawn anew."""
        return self._alike(left_out=False)

    @cached_property
    def alike(self) -> frozenset[str]:
        """Nodes that are the same for all that read them for one input: nothing before them is drawn for one path alone."""
        return self._alike(left_out=self.sharing == "run")

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Of the tree of each node; of nodes that are alike for all, how many there are at most."""
        found: dict[str, int] = {}
        for node in self.circuit.graph:
            if node in self.whole:
                found[node] = 1
            elif node in self.alike:
                found[node] = 1 + len(nx.ancestors(self.circuit.graph, node))
            else:
                found[node] = 1 + sum(found[u] for u, kept, _ in self.read(node) if kept)
        return found

    def read(self, node: str) -> Iterator[tuple[str, bool, bool]]:
        """What a node reads, each with whether it is kept and whether it is a port of its own, which always is."""
        for u, _, internal in self.circuit.graph.in_edges(node, data="internal", default=False):
            yield u, internal or (u, node) in self.kept, internal

    def variables(self, node: str, reader: str) -> tuple[str, ...] | None:
        return self.names.get((node, reader), self.names.get(node))

    def _alike(self, *, left_out: bool) -> frozenset[str]:
        found: set[str] = set()
        for node in self.circuit.graph:  # each after those that it reads
            if all((u in found and self.variables(u, node) is None) if kept else left_out for u, kept, _ in self.read(node)):
                found.add(node)
        return frozenset(found)


@dataclass(eq=False)
class _Grown:
    """A tree while it grows."""

    parts: _Parts
    draws: list[Draw] = field(default_factory=lambda: [Draw()])
    copies: list[int] = field(default_factory=lambda: [OWN])
    graph: "nx.DiGraph[Copied]" = field(default_factory=nx.DiGraph)
    taken: list[set[str]] = field(default_factory=lambda: [set()])
    on: dict[int, list[int]] = field(default_factory=lambda: {OWN: [OWN]})
    known: dict[tuple[str, int], Copied] = field(default_factory=dict)
    others: dict[Any, int] = field(default_factory=dict)

    def drawn(self, of: int, variables: tuple[str, ...] | None) -> int:
        """A draw that agrees with another; that one itself where no variables are named."""
        if variables is None:
            return of
        self.draws.append(Draw(of, variables))
        return len(self.draws) - 1

    def read(self, reader: Copied, draw: int) -> None:
        """Grow all that a node in a copy reads, for its draw."""
        node, copy = reader
        self.graph.add_node(reader, draw=draw)
        if node in self.parts.whole and draw == self.copies[copy]:
            return
        for u, kept, internal in self.parts.read(node):
            if not kept:
                part = self._elsewhere(u, reader)
            elif internal:
                part = u, copy
                self.read(part, self.drawn(draw, self.parts.variables(u, node)))
            else:
                part = self._placed(u, self.drawn(draw, self.parts.variables(u, node)))
            self.graph.add_edge(reader, part, kept=kept, internal=internal)

    def _placed(self, node: str, draw: int) -> Copied:
        """A copy in which a node is run on a draw: the one that is there where all may share it, else one of its own."""
        if node in self.parts.whole:
            return self._put(node, draw)
        if node in self.parts.alike and (node, draw) in self.known:
            return self.known[node, draw]
        ports = [u for u, _, internal in self.parts.read(node) if internal]
        placed = self.known[node, draw] = self._put(node, draw, taking={node, *ports})
        self.read(placed, draw)
        return placed

    def _elsewhere(self, node: str, reader: Copied) -> Copied:
        """Where an edge that is left out comes from: a copy in which the network is run as it is on any input."""
        key = {"edge": (node, reader), "node": reader, "run": None}[self.parts.sharing]
        if key not in self.others:
            self.others[key] = self.drawn(OWN, ())
        return self._put(node, self.others[key])

    def _put(self, node: str, draw: int, *, taking: frozenset[str] | set[str] = frozenset()) -> Copied:
        """A node in a copy on a draw in which some nodes are still free, which are then taken."""
        copies = self.on.setdefault(draw, [])
        copy = next((c for c in copies if not self.taken[c] & taking), None)
        if copy is None:
            copy = len(self.copies)
            copies.append(copy)
            self.copies.append(draw)
            self.taken.append(set())
        self.taken[copy] |= taking
        self.graph.add_node((node, copy), draw=draw)
        return node, copy
