"""Trees of causal scrubbing to look at, with the inputs that were used for one of those that were asked about."""

from typing import Any

import networkx as nx

from commute.causal.batches import Batch, Column, plain, take
from commute.proofs.circuits.scrub_tree import Copied, Tree

_FEW = 4  # nodes left out that are named


def shown(tree: Tree, inputs: Batch, values: Batch, drawn: Column) -> "nx.DiGraph[Copied]":
    """A tree from the outputs to what is read for them, in which all that a node reads of one input left out is one node.

    Args:
        tree: what is read where.
        inputs: from which all were drawn.
        values: of variables on these.
        drawn: which of them each draw is, [draws].
    """
    found: nx.DiGraph[Copied] = nx.DiGraph()
    for reader, depth in tree.graph.in_degree():
        if not depth:
            _stand_for(found, reader, reader, tree)
        for part, edge in tree.graph[reader].items():
            place = part if edge["kept"] else (f"left out of {reader[0]}", part[1])
            found.add_edge(reader, place)
            _stand_for(found, place, part, tree)
    for place, about in found.nodes.items():
        row = drawn[about.pop("draw")]
        about["input"] = _labels(inputs, row)
        about["values"] = _labels({v: values[v] for v in about.pop("variables")}, row)
        about["kept"] = place[0] in about["nodes"]
        about["label"] = _label(**about)
    return found


def _stand_for(found: "nx.DiGraph[Copied]", place: Copied, part: Copied, tree: Tree) -> None:
    draw = tree.graph.nodes[part]["draw"]
    nodes = (*found.nodes.get(place, {}).get("nodes", ()), part[0])
    found.add_node(place, nodes=tuple(dict.fromkeys(nodes)), draw=draw, variables=tree.draws[draw].variables)


def _labels(batch: Batch, row: int) -> dict[str, Any]:
    return {v: plain(x) for v, x in take(batch, row).items()}


def _label(*, nodes: tuple[str, ...], input: dict[str, Any], values: dict[str, Any], kept: bool) -> str:  # noqa: A002
    names = ", ".join(nodes[:_FEW]) + (f" and {len(nodes) - _FEW} more" if len(nodes) > _FEW else "")
    carried = "".join(f", {v}={x!r}" for v, x in values.items())
    return f"{names}{carried if kept else ', left out'}: " + ", ".join(f"{v}={x!r}" for v, x in input.items())
