"""Operations that bend: powers, maxima and what is made of them."""

from typing import Any

import torch
from torch import Tensor

from commute.errors import NetworkError
from commute.proofs.programs.building import Builder, Numbers, alike
from commute.proofs.programs.linear import (
    Axes,
    Value,
    Windows,
    added,
    averaged,
    multiplied,
    names_of,
    rows_of,
    scaled,
    subtracted,
    summed,
)
from commute.proofs.programs.norms import variance
from commute.proofs.programs.program import Function

_POWERS: dict[float, tuple[Function, ...]] = {
    2: ("square",),
    4: ("square", "square"),
    -1: ("reciprocal",),
    -2: ("square", "reciprocal"),
    0.5: ("sqrt",),
    -0.5: ("rsqrt",),
}
_CUBE = 3


def power(builder: Builder, x: Value, exponent: Value) -> Numbers:
    """X to a plain power."""
    if isinstance(exponent, Tensor) and exponent.numel() == 1:
        exponent = exponent.item()
    if not isinstance(x, Numbers) or not isinstance(exponent, (int, float)):
        raise NetworkError("a power whose exponent depends on the input has no rule")
    if exponent == 1:
        return x
    if exponent == _CUBE:
        return Numbers(builder.product(builder.elementwise("square", x.names), x.names))
    if exponent not in _POWERS:
        raise NetworkError(f"the power {exponent} has no rule; there are {', '.join(map(str, (1, _CUBE, *_POWERS)))}")
    names = x.names
    for function in _POWERS[exponent]:
        names = builder.elementwise(function, names)
    return Numbers(names)


def larger(builder: Builder, x: Value, y: Value) -> Numbers:
    """The larger of two, number by number, as y + relu(x - y)."""
    a, b = alike(names_of(builder, x), names_of(builder, y))
    lowest = builder.constant(-torch.inf).names
    found = torch.where(a == lowest, b, a)
    both = (a != lowest) & (b != lowest) & (a != b)
    if bool(both.any()):
        rest = Numbers(builder.elementwise("relu", subtracted(builder, Numbers(a[both]), Numbers(b[both])).names))
        found = found.masked_scatter(both, added(builder, Numbers(b[both]), rest).names)
    return Numbers(found)


def smaller(builder: Builder, x: Value, y: Value) -> Numbers:
    """The smaller of two, number by number."""
    negated = [-z if not isinstance(z, Numbers) else scaled(builder, z, -1) for z in (x, y)]
    return scaled(builder, larger(builder, *negated), -1)


def clamped(builder: Builder, x: Numbers, low: Value | None = None, high: Value | None = None) -> Numbers:
    """X kept from `low` to `high`."""
    if low is not None:
        zero = isinstance(low, (int, float)) and low == 0
        x = Numbers(builder.elementwise("relu", x.names)) if zero else larger(builder, x, low)
    return x if high is None else smaller(builder, x, high)


def hard_tanh(builder: Builder, x: Numbers, low: float = -1.0, high: float = 1.0) -> Numbers:
    """X kept from `low` to `high`."""
    return clamped(builder, x, low, high)


def leaky(builder: Builder, x: Numbers, slope: float = 0.01) -> Numbers:
    """slope·x + relu(x) - slope·relu(x), whose weights are not rounded."""
    positive, s = builder.elementwise("relu", x.names), float(builder.rounded(slope))
    terms = torch.stack([x.names, positive, positive], -1).reshape(-1, 3)
    return Numbers(builder.sum(terms, torch.tensor([[s, 1.0, -s]], dtype=torch.float64), roundings=3).reshape(x.shape))


def threshold(builder: Builder, x: Numbers, at: float, value: float) -> Numbers:
    """The relu, where it is one."""
    if at or value:
        raise NetworkError("a threshold other than the relu has no rule")
    return Numbers(builder.elementwise("relu", x.names))


def gelu(builder: Builder, x: Numbers, *, approximate: str = "none") -> Numbers:
    """x·Φ(x), or its approximation with tanh."""
    return Numbers(builder.elementwise("gelu_tanh" if approximate == "tanh" else "gelu", x.names))


def largest(builder: Builder, x: Numbers, axes: Axes = None, keepdim: int = 0) -> Numbers:
    """The maximum along axes."""
    rows, shape = rows_of(x, axes, keepdim)
    return Numbers(_largest(builder, rows).reshape(shape))


def _largest(builder: Builder, rows: Tensor) -> Tensor:
    while rows.shape[1] > 1:
        half = rows.shape[1] // 2
        joined = larger(builder, Numbers(rows[:, :half]), Numbers(rows[:, half : 2 * half])).names
        rows = torch.cat([joined, rows[:, 2 * half :]], 1)
    return rows[:, 0]


def pooled(
    builder: Builder, x: Numbers, size: list[int], stride: list[int] | None = None, padding: list[int] | None = None, *rest: Any
) -> tuple[Numbers]:
    """The maximum of each window; where it is, is not among what is given back."""
    dilation, ceil_mode = rest + (None, False)[len(rest) :]
    if ceil_mode:
        raise NetworkError("pooling with ceil_mode has no rule")
    lowest = int(builder.constant(-torch.inf).names)
    windows = _batched(x, len(size), Windows.of(size, stride, padding, dilation), fill=lowest)
    return (Numbers(_largest(builder, windows.flatten(0, -2)).reshape(windows.shape[:-1])),)


def average_pooled(
    builder: Builder, x: Numbers, size: list[int], stride: list[int] | None = None, padding: list[int] | None = None, *rest: Any
) -> Numbers:
    """The mean of each window."""
    ceil_mode, counted, divisor = rest + (False, True, None)[len(rest) :]
    if ceil_mode or divisor or (any(padding or []) and not counted):
        raise NetworkError("average pooling with ceil_mode, a divisor or padding that is not counted has no rule")
    return averaged(builder, Numbers(_batched(x, len(size), Windows.of(size, stride, padding, None))), -1)


def _batched(x: Numbers, axes: int, windows: Windows, *, fill: int = 0) -> Tensor:
    """Windows of x [batch, channel, …] or [channel, …], the places of each along the last axis."""
    if x.names.ndim == axes + 2:
        return windows.names(x.names, fill=fill).flatten(-axes)
    return windows.names(x.names.unsqueeze(0), fill=fill).flatten(-axes).squeeze(0)


def adaptive_pooled(builder: Builder, x: Numbers, size: list[int]) -> Numbers:
    """The mean of equal parts of the last axes."""
    shape = list(x.shape[-len(size) :])
    if any(n % k for n, k in zip(shape, size, strict=True)):
        raise NetworkError(f"adaptive pooling of {shape} to {size} parts that are not equal has no rule")
    return average_pooled(builder, x, [n // k for n, k in zip(shape, size, strict=True)])


def spread(builder: Builder, x: Numbers, axes: Axes = None, *, correction: float | None = None, keepdim: int = 0) -> Numbers:
    """The variance along axes."""
    rows, shape = rows_of(x, axes, keepdim)
    return Numbers(variance(builder, rows, correction=1 if correction is None else correction).reshape(shape))


def spread_and_mean(
    builder: Builder, x: Numbers, axes: Axes = None, *, correction: float | None = None, keepdim: int = 0
) -> tuple[Numbers, Numbers]:
    """The variance and the mean along axes."""
    return spread(builder, x, axes, correction=correction, keepdim=keepdim), averaged(builder, x, axes, keepdim)


def deviation(builder: Builder, x: Numbers, axes: Axes = None, *, correction: float | None = None, keepdim: int = 0) -> Numbers:
    """The standard deviation along axes."""
    found = spread(builder, x, axes, correction=correction, keepdim=keepdim)
    return Numbers(builder.elementwise("sqrt", found.names))


def length(builder: Builder, x: Numbers, order: float = 2, axes: Axes = None, keepdim: int = 0) -> Numbers:
    """The Euclidean norm along axes."""
    if order != 2:  # noqa: PLR2004
        raise NetworkError(f"a norm of order {order} has no rule; that of order 2 has")
    squares = summed(builder, Numbers(builder.elementwise("square", x.names)), axes, keepdim)
    return Numbers(builder.elementwise("sqrt", squares.names))


def weighted_product(builder: Builder, x: Value, y: Value, z: Value, *, value: float = 1) -> Numbers:
    """X + value·y·z, number by number."""
    return added(builder, x, multiplied(builder, y, z), alpha=value)
