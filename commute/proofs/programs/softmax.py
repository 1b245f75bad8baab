"""The softmax, by differences of its numbers: p_i = 1/Σⱼexp(xⱼ - xᵢ)."""

from math import ceil, log

import torch
from torch import Tensor

from commute.errors import NetworkError
from commute.proofs.programs.building import Builder, distinct_of

_LOW = -1e4  # what adds this to a number, or puts it in its place, means to leave it out
_EXPONENT = 4  # roundings of a difference
_FUSED = 96  # roundings of exp in fused kernels (20 units in the last place, of two numbers), of the sum and of the quotient


def softmax(builder: Builder, rows: Tensor, *, safe: bool = False) -> Tensor:
    """The names of the softmax of each row [rows, width]; a place with -∞ is left out.

    Torch subtracts the largest, m, before it takes exponentials. With aⱼ = m - xⱼ its exponents are off by u·aⱼ, so pᵢ is off by
    a part u(aᵢ + Σpⱼaⱼ) and some roundings that are the same for all. Σpⱼaⱼ is at most the entropy of p, so at most log n, and
    aᵢ ≤ |xᵢ| + |m| ≤ |xᵢ| + Σpⱼ|xⱼ| + log n. The first two are what one rounding of each difference allows; it has four. The rest
    is among the roundings of the sum. What underflows is smaller than `tiny`, which the reciprocal allows.

    A place that a constant takes far down (a mask of finite numbers) is exp(xᵢ - xᵣ)·pᵣ by a place r of its row that is not, as
    its own differences could be too large for exp. A row that leaves out all places is an error, or zeros where it is `safe`.

    Args:
        builder: what steps are added to.
        rows: names, [rows, width].
        safe: whether a row may leave out all places.
    """
    found = torch.zeros_like(rows)
    out = builder.constants(rows) == -torch.inf
    empty = out.all(1)
    if not safe and bool(empty.any()):
        raise NetworkError("a softmax leaves out all places of a row, which gives no number")
    low = (builder.bias_of(rows) <= _LOW) & ~out
    low &= ~(low | out).all(1, keepdim=True)
    for kept in distinct_of(~out[~empty], rows=True)[0]:  # rows that leave out the same places have equally many terms
        here = (~out == kept).all(1)
        found[here.unsqueeze(1) & kept] = _of(builder, rows[here][:, kept], low[here][:, kept]).flatten()
    return found


def _of(builder: Builder, rows: Tensor, low: Tensor) -> Tensor:
    """The softmax of rows that leave nothing out."""
    count, n = rows.shape
    if n == 1:
        return builder.constant(torch.ones(rows.shape)).names
    i, j = (torch.cartesian_prod(torch.arange(n), torch.arange(n - 1))).unbind(1)
    j = j + (j >= i)  # all pairs of different places
    pairs = torch.stack([rows[:, j], rows[:, i]], -1)  # [row, pair, 2]
    wanted = ~low[:, i]
    exponentials = torch.zeros(count, n * (n - 1), dtype=torch.int64)
    exponentials[wanted] = _exponentials(builder, pairs[wanted])
    terms = exponentials.reshape(count, n, n - 1)[~low]
    one = torch.ones(len(terms), dtype=torch.float64)
    sums = builder.sum(terms, one[:1], one, roundings=n + _FUSED + 2 * ceil(log(n)))
    found = torch.zeros_like(rows)
    found[~low] = builder.elementwise("reciprocal", sums)
    if bool(low.any()):
        reference = (~low).int().argmax(1, keepdim=True)
        apart = torch.stack([rows[low], rows.gather(1, reference).expand(count, n)[low]], -1)
        beside = found.gather(1, reference).expand(count, n)[low]
        found[low] = builder.product(_exponentials(builder, apart), beside)
    return found


def _exponentials(builder: Builder, pairs: Tensor) -> Tensor:
    """The names of exp(x - y) for pairs [pairs, 2]."""
    signs = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    return builder.elementwise("exp", builder.sum(pairs, signs, roundings=_EXPONENT))
