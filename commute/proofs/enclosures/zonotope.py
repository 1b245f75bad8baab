"""Zonotope bounds of every value of a program, forward (affine arithmetic, as in 1804.10829 and by Stolfi and de Figueiredo).

Every value is center + Σ εⱼ·generatorsⱼ + r with the same symbols εⱼ throughout, so that what values have in common cancels.
Affine steps are exact up to rounding, which goes to the radius; every other step adds a symbol for each number that it makes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from commute.proofs.enclosures.domains import Domain, Zonotope
from commute.proofs.enclosures.interval import Image, stepped
from commute.proofs.enclosures.linear import absolute, applied
from commute.proofs.enclosures.lines import parallel
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.rounding import SLACK, TINY, Arithmetic, gamma
from commute.proofs.programs.program import Affine, Elementwise, Product, Program


@torch.no_grad()
def zonotopes(program: Program, domains: Sequence[Domain], arithmetic: Arithmetic) -> list[Zonotope]:
    """A zonotope that holds each value of a program, inputs first, for each cell.

    Args:
        program: to bound.
        domains: what each input ranges over.
        arithmetic: whose evaluations are bounded beside the exact one.
    """
    found: list[Zonotope] = []
    symbols = 0
    for domain in domains:
        found.append(_apart(domain.zonotope(), symbols))
        symbols = found[-1].generators.shape[1]
    ranges = [d.hull() for d in domains]
    for step in program.steps:
        made = stepped(step, ranges, arithmetic)
        symbols = max(z.generators.shape[1] for z in found)
        found.append(_affine(step, found, made) if isinstance(step, Affine) else _curved(step, found, ranges, made, symbols))
        ranges.append(made.interval.within(found[-1].hull()))
    return found


def _apart(z: Zonotope, symbols: int) -> Zonotope:
    """With symbols of its own, after those of others: also for its radius, so that what it spreads to can cancel."""
    generators = torch.cat([_none(z.center, symbols), z.generators, torch.diag_embed(z.radius)], 1)
    return Zonotope(z.center, generators, torch.zeros_like(z.radius))


def _none(like: Tensor, count: int) -> Tensor:
    return like.new_zeros(len(like), count, like.shape[1])


def _affine(step: Affine, values: Sequence[Zonotope], made: Image) -> Zonotope:
    count = max(values[v].generators.shape[1] for v in step.inputs)
    own = gamma(2 * sum(w.shape[1] for w in step.weights) + 2 * count + 16)
    center, size, radius = step.bias, step.bias.abs(), torch.zeros_like(step.bias)
    generators = _none(made.error, count)
    for v, weights in zip(step.inputs, step.weights, strict=True):
        z = values[v]
        sizes = absolute(weights)
        center = center + applied(weights, z.center)
        radius = radius + applied(sizes, z.radius)
        size = size + applied(sizes, _size(z))
        generators = generators + _padded(applied(weights, z.generators), count)
    return _rounded(center, generators, (radius + made.error) * (1 + own) + size * own + TINY)


def _curved(
    step: Elementwise | Product, values: Sequence[Zonotope], ranges: Sequence[Interval], made: Image, symbols: int
) -> Zonotope:
    """Slopes times what the step takes, an offset, and a new symbol for what lies between the lines of these slopes."""
    if isinstance(step, Elementwise):
        lines = parallel(step.function, ranges[step.input])
        lower, upper = lines.lower_offset, lines.upper_offset
        taken = [(values[step.input], lines.upper_slope)]
    else:
        (one, one_radius), (other, other_radius) = (ranges[v].ball() for v in step.inputs)
        rest = one_radius * other_radius * (1 + SLACK)
        lower, upper = -one * other - rest, rest - one * other
        taken = [(values[step.inputs[0]], other), (values[step.inputs[1]], one)]
    offset = (lower / 2 + upper / 2).nan_to_num(0.0, 0.0, 0.0)
    between = torch.maximum(upper - offset, offset - lower)
    center, size, radius = offset, offset.abs() + between, torch.zeros_like(offset)
    generators = _none(offset, symbols)
    for z, slope in taken:
        center = center + slope * z.center
        size = size + slope.abs() * _size(z)
        radius = radius + slope.abs() * z.radius
        generators = generators + _padded(slope[:, None] * z.generators, symbols)
    radius = (radius + made.error + size * SLACK) * (1 + SLACK) + TINY
    return _rounded(center, torch.cat([generators, torch.diag_embed(between)], 1), radius)


def _padded(generators: Tensor, count: int) -> Tensor:
    """With zeros for symbols that came later."""
    return torch.cat([generators, _none(generators.sum(1), count - generators.shape[1])], 1)


def _size(z: Zonotope) -> Tensor:
    """The size of what is added up at each coordinate, which bounds rounding."""
    return z.center.abs() + z.generators.abs().sum(1) + z.radius


def _rounded(center: Tensor, generators: Tensor, radius: Tensor) -> Zonotope:
    """A zonotope; where a number is not finite, any value is within it."""
    lost = ~(center.isfinite() & radius.isfinite() & generators.isfinite().all(1))
    return Zonotope(
        center.masked_fill(lost, 0.0), generators.masked_fill(lost[:, None], 0.0), radius.masked_fill(lost, torch.inf)
    )
