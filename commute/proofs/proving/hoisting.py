"""Hoisting: affine steps that a joint program begins with are made for each class instead of for each pair."""

import torch

from commute.proofs.programs.program import Affine, Elementwise, Product, Program, Step
from commute.proofs.programs.split import Split, split


def hoisted(joint: Program, sides: int) -> Split:
    """A joint program of the sum of so many vectors, as programs of each vector and one that begins with no affine step."""
    width = joint.inputs[0]
    whole = torch.eye(width, dtype=torch.float64)
    total = Affine(tuple(range(sides)), (whole,) * sides, torch.zeros(width, dtype=torch.float64), 0)
    steps = tuple(_later(step, sides) for step in joint.steps)
    return split(Program((width,) * sides, (total, *steps), joint.unit, joint.tiny), narrow=False)


def _later(step: Step, by: int) -> Step:
    """A step on values that come so many places later."""
    if isinstance(step, Affine):
        return Affine(tuple(v + by for v in step.inputs), step.weights, step.bias, step.roundings)
    if isinstance(step, Elementwise):
        return Elementwise(step.input + by, step.function)
    return Product((step.inputs[0] + by, step.inputs[1] + by))
