"""Methods of searching a circuit: frozen dataclasses of options, each with a way to score edges."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from commute.alignments.circuits.attributing import Path, attributions
from commute.alignments.options import as_plain
from commute.errors import AlignmentError, NetworkError, check, not_counts, unknown
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.patching import edge_effects
from commute.models.circuits.runs import Runs

_AT_ONCE = 256  # masks that are handed over together


@runtime_checkable
class SearchMethod(Protocol):
    """A method: what a behaviour loses, or about that, by each edge."""

    def scores(self, runs: Runs, behaviour: Behaviour) -> Tensor:
        """A number for each edge, in the order of `residual_edges`, and each input, whose mean over inputs is the edge's score.

        Returns:
            [edges, rows], or [edges, 1] where inputs are not scored one by one.

        Raises:
            NetworkError: when the behaviour is of other inputs.
        """


@dataclass(frozen=True)
class EdgeAttribution:
    """Edge attribution patching (2310.10348), with integrated gradients (EAP-IG, 2403.17806).

    Without an edge from u, which adds z_u or instead z'_u, to v about (z_u - z'_u) · dM/dz_v is lost, with the mean of the
    gradients of the measure M at `steps` points on the way from z' to z.

    Attributes:
        steps: gradients along the path, whose mean counts; 1 is plain attribution, by the gradient where nothing is left out.
        path: along which gradients are taken: what the network is given (`inputs`), or what each layer of nodes adds, by itself
            (`activations`), which costs a search for each of them.
    """

    steps: int = 5
    path: Path = "inputs"

    def __post_init__(self) -> None:
        as_plain(self)
        _check(self, unknown("path", self.path, get_args(Path)) if self.path not in get_args(Path) else "", steps=self.steps)

    def scores(self, runs: Runs, behaviour: Behaviour) -> Tensor:
        """See `SearchMethod`."""
        return attributions(runs, behaviour, steps=self.steps, path=self.path)


@dataclass(frozen=True)
class NodeAttribution:
    """Attribution patching of nodes (2310.10348): the effect of all that one adds, by gradients.

    An edge scores as the weaker of its ends.

    Attributes:
        steps: as of `EdgeAttribution`.
        path: likewise.
    """

    steps: int = 5
    path: Path = "inputs"

    def __post_init__(self) -> None:
        as_plain(self)
        EdgeAttribution(self.steps, self.path)  # which checks them

    def scores(self, runs: Runs, behaviour: Behaviour) -> Tensor:
        """See `SearchMethod`."""
        edges = attributions(runs, behaviour, steps=self.steps, path=self.path)
        nodes: dict[str, Tensor] = {}
        for (writer, _), score in zip(residual_edges(runs.graph), edges, strict=True):
            nodes[writer] = nodes[writer] + score if writer in nodes else score
        return _by_nodes(runs, nodes)


@dataclass(frozen=True)
class EdgePatching:
    """Exact patching of edges: each is left out by itself (path patching, 2304.05969)."""

    def scores(self, runs: Runs, behaviour: Behaviour) -> Tensor:
        """See `SearchMethod`."""
        return -edge_effects(runs, behaviour)


@dataclass(frozen=True)
class NodePatching:
    """Exact patching of nodes (2202.05262): all that one adds is left out at once. An edge scores as the weaker of its ends."""

    def scores(self, runs: Runs, behaviour: Behaviour) -> Tensor:
        """See `SearchMethod`."""
        check(behaviour.misfits(runs), NetworkError, "the effects of nodes")
        edges = residual_edges(runs.graph)
        every = runs.mask(edges)
        columns = {u: runs.index[u, v][1:] for u, v in edges}  # the writer and position of each node
        masks = (_silenced(every, column) for column in columns.values())
        return _by_nodes(runs, dict(zip(columns, _lost(runs, behaviour, masks), strict=True)))


def _check(method: object, *problems: str, **counts: object) -> None:
    check([p for p in problems if p] + not_counts(**counts), AlignmentError, type(method).__name__)


def _silenced(mask: Tensor, column: tuple[int, int]) -> Tensor:
    """A mask without the edges of a writer at a position."""
    mask = mask.clone()
    mask[:, *column] = False
    return mask


def _lost(runs: Runs, behaviour: Behaviour, masks: Iterator[Tensor]) -> Tensor:
    """What a behaviour loses under each mask, [masks, rows]."""
    found = []
    while group := list(islice(masks, _AT_ONCE)):
        found.append(behaviour(behaviour.whole) - behaviour(runs.scores(group)))
    return torch.cat(found)


def _by_nodes(runs: Runs, nodes: Mapping[str, Tensor]) -> Tensor:
    """The scores of edges, [edges, rows]: of the weaker end, where a port counts as the strongest node that it leads to."""
    strength = {node: float(x.mean().abs()) for node, x in nodes.items()}
    found = []
    for writer, reader in residual_edges(runs.graph):
        led = [x for x in ([reader] if reader in nodes else runs.graph.successors(reader)) if x in nodes]
        ends = [writer, *([max(led, key=strength.__getitem__)] if led else [])]
        found.append(nodes[min(ends, key=strength.__getitem__)])
    return torch.stack(found)
