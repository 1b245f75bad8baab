"""Linear bounds of a program's output, taken backward to its inputs (as in 1811.00866)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from commute.proofs.enclosures.domains import Box, Domain
from commute.proofs.enclosures.interval import stepped
from commute.proofs.enclosures.linear import dots
from commute.proofs.enclosures.ranges import Interval
from commute.proofs.enclosures.relaxation import Relaxation, relaxed
from commute.proofs.enclosures.rounding import TINY, UNIT, Arithmetic, down, floored, gamma
from commute.proofs.programs.program import Affine, Elementwise, Product, Program, taken

_AT_ONCE = 2**17  # numbers in the rows of an inner pass, which are taken in turns beyond that


@dataclass(frozen=True, eq=False)
class Bound:
    """Lower bounds, and what they hang on.

    Attributes:
        lower: [cells, rows]; -∞ where nothing is known.
        coefficients: of each input of the program, [cells, rows, width]: the linear bound of which the least value was taken. A
            cell is best split along an input where |coefficient|·radius is large.
    """

    lower: Tensor
    coefficients: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A program with linear bounds of its steps, for each cell.

    Attributes:
        program: that was relaxed.
        domains: what its inputs range over.
        ranges: bounds of every value, inputs first.
        steps: linear bounds of each step.
    """

    program: Program
    domains: Sequence[Domain]
    ranges: Sequence[Interval]
    steps: Sequence[Relaxation]

    @torch.no_grad()
    def lower(self, rows: Tensor) -> Bound:
        """Lower bounds of linear functions of the output, [rows, width] for all cells or [cells, rows, width]."""
        rows = rows.double()
        found = self.back(self.program.output, rows)
        plain = Box(*self.ranges[-1].ball()).lower(rows)
        return Bound(torch.maximum(found.lower, plain), found.coefficients)

    def bounds(self, rows: Tensor) -> Interval:
        """Bounds of linear functions of the output from both sides, [cells, rows]."""
        return _sides(self.lower(torch.cat([rows, -rows], -2)).lower)

    def back(self, value: int, rows: Tensor) -> Bound:
        """Lower bounds of linear functions of any value, by way of the steps before it alone."""
        first = len(self.program.inputs)
        found: dict[int, Tensor] = {value: rows}
        terms = [torch.zeros_like(self.ranges[0].lower[:, :1])]
        for v in range(value, first - 1, -1):
            if v in found:
                passed, constants = self.steps[v - first].back(found.pop(v))
                terms += constants
                for w, more in passed:
                    found[w] = found[w] + more if w in found else more
                    if found[w] is not more:
                        terms.append(-dots(found[w].abs(), self.ranges[w].magnitude) * (4 * UNIT))
        terms += [self.domains[v].lower(a) for v, a in found.items()]
        shape = (len(terms[0]), rows.shape[-2])
        coefficients = (
            found[v].expand(*shape, width) if v in found else terms[0].new_zeros(1, 1, 1).expand(*shape, width)
            for v, width in enumerate(self.program.inputs)
        )
        return Bound(_total(terms), tuple(coefficients))


@torch.no_grad()
def relax(program: Program, domains: Sequence[Domain], arithmetic: Arithmetic) -> Relaxed:
    """Bound each step of a program linearly where its inputs range, which is found by backward bounds of its first part.

    Args:
        program: to bound.
        domains: what each input ranges over.
        arithmetic: whose evaluations are bounded beside the exact one.
    """
    ranges = [d.hull() for d in domains]
    steps: list[Relaxation] = []
    found = Relaxed(program, domains, ranges, steps)
    loose = set(_loose(program, domains))
    for v, step in enumerate(program.steps, len(domains)):
        made = stepped(step, ranges, arithmetic)
        steps.append(relaxed(step, ranges, made))
        ranges.append(made.interval)
        if v in loose:
            ranges[v] = made.interval.within(_tighter(found, v))
    return found


def _loose(program: Program, domains: Sequence[Domain]) -> Iterator[int]:
    """Values that a step relaxes and of which intervals are not already the tightest bounds.

    Intervals are, where a step mixes coordinates that range without regard to each other, as do those of a box and elementwise
    functions of them. Constants are known as they are, and a product with one is affine.
    """
    roots = {v: v for v, d in enumerate(domains) if d.separate}
    varying = [tuple(w for w in taken(step) if w not in program.constants) for step in program.steps]
    scaled = [isinstance(s, Product) and len(own) < len(s.inputs) for s, own in zip(program.steps, varying, strict=True)]
    bent = [not (isinstance(step, Affine) or one) for step, one in zip(program.steps, scaled, strict=True)]
    curved = {w for one, own in zip(bent, varying, strict=True) if one for w in own}
    for v, (step, one) in enumerate(zip(program.steps, scaled, strict=True), len(domains)):
        if isinstance(step, Elementwise) or one:
            found = [roots.get(w) for w in varying[v - len(domains)]]
            if len(found) == 1 and found[0] is not None:
                roots[v] = found[0]
        elif v in curved:
            found = [roots.get(w) for w in step.inputs]
            if None in found or len(set(found)) < len(found):
                yield v


def _tighter(relaxed: Relaxed, value: int) -> Interval:
    """Bounds of every coordinate of a value, backward."""
    cells, width = relaxed.ranges[value].lower.shape
    turns = torch.eye(width, dtype=torch.float64, device=relaxed.ranges[value].lower.device)
    count = max(1, _AT_ONCE // max(1, cells * max(relaxed.program.widths)))
    found = [_sides(relaxed.back(value, torch.cat([rows, -rows])).lower) for rows in torch.split(turns, count)]
    return Interval(torch.cat([f.lower for f in found], 1), torch.cat([f.upper for f in found], 1))


def _sides(lower: Tensor) -> Interval:
    """From lower bounds of functions, then of their negatives."""
    one, other = lower.chunk(2, 1)
    return Interval(one, -other)


def _total(terms: Sequence[Tensor]) -> Tensor:
    """Below a sum."""
    total, size = terms[0], terms[0].abs()
    for t in terms[1:]:
        total, size = total + t, size + t.abs()
    return floored(down(total - size * gamma(2 * len(terms) + 4) - TINY))
