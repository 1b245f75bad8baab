"""The formats of the MIB circuit track (2504.13151), as its tool EAP-IG reads and writes them.

Nodes are `input`, the heads and hidden layers, and `logits`; each head has a query, a key and a value of its own. Where heads of
a graph share keys and values, all that share one are written with its edges, and must agree where they are read.
"""

import json
import pickle
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from commute.errors import NetworkError, check
from commute.models.circuits.graph import Edge, residual_edges, stream_of
from commute.models.circuits.scored import MANY, Scored, check_names, named, not_numbers

if TYPE_CHECKING:
    import networkx as nx

_FEW = 4  # nodes that are named


@dataclass(frozen=True, eq=False)
class _Table:
    """The nodes and edges of a decoder as the format counts them.

    Attributes:
        configuration: of the network, as far as files tell it.
        sources: the nodes that write, its rows.
        targets: what is read, its columns.
        places: for each residual edge of the graph the rows and columns that stand for it.
    """

    configuration: dict[str, Any]
    sources: list[str]
    targets: list[str]
    places: dict[Edge, list[tuple[int, int]]]

    @property
    def names(self) -> dict[str, tuple[int, int]]:
        """The rows and columns of all edges by name."""
        return {f"{self.sources[i]}->{self.targets[j]}": (i, j) for places in self.places.values() for i, j in places}

    def spread(self, values: Iterable[float]) -> Tensor:
        """The table of a value for each edge of the graph, [sources, targets] of float64."""
        table = np.zeros((len(self.sources), len(self.targets)))
        for places, value in zip(self.places.values(), values, strict=True):
            for place in places:
                table[place] = value
        return torch.from_numpy(table)

    def gathered(self, table: Tensor, subject: str) -> Tensor:
        """What a table says of each edge of the graph, [edges].

        Raises:
            NetworkError: when it tells apart what is one edge of the graph.
        """
        held = table.numpy()
        values = [[float(held[place]) for place in places] for places in self.places.values()]
        wrong = [
            f"heads that share what they read along {named(edge)} differ: {x}"
            for edge, x in zip(self.places, values, strict=True)
            if any(other != x[0] for other in x[1:])
        ]
        check(wrong[:MANY], NetworkError, subject)
        return torch.tensor([x[0] for x in values], dtype=torch.float64)


def _table(graph: "nx.DiGraph[str]") -> _Table:
    """The table of a graph.

    Raises:
        NetworkError: when the graph's nodes are not those of the format.
    """
    stream = stream_of(graph)
    layers = 1 + max((int(found[1]) for w in stream.writers if (found := re.fullmatch(r"[am](\d+)(\..*)?", w))), default=-1)
    heads = sum(w.startswith("a0.h") for w in stream.writers)
    sources, targets = ["input"], []
    for i in range(layers):
        sources += [*(f"a{i}.h{h}" for h in range(heads)), f"m{i}"]
        targets += [*(f"a{i}.h{h}<{part}>" for part in "qkv" for h in range(heads)), f"m{i}"]
    targets.append("logits")
    if graph.graph["positions"] is not None or not heads or sources != stream.writers:
        raise NetworkError(
            "the formats of the MIB circuit track hold graphs of decoders with heads and hidden layers as nodes, one for all "
            f"positions; this graph {_unlike(graph, stream.writers, sources)}; write it as .txt, a list of edges, which holds any"
        )
    places = {}
    for writer, reader in residual_edges(graph):
        own = [reader] if reader in targets else [f"{head}<{reader.partition('<')[2]}" for head in graph.successors(reader)]
        places[writer, reader] = [(sources.index(writer), targets.index(target)) for target in own]
    width = next(w.weight.shape[-1] for w in stream.writes if w.weight is not None)
    parallel = ("a0.h0", "m0") not in places
    return _Table(
        {"n_layers": layers, "n_heads": heads, "parallel_attn_mlp": parallel, "d_model": width}, sources, targets, places
    )


def _unlike(graph: "nx.DiGraph[str]", writers: Sequence[str], sources: Sequence[str]) -> str:
    """How the nodes of a graph differ from those of the format."""
    lacking = [w for w in sources if w not in writers]
    other = [w for w in writers if w not in sources]
    told = ["has nodes for each position"] if graph.graph["positions"] is not None else []
    told += [
        f"{verb} {', '.join(nodes[:_FEW])}{', …' if len(nodes) > _FEW else ''}"
        for verb, nodes in (("lacks", lacking), ("has", other))
        if nodes
    ]
    return " and ".join(told) or "has them in another order"


def _tables(scored: Scored, table: _Table) -> tuple[Tensor, Tensor, list[bool]]:
    """Scores and which edges are kept, [sources, targets] each, and which of the sources the circuit has."""
    kept = set(scored.edges if scored.keep is None else scored.keep)
    chosen = table.spread(float(edge in kept) for edge in scored.edges)
    scores = chosen if scored.scores is None else table.spread(scored.scores.tolist())
    ends = {end for w, r in kept for end in (w, *([r] if r in table.sources else scored.graph.successors(r)))}
    return scores, chosen.bool(), [node in ends for node in table.sources]


def write_json(scored: Scored, path: Path) -> None:
    """Write a `.json` file. With no scores those kept have 1 and others 0; with no circuit all edges are kept."""
    table = _table(scored.graph)
    scores, kept, nodes = _tables(scored, table)
    inside = dict(zip(table.sources, nodes, strict=True)) | {"logits": True}
    record = {
        "cfg": table.configuration,
        "nodes": {name: {"in_graph": x} for name, x in inside.items()},
        "edges": {name: {"score": float(scores[at]), "in_graph": bool(kept[at])} for name, at in table.names.items()},
    }
    path.write_text(json.dumps(record), encoding="utf-8")


def write_pt(scored: Scored, path: Path) -> None:
    """Write a `.pt` file, as `write_json`."""
    table = _table(scored.graph)
    scores, kept, nodes = _tables(scored, table)
    record = {
        "cfg": table.configuration,
        "src_nodes": table.sources,
        "dst_nodes": table.targets,
        "edges_scores": scores.float(),
        "edges_in_graph": kept,
        "nodes_in_graph": torch.tensor(nodes),
    }
    torch.save(record, path)


def read_json(graph: "nx.DiGraph[str]", path: Path) -> Scored:
    """Read a `.json` file.

    Raises:
        NetworkError: for other contents, other architectures, and edges that are missing or too many.
    """
    table, subject = _table(graph), f"the file {path.name}"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise NetworkError(f"{subject} is not JSON of the format: {error}") from error
    edges = _checked(record, ("cfg", "edges"), table, subject)["edges"]
    if not isinstance(edges, Mapping) or not all(isinstance(x, Mapping) for x in edges.values()):
        raise NetworkError(f"{subject}: its edges must be a mapping from 'u->v' to what is said of it")
    names = table.names
    check_names(edges, names, "edge", subject)
    columns = {}
    for key, kind, fits in (("score", "finite number", _is_number), ("in_graph", "bool", _is_bool)):
        values = [edges[name].get(key) for name in names]
        if any(x is not None for x in values):
            unfit = [(name, x) for name, x in zip(names, values, strict=True) if not fits(x)]
            wrong = [f"the {key} of {name} must be a {kind}; it is {short(x)}" for name, x in unfit[:MANY]]
            check(wrong, NetworkError, subject)
            columns[key] = torch.zeros(len(table.sources), len(table.targets), dtype=torch.float64)
            columns[key][tuple(zip(*names.values(), strict=True))] = torch.tensor(values, dtype=torch.float64)
    return _scored(graph, table, columns.get("score"), columns.get("in_graph"), subject)


def _is_number(x: object) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) <= sys.float_info.max  # which NaN is not


def _is_bool(x: object) -> bool:
    return isinstance(x, bool)


def read_pt(graph: "nx.DiGraph[str]", path: Path) -> Scored:
    """Read a `.pt` file, which may hold tensors, texts and numbers and nothing else.

    Raises:
        NetworkError: for other contents, other architectures and other shapes.
    """
    table, subject = _table(graph), f"the file {path.name}"
    keys = ("cfg", "src_nodes", "dst_nodes", "edges_scores", "edges_in_graph")
    record = _checked(_loaded(path, subject), keys, table, subject)
    for key, nodes in (("src_nodes", table.sources), ("dst_nodes", table.targets)):
        given = record[key]
        if not isinstance(given, (list, tuple)) or not all(isinstance(node, str) for node in given):
            raise NetworkError(f"{subject}: its {key} must be a list of names of nodes; given {short(given)}")
        check_names(given, nodes, "node", subject)
        if list(given) != nodes:
            raise NetworkError(f"{subject}: its {key} must be in the order {', '.join(nodes[:6])}, …; given {list(given[:6])}")
    shape = [len(table.sources), len(table.targets)]
    scores, kept = record["edges_scores"], record["edges_in_graph"]
    wrong = not_numbers("edges_scores", scores, f"[src_nodes, dst_nodes], {shape}", shape)
    wrong += not_numbers("edges_in_graph", kept, f"[src_nodes, dst_nodes], {shape}", shape)
    if not wrong and not scores.is_floating_point():
        wrong.append(f"edges_scores must be floating; given {scores.dtype}")
    if not wrong and not bool(((kept == 0) | (kept == 1)).all()):
        wrong.append("edges_in_graph must be true or false, or 1 or 0, for each edge; it holds other numbers")
    check(wrong, NetworkError, subject)
    return _scored(graph, table, scores.detach().double(), kept.detach().double(), subject)


def _loaded(path: Path, subject: str) -> Any:
    """What torch wrote, without running anything in it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:  # whose text tells how to run it all the same
        raise NetworkError(
            f"{subject} does not hold tensors alone; what else is in it could run code, so it is not read; save tensors, lists "
            "of names and numbers, as write_circuit does"
        ) from None
    except Exception:  # noqa: BLE001  # whatever a broken file makes torch raise
        raise NetworkError(f"{subject} is cut off, or is not one that torch.save wrote; write or copy it again") from None


def _checked(record: Any, keys: Sequence[str], table: _Table, subject: str) -> Mapping[str, Any]:
    """What a file holds, if it holds all that is needed, for a network of this architecture."""
    held: Mapping[str, Any] = record if isinstance(record, Mapping) else {}
    check([f"it lacks {key!r}" for key in keys if key not in held], NetworkError, subject)
    given = held["cfg"] if isinstance(held["cfg"], Mapping) else {}
    wrong = [
        f"{key} is {short(given.get(key))} there and {x!r} here"
        for key, x in table.configuration.items()
        if not isinstance(given.get(key), (int, float)) or given.get(key) != x
    ]
    check(wrong, NetworkError, f"{subject}, of another network,")
    return held


def _scored(graph: "nx.DiGraph[str]", table: _Table, scores: Tensor | None, kept: Tensor | None, subject: str) -> Scored:
    chosen = None if kept is None else table.gathered(kept, subject).bool().tolist()
    if chosen is None or (scores is not None and all(chosen)):  # scores alone are written with every edge
        keep = None
    else:
        keep = tuple(edge for edge, yes in zip(table.places, chosen, strict=True) if yes)
    return Scored(graph, None if scores is None else table.gathered(scores, subject), keep)
