"""Evaluating a program for many points at once, in buffers that are used again.

Points are columns: then what a step does to a number of all points it does along memory, and sums of one vector of each of two
sets are made without copies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from commute.proofs.programs.program import Affine, Elementwise, Function, Product, Program, Step, taken
from commute.proofs.programs.pruning import places_of

_DENSE = 2**14  # numbers of a matrix up to which it is multiplied as a dense one
_SHARE = 16  # or when one in so many is not 0

Run = Callable[[list[Tensor], Tensor], object]  # from the values before, into a buffer

_INTO: Mapping[Function, Callable[[Tensor, Tensor], object]] = {
    "relu": lambda x, out: torch.clamp(x, min=0, out=out),
    "abs": lambda x, out: torch.abs(x, out=out),
    "square": lambda x, out: torch.mul(x, x, out=out),
    "reciprocal": lambda x, out: torch.reciprocal(x, out=out),
    "sqrt": lambda x, out: torch.sqrt(x, out=out),
    "rsqrt": lambda x, out: torch.rsqrt(x, out=out),
    "exp": lambda x, out: torch.exp(x, out=out),
    "tanh": lambda x, out: torch.tanh(x, out=out),
    "sigmoid": lambda x, out: torch.sigmoid(x, out=out),
    "silu": lambda x, out: out.copy_(silu(x)),
    "gelu": lambda x, out: out.copy_(gelu(x)),
    "gelu_tanh": lambda x, out: out.copy_(gelu(x, approximate="tanh")),
}


@dataclass(frozen=True, eq=False)
class Columns:
    """A program of one input, ready to be evaluated.

    Attributes:
        widths: of every value.
        places: the buffer of every value; an elementwise step writes over what no later step takes.
        runs: what each step does; None where it does nothing.
        dtype: of the evaluation.
    """

    widths: tuple[int, ...]
    places: tuple[int, ...]
    runs: tuple[Run | None, ...]
    dtype: torch.dtype
    _flat: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program, dtype: torch.dtype) -> "Columns":
        """Cast the weights."""
        last = {v: i for i, step in enumerate(program.steps, 1) for v in taken(step)}
        places = [0]
        runs: list[Run | None] = []
        for i, step in enumerate(program.steps, 1):
            runs.append(None if _nothing(step) else _run(step, dtype))
            over = isinstance(step, Elementwise) and not any(
                last.get(v, 0) > i for v, p in enumerate(places) if p == places[step.input]
            )
            places.append(places[taken(step)[0]] if over or runs[-1] is None else i)
        return cls(program.widths, tuple(places), tuple(runs), dtype)

    def room(self, points: int) -> list[Tensor]:
        """A buffer of each value, [width, points] each, of which the first is to be filled."""
        made: dict[int, Tensor] = {}
        for width, place in zip(self.widths, self.places, strict=True):
            if place in made:
                continue
            flat = self._flat.get(place)
            if flat is None or len(flat) < width * points:
                flat = self._flat[place] = torch.empty(width * points, dtype=self.dtype)
            made[place] = flat[: width * points].view(width, points)
        return [made[place] for place in self.places]

    def run(self, room: list[Tensor]) -> Tensor:
        """The output, [out, points], from a room whose first value was filled. It may be written over."""
        for run, out in zip(self.runs, room[1:], strict=True):
            if run is not None:
                run(room, out)
        return room[-1]


def _nothing(step: Step) -> bool:
    """Whether a step's output is its input."""
    if not isinstance(step, Affine):
        return False
    moved = _moved(step)
    return moved is not None and torch.equal(moved, torch.arange(step.weights[0].shape[1]))


def _moved(step: Affine) -> Tensor | None:
    """Which number of its one input each output is, [out], where a step only moves them."""
    if len(step.inputs) > 1 or bool(step.bias.any()):
        return None
    rows, columns, numbers = places_of(step.weights[0])
    moves = torch.equal(rows, torch.arange(len(step.bias))) and bool((numbers == 1).all())
    return columns if moves else None


def _run(step: Step, dtype: torch.dtype) -> Run:
    if isinstance(step, Product):
        one, other = step.inputs
        return lambda values, out: torch.mul(values[one], values[other], out=out)
    if isinstance(step, Elementwise):
        into, taken_from = _INTO[step.function], step.input
        return lambda values, out: into(values[taken_from], out)
    moved = _moved(step)
    if moved is not None:
        (source,) = step.inputs
        return lambda values, out: torch.index_select(values[source], 0, moved, out=out)
    bias = step.bias.to(dtype).unsqueeze(1)
    adds = [(v, _matrix(w).to(dtype)) for v, w in zip(step.inputs, step.weights, strict=True)]
    (first, matrix), more = adds[0], adds[1:]

    def affine(values: list[Tensor], out: Tensor) -> None:
        torch.addmm(bias, matrix, values[first], out=out)
        for v, weights in more:
            out.addmm_(weights, values[v])

    return affine


def _matrix(weights: Tensor) -> Tensor:
    if not weights.is_sparse:
        return weights
    weights = weights.coalesce()
    few = weights.numel() > _DENSE and weights.values().numel() * _SHARE < weights.numel()
    return weights if few else weights.to_dense()
