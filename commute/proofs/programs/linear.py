"""Operations that are linear in what varies, and products of two things that vary."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from commute.errors import NetworkError
from commute.proofs.programs.building import Builder, Numbers, alike

Axes = Sequence[int] | int | None
_DOUBLE = 2.0**-53
Value = Numbers | Tensor | float | int  # what varies, a constant tensor, or a plain number


def names_of(builder: Builder, x: Value) -> Tensor:
    """The names of what varies or of a constant."""
    return x.names if isinstance(x, Numbers) else builder.constant(torch.as_tensor(x)).names


def representable(x: Value, unit: float) -> bool:
    """Whether constants are numbers of the network's arithmetic, exactly."""
    values = torch.as_tensor(x, dtype=torch.float64)
    return torch.equal(values.to(torch.float32 if unit > _DOUBLE else torch.float64).double(), values)


def scaled(builder: Builder, x: Value, weights: Value) -> Numbers:
    """X times constants, broadcast against each other."""
    if not isinstance(x, Numbers):
        raise NetworkError("two constants are multiplied")  # torch has done so before
    w = torch.as_tensor(weights, dtype=torch.float64)
    names, w = alike(x.names, w)
    if bool((w == 1).all()):
        return Numbers(names)
    exact = representable(w, builder.unit)
    signs = bool((w.abs() == 1).all())
    roundings = 0 if signs else 1 if exact else 2  # the second for the weight's own
    found = builder.sum(names.reshape(-1, 1), w.reshape(-1, 1), roundings=roundings)
    return Numbers(found.reshape(names.shape))


def multiplied(builder: Builder, x: Value, y: Value) -> Numbers:
    """x·y, number by number."""
    if isinstance(x, Numbers) and isinstance(y, Numbers):
        return Numbers(builder.product(x.names, y.names))
    return scaled(builder, x, y) if isinstance(x, Numbers) else scaled(builder, y, x)


def divided(builder: Builder, x: Value, y: Value) -> Numbers:
    """x/y, number by number."""
    if isinstance(y, Numbers):
        return multiplied(builder, x, Numbers(builder.elementwise("reciprocal", y.names)))
    w = 1 / torch.as_tensor(y, dtype=torch.float64)
    if not isinstance(x, Numbers):
        raise NetworkError("two constants are divided")
    names, w = alike(x.names, w)
    if bool((w == 1).all()):
        return Numbers(names)
    found = builder.sum(names.reshape(-1, 1), w.reshape(-1, 1), roundings=3)  # of y, of 1/y as it is kept, and of the quotient
    return Numbers(found.reshape(names.shape))


def added(builder: Builder, x: Value, y: Value, *, alpha: float = 1) -> Numbers:
    """X + alpha·y, number by number. Where a constant is -∞ so is the sum, and where it is 0 nothing is added."""
    if alpha not in (1, -1):
        y, alpha = multiplied(builder, y, alpha) if isinstance(y, Numbers) else torch.as_tensor(y).double() * alpha, 1
    pairs = torch.stack(alike(names_of(builder, x), names_of(builder, y)), -1)
    signs = torch.tensor([1.0, alpha], dtype=torch.float64)
    fixed = builder.constants(pairs) * signs
    a, b = pairs.unbind(-1)
    found = torch.where(b == 0, a, b)
    low = (fixed == -torch.inf).any(-1)
    found = torch.where(low, builder.constant(torch.tensor(-torch.inf)).names, found)
    left = ~low & (b != 0) & ((a != 0) | (alpha != 1))
    if bool(left.any()):
        one = (fixed[left] != 0).sum(-1, keepdim=True) == 1  # a constant is the bias, unless both are constants
        terms = torch.where(one, pairs[left].clamp(min=0), pairs[left])
        bias = torch.where(one, fixed[left], 0).sum(-1)
        inexact = not all(isinstance(z, Numbers) or representable(z, builder.unit) for z in (x, y))
        found = found.masked_scatter(left, builder.sum(terms, signs, bias, roundings=2 if inexact else 1))
    return Numbers(found)


def subtracted(builder: Builder, x: Value, y: Value, *, alpha: float = 1) -> Numbers:
    """X - alpha·y, number by number."""
    return added(builder, x, y, alpha=-alpha)


def matrices_multiplied(builder: Builder, x: Value, y: Value, bias: Value | None = None) -> Numbers:
    """The product of matrices, or of stacks of equally many, plus a bias; at least one of the two varies."""
    if isinstance(x, Numbers) and isinstance(y, Numbers):
        names = builder.product(x.names.unsqueeze(-2), y.names.transpose(-1, -2).unsqueeze(-3))
        weights = torch.ones(1, dtype=torch.float64)
    elif isinstance(x, Numbers):
        names, weights = x.names.unsqueeze(-2), torch.as_tensor(y).detach().double().transpose(-1, -2).unsqueeze(-3)
    else:
        names, weights = names_of(builder, y).transpose(-1, -2).unsqueeze(-3), torch.as_tensor(x).detach().double().unsqueeze(-2)
    names, weights = alike(names, weights)
    shape = names.shape[:-1]
    return with_bias(builder, names.reshape(-1, names.shape[-1]), weights.reshape(-1, names.shape[-1]), bias, shape)


def with_bias(builder: Builder, names: Tensor, weights: Tensor, bias: Value | None, shape: Sequence[int]) -> Numbers:
    """Sums of products [out, terms], to which a bias, which may vary, is added."""
    offset = None
    if isinstance(bias, Numbers):
        names = torch.cat([names, bias.names.expand(*shape).reshape(-1, 1)], 1)
        weights = torch.cat([weights, torch.ones(len(weights), 1, dtype=torch.float64)], 1)
    elif bias is not None:
        offset = torch.as_tensor(bias).double().expand(*shape).reshape(-1)
    return Numbers(builder.sum(names, weights, offset).reshape(tuple(shape)))


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
    w = weight.detach().double().reshape(groups, -1, 1, weight[0].numel())  # [group, channel, 1, terms]
    found = names.reshape(n, groups, channels // groups, places.numel(), -1).permute(0, 1, 3, 2, 4).flatten(3).unsqueeze(2)
    found, w = alike(found, w)  # [batch, group, channel, place, terms]
    offset = None if bias is None else bias.detach().double().reshape(groups, -1, 1).expand(found.shape[:-1]).reshape(-1)
    summed = builder.sum(found.reshape(-1, found.shape[-1]), w.reshape(-1, found.shape[-1]), offset)
    return Numbers(summed.reshape(n, -1, *places))


def summed(builder: Builder, x: Numbers, axes: Axes = None, keepdim: int = 0) -> Numbers:
    """The sum along axes."""
    rows, shape = rows_of(x, axes, keepdim)
    found = builder.sum(rows, torch.ones(1, dtype=torch.float64), roundings=rows.shape[1])
    return Numbers(found.reshape(shape))


def averaged(builder: Builder, x: Numbers, axes: Axes = None, keepdim: int = 0) -> Numbers:
    """The mean along axes; two roundings more are the quotient's, and that of 1/n as it is kept."""
    rows, shape = rows_of(x, axes, keepdim)
    n = rows.shape[1]
    found = builder.sum(rows, torch.full((1,), 1 / n, dtype=torch.float64), roundings=n + 2)
    return Numbers(found.reshape(shape))


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
