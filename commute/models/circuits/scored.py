"""Scored edges: what a search or a file says of every edge of a computation graph."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from commute.errors import NetworkError, check, unknown
from commute.models.circuits.circuit import Circuit, edges_of
from commute.models.circuits.graph import Edge, residual_edges, stream_of

if TYPE_CHECKING:
    import networkx as nx

MANY = 8  # problems told of at once


@dataclass(frozen=True, eq=False, repr=False)
class Scored:
    """The residual edges of a graph with their scores, those that a circuit keeps, or both.

    Attributes:
        graph: the computation graph.
        scores: how much each edge matters, in the order of `residual_edges`, [edges]; None where that is not known.
        keep: the edges kept, in the graph's order; None where none were chosen. They are given as those of a `Circuit`.

    Raises:
        NetworkError: when there is neither, for scores that are not one number for each edge, and for edges that the graph does
            not have.
    """

    graph: "nx.DiGraph[str]"
    scores: Tensor | None = None
    keep: tuple[Edge, ...] | None = None

    def __post_init__(self) -> None:
        stream_of(self.graph)
        edges, problems = self.edges, []
        if self.scores is None and self.keep is None:
            problems.append("there are neither scores nor edges kept; give one of them")
        if self.scores is not None:
            problems += not_numbers("scores", self.scores, f"one for each of the {len(edges)} edges", [len(edges)])
        if self.scores is not None and not problems:
            wrong = (~self.scores.isfinite()).nonzero().flatten().tolist()
            problems += [f"the score of {named(edges[i])} is {float(self.scores[i])}; it must be finite" for i in wrong[:MANY]]
        check(problems, NetworkError, "what is known of edges")
        if self.keep is not None:
            object.__setattr__(self, "keep", edges_of(self.graph, self.keep))

    def __repr__(self) -> str:
        scores = "without scores" if self.scores is None else "with scores"
        kept = "no circuit" if self.keep is None else f"{len(self.keep)} kept"
        return f"Scored({len(self.edges)} edges {scores}, {kept})"

    @property
    def edges(self) -> list[Edge]:
        """All edges, in order."""
        return residual_edges(self.graph)

    @property
    def circuit(self) -> Circuit:
        """The edges kept, as a claim.

        Raises:
            NetworkError: when none were chosen, or no path of those leads to the output.
        """
        if self.keep is None:
            raise NetworkError("there are scores and no circuit; choose edges by their scores")
        return Circuit(self.graph, self.keep)


def named(edge: Edge) -> str:
    """An edge as it is written."""
    return "->".join(edge)


def not_numbers(name: str, x: object, expected: str, shape: Sequence[int]) -> list[str]:
    """Say that something is no tensor of real numbers of a shape."""
    if not isinstance(x, Tensor):
        given = f"a {type(x).__name__}"
    elif x.is_complex() or x.is_quantized or x.is_meta or x.layout != torch.strided:
        given = f"one of {x.dtype}, {x.layout}, on {x.device}"
    elif list(x.shape) != list(shape):
        given = f"{list(x.shape)}"
    else:
        return []
    return [f"{name} must be a tensor of real numbers, {expected}; given {given}"]


def check_names(found: Iterable[str], expected: Collection[str], kind: str, subject: str) -> None:
    """Do nothing where what is named is just what there is.

    Raises:
        NetworkError: naming what is missing and, with the nearest, what there is not.
    """
    held, there = dict.fromkeys(found), set(expected)
    missing = [name for name in expected if name not in held]
    problems = [unknown(kind, name, expected) for name in [name for name in held if name not in there][:MANY]]
    if missing:
        problems.append(f"it lacks {len(missing)} of the {len(expected)} {kind}s of the graph, such as {', '.join(missing[:3])}")
    check(problems, NetworkError, subject)
