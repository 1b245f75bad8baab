"""Algorithms that a network nearly runs: with a variable changed in few settings, split in finer values, or hardly ever true."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

import commute as cm
from commute.causal.batches import Batch, Column
from commute.causal.mechanisms import Coded
from commute.models.organisms.cases import sizes_of, tables_of

RARE = "rare"
_LARGEST = 2**16  # entries of a table

Tables = dict[str, tuple[tuple[str, ...], Column]]


def finer(model: cm.CausalModel, variable: str, by: str) -> cm.CausalModel:
    """Each value of a variable split in two by an input; what reads the variable does not see which half it is."""
    sizes, tables = sizes_of(model), dict(tables_of(model))
    parents, codes = tables[variable]
    at = _grid((*parents, *({by} - {*parents})), sizes)
    split = 2 * codes[tuple(at[p] for p in parents)] + at[by] % 2
    for child, (read, table) in tables.items():
        if variable in read:
            tables[child] = read, np.repeat(table, 2, axis=read.index(variable))
    tables[variable] = tuple(at), split
    halves = [f"{value}{half}" for value in _domain(model, variable) for half in "ab"]
    return _made(f"{model.name}, {variable} split by {by}", model, tables, {variable: cm.Finite(halves)})


def almost(model: cm.CausalModel, variable: str, generator: np.random.Generator) -> cm.CausalModel | None:
    """A variable with another value in one setting of its parents, which what reads it puts right; None if tables get too large.

    So the answers to all inputs stay, and only interchanges with that setting tell the two apart.
    """
    sizes, tables = sizes_of(model), dict(tables_of(model))
    parents, codes = tables[variable]
    place = tuple(int(generator.integers(n)) for n in codes.shape)
    right = int(codes[place])
    wrong = (right + 1 + int(generator.integers(sizes[variable] - 1))) % sizes[variable]
    for child, (read, table) in tables.items():
        if variable not in read:
            continue
        united = tuple(dict.fromkeys([*read, *parents]))
        if prod(sizes[p] for p in united) > _LARGEST:
            return None
        at = _grid(united, sizes)
        here = np.all([at[p] == k for p, k in zip(parents, place, strict=True)], axis=0)
        put_right = np.where(here & (at[variable] == wrong), right, at[variable])
        tables[child] = united, table[tuple(put_right if p == variable else at[p] for p in read)]
    changed = codes.copy()
    changed[place] = wrong
    tables[variable] = parents, changed
    return _made(f"{model.name}, {variable} almost", model, tables)


def flipped(model: cm.CausalModel, variable: str, generator: np.random.Generator) -> cm.CausalModel:
    """A variable with another value in one setting of its parents, and so other answers to a few inputs."""
    sizes, tables = sizes_of(model), dict(tables_of(model))
    parents, codes = tables[variable]
    changed = codes.copy()
    place = tuple(int(generator.integers(n)) for n in codes.shape)
    changed[place] = (changed[place] + 1 + int(generator.integers(sizes[variable] - 1))) % sizes[variable]
    tables[variable] = parents, changed
    return _made(f"{model.name}, {variable} otherwise once", model, tables)


def with_rare(model: cm.CausalModel, generator: np.random.Generator) -> cm.CausalModel:
    """One more variable, true of a single input only, which changes the answer there."""
    sizes, tables = sizes_of(model), dict(tables_of(model))
    once = np.zeros([sizes[v] for v in model.inputs], dtype=np.int64)
    once[tuple(int(generator.integers(n)) for n in once.shape)] = 1
    (output,) = model.outputs
    parents, codes = tables[output]
    tables[RARE] = model.inputs, once
    tables[output] = (*parents, RARE), np.stack([codes, (codes + 1) % sizes[output]], -1)
    order = [v for v in tables if v != output] + [output]
    return _made(f"{model.name}, with a rare event", model, {v: tables[v] for v in order}, {RARE: cm.Bool})


def _made(name: str, model: cm.CausalModel, tables: Tables, domains: Mapping[str, cm.Finite] | None = None) -> cm.CausalModel:
    known = {**{v: _domain(model, v) for v in model.graph}, **(domains or {})}
    mechanisms = {v: Coded({p: known[p] for p in parents}, codes, known[v]) for v, (parents, codes) in tables.items()}
    inputs = {v: known[v] for v in model.inputs}
    return cm.CausalModel(name, inputs, mechanisms, model.outputs, {v: known[v] for v in tables})


def _domain(model: cm.CausalModel, variable: str) -> cm.Finite:
    domain = model.domain(variable)
    if not isinstance(domain, cm.Finite):
        raise TypeError(f"{variable!r} of {model.name!r} is not finite")
    return domain


def _grid(parents: Sequence[str], sizes: Mapping[str, int]) -> Batch:
    """The code of each parent at every entry of a table over them."""
    return dict(zip(parents, np.indices([sizes[p] for p in parents]), strict=True))
