"""Joining: all that a program takes as one input."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from commute.proofs.programs.program import Affine, Elementwise, Program, Step
from commute.proofs.programs.pruning import matrix, places_of


def joined(program: Program) -> Program:
    """The same program with all that it takes as one input, one after another.

    A step of several inputs becomes one of fewer, so that coordinates of a box are bounded and divided alike, whatever they are of.
    """
    width, first = sum(program.inputs), len(program.inputs)
    starts = np.cumsum([0, *program.inputs]).tolist()
    steps: list[Step] = []
    new: dict[int, int] = {}

    def of(v: int) -> int:
        """The new place of a value; an input is taken out of the one that there is."""
        if v not in new:
            size = program.inputs[v]
            rows, ones = torch.arange(size), torch.ones(size, dtype=torch.float64)
            steps.append(Affine((0,), (matrix(rows, rows + starts[v], ones, (size, width)),), torch.zeros_like(ones), 0))
            new[v] = len(steps)
        return new[v]

    for place, step in enumerate(program.steps, first):
        if isinstance(step, Affine):
            parts = list(zip(step.inputs, step.weights, strict=True))
            own = [(_spread(w, starts[v], width)) for v, w in parts if v < first]
            rest = [(new[v], w) for v, w in parts if v >= first]
            made = ([(0, torch.stack(own).sum(0))] if own else []) + rest
            steps.append(Affine(tuple(v for v, _ in made), tuple(w for _, w in made), step.bias, step.roundings))
        elif isinstance(step, Elementwise):
            steps.append(replace(step, input=of(step.input)))
        else:
            one, other = map(of, step.inputs)
            steps.append(replace(step, inputs=(one, other)))
        new[place] = len(steps)
    return Program((width,), tuple(steps), program.unit, program.tiny)


def _spread(weights: Tensor, start: int, width: int) -> Tensor:
    """A matrix of more columns, with these from one on."""
    rows, columns, numbers = places_of(weights)
    made = torch.zeros(weights.shape[0], width, dtype=torch.float64)
    made[rows, columns + start] = numbers
    return made
