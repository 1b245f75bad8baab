"""Random circuits that act on the output, to hold a circuit against."""

from typing import TYPE_CHECKING

import numpy as np

from commute.models.circuits.graph import Edge, residual_edges

if TYPE_CHECKING:
    import networkx as nx

_TRIES = 100  # paths in a row that are too long for what is left


def random_path(graph: "nx.DiGraph[str]", generator: np.random.Generator) -> list[Edge]:
    """A random walk from a node that reads nothing to one that is not read, with edges inside of nodes."""
    starts = [node for node in graph if not graph.in_degree(node)]
    node, found = starts[generator.integers(len(starts))], list[Edge]()
    while after := list(graph.successors(node)):
        found.append((node, after[generator.integers(len(after))]))
        node = found[-1][1]
    return found


def random_circuit(graph: "nx.DiGraph[str]", size: int, generator: np.random.Generator) -> list[Edge]:
    """So many residual edges: random paths to the output as long as they fit, and then any others."""
    every, tries = residual_edges(graph), 0
    there, chosen = set(every), set[Edge]()
    while len(chosen) < size and tries < _TRIES:
        new = {edge for edge in random_path(graph, generator) if edge in there} - chosen
        fits = len(chosen) + len(new) <= size and bool(new)
        chosen |= new if fits else set()
        tries = 0 if fits else tries + 1
    rest = [edge for edge in every if edge not in chosen]
    chosen |= {rest[i] for i in generator.choice(len(rest), size - len(chosen), replace=False)}
    return [edge for edge in every if edge in chosen]
