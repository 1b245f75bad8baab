"""Pruning: a program without the numbers that its output does not depend on."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from commute.proofs.programs.program import Affine, Elementwise, Product, Program, Step

_DENSE = 4  # a matrix is kept dense from one number in so many that is not 0


def matrix(rows: Tensor, columns: Tensor, weights: Tensor, shape: tuple[int, int]) -> Tensor:
    """A matrix of float64 from its numbers, each place at most once; sparse (COO) where most of it is 0."""
    places = torch.stack([rows, columns])
    made = torch.sparse_coo_tensor(places, weights, shape, dtype=torch.float64, check_invariants=True).coalesce()
    return made.to_dense() if _DENSE * made.values().count_nonzero() >= shape[0] * shape[1] else made


def places_of(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows, the columns and the weights of a matrix that are not 0."""
    sparse = (weights if weights.is_sparse else weights.to_sparse()).coalesce()
    (rows, columns), numbers = sparse.indices(), sparse.values()
    there = numbers != 0
    return rows[there], columns[there], numbers[there]


def no_weights(rows: int, columns: int) -> Tensor:
    """The matrix that is 0 everywhere."""
    none = torch.zeros(0, dtype=torch.int64)
    return matrix(none, none, none.double(), (rows, columns))


def pruned(program: Program) -> Program:
    """The same function, with the numbers alone that its output depends on; the inputs stay as they are."""
    used = _used(program)
    kept = [torch.arange(width) for width in program.inputs]  # of each new value, which of the old one's numbers it holds
    new = {v: v for v in range(len(kept))}
    steps: list[Step] = []

    def add(step: Step, places: Tensor) -> int:
        steps.append(step)
        kept.append(places)
        return len(kept) - 1

    def holding(value: int, places: Tensor) -> int:
        """A new value with just these numbers of an old one."""
        held = kept[new[value]]
        if torch.equal(held, places):
            return new[value]
        rows, columns = torch.arange(len(places)), torch.searchsorted(held, places)
        moves = matrix(rows, columns, torch.ones(len(places), dtype=torch.float64), (len(places), len(held)))
        return add(Affine((new[value],), (moves,), torch.zeros(len(places), dtype=torch.float64), 0), places)

    for place, step in enumerate(program.steps, len(program.inputs)):
        places = used[place].nonzero()[:, 0]
        if not len(places):
            continue
        if isinstance(step, Affine):
            new[place] = add(_narrowed(step, places, [kept[new[v]] if v in new else None for v in step.inputs], new), places)
        elif isinstance(step, Elementwise):
            new[place] = add(Elementwise(new[step.input], step.function), kept[new[step.input]])
        else:
            one, other = step.inputs
            if torch.equal(kept[new[one]], kept[new[other]]):
                places = kept[new[one]]
            new[place] = add(Product((holding(one, places), holding(other, places))), places)
    return Program(program.inputs, tuple(steps), program.unit, program.tiny)


def _used(program: Program) -> list[Tensor]:
    """Which numbers of each value the output depends on."""
    used = [torch.zeros(width, dtype=torch.bool) for width in program.widths]
    used[-1][:] = True
    for place, step in reversed(list(enumerate(program.steps, len(program.inputs)))):
        if isinstance(step, Affine):
            for v, weights in zip(step.inputs, step.weights, strict=True):
                rows, columns, _ = places_of(weights)
                used[v][columns[used[place][rows]]] = True
        elif isinstance(step, Elementwise):
            used[step.input] |= used[place]
        else:
            for v in step.inputs:
                used[v] |= used[place]
    return used


def _narrowed(step: Affine, places: Tensor, held: Sequence[Tensor | None], new: Mapping[int, int]) -> Affine:
    """Some rows of a step, for values that hold some of their numbers."""
    parts: list[tuple[int, Tensor]] = []
    for v, weights, columns in zip(step.inputs, step.weights, held, strict=True):
        if columns is not None:
            chosen = weights.index_select(0, places).index_select(1, columns)
            parts += [(new[v], matrix(*places_of(chosen), (len(places), len(columns))))] if len(places_of(chosen)[0]) else []
    if not parts:
        parts = [(new[v], no_weights(len(places), len(c))) for v, c in zip(step.inputs, held, strict=True) if c is not None][:1]
    return Affine(tuple(v for v, _ in parts), tuple(w for _, w in parts), step.bias[places], step.roundings)
