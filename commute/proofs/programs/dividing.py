"""Dividing a program: which of its values can be made for each input alone, and where it is narrowest.

A number that was only moved counts as the number that it was before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from networkx import DiGraph, minimum_cut

from commute.proofs.programs.program import Affine, Product, Program, Step, taken
from commute.proofs.programs.pruning import places_of

_START, _END = -1, -2  # of the flow whose narrowest place divides a program
Number = tuple[int, int]  # a value and a place in it


@dataclass(frozen=True, eq=False)
class Parts:
    """A program and what each of its values depends on.

    Attributes:
        program: the program.
        on: the inputs that each value depends on.
        apart: whether each value is an affine function of values that depend on one input each. A product with constants, such
            as one by which a sum is divided, is affine.
        moves: of values that were looked at, what was moved.
    """

    program: Program
    on: tuple[frozenset[int], ...]
    apart: tuple[bool, ...]
    moves: dict[int, list[Number | float | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> "Parts":
        """Found step by step."""
        on = [frozenset({i}) for i in range(len(program.inputs))]
        apart, widths = [True] * len(on), program.widths
        for step in program.steps:
            used = places_used(step, widths)
            on.append(frozenset().union(*(on[v] for v in used)))
            affine = isinstance(step, Affine) or (isinstance(step, Product) and any(not on[v] for v in used))
            apart.append(len(on[-1]) <= 1 or (affine and all(apart[v] for v in used)))
        return cls(program, tuple(on), tuple(apart))

    def step(self, value: int) -> Step:
        """The step that makes a value."""
        return self.program.steps[value - len(self.program.inputs)]

    def origin(self, number: Number) -> Number | float:
        """Where a number comes from when it was only moved; a constant, where it is one."""
        value, place = number
        while value >= len(self.program.inputs):
            step = self.step(value)
            if not isinstance(step, Affine) or step.roundings:
                break
            if value not in self.moves:
                self.moves[value] = _moved(step)
            before = self.moves[value][place]
            if not isinstance(before, tuple):
                return number if before is None else before
            number = value, place = before
        return number


def _moved(step: Affine) -> list[Number | float | None]:
    """For each number of a step where it was moved from, or the constant that it is; None where it is neither."""
    found: list[Number | float | None] = list(step.bias.tolist())
    terms = torch.zeros(len(step.bias), dtype=torch.int64)
    for value, weights in zip(step.inputs, step.weights, strict=True):
        for row, column, weight in zip(*(x.tolist() for x in places_of(weights)), strict=True):
            terms[row] += 1
            found[row] = (value, column) if weight == 1 and terms[row] == 1 and not step.bias[row] else None
    return found


def met_by(parts: Parts, inside: set[int]) -> dict[int, set[int]]:
    """The values that steps inside begin with, and which of their numbers they use; the output, where it is not inside."""
    program = parts.program
    met: dict[int, set[int]] = {}
    for v in inside:
        for x, places in places_used(parts.step(v), program.widths).items():
            if x not in inside:
                met.setdefault(x, set()).update(places)
    if program.output not in inside:
        met[program.output] = set(range(program.widths[program.output]))
    return met


def beyond_narrowest(parts: Parts, inside: set[int]) -> set[int]:
    """Affine steps of several inputs that come after the narrowest place to divide the program: a minimum cut.

    Of equally narrow places the last is taken. Values that depend on one input are not divided further.
    """
    program, graph = parts.program, DiGraph()
    needed: dict[int, set[int]] = {}

    def need(value: int, places: set[int], by: int) -> None:
        for place in places:
            origin = parts.origin((value, place))
            if isinstance(origin, tuple) and parts.on[origin[0]]:
                needed.setdefault(origin[0], set()).add(origin[1])
                graph.add_edge((by, True), (origin[0], False))

    for v, used in met_by(parts, inside).items():
        need(v, used, _END)
    for v in range(program.output, -1, -1):
        if v in needed:
            graph.add_edge((v, False), (v, True), capacity=len(needed[v]))
            if len(parts.on[v]) <= 1:
                graph.add_edge((v, True), _START)
            else:
                for x, places in places_used(parts.step(v), program.widths, needed[v]).items():
                    need(x, places, v)
    if (_END, True) not in graph or _START not in graph:
        return set()
    _, (after, _) = minimum_cut(graph, (_END, True), _START)
    return _with_moves(parts, {v for v, leaving in after if leaving and v != _END} | inside) - inside


def _with_moves(parts: Parts, inside: set[int]) -> set[int]:
    """What is inside, and what moves numbers that are made inside; of these one is the output, where anything is inside."""
    found = inside | {parts.program.output} if inside else set()
    for v in range(parts.program.output, len(parts.program.inputs) - 1, -1):
        used = places_used(parts.step(v), parts.program.widths) if v in found else {}
        for x, places in used.items():
            origins = (parts.origin((x, i)) for i in places) if parts.apart[x] else ()
            if any(isinstance(origin, tuple) and origin[0] in inside for origin in origins):
                found.add(x)
    return found


def with_constants(parts: Parts, inside: set[int]) -> set[int]:
    """What is inside, and the constants that it is made with."""
    found = set(inside)
    for v in range(parts.program.output, len(parts.program.inputs) - 1, -1):
        if v in found:
            found |= {x for x in places_used(parts.step(v), parts.program.widths) if not parts.on[x]}
    return found


def places_used(step: Step, widths: Sequence[int], rows: set[int] | None = None) -> dict[int, set[int]]:
    """The values that a step depends on, and which of their numbers; with `rows`, for some of its own numbers."""
    if not isinstance(step, Affine):
        return {v: set(range(widths[v])) if rows is None else set(rows) for v in taken(step)}
    found: dict[int, set[int]] = {}
    for v, weights in zip(step.inputs, step.weights, strict=True):
        into, columns, _ = places_of(weights)
        if rows is not None:
            columns = columns[torch.isin(into, torch.tensor(sorted(rows)))]
        if len(columns):
            found.setdefault(v, set()).update(columns.tolist())
    return found
