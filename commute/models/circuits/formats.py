"""Files of circuits and of scored edges."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from commute.errors import NetworkError, check, unknown
from commute.models.circuits import mib
from commute.models.circuits.circuit import Circuit, edges_of
from commute.models.circuits.graph import residual_edges, stream_of
from commute.models.circuits.scored import MANY, Scored, check_names, named

if TYPE_CHECKING:
    import networkx as nx


def write_circuit(what: Circuit | Scored, path: str | Path) -> None:
    """Write a circuit, or scores of edges, to a file whose ending says how.

    `.json` and `.pt` are the formats of the MIB circuit track (2504.13151), which has decoders with hidden layers `m0`, … at all
    positions at once. `.txt` has an edge a line, `u->v`, of any graph: those of a circuit, or all with a tab and their score.

    Raises:
        NetworkError: for other endings, for folders that are not there, for what is neither a circuit nor scores, and for what a
            format cannot hold.
    """
    if not isinstance(what, Circuit | Scored):
        raise NetworkError(
            f"what is written is a cm.Circuit or a Scored; given {what!r}; of what a search found, write "
            "found.circuit(size) or Scored(found.graph, found.scores)"
        )
    scored = Scored(what.graph, keep=what.edges) if isinstance(what, Circuit) else what
    made, path = _format(path), Path(path)
    if path.is_dir() or not path.parent.is_dir():
        wrong = f"{str(path)!r} is a folder" if path.is_dir() else f"there is no folder {str(path.parent)!r}"
        raise NetworkError(f"{wrong}; give the name of a file in a folder that is there")
    made.write(scored, path)


def read_circuit(graph: "nx.DiGraph[str]", path: str | Path) -> Scored:
    """Read what `write_circuit` or another tool wrote of a graph's edges. Nothing in the file is run.

    A file of scores, and one of the MIB circuit track, must name every edge of the graph and no other. Where a file of that track
    has scores and keeps every edge, as scores alone are written there, no circuit is read: `keep` is None.

    Raises:
        NetworkError: for files that are not of their format or of another graph, naming what differs.
    """
    stream_of(graph)
    made, path = _format(path), Path(path)
    if not path.is_file():
        raise NetworkError(f"there is no file {str(path)!r}")
    return made.read(graph, path)


def _write_list(scored: Scored, path: Path) -> None:
    if scored.scores is None:
        lines = [named(edge) for edge in scored.edges if edge in set(scored.keep or ())]
    elif scored.keep is None:
        lines = [f"{named(edge)}\t{x!r}" for edge, x in zip(scored.edges, scored.scores.tolist(), strict=True)]
    else:
        raise NetworkError("a list of edges holds all scores or the edges of a circuit, not both; write .json or .pt")
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _read_list(graph: "nx.DiGraph[str]", path: Path) -> Scored:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise NetworkError(f"the file {path.name} is not text in UTF-8: {error}") from error
    found: dict[str, float | None] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if line:
            name, *rest = line.split("\t" if "\t" in line else None)
            if name in found:
                problems.append(f"line {number} names {name} again")
            found[name] = _score(name, rest, f"line {number} must be 'u->v', or that and a number; it is {line!r}", problems)
    bare = [name for name, x in found.items() if x is None]
    if bare and len(bare) < len(found):
        problems.append(f"{bare[0]} has no score and others have one")
    check(problems[:MANY], NetworkError, f"the file {path.name}")
    if bare:
        return Scored(graph, keep=edges_of(graph, bare))
    names = [named(edge) for edge in residual_edges(graph)]
    check_names(found, names, "edge", f"the file {path.name}")
    return Scored(graph, torch.tensor([found[name] for name in names], dtype=torch.float64))


def _score(name: str, rest: list[str], wrong: str, problems: list[str]) -> float | None:
    """The score that is written after an edge; None where there is none."""
    try:
        score = float(*rest) if rest else None
    except (ValueError, TypeError):
        score, name = None, ""
    if "->" not in name:
        problems.append(wrong)
    return score


@dataclass(frozen=True)
class _Format:
    write: Callable[[Scored, Path], None]
    read: Callable[[Any, Path], Scored]


_FORMATS = {
    ".json": _Format(mib.write_json, mib.read_json),
    ".pt": _Format(mib.write_pt, mib.read_pt),
    ".txt": _Format(_write_list, _read_list),
}


def _format(path: str | Path) -> _Format:
    if not isinstance(path, (str, Path)):
        raise NetworkError(f"the path of a file of a circuit is a text or a Path; given {path!r}")
    ending = Path(path).suffix
    if ending not in _FORMATS:
        raise NetworkError(f"{unknown('format of circuits', ending, _FORMATS)}; the file is {str(path)!r}")
    return _FORMATS[ending]
