"""Evaluating programs: in floating point, exactly, and in balls."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from commute.proofs.programs.exactly import ball, decided, exact, exact_rows, fractions, rational
from commute.proofs.programs.program import Affine, Elementwise, Function, Program

__all__ = ["IN_FLOATS", "ball", "decided", "exact", "exact_rows", "fractions", "rational", "values"]

IN_FLOATS: Mapping[Function, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "abs": torch.abs,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": silu,
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
}


def values(program: Program, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Every value of a program for rows of inputs, [rows, width] of float64, as rounded by it.

    Args:
        program: the program.
        inputs: of each of its inputs [rows, width].
    """
    made = [x.double() for x in inputs]
    for step in program.steps:
        if isinstance(step, Affine):
            parts = [(w @ made[v].T).T for v, w in zip(step.inputs, step.weights, strict=True)]
            made.append(sum(parts, step.bias.expand(len(made[0]), -1)))
        elif isinstance(step, Elementwise):
            made.append(IN_FLOATS[step.function](made[step.input]))
        else:
            one, other = step.inputs
            made.append(made[one] * made[other])
    return made
