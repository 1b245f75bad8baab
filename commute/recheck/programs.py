"""Programs: steps from a network's numbers to its scores, in balls that hold the exact value and every rounded one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from commute.recheck.balls import BALL, NAN, Matrix, arb, arb_mat, exactly, size, tall
from commute.recheck.functions import FUNCTIONS, images
from commute.recheck.reading import Array, demand, same

_TINY = {2.0**-53: 2.0**-1022, 2.0**-24: 2.0**-126, 2.0**-11: 2.0**-14, 2.0**-8: 2.0**-126}  # by unit roundoff
_LARGEST = 2**24  # numbers of a matrix


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        inputs: the values that it takes.
        width: of what it makes.
        function: elementwise; None where it is a product of two values, or affine.
        weights: where it is affine, its matrices [out, in].
        across: their transposes, and
        sizes: of these the sizes.
        bias: [1, out].
        roundings: on the way of a summand, at most.
        moves: whether it makes what it takes.
    """

    inputs: list[int]
    width: int
    function: str | None = None
    weights: tuple[Matrix, ...] = ()
    across: tuple[Matrix, ...] = ()
    sizes: tuple[Matrix, ...] = ()
    bias: Matrix = None
    roundings: int = 0
    moves: bool = False

    def image(self, values: Sequence[Matrix]) -> Matrix:
        """What it makes of rows of balls, in exact arithmetic."""
        rows = values[self.inputs[0]].nrows()
        if self.moves:
            return values[self.inputs[0]]
        if self.weights:
            return sum((values[v] * w for v, w in zip(self.inputs, self.across, strict=True)), tall(self.bias, rows))
        taken = [values[v].entries() for v in self.inputs]
        made = images(self.function, taken[0]) if self.function else [x * y for x, y in zip(*taken, strict=True)]
        return arb_mat(rows, self.width, made)

    def error(self, values: Sequence[Matrix], y: Matrix, unit: float, tiny: float) -> Matrix:
        """What floats may add to that, in balls around 0; not a number where they may overflow."""
        if self.weights and not self.roundings:
            return arb_mat(y.nrows(), self.width)
        count, least, of = 1, 1, size(y)
        others: list[Any] = []
        if self.weights:
            parts = (size(values[v]) * w for v, w in zip(self.inputs, self.sizes, strict=True))
            count, least, of = self.roundings, self.roundings, sum(parts, tall(size(self.bias), y.nrows()))
        elif self.function is not None:
            own = size(values[self.inputs[0]])
            count, others = FUNCTIONS[self.function].k, own.entries()
            of = of if FUNCTIONS[self.function].of_output else own
        u, largest = count * arb(unit), 2 / arb(tiny)
        demand(u < 1, f"{count} roundings are too many for a unit roundoff of {unit}")
        fits = all(x < largest for x in (*of.entries(), *others))
        factor = (u / (1 - u) if self.weights else u) if fits else NAN
        return (of * factor + arb_mat(y.nrows(), self.width, [least * arb(tiny)] * (y.nrows() * self.width))) * BALL


@dataclass(frozen=True)
class Program:
    """Steps after inputs of some widths, in an arithmetic of some unit roundoff and smallest normal number."""

    inputs: list[int]
    steps: list[Step]
    unit: float
    tiny: float

    @classmethod
    def of(
        cls, record: Mapping[str, Any], tensors: Mapping[str, Array], inputs: list[int], about: Mapping[str, Any]
    ) -> "Program":
        """The program of a record, checked: it has to take inputs of these widths."""
        same("the widths of a program's inputs", record["inputs"], inputs)
        demand(_TINY.get(about["unit"]) == about["tiny"], f"no arithmetic has {about['unit']} and {about['tiny']}")
        demand(record["steps"], "a program has no steps")
        widths, steps = list(inputs), []
        for step in record["steps"]:
            steps.append(_step(step, tensors, widths))
            widths.append(steps[-1].width)
        return cls(inputs, steps, about["unit"], about["tiny"])

    @property
    def output(self) -> int:
        """The last value."""
        return len(self.inputs) + len(self.steps) - 1

    def run(self, inputs: Sequence[Matrix], errors: Sequence[Matrix] | None = None) -> Matrix:
        """The output for rows of each input: exactly, or with what each step may add to all rows."""
        values = list(inputs)
        for i, step in enumerate(self.steps):
            y = step.image(values)
            values.append(y if errors is None else y + tall(errors[i], y.nrows()))
        return values[-1]

    def rounded(self, inputs: Sequence[Matrix]) -> tuple[Matrix, list[Matrix]]:
        """The output for rows of each input, however it is rounded, and what each step may add to each row."""
        values, errors = list(inputs), []
        for step in self.steps:
            y = step.image(values)
            errors.append(step.error(values, y, self.unit, self.tiny))
            values.append(y + errors[-1])
        return values[-1], errors


def _step(record: Mapping[str, Any], tensors: Mapping[str, Array], widths: Sequence[int]) -> Step:
    inputs, kind = record["inputs"], record["kind"]
    known = inputs and all(type(v) is int and 0 <= v < len(widths) for v in inputs)
    demand(known, f"a step takes the values {inputs}; there are {len(widths)} before it")
    if kind == "affine":
        return _affine(record, tensors, [widths[v] for v in inputs])
    same(f"the number of values that {kind} takes", len(inputs), 2 if kind == "product" else 1)
    demand(len({widths[v] for v in inputs}) == 1, "a product takes values of different widths")
    demand(kind == "product" or kind in FUNCTIONS, f"there is no function {kind!r}")
    return Step(inputs, widths[inputs[0]], None if kind == "product" else kind)


def _affine(record: Mapping[str, Any], tensors: Mapping[str, Array], widths: Sequence[int]) -> Step:
    bias, roundings = tensors[record["bias"]], record["roundings"]
    fits = bias.ndim == 1 and bias.size and type(roundings) is int and roundings >= 0
    demand(fits, f"an affine step has a bias of shape {list(bias.shape)} and {roundings} roundings")
    same("the number of an affine step's matrices", len(record["weights"]), len(widths))
    weights = [_matrix(w, tensors, (len(bias), n)) for w, n in zip(record["weights"], widths, strict=True)]
    offset, matrices = exactly(bias.reshape(1, -1)), tuple(map(exactly, weights))
    least = _roundings(np.concatenate([*weights, bias.reshape(-1, 1)], 1))
    demand(roundings >= least, f"an affine step has {roundings} roundings; there are {least} or more in its sums")
    moves = widths == [len(bias)] and not roundings and not bias.any() and np.array_equal(weights[0], np.eye(len(bias)))
    across = tuple(w.transpose() for w in matrices)
    return Step(record["inputs"], len(bias), None, matrices, across, tuple(map(size, across)), offset, roundings, moves)


def _roundings(rows: Array) -> int:
    """How many roundings there are at least on the way of a summand, where sums may be taken in any order."""
    inexact = (rows[:, :-1] != 0) & (np.abs(np.frexp(rows[:, :-1])[0]) != 0.5)  # noqa: PLR2004  # products with other than ±2^k
    return int((np.maximum((rows != 0).sum(1) - 1, 0) + inexact.any(1)).max())


def _matrix(record: Mapping[str, Any], tensors: Mapping[str, Array], shape: tuple[int, int]) -> Array:
    demand(prod(shape) <= _LARGEST, f"a matrix of shape {shape} is too large to be rechecked")
    values = tensors[record["values"]]
    if "index" in record:
        index, listed = tensors[record["index"]], values
        fits = index.dtype == np.int64 and listed.ndim == 1 and index.shape == (2, len(listed))
        inside = fits and all(((x >= 0) & (x < n)).all() for x, n in zip(index, shape, strict=True))
        demand(
            inside and len(set(zip(*index.tolist(), strict=True))) == len(listed), f"an index is outside of a matrix of {shape}"
        )
        demand(listed.dtype == np.float64, "weights are not float64")
        values = np.zeros(shape)
        values[tuple(index)] = listed
    same("the shape of a matrix", values.shape, shape)
    return values
