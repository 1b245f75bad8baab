"""Writing what a certificate is about as JSON values and tensors: the algorithm's tables, programs and trees."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.causal.batches import Batch, plain
from commute.causal.domains import Finite
from commute.causal.model import CausalModel
from commute.errors import ModelError, check
from commute.proofs.programs.program import Affine, Elementwise, Program, Step
from commute.proofs.proving.tree import BoxTree, Members, Tree

_ROWS = 2**22  # of a mechanism's table


@dataclass(frozen=True, eq=False)
class Kept:
    """Tensors by name, equal ones once."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, x: Tensor) -> str:
        """Keep a tensor and name it."""
        flat = x.detach().cpu().contiguous()
        key = sha256(f"{flat.dtype} {list(flat.shape)}".encode() + flat.numpy().tobytes()).hexdigest()
        if key not in self._names:
            self._names[key] = str(len(self._names))
            self.tensors[self._names[key]] = flat.clone()
        return self._names[key]


def label(x: Any) -> Any:
    """A label in JSON; one that JSON lacks becomes text."""
    x = plain(x)
    return x if x is None or isinstance(x, (bool, int, str)) or (isinstance(x, float) and isfinite(x)) else repr(x)


def inputs(model: CausalModel, variables: Iterable[str], near: Batch | None, kept: Kept) -> dict[str, Any]:
    """The inputs that a certificate is about: the algorithm's tables, from which all follow, or given settings of them.

    Raises:
        ModelError: when the algorithm has no finite tables, or settings are not told apart by what JSON has.
    """
    if near is not None:
        return {"algorithm": None, "settings": settings(near)}
    return {"algorithm": algorithm(model, dict.fromkeys(variables), kept), "settings": None}


def algorithm(model: CausalModel, variables: Iterable[str], kept: Kept) -> dict[str, Any]:
    """The algorithm as far as its output and some variables need it: each variable's labels, parents and table of codes.

    Raises:
        ModelError: listing variables without a finite domain, or with too many combinations of parents' values for a table.
    """
    (output,) = model.outputs
    needed = model.needed([output, *variables], model.inputs)
    domains = {v: model.known_domain(v) for v in (*model.inputs, *(v for v in model.equations if v in needed))}
    problems = [f"the domain of {v!r} must be Finite; it is {d}" for v, d in domains.items() if not isinstance(d, Finite)]
    check(problems, ModelError, f"a certificate about {model.name!r}")
    written = {v: [label(x) for x in d] for v, d in domains.items() if isinstance(d, Finite)}
    shapes = {v: tuple(len(written[p]) for p in model.equations[v].parents) for v in written if v in model.equations}
    problems = [
        f"{v!r} has {prod(s):,} rows in its table; at most {_ROWS:,} can be kept" for v, s in shapes.items() if prod(s) > _ROWS
    ]
    problems += _alike({v: list(d) for v, d in domains.items() if isinstance(d, Finite)})
    check(problems, ModelError, f"a certificate about {model.name!r}")
    return {
        "inputs": list(model.inputs),
        "output": output,
        "variables": [
            {
                "name": v,
                "labels": own,
                "parents": list(model.equations[v].parents) if v in shapes else [],
                "table": kept.add(_table(model, v, shapes[v])) if v in shapes else None,
            }
            for v, own in written.items()
        ],
    }


def settings(columns: Batch) -> dict[str, list[Any]]:
    """Settings of inputs: of each input the label of every row.

    Raises:
        ModelError: listing inputs of which different labels become one text.
    """
    own = {v: x.tolist() for v, x in columns.items()}
    check(_alike(own), ModelError, "a certificate about given settings")
    return {v: [label(x) for x in labels] for v, labels in own.items()}


def _alike(labels: Mapping[str, list[Any]]) -> list[str]:
    """Variables of which different labels become one text, a sentence each."""
    written = {v: [label(x) for x in own] for v, own in labels.items()}
    alike = [v for v, own in labels.items() if len({repr(x) for x in written[v]}) < len(set(own))]
    return [f"labels of {v!r} have one text: {written[v]}" for v in alike]


def _table(model: CausalModel, variable: str, shape: tuple[int, ...]) -> Tensor:
    equation = model.equations[variable]
    grid = np.unravel_index(np.arange(prod(shape)), shape) if shape else ()
    columns = {
        p: x.astype(d.code_type) for p, x in zip(equation.parents, grid, strict=True) if isinstance(d := model.domain(p), Finite)
    }
    return torch.from_numpy(np.array(equation.evaluate(columns, prod(shape))).astype(np.int32).reshape(shape))


def program(made: Program, kept: Kept) -> dict[str, Any]:
    """A program's steps; its numbers are kept exactly."""
    return {"inputs": list(made.inputs), "steps": [_step(step, kept) for step in made.steps]}


def _step(step: Step, kept: Kept) -> dict[str, Any]:
    if isinstance(step, Affine):
        return {
            "kind": "affine",
            "inputs": list(step.inputs),
            "weights": [_matrix(w.double(), kept) for w in step.weights],
            "bias": kept.add(step.bias.double()),
            "roundings": step.roundings,
        }
    if isinstance(step, Elementwise):
        return {"kind": step.function, "inputs": [step.input]}
    return {"kind": "product", "inputs": list(step.inputs)}


def _matrix(weights: Tensor, kept: Kept) -> Mapping[str, str]:
    if not weights.is_sparse:
        return {"values": kept.add(weights)}
    x = weights.coalesce()
    return {"index": kept.add(x.indices()), "values": kept.add(x.values())}


def tree(made: Tree | BoxTree, kept: Kept) -> dict[str, Any]:
    """A tree's cells, and of a finite statement what they are made of."""

    def named(x: Any, kind: Any) -> str:
        return kept.add(torch.from_numpy(np.ascontiguousarray(x, dtype=kind)))

    def of(members: Members) -> dict[str, str]:
        return {"members": named(members.members, np.int32), "offsets": named(members.offsets, np.int64)}

    found: dict[str, Any] = {"cells": named(made.cells, np.int32)}
    if isinstance(made, Tree):
        found |= {"counts": named(made.counts, np.int64), "nodes": [of(n) for n in made.nodes]}
    return found
