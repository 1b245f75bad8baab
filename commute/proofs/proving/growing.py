"""A proof under way as a tree: for its certificate, and to go on with it later."""

import json
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from commute.causal.batches import Column
from commute.errors import ClaimError
from commute.proofs.proving.cells import Cell, pairs_of, roots
from commute.proofs.proving.hashing import digest_of_statement
from commute.proofs.proving.outcome import Work
from commute.proofs.proving.refinement import Entry, Growth
from commute.proofs.proving.statement import Side, Statement
from commute.proofs.proving.tree import SPLIT, Members, Tree
from commute.runs.files import write_atomically


def tree_of(growth: Growth) -> Tree:
    """Every cell so far, its sides as sets of inputs."""
    by_class = _tree(growth)
    sides = zip(growth.statement.sides, by_class.nodes, strict=True)
    return Tree(tuple(_inputs(side, nodes) for side, nodes in sides), by_class.cells, by_class.counts)


def _tree(growth: Growth) -> Tree:
    """Every cell so far, its sides as sets of classes; equal sets once."""
    entries = [growth.entries[path] for path in sorted(growth.entries)]
    nodes, cells = [], [np.array([e.kind for e in entries])]
    for j in range(len(growth.statement.sides)):
        numbers: dict[bytes, int] = {}
        cells.append(np.array([numbers.setdefault(e.cell.sides[j].tobytes(), len(numbers)) for e in entries]))
        nodes.append(Members.of([np.frombuffer(x, dtype=np.int64) for x in numbers]))
    counts = np.array([e.counts for e in entries], dtype=np.int64)
    return Tree(tuple(nodes), np.stack(cells, 1).astype(np.int32), counts)


def _inputs(side: Side, nodes: Members) -> Members:
    """Sets of inputs in place of sets of classes."""
    order = np.argsort(side.member, kind="stable")
    starts = np.cumsum(side.count) - side.count
    return Members.of([np.sort(order[_stretches(starts[x], side.count[x])]) for x in map(nodes.__getitem__, range(len(nodes)))])


def _stretches(starts: Column, lengths: Column) -> Column:
    """The places of stretches one after the other."""
    ends = np.cumsum(lengths)
    places: Column = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return places


def keep(growth: Growth, path: Path) -> None:
    """Write a proof under way to a file, whole or not at all."""
    tree = _tree(growth)
    tensors = {"cells": tree.cells, "counts": tree.counts}
    for j, nodes in enumerate(tree.nodes):
        tensors |= {f"members.{j}": nodes.members, f"offsets.{j}": nodes.offsets}
    entries = [growth.entries[p] for p in sorted(growth.entries)]
    found = {i: [e.first, [[*k, n] for k, n in e.kinds.items()]] for i, e in enumerate(entries) if e.first is not None}
    work = [[w.bounds, w.evaluated, w.right, w.wrong] for w in growth.work]
    told = {"about": digest_of_statement(growth.statement), "work": json.dumps(work), "found": json.dumps(found)}
    write_atomically(path, save({k: torch.from_numpy(np.array(x)) for k, x in tensors.items()} | _as_tensors(told)))


def kept(statement: Statement, path: Path) -> Growth | None:
    """The proof that `keep` wrote; None where there is none.

    Raises:
        ClaimError: when the file is not as it was written, or about another statement.
    """
    if not path.is_file():
        return None
    try:
        found = {k: x.numpy() for k, x in load(path.read_bytes()).items()}
        if found["about"].tobytes().decode() != digest_of_statement(statement):
            raise ClaimError(f"{path} is about another statement; remove it, or give another folder as runs=")
        nodes = tuple(Members(found[f"members.{j}"], found[f"offsets.{j}"]) for j in range(len(statement.sides)))
        growth = Growth(statement, {}, [Work(*w) for w in json.loads(found["work"].tobytes())])
        wrong = json.loads(found["found"].tobytes())
        _regrow(growth, Tree(nodes, found["cells"], found["counts"]), wrong)
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration, SafetensorError) as error:
        raise ClaimError(f"{path} is not as written ({type(error).__name__}: {error}); remove it to begin anew") from error
    return growth


def _as_tensors(told: dict[str, str]) -> dict[str, torch.Tensor]:
    return {k: torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8) for k, text in told.items()}


def _regrow(growth: Growth, tree: Tree, found: dict[str, list[object]]) -> None:
    """Put the cells of a tree at their paths, which its order tells."""
    sides = growth.statement.sides
    sets = [[nodes[i].astype(np.int64) for i in range(len(nodes))] for nodes in tree.nodes]
    place = count()

    def grow(path: tuple[int, ...], choice: int) -> None:
        waiting = [path]
        while waiting:
            at, i = waiting.pop(), next(place)
            kind, *own = tree.cells[i].tolist()
            classes = tuple(s[n] for s, n in zip(sets, own, strict=True))
            first, kinds = found.get(str(i), (None, []))
            right, wrong, within = tree.counts[i].tolist()
            cell = Cell(at, classes, choice, pairs_of(classes, sides))
            known = Counter({(a, b): n for a, b, n in kinds})  # type: ignore[attr-defined]  # as written
            growth.entries[at] = Entry(kind, cell, (right, wrong, within), first and tuple(first), known)  # type: ignore[arg-type]
            if kind >= SPLIT:
                waiting += [(*at, 1), (*at, 0)]

    for root in roots(growth.statement):
        grow(root.path, root.choice)
    leaves = sum(e.cell.pairs for e in growth.entries.values() if e.kind < SPLIT)
    if (len(growth.entries), leaves) != (len(tree.cells), growth.statement.total):
        used = f"{len(growth.entries):,} of {len(tree.cells):,} cells"
        raise ValueError(f"{used} make a tree, of {leaves:,} pairs in place of {growth.statement.total:,}")
