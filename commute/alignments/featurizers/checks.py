"""What the featurizers check of their tensors and of the vectors that they are given."""

import torch
from torch import Tensor

from commute.errors import AlignmentError, check

ORTHONORMAL = 1e-4  # largest entry of |QᵀQ - I| that float32 training leaves


def as_floats(values: Tensor, width: int, name: str, what: str = "vectors") -> Tensor:
    """Values [batch, width] to calculate with: half precision, which is too coarse for a rotation, becomes float32.

    Args:
        values: a site's vectors, or features.
        width: how many columns they must have.
        name: of the featurizer.
        what: the values are.

    Raises:
        AlignmentError: for another width, another number of axes or values that are no floats.
    """
    problems = []
    if not values.is_floating_point() and what == "vectors":  # whole numbers may be what features are set to
        problems.append(f"it needs a site of floating-point values; this one holds {values.dtype}")
    if values.ndim != 2 or values.shape[1] != width:  # noqa: PLR2004
        problems.append(f"it is for {what} [batch, {width}]; given {list(values.shape)}")
    check(problems, AlignmentError, name)
    return values.to(torch.promote_types(values.dtype, torch.float32))


def like(parameter: Tensor, values: Tensor) -> Tensor:
    """A parameter on the device and in the precision of the values."""
    return parameter.to(device=values.device, dtype=values.dtype)


def misfits(**given: tuple[Tensor, str]) -> list[str]:
    """What is wrong with tensors, each given by name beside its axes such as `"width dims"`.

    An axis has one length throughout, that in the first tensor that has it; all values are finite floats.
    """
    problems, lengths = [], dict[str, int]()
    for name, (x, axes) in given.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            told = x.dtype if isinstance(x, Tensor) else type(x).__name__
            problems.append(f"{name} must be a tensor of floating-point values; given {told}")
            continue
        named = axes.split()
        if x.ndim != len(named) or not all(0 < n == lengths.setdefault(a, n) for a, n in zip(named, x.shape, strict=True)):
            known = " and ".join(f"{a} is {lengths[a]}" for a in dict.fromkeys(named) if a in lengths)
            problems.append(f"{name} must be [{', '.join(named)}]{', where ' * bool(known)}{known}; given {list(x.shape)}")
        elif not x.detach().isfinite().all():
            problems.append(f"{name} has values that are not finite")
    return problems


def off_orthonormal(columns: Tensor) -> float:
    """The largest entry of |QᵀQ - I| for columns Q, in float64."""
    q = columns.detach().to("cpu", torch.float64)
    return float((q.T @ q - torch.eye(q.shape[1], dtype=q.dtype)).abs().max())
