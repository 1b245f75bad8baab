"""Building a program: numbers by name, and the steps that make new ones of them.

Every number of a program has a name, an int64: the place of its value and its place there. A tensor of the network is a tensor
of names, so what only moves numbers (views, slices, concatenation, writing a part) moves names and takes no step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan

import torch
from torch import Tensor

from commute.errors import NetworkError
from commute.proofs.programs.program import Affine, Elementwise, Function, Product, Program, Step
from commute.proofs.programs.pruning import matrix, no_weights, pruned

_DOUBLE = 2.0**-53
_PLACE = 32  # bits of a name that are the place in a value


@dataclass(frozen=True, eq=False)
class Numbers:
    """A tensor of the network by the names of its numbers, int64; a name of 0 or less is a constant, and 0 is the number 0."""

    names: Tensor

    @property
    def shape(self) -> torch.Size:
        """The tensor's shape."""
        return self.names.shape


@dataclass(frozen=True, eq=False)
class _Sum:
    """An affine step whose matrices are (rows, columns, weights) by the value that they apply to."""

    parts: Mapping[int, tuple[Tensor, Tensor, Tensor]]
    bias: Tensor
    roundings: int


@dataclass(eq=False)
class Builder:
    """Makes a program step by step.

    Attributes:
        inputs: how many inputs it has; they are the first values, and their width is known only at the end.
        unit: the unit roundoff of the network's arithmetic.
    """

    inputs: int
    unit: float
    steps: list[_Sum | Elementwise | Product] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    _constants: list[float] = field(default_factory=lambda: [0.0])
    _places: dict[float | str, int] = field(default_factory=lambda: {0.0: 0})
    _gathered: dict[bytes, int] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """The network's arithmetic."""
        return torch.float64 if self.unit <= _DOUBLE else torch.float32

    def input(self, value: int, start: int, shape: torch.Size) -> Numbers:
        """Some of the numbers of an input, from `start` on."""
        return Numbers(_names(value, torch.arange(shape.numel()) + start).reshape(shape))

    def rounded(self, x: Tensor | float) -> Tensor:
        """A constant as the network computes with it, float64.

        Torch rounds a plain number, or one of another type, once to the type of what it computes with.
        """
        given = x.detach() if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64)
        return given.to(self.dtype).double()

    def constant(self, x: Tensor | float) -> Numbers:
        """Names for constants; what is not a number, such as where a tensor is not filled yet, may be moved but not used."""
        values = self.rounded(x)
        distinct, where = distinct_of(values)
        places = []
        for number in distinct.tolist():
            key = "none" if isnan(number) else number
            if key not in self._places:
                self._places[key] = len(self._constants)
                self._constants.append(number)
            places.append(-self._places[key])
        return Numbers(torch.tensor(places, dtype=torch.int64)[where].reshape(values.shape))

    def constants(self, names: Tensor) -> Tensor:
        """The constants among names, float64 of their shape; 0 elsewhere."""
        known = torch.tensor(self._constants, dtype=torch.float64)
        return known[(-names).clamp(min=0)]

    def bias_of(self, names: Tensor) -> Tensor:
        """What the affine steps that made numbers added to each, 0 where there was none; constants themselves."""
        found = self.constants(names)
        for value in _values_in(names):
            step = self.steps[value - self.inputs] if value >= self.inputs else None
            if isinstance(step, _Sum):
                here = _value_of(names) == value
                found[here] = step.bias[_place_of(names[here])]
        return found

    def sum(
        self, names: Tensor, weights: Tensor, bias: Tensor | None = None, *, roundings: int | None = None, more: int = 0
    ) -> Tensor:
        """The names of Σₖ weights[i, k]·names[i, k] + bias[i].

        Args:
            names: [out, terms].
            weights: [out, terms], float64.
            bias: [out], float64.
            roundings: on the way of a summand; None is that of a sum of products in any order.
            more: roundings beside these.
        """
        weights = weights.expand(names.shape)
        fixed = self.constants(names)
        if bool(((fixed != 0) & (weights != 0)).any()):
            names = self.whole(names)
        used = (names > 0) & (weights != 0)
        ordered = torch.where(used, names, -torch.arange(names.shape[1])).sort(1).values
        if bool((ordered[:, 1:] == ordered[:, :-1]).any()):  # adding weights up would round
            names = self.named(self._gather(names.flatten())).reshape(names.shape)
        rows, terms = used.nonzero(as_tuple=True)
        offset = torch.zeros(len(names), dtype=torch.float64) if bias is None else bias.detach().double()
        if roundings is None:
            roundings = (int(used.sum(1).max()) if used.numel() else 0) + bool((offset != 0).any())
        return self._added(rows, names[rows, terms], weights[rows, terms].double(), offset, roundings + more)

    def _added(self, rows: Tensor, names: Tensor, weights: Tensor, bias: Tensor, roundings: int) -> Tensor:
        if not bool(weights.isfinite().all() and bias.isfinite().all()):
            raise NetworkError(
                "the network computes with a constant that is not finite, but not to leave places out of a softmax"
            )
        owners = _value_of(names)
        parts = {}
        for value in _values_in(names):
            here = owners == value
            parts[value] = rows[here], _place_of(names[here]), weights[here]
        return self.named(self._append(_Sum(parts, bias, roundings), len(bias)))

    def whole(self, names: Tensor) -> Tensor:
        """Numbers of one value, each once, under new names; of the value that they are, where they are all of one."""
        distinct, where = distinct_of(names)
        return self.named(self._gather(distinct))[where]

    def elementwise(self, function: Function, names: Tensor) -> Tensor:
        """The names of f(x), each computed once."""
        distinct, where = distinct_of(names)
        return self.named(self._append(Elementwise(self._gather(distinct), function), len(distinct)))[where]

    def product(self, one: Tensor, other: Tensor) -> Tensor:
        """The names of products, number by number; those with the constant 0 are that constant."""
        one, other = alike(one, other)
        if bool((one == other).all()):
            return self.elementwise("square", one)
        pairs = torch.stack([one.flatten(), other.flatten()], 1).sort(1).values
        distinct, where = distinct_of(pairs, rows=True)
        zero = (distinct == 0).any(1)
        found = torch.zeros(len(distinct), dtype=torch.int64)
        left = distinct[~zero]
        if len(left):
            step = Product((self._gather(left[:, 0]), self._gather(left[:, 1])))
            found[~zero] = self.named(self._append(step, len(left)))
        return found[where].reshape(one.shape)

    def named(self, value: int) -> Tensor:
        """The names of all numbers of a step's value."""
        return _names(value, torch.arange(self.widths[value - self.inputs]))

    def _gather(self, names: Tensor) -> int:
        """The value that holds just these numbers."""
        value = int(_value_of(names[:1])) if len(names) else -1
        if value >= self.inputs and torch.equal(names, self.named(value)):
            return value
        key = names.numpy().tobytes()
        if key not in self._gathered:
            moved = names > 0
            rows = moved.nonzero()[:, 0]
            self._added(rows, names[moved], torch.ones(len(rows), dtype=torch.float64), self.constants(names), 0)
            self._gathered[key] = self.inputs + len(self.steps) - 1
        return self._gathered[key]

    def _append(self, step: _Sum | Elementwise | Product, width: int) -> int:
        self.steps.append(step)
        self.widths.append(width)
        return self.inputs + len(self.steps) - 1

    def program(self, output: Tensor, *, entries: int, tiny: float) -> Program:
        """The program of all steps that the output, of these names, needs."""
        last = self._gather(output.flatten())
        widths = [entries] * self.inputs + self.widths
        steps = [self._made(step, widths) for step in self.steps[: last + 1 - self.inputs]]
        return pruned(Program((entries,) * self.inputs, tuple(steps), self.unit, tiny))

    def _made(self, step: _Sum | Elementwise | Product, widths: list[int]) -> Step:
        if not isinstance(step, _Sum):
            return step
        out = len(step.bias)
        weights = tuple(matrix(*places, (out, widths[value])) for value, places in step.parts.items())
        return Affine(tuple(step.parts) or (0,), weights or (no_weights(out, widths[0]),), step.bias, step.roundings)


def _names(value: int, places: Tensor) -> Tensor:
    return ((value + 1) << _PLACE) + places


def _value_of(names: Tensor) -> Tensor:
    return (names >> _PLACE) - 1


def _place_of(names: Tensor) -> Tensor:
    return names & ((1 << _PLACE) - 1)


def _values_in(names: Tensor) -> list[int]:
    return [int(v) for v in distinct_of(_value_of(names[names > 0]))[0]]


def distinct_of(x: Tensor, *, rows: bool = False) -> tuple[Tensor, Tensor]:
    """The distinct numbers of a tensor in order, or its distinct rows, and which of them each is."""
    found: tuple[Tensor, Tensor] = x.unique(return_inverse=True, dim=0 if rows else None)  # type: ignore[no-untyped-call]
    return found


def alike(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors broadcast against each other."""
    return tuple(torch.broadcast_tensors(*tensors))  # type: ignore[no-untyped-call]
