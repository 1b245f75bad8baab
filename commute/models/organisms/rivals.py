"""Rivals: other algorithms for the same task, which no test of answers to inputs alone tells apart."""

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from commute.causal.algebra import remade
from commute.causal.batches import Batch, Column
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.causal.mechanisms import Coded
from commute.causal.model import CausalModel
from commute.models.organisms.cases import COMBINATIONS, Tables, sizes_of, tables_of
from commute.runs.seeds import stream

_PAIRS = 2**16  # pairs of inputs on which algorithms are compared: all of them, or so many drawn

Sizes = Mapping[str, int]
Parents = tuple[str, ...]


def rivals(model: CausalModel) -> list[CausalModel]:
    """Algorithms with the inputs, outputs and variables of a finite one that answer every input alike.

    Each internal variable is, in one rival, stored shifted by an input, which what reads it takes off again; in another, nothing
    reads it, and what did reads its parents instead. Left out are those that no interchange of the variable tells from the model,
    on all pairs of inputs, or on 65,536 drawn where there are more, and those that would need a table of over 2**20 entries.

    Raises:
        NetworkError: for domains that are not finite, and tables that are too large.
    """
    sizes, tables = sizes_of(model), tables_of(model)
    found = []
    for variable in model.internal:
        shifts = (_shifted(variable, shift, tables, sizes) for shift in model.inputs)
        named = ((f"{variable} shifted by {shift}", made) for shift, made in zip(model.inputs, shifts, strict=True))
        found += _first(model, variable, tables, named)
        found += _first(model, variable, tables, iter([(f"{variable} unread", _unread(variable, tables, sizes))]))
    return found


def _first(model: CausalModel, variable: str, tables: Tables, changes: Iterator[tuple[str, Tables | None]]) -> list[CausalModel]:
    """The model with the first of several changes that an interchange of the variable shows."""
    domains = {v: d for v in model.graph if isinstance(d := model.domain(v), Finite)}
    for name, changed in changes:
        if changed is None:
            continue
        mechanisms = {v: Coded({p: domains[p] for p in ps}, x, domains[v]) for v, (ps, x) in {**tables, **changed}.items()}
        rival = remade(model, mechanisms, name=f"{model.name}, {name}")
        if _differ(model, rival, variable):
            return [rival]
    return []


def _shifted(variable: str, shift: str, tables: Tables, sizes: Sizes) -> Tables | None:
    """The tables that change when a variable plus an input, modulo the number of its values, is stored; None if too large."""
    size = sizes[variable]
    read = {v: _united(ps, (shift,)) for v, (ps, _) in tables.items() if v == variable or variable in ps}
    if _large(read, sizes):
        return None
    changed: Tables = {}
    for name, parents in read.items():
        at = _grid(parents, sizes)
        if name == variable:
            codes = (_entries(tables[name], at) + at[shift]) % size
        else:
            codes = _entries(tables[name], {**at, variable: (at[variable] - at[shift]) % size})
        changed[name] = parents, codes
    return changed


def _unread(variable: str, tables: Tables, sizes: Sizes) -> Tables | None:
    """The tables that change when what reads a variable reads the variable's parents instead; None if too large."""
    own = tables[variable][0]
    read = {v: _united([p for p in ps if p != variable], own) for v, (ps, _) in tables.items() if variable in ps}
    if _large(read, sizes):
        return None
    changed: Tables = {}
    for name, parents in read.items():
        at = _grid(parents, sizes)
        changed[name] = parents, _entries(tables[name], {**at, variable: _entries(tables[variable], at)})
    return changed


def _united(parents: Parents | list[str], more: Parents) -> Parents:
    return tuple(dict.fromkeys([*parents, *more]))


def _large(read: Mapping[str, Parents], sizes: Sizes) -> bool:
    return any(prod(sizes[p] for p in parents) > COMBINATIONS for parents in read.values())


def _grid(parents: Parents, sizes: Sizes) -> Batch:
    """The code of each parent at every entry of a table over them."""
    return dict(zip(parents, np.indices([sizes[p] for p in parents]), strict=True))


def _entries(table: tuple[Parents, Column], at: Batch) -> Column:
    """What a table holds for codes of its parents."""
    parents, codes = table
    return np.asarray(codes[tuple(at[p] for p in parents)])


def _differ(model: CausalModel, rival: CausalModel, variable: str) -> bool:
    """Whether an interchange of the variable gives other outputs in the rival."""
    inputs = Inputs(model)
    rows = prod(len(d) for v in model.inputs if isinstance(d := model.domain(v), Finite)) ** 2
    if rows <= _PAIRS:
        base, sources = inputs.product([variable], 0, rows)
        source = sources[variable]
    else:
        generator = stream(0, "organisms", "rivals")
        rows = _PAIRS
        base, source = inputs.sample(generator, rows), inputs.sample(generator, rows)
    one, other = (m.evaluate(base, {variable: m.evaluate(source, {}, rows)[variable]}, rows) for m in (model, rival))
    return any(bool((one[v] != other[v]).any()) for v in model.outputs)
