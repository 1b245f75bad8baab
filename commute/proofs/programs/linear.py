"""Operations that are linear in what varies, and products of two things that vary."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from commute.errors import NetworkError
from commute.proofs.programs.building import Builder, Numbers, alike

Axes = Sequence[int] | int | None
_FACTOR = 4  # roundings of what is scaled by a constant on the way, in any order and fused or not
Value = Numbers | Tensor | float | int  # what varies, a constant tensor, or a plain number


def names_of(builder: Builder, x: Value) -> Tensor:
    """The names of what varies or of a constant."""
    return x.names if isinstance(x, Numbers) else builder.constant(x).names


def kept(builder: Builder, x: Value) -> Numbers:
    """What varies, or a constant as if it did: what is computed of it is exact, where torch's own result would be rounded."""
    return Numbers(names_of(builder, x))


def scaled(builder: Builder, x: Numbers, weights: Tensor | float, *, roundings: int = 1) -> Numbers:
    """X times constants, broadcast against each other."""
    names, w = alike(x.names, builder.rounded(weights))
    if bool((w == 1).all()):
        return Numbers(names)
    found = builder.sum(names.reshape(-1, 1), w.reshape(-1, 1), roundings=0 if bool((w.abs() == 1).all()) else roundings)
    return Numbers(found.reshape(names.shape))


def times(builder: Builder, x: Value, factor: float) -> Value:
    """X times a factor that an operation is told, where it may be put in at any place."""
    return x if factor == 1 else scaled(builder, kept(builder, x), factor, roundings=_FACTOR)


def multiplied(builder: Builder, x: Value, y: Value) -> Numbers:
    """x·y, number by number."""
    if not isinstance(y, Numbers):
        return scaled(builder, kept(builder, x), y)
    return Numbers(builder.product(x.names, y.names)) if isinstance(x, Numbers) else scaled(builder, y, x)


def divided(builder: Builder, x: Value, y: Value) -> Numbers:
    """x/y, number by number. What is divided by a constant is multiplied with what a step makes of it, which is exactly 1/y."""
    if isinstance(y, Numbers):
        return multiplied(builder, x, Numbers(builder.elementwise("reciprocal", y.names)))
    w = builder.rounded(y)
    if bool((w == 0).any()):
        raise NetworkError("it divides by a constant that is 0")
    if power_of_2(w):
        return scaled(builder, kept(builder, x), 1 / w)
    names, w = alike(kept(builder, x).names, w)
    return Numbers(builder.product(scaled(builder, Numbers(names), w.sign()).names, inverse(builder, w.abs())))


def power_of_2(x: Tensor | float) -> bool:
    """Whether all are powers of 2, so that 1/x is no more rounded than they are."""
    return bool((torch.frexp(torch.as_tensor(x, dtype=torch.float64)).mantissa.abs() == 1 / 2).all())


def inverse(builder: Builder, x: Tensor | float) -> Tensor:
    """The names of 1/x of positive constants."""
    return builder.elementwise("reciprocal", builder.constant(x).names)


def added(builder: Builder, x: Value, y: Value, *, alpha: float = 1, roundings: int = 1) -> Numbers:
    """X + alpha·y, number by number. Where a constant is -∞ so is the sum, and where it is 0 nothing is added."""
    if alpha not in (1, -1):
        y, alpha = times(builder, y, alpha), 1
    pairs = torch.stack(alike(names_of(builder, x), names_of(builder, y)), -1)
    signs = torch.tensor([1.0, alpha], dtype=torch.float64)
    fixed = builder.constants(pairs) * signs
    a, b = pairs.unbind(-1)
    found = torch.where(b == 0, a, b)
    low = (fixed == -torch.inf).any(-1)
    found = torch.where(low, builder.constant(-torch.inf).names, found)
    left = ~low & (b != 0) & ((a != 0) | (alpha != 1))
    if bool(left.any()):
        one = (fixed[left] != 0).sum(-1, keepdim=True) == 1  # a constant is the bias, unless both are constants
        terms = torch.where(one, pairs[left].clamp(min=0), pairs[left])
        bias = torch.where(one, fixed[left], 0).sum(-1)
        found = found.masked_scatter(left, builder.sum(terms, signs, bias, roundings=roundings))
    return Numbers(found)


def subtracted(builder: Builder, x: Value, y: Value, *, alpha: float = 1) -> Numbers:
    """X - alpha·y, number by number."""
    return added(builder, x, y, alpha=-alpha)


def matrices_multiplied(builder: Builder, x: Value, y: Value, bias: Value | None = None, *, more: int = 0) -> Numbers:
    """The product of matrices, or of stacks of equally many, plus a bias; `more` are roundings beside those of the sums."""
    if not isinstance(y, Numbers):
        names, weights = names_of(builder, x).unsqueeze(-2), builder.rounded(y).transpose(-1, -2).unsqueeze(-3)
    elif isinstance(x, Numbers):
        names = builder.product(x.names.unsqueeze(-2), y.names.transpose(-1, -2).unsqueeze(-3))
        weights = torch.ones(1, dtype=torch.float64)
    else:
        names, weights = y.names.transpose(-1, -2).unsqueeze(-3), builder.rounded(x).unsqueeze(-2)
    names, weights = alike(names, weights)
    shape = names.shape[:-1]
    n = names.shape[-1]
    return with_bias(builder, names.reshape(-1, n), weights.reshape(-1, n), bias, shape, more=more)


def with_bias(
    builder: Builder, names: Tensor, weights: Tensor, bias: Value | None, shape: Sequence[int], *, more: int = 0
) -> Numbers:
    """Sums of products [out, terms], to which a bias, which may vary, is added."""
    offset = None
    if isinstance(bias, Numbers):
        names = torch.cat([names, bias.names.expand(*shape).reshape(-1, 1)], 1)
        weights = torch.cat([weights, torch.ones(len(weights), 1, dtype=torch.float64)], 1)
    elif bias is not None:
        offset = builder.rounded(bias).expand(*shape).reshape(-1)
    return Numbers(builder.sum(names, weights, offset, more=more).reshape(tuple(shape)))


@dataclass(frozen=True)
class Windows:
    """The windows of a convolution or a pooling, along the last axes.

    Attributes:
        size: of a window.
        stride: from one to the next.
        padding: on both sides.
        dilation: from one place of a window to the next.
    """

    size: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]

    @classmethod
    def of(
        cls, size: Sequence[int], stride: Sequence[int] | None, padding: Sequence[int] | None, dilation: Sequence[int] | None
    ) -> "Windows":
        """As torch is told them: nothing for the default, and one number for all axes."""
        n = len(size)
        given = [stride or size, padding or [0], dilation or [1]]
        return cls(size, *(list(z) * n if len(z) == 1 else list(z) for z in given))

    def names(self, x: Tensor, *, fill: int = 0) -> Tensor:
        """The windows of names [batch, channel, …], [batch, channel, place…, window…]; `fill` is the name of what is padded."""
        windows = pad(x, [p for each in reversed(self.padding) for p in (each, each)], value=fill)
        for axis, (k, s, d) in enumerate(zip(self.size, self.stride, self.dilation, strict=True)):
            windows = windows.unfold(2 + axis, d * (k - 1) + 1, s)[..., ::d]
        return windows


def convolved(builder: Builder, x: Numbers, weight: Tensor, bias: Tensor | None, windows: Windows, groups: int) -> Numbers:
    """The convolution of x [batch, channel, …] along its last axes, by sums of products in any order."""
    names = windows.names(x.names)
    places = names.shape[2 : 2 + len(windows.size)]
    n, channels = names.shape[:2]
    w = builder.rounded(weight).reshape(groups, -1, 1, weight[0].numel())  # [group, channel, 1, terms]
    found = names.reshape(n, groups, channels // groups, places.numel(), -1).permute(0, 1, 3, 2, 4).flatten(3).unsqueeze(2)
    found, w = alike(found, w)  # [batch, group, channel, place, terms]
    offset = None if bias is None else builder.rounded(bias).reshape(groups, -1, 1).expand(found.shape[:-1]).reshape(-1)
    summed = builder.sum(found.reshape(-1, found.shape[-1]), w.reshape(-1, found.shape[-1]), offset)
    return Numbers(summed.reshape(n, -1, *places))


def summed(builder: Builder, x: Numbers, axes: Axes = None, keepdim: int = 0) -> Numbers:
    """The sum along axes."""
    rows, shape = rows_of(x, axes, keepdim)
    found = builder.sum(rows, torch.ones(1, dtype=torch.float64), roundings=rows.shape[1])
    return Numbers(found.reshape(shape))


def averaged(builder: Builder, x: Numbers, axes: Axes = None, keepdim: int = 0) -> Numbers:
    """The mean along axes; two roundings more are the quotient's."""
    rows, shape = rows_of(x, axes, keepdim)
    n = rows.shape[1]
    return Numbers(quotients(builder, rows, n, roundings=n + 2).reshape(shape))


def quotients(builder: Builder, rows: Tensor, over: float, *, roundings: int, plus: float = 0.0) -> Tensor:
    """The names of the sum of each row [rows, width] over a constant, plus another, [rows]."""
    if over <= 0:
        raise NetworkError(f"{rows.shape[1]} numbers have no mean over {over:g}")
    offset = builder.rounded(plus).expand(len(rows))
    if power_of_2(over):
        return builder.sum(rows, torch.full((1,), 1 / over, dtype=torch.float64), offset, roundings=roundings)
    one = torch.ones(1, dtype=torch.float64)
    found = builder.product(builder.sum(rows, one, roundings=roundings), inverse(builder, over))
    return builder.sum(found.unsqueeze(1), one, offset, roundings=_FACTOR) if plus else found


def rows_of(x: Numbers, axes: Axes, keepdim: int) -> tuple[Tensor, list[int]]:
    """What is put together along axes as rows of names, and the shape of what comes of it."""
    every = range(x.names.ndim)
    listed = [axes] if isinstance(axes, int) else list(axes or every)
    gone = [every[a] for a in listed]
    kept = [a for a in every if a not in gone]
    rows = x.names.permute(*kept, *gone).reshape(torch.Size(x.shape[a] for a in kept).numel(), -1)
    return rows, [1 if a in gone else x.shape[a] for a in every if keepdim or a in kept]


def accumulated(builder: Builder, x: Numbers, axis: int) -> Numbers:
    """The sums up to each place of an axis."""
    names = x.names.movedim(axis, -1)
    n = names.shape[-1]
    rows = names.unsqueeze(-2).expand(*names.shape, n).reshape(-1, n)
    weights = torch.ones(n, n, dtype=torch.float64).tril().repeat(len(rows) // n, 1)
    return Numbers(builder.sum(rows, weights, roundings=n).reshape(names.shape).movedim(-1, axis))
