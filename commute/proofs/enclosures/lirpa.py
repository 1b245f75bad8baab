"""Bounds of the same programs by auto_LiRPA, to compare with. Its float arithmetic does not round outward: they prove nothing."""

from functools import partial
from importlib import import_module

import torch
from torch import Tensor, nn

from commute.errors import NetworkError
from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.programs.evaluate import IN_FLOATS
from commute.proofs.programs.program import Affine, Elementwise, Program


class Module(nn.Module):
    """A program as a torch module: takes each input [batch, width], gives the output, in the type of its inputs."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the steps."""
        values = list(inputs)
        for step in self.program.steps:
            if isinstance(step, Affine):
                parts = [values[v] @ w.to_dense().to(inputs[0]).t() for v, w in zip(step.inputs, step.weights, strict=True)]
                values.append(sum(parts[1:], parts[0]) + step.bias.to(inputs[0]))
            elif isinstance(step, Elementwise):
                values.append(IN_FLOATS[step.function](values[step.input]))
            else:
                values.append(values[step.inputs[0]] * values[step.inputs[1]])
        return values[-1]


def bounds(program: Program, domains: list[Box], rows: Tensor, *, method: str = "CROWN") -> Interval:
    """Bounds of linear functions of a program's output in each cell, by auto_LiRPA in float64.

    Args:
        program: to bound.
        domains: boxes, one for each input.
        rows: the functions, [rows, width].
        method: what `BoundedModule.compute_bounds` calls one.

    Raises:
        NetworkError: when auto_LiRPA cannot be imported.
    """
    try:
        lirpa = import_module("auto_LiRPA")
        bounded = lirpa.BoundedModule(Module(program), tuple(d.center for d in domains))
        ball = partial(lirpa.PerturbationLpNorm, norm=torch.inf)
    except (ImportError, AttributeError) as error:
        raise NetworkError(
            "comparing with auto_LiRPA needs a version of it that works with this torch: see "
            f"https://github.com/Verified-Intelligence/auto_LiRPA for how to install one ({error})"
        ) from error
    hulls = [d.hull() for d in domains]
    inputs = [lirpa.BoundedTensor(d.center, ball(x_L=h.lower, x_U=h.upper)) for d, h in zip(domains, hulls, strict=True)]
    per_cell = rows.double().expand(len(domains[0].center), *rows.shape)
    lower, upper = bounded.compute_bounds(x=tuple(inputs), C=per_cell, method=method)
    return Interval(lower, upper)
