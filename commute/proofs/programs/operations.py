"""The rules of torch's operations: which steps each of them is."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from commute.errors import NetworkError
from commute.proofs.programs import linear, nonlinear, norms
from commute.proofs.programs.building import Builder, Numbers
from commute.proofs.programs.linear import Value, added, kept, matrices_multiplied, multiplied, times
from commute.proofs.programs.program import Function
from commute.proofs.programs.softmax import softmax

Rule = Callable[..., Any]  # a builder and what the operation is called with -> what it gives, by the names of numbers


def _each(function: Function, builder: Builder, x: Numbers) -> Numbers:
    return Numbers(builder.elementwise(function, x.names))


def _negated(builder: Builder, x: Numbers) -> Numbers:
    return linear.scaled(builder, x, -1.0)


def _subtracted_from(builder: Builder, x: Value, y: Value, alpha: float = 1) -> Numbers:
    return added(builder, y, x, alpha=-alpha)


def _applied(builder: Builder, x: Value, y: Value) -> Numbers:
    """A matrix times a vector."""
    return Numbers(matrices_multiplied(builder, x, _unsqueezed(y, 1)).names.squeeze(1))


def _dot(builder: Builder, x: Value, y: Value) -> Numbers:
    return Numbers(matrices_multiplied(builder, _unsqueezed(x, 0), _unsqueezed(y, 1)).names.reshape(()))


def _unsqueezed(x: Value, axis: int) -> Value:
    return Numbers(x.names.unsqueeze(axis)) if isinstance(x, Numbers) else torch.as_tensor(x).unsqueeze(axis)


def _added_product(builder: Builder, bias: Value, x: Value, y: Value, *, beta: float = 1, alpha: float = 1) -> Numbers:
    """beta·bias + alpha·x @ y."""
    x = x if isinstance(y, Numbers) else kept(builder, x)
    if alpha == beta == 1:
        return matrices_multiplied(builder, x, y, bias)
    product = kept(builder, times(builder, matrices_multiplied(builder, x, y, more=4), alpha))
    if beta == 0:
        return product
    terms = kept(builder, y).shape[-2]  # a bias may be what their sum begins with
    return added(builder, product, times(builder, bias, beta), roundings=terms + 4)


def _linear(builder: Builder, x: Value, weight: Value, bias: Value | None = None) -> Numbers:
    if isinstance(weight, Numbers) or not isinstance(x, Numbers):
        raise NetworkError("a linear layer whose weight depends on the input has no rule")
    rows = Numbers(x.names.reshape(-1, x.shape[-1]))
    found = matrices_multiplied(builder, rows, torch.as_tensor(weight).T, bias)
    return Numbers(found.names.reshape(*x.shape[:-1], -1))


def _convolution(builder: Builder, x: Value, weight: Value, bias: Value | None, *rest: Any) -> Numbers:
    stride, padding, dilation, transposed, _, groups = rest
    if transposed or not isinstance(x, Numbers) or not isinstance(weight, Tensor) or isinstance(bias, Numbers):
        raise NetworkError("a convolution that is transposed, or whose weights depend on the input, has no rule")
    if builder.dtype == torch.float32 and not (torch.backends.mkldnn.enabled and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        raise NetworkError(
            "without oneDNN torch may compute convolutions by transforms (Winograd), which round otherwise than sums do; "
            "use a torch with oneDNN and leave torch.backends.mkldnn enabled, or use float64"
        )
    windows = linear.Windows.of(weight.shape[2:], stride, padding, dilation)
    return linear.convolved(builder, x, weight, None if bias is None else torch.as_tensor(bias), windows, groups)


def _layer_norm(
    builder: Builder, x: Numbers, shape: list[int], weight: Value | None, bias: Value | None, eps: float
) -> tuple[Numbers]:
    return (norms.layer_norm(builder, x, shape, weight, bias, eps),)


def _group_norm(builder: Builder, x: Numbers, weight: Tensor | None, bias: Tensor | None, *rest: Any) -> tuple[Numbers]:
    *_, groups, eps = rest
    return (norms.group_norm(builder, x, weight, bias, groups, eps),)


def _batch_norm(
    builder: Builder, x: Numbers, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, *rest: Any
) -> tuple[Numbers]:
    *training, _, eps = rest
    if any(training):
        raise NetworkError("a batch norm in training has no rule; call module.eval()")
    return (norms.batch_norm(builder, x, weight, bias, mean, var, eps),)


def _rms_norm(builder: Builder, x: Numbers, shape: list[int], weight: Value | None, eps: float | None) -> tuple[Numbers]:
    eps = (2 * builder.unit) if eps is None else eps
    return (norms.rms_norm(builder, x, torch.Size(shape).numel(), weight, eps),)


def _softmax(builder: Builder, x: Numbers, axis: int, *_: Any, safe: bool = False) -> Numbers:
    moved = x.names.movedim(axis, -1)
    found = softmax(builder, moved.reshape(-1, moved.shape[-1]), safe=safe)
    return Numbers(found.reshape(moved.shape).movedim(-1, axis))


def _largest_and_where(builder: Builder, x: Numbers, axis: int, keepdim: int = 0) -> tuple[Numbers]:
    return (nonlinear.largest(builder, x, axis, keepdim),)


_EACH: tuple[Function, ...] = ("relu", "abs", "square", "reciprocal", "sqrt", "rsqrt", "exp", "tanh", "sigmoid", "silu")

RULES: Mapping[str, Rule] = {
    **{name: partial(_each, name) for name in _EACH},
    "_adaptive_avg_pool2d": nonlinear.adaptive_pooled,
    "_fused_rms_norm": _rms_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "_safe_softmax": partial(_softmax, safe=True),
    "_softmax": _softmax,
    "adaptive_avg_pool1d": nonlinear.adaptive_pooled,
    "add": added,
    "addcmul": nonlinear.weighted_product,
    "addmm": _added_product,
    "amax": nonlinear.largest,
    "avg_pool1d": nonlinear.average_pooled,
    "avg_pool2d": nonlinear.average_pooled,
    "baddbmm": _added_product,
    "bmm": matrices_multiplied,
    "clamp": nonlinear.clamped,
    "clamp_max": lambda builder, x, high: nonlinear.clamped(builder, x, None, high),
    "clamp_min": nonlinear.clamped,
    "convolution": _convolution,
    "cumsum": linear.accumulated,
    "div": linear.divided,
    "dot": _dot,
    "gelu": nonlinear.gelu,
    "hardtanh": nonlinear.hard_tanh,
    "leaky_relu": nonlinear.leaky,
    "linalg_vector_norm": nonlinear.length,
    "linear": _linear,
    "max": _largest_and_where,
    "max_pool2d_with_indices": nonlinear.pooled,
    "maximum": nonlinear.larger,
    "mean": linear.averaged,
    "minimum": nonlinear.smaller,
    "mm": matrices_multiplied,
    "mul": multiplied,
    "mv": _applied,
    "native_batch_norm": _batch_norm,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    "neg": _negated,
    "norm": nonlinear.length,
    "pow": nonlinear.power,
    "rsub": _subtracted_from,
    "std": nonlinear.deviation,
    "sub": linear.subtracted,
    "sum": linear.summed,
    "threshold": nonlinear.threshold,
    "true_divide": linear.divided,
    "var": nonlinear.spread,
    "var_mean": nonlinear.spread_and_mean,
}
