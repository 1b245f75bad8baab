"""Norms of layers, groups and batches, and variances."""

from math import ceil

import torch
from torch import Tensor

from commute.errors import NetworkError
from commute.proofs.programs.building import Builder, Numbers
from commute.proofs.programs.linear import Value, divided, multiplied, power_of_2, quotients


def centred(builder: Builder, rows: Tensor, roundings: int) -> Tensor:
    """The names of x - mean(x) for rows of numbers [rows, width]."""
    n = rows.shape[1]
    if n == 1:
        raise NetworkError("a norm over one number, which is left with nothing, has no rule")
    weights = n * torch.eye(n, dtype=torch.float64) - 1
    if power_of_2(n):
        weights = weights / n
    else:
        rows = divided(builder, Numbers(rows), n).names
    names = rows.unsqueeze(1).expand(len(rows), n, n).reshape(-1, n)
    return builder.sum(names, weights.repeat(len(rows), 1), roundings=roundings).reshape(rows.shape)


def variance(builder: Builder, rows: Tensor, *, eps: float = 0.0, correction: float = 0.0) -> Tensor:
    """The names of Σ(x - mean(x))²/(n - correction) + eps for rows of numbers [rows, width], [rows].

    Torch makes one pass with running means mₖ (Welford), by chunks and in lanes: it sums (xₖ - mₖ₋₁)(xₖ - mₖ). With no more than
    n numbers in a chain mₖ is off by about u(k/2)·max|mᵢ| + 3u·mean|x|, and |mᵢ| ≤ mean|x| + (S/i)^½ with S = Σc². So S is off by
    a part 2nu of itself, and by (8/3)^½·S^½·n^1.5·(u/2)·mean|x|, which is less than what n^1.5 roundings let c move S by, since
    Σ|c| ≥ S^½. Two passes stay within that. A difference of the mean square and the squared mean would not.
    """
    n = rows.shape[1]
    squares = builder.elementwise("square", centred(builder, rows, ceil(n**1.5) + n + 16))
    return quotients(builder, squares, n - correction, roundings=3 * n + 18, plus=eps)


def normalised(builder: Builder, rows: Tensor, eps: float) -> Tensor:
    """The names of (x - mean(x))·(variance + eps)^-½ for rows of numbers.

    Torch computes x·r - mean·r, whose error is a few u of (|x| + |mean|)·r. The roundings of x - mean(x), which are of |x| and
    mean|x|, allow that. The difference is made a second time for it, so that its error is not tied to that of the variance.
    """
    n = rows.shape[1]
    scale = builder.elementwise("rsqrt", variance(builder, rows, eps=eps))
    return builder.product(centred(builder, rows, n + 8), scale.unsqueeze(1))


def layer_norm(builder: Builder, x: Numbers, shape: list[int], weight: Value | None, bias: Value | None, eps: float) -> Numbers:
    """The layer norm over the last axes."""
    width = torch.Size(shape).numel()
    found = normalised(builder, x.names.reshape(-1, width), eps).reshape(x.shape)
    return shifted(builder, found, weight, bias)


def group_norm(builder: Builder, x: Numbers, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float) -> Numbers:
    """The norm over groups of channels of x [1, channel, …]."""
    found = normalised(builder, x.names.reshape(x.shape[0] * groups, -1), eps).reshape(x.shape)
    axes = (-1, *[1] * (x.names.ndim - 2))
    w, b = (None if z is None else z.reshape(axes) for z in (weight, bias))
    return shifted(builder, found, w, b)


def batch_norm(
    builder: Builder, x: Numbers, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float
) -> Numbers:
    """The norm by a stored mean and variance of each channel of x [1, channel, …].

    It may be computed as x·w + (b - mean·w), off by some u of (|x| + |mean|)|w|, which the roundings of x - mean allow. The scale
    is made by steps, as a number it would be rounded.
    """
    axes = (-1, *[1] * (x.names.ndim - 2))
    one = torch.ones(1, dtype=torch.float64)
    less = -builder.rounded(mean).reshape(axes).expand(x.shape).reshape(-1)
    centred = builder.sum(x.names.reshape(-1, 1), one, less, roundings=12).reshape(x.shape)
    variances = builder.sum(builder.constant(var).names.unsqueeze(1), one, builder.rounded(eps).expand(len(var)), roundings=2)
    found = builder.product(centred, builder.elementwise("rsqrt", variances).reshape(axes))
    w, b = (None if z is None else z.reshape(axes) for z in (weight, bias))
    return shifted(builder, found, w, b, roundings=12)


def shifted(builder: Builder, names: Tensor, weight: Value | None, bias: Value | None, roundings: int = 3) -> Numbers:
    """x·weight + bias, broadcast."""
    if isinstance(weight, Numbers) or isinstance(bias, Numbers):
        raise NetworkError("a norm whose weight or bias depends on the input has no rule")
    if weight is None and bias is None:
        return Numbers(names)
    w = torch.ones(1, dtype=torch.float64) if weight is None else builder.rounded(weight)
    b = None if bias is None else builder.rounded(bias).expand(names.shape).reshape(-1)
    found = builder.sum(names.reshape(-1, 1), w.expand(names.shape).reshape(-1, 1), b, roundings=roundings)
    return Numbers(found.reshape(names.shape))


def rms_norm(builder: Builder, x: Numbers, width: int, weight: Value | None, eps: float) -> Numbers:
    """x·(mean(x²) + eps)^-½·weight over the last numbers."""
    rows = x.names.reshape(-1, width)
    squares = builder.elementwise("square", rows)
    scale = builder.elementwise("rsqrt", quotients(builder, squares, width, roundings=width + 8, plus=eps))
    found = Numbers(builder.product(rows, scale.unsqueeze(1)).reshape(x.shape))
    return found if weight is None else multiplied(builder, found, weight)
