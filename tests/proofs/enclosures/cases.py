"""Random programs and points, and their values by exact rationals, by ball arithmetic and by floats in several orders."""

from dataclasses import dataclass

import flint
import numpy as np
import torch
from flint import arb, fmpq

from commute.proofs.enclosures.domains import Box
from commute.proofs.programs.program import Affine, Elementwise, Product, Program

flint.ctx.prec = 200
FORMATS = {torch.float32: (2.0**-24, 2.0**-126), torch.float16: (2.0**-11, 2.0**-14)}
RADII = (0.0, 2.0**-24, 2.0**-10, 0.125)


def rational(x):
    return fmpq(*float(x).as_integer_ratio())


def _sigmoid(x):
    return 1 / (1 + (-x).exp())


def _half(x):
    return arb(1) / 2 * x


EXACTLY = {"relu": lambda x: max(x, x * 0), "abs": abs, "square": lambda x: x * x}
BALLS = {
    "relu": lambda x: x.max(arb(0)),
    "abs": abs,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "sqrt": lambda x: x.sqrt(),
    "rsqrt": lambda x: 1 / x.sqrt(),
    "exp": lambda x: x.exp(),
    "tanh": lambda x: x.tanh(),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: _half(x * (-x / arb(2).sqrt()).erfc()),
    "gelu_tanh": lambda x: x * _sigmoid(2 * (2 / arb.pi()).sqrt() * (x + arb(44715) / 10**6 * x**3)),
}
FLOATS = {
    "relu": torch.relu,
    "abs": torch.abs,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
}
SMOOTH = ("exp", "tanh", "sigmoid", "silu", "gelu", "gelu_tanh")


def normal(generator, *shape, scale=1.0, dtype=torch.float32):
    """Numbers of a network's type, as float64."""
    return (torch.randn(shape, generator=generator) * scale).to(dtype).double()


class Builder:
    """A program, step by step."""

    def __init__(self, generator, inputs, dtype):
        self.generator, self.dtype = generator, dtype
        self.inputs, self.steps, self.widths = inputs, [], list(inputs)

    def one_of(self, n):
        return int(torch.randint(n, (), generator=self.generator))

    def add(self, step, width):
        self.steps.append(step)
        self.widths.append(width)
        return len(self.widths) - 1

    def affine(self, values, width, *, positive=False, sparse=False):
        size = sum(self.widths[v] for v in values)
        weights = [normal(self.generator, width, self.widths[v], scale=size**-0.5, dtype=self.dtype) for v in values]
        bias = normal(self.generator, width, scale=0.3, dtype=self.dtype)
        if positive:
            weights, bias = [w.abs() for w in weights], bias.abs() + 0.125
        bias = bias.to(self.dtype).double()
        if sparse:
            weights = [(w * (w > 0)).to_sparse() for w in weights]
        return self.add(Affine(tuple(values), tuple(weights), bias, size + 1), width)

    def function(self, value, name):
        return self.add(Elementwise(value, name), self.widths[value])

    def product(self, one, other):
        return self.add(Product((one, other)), self.widths[one])

    def same_width(self, value):
        return [v for v, w in enumerate(self.widths) if w == self.widths[value]]

    def program(self):
        return Program(tuple(self.inputs), tuple(self.steps), *FORMATS[self.dtype])


def random_program(generator, *, smooth, dtype=torch.float32):
    """All kinds of steps in random order; those that need positive numbers are given them."""
    b = Builder(generator, (3, 2) if torch.rand((), generator=generator) < 0.4 else (3,), dtype)
    last = len(b.inputs) - 1
    for _ in range(4):
        kind = b.one_of(6 if smooth else 4)
        if kind == 0 or b.widths[last] > 4:
            last = b.affine(sorted({last, b.one_of(len(b.widths))}), 2 + b.one_of(3), sparse=b.one_of(3) == 0)
        elif kind == 1:
            last = b.function(b.affine([last], 2 + b.one_of(3)), ("relu", "abs", "square")[b.one_of(3)])
        elif kind == 2:
            same = b.same_width(last)
            last = b.product(last, same[b.one_of(len(same))])
        elif kind == 3:
            last = b.function(last, "relu")
        elif kind == 4:
            last = b.function(last, SMOOTH[b.one_of(len(SMOOTH))])
        else:
            positive = b.affine([b.function(last, ("exp", "square", "abs")[b.one_of(3)])], b.widths[last], positive=True)
            last = b.product(last, b.function(positive, ("reciprocal", "sqrt", "rsqrt")[b.one_of(3)]))
    b.affine(sorted({last, b.one_of(len(b.widths))}), 2)
    return b.program()


@dataclass
class Cases:
    """A program, a box of each input in each cell, and points of them."""

    program: Program
    boxes: list[Box]
    points: list[torch.Tensor]


def random_cases(generator, cells, *, smooth, dtype=torch.float32):
    """Boxes of every radius, and points in them, many at corners, that the network's type can hold."""
    program = random_program(generator, smooth=smooth, dtype=dtype)
    radius = torch.tensor(RADII, dtype=torch.float64)[torch.arange(cells) % len(RADII)]
    boxes, points = [], []
    for width in program.inputs:
        center = normal(generator, cells, width, dtype=dtype)
        to = torch.randint(-4, 5, (cells, width), generator=generator) / 4 * radius[:, None]
        point = (center + to).to(dtype).double()
        points.append(torch.where((point - center).abs() <= radius[:, None], point, center))  # the difference is exact
        boxes.append(Box(center, radius[:, None].expand(cells, width).contiguous()))
    return Cases(program, boxes, points)


def exact_values(program, points, *, balls):
    """Every value at points, [cells, width] of exact rationals, or of balls."""
    number, functions = (arb, BALLS) if balls else (rational, EXACTLY)
    values = [objects(p, number) for p in points]
    for step in program.steps:
        if isinstance(step, Affine):
            total = objects(step.bias, number)[None]
            for v, w in zip(step.inputs, step.weights, strict=True):
                total = total + values[v] @ objects(w.to_dense(), number).T
            values.append(total)
        elif isinstance(step, Elementwise):
            values.append(np.vectorize(functions[step.function], otypes=[object])(values[step.input]))
        else:
            values.append(values[step.inputs[0]] * values[step.inputs[1]])
    return values


def objects(numbers, number):
    """Float64 as exact numbers."""
    return np.vectorize(number, otypes=[object])(numbers.numpy())


def outside(interval, values):
    """How many exact values are surely not within float64 bounds."""
    count = 0
    for low, high, x in zip(interval.lower.flatten().tolist(), interval.upper.flatten().tolist(), values.flat, strict=True):
        if isinstance(x, arb):
            count += bool(arb(low) > x) or bool(x > arb(high))
        else:
            count += (low > -np.inf and rational(low) > x) or (high < np.inf and x > rational(high))
    return count


def float_values(program, points, order, dtype=torch.float32):
    """Every value at points in a network's arithmetic, sums taken in some order."""
    values = [p.to(dtype) for p in points]
    for step in program.steps:
        if isinstance(step, Affine):
            x = torch.cat([values[v] for v in step.inputs], 1)
            w = torch.cat([w.to_dense() for w in step.weights], 1).to(dtype)
            values.append(ORDERS[order](x, w, step.bias.to(dtype)))
        elif isinstance(step, Elementwise):
            values.append(FLOATS[step.function](values[step.input]))
        else:
            values.append(values[step.inputs[0]] * values[step.inputs[1]])
    return [v.double() for v in values]


def _library(x, w, b):
    return torch.nn.functional.linear(x, w, b)


def _forward(x, w, b):
    total = b.expand(len(x), len(b))
    for i in range(x.shape[1]):
        total = total + x[:, i : i + 1] * w[:, i]
    return total


def _backward(x, w, b):
    total = x[:, -1:] * w[:, -1]
    for i in range(x.shape[1] - 2, -1, -1):
        total = total + x[:, i : i + 1] * w[:, i]
    return total + b


def _fused(x, w, b):
    """Each product added without a rounding of its own: float64 holds what is rounded here exactly, or nearly."""
    total = torch.zeros(len(x), len(b), dtype=x.dtype)
    for i in range(x.shape[1]):
        total = (total.double() + x[:, i : i + 1].double() * w[:, i].double()).to(x.dtype)
    return total + b


def _pairwise(x, w, b):
    terms = [*(x[:, None] * w).unbind(2), b.expand(len(x), len(b))]
    while len(terms) > 1:
        terms = [sum(terms[i + 1 : i + 2], terms[i]) for i in range(0, len(terms), 2)]
    return terms[0]


ORDERS = {"library": _library, "forward": _forward, "backward": _backward, "fused": _fused, "pairwise": _pairwise}
