"""Directions that tell a variable's values apart, in closed form: cheap baselines, and starting points of training."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from commute.errors import AlignmentError

Kind = Literal["means", "lda", "ridge", "components"]

_RIDGE = 1e-3  # added to a covariance, as a share of its mean variance


def directions(kind: Kind, vectors: Tensor, values: Tensor, dims: int, generator: torch.Generator) -> Tensor:
    """Orthonormal directions, [width, dims]: for every k, the first k span what the k most telling do.

    Kinds:
        - `means`: the directions in which the means of the values vary most, each mean weighed by how often its value occurs.
        - `lda`: Fisher's discriminants, in which the means vary most in proportion to the spread within values.
        - `ridge`: the leading directions of the weights of a ridge regression of the values, one-hot where they are codes.
        - `components`: the leading principal components, which do not look at the values.

    Args:
        kind: as above.
        vectors: [rows, width].
        values: of the variable, [rows]: codes of int, or numbers.
        dims: how many; where the values give fewer, random ones orthogonal to these follow.
        generator: of these.

    Raises:
        AlignmentError: when the vectors are narrower than `dims`.
    """
    if dims > vectors.shape[1]:
        raise AlignmentError(f"{dims} directions were asked for of vectors of width {vectors.shape[1]}")
    x = vectors.double()
    x = x - x.mean(0)
    found = (_components(x) if kind == "components" else _telling(kind, x, _targets(values.to(x.device))))[:, :dims]
    more = torch.randn(x.shape[1], dims - found.shape[1], generator=generator, dtype=x.dtype).to(x)
    q: Tensor = torch.linalg.qr(torch.cat([found, more], 1)).Q
    return q.to(torch.promote_types(vectors.dtype, torch.float32))


def disjoint_directions(
    kind: Kind, told: Sequence[tuple[Tensor, Tensor]], sizes: Sequence[int], generator: torch.Generator
) -> list[Tensor]:
    """Directions of several variables, [width, size] each, all orthonormal; those that only fill up a size come last in turn.

    Args:
        kind: as of `directions`.
        told: vectors and values of each variable.
        sizes: of each.
        generator: of directions that fill up.
    """
    found = [directions(kind, *x, size, generator) for x, size in zip(told, sizes, strict=True)]
    order = sorted(
        (i >= needed(values), j, i) for j, (_, values) in enumerate(told) for i in range(sizes[j])
    )  # telling ones before fillers
    q = torch.linalg.qr(torch.stack([found[j][:, i].double() for _, j, i in order], 1)).Q
    return [q[:, [at for at, (_, j, _) in enumerate(order) if j == variable]].to(found[0]) for variable in range(len(told))]


def needed(values: Tensor) -> int:
    """How many directions tell all values apart: one less than there are; one for numbers."""
    return 1 if values.is_floating_point() else max(1, len(torch.unique(values)) - 1)


def _components(x: Tensor) -> Tensor:
    """Directions by falling variance, [width, those in which vectors vary]."""
    _, s, components = torch.linalg.svd(x, full_matrices=False)
    return _leading(components.T, s)


def _telling(kind: Kind, x: Tensor, target: Tensor) -> Tensor:
    """Directions by how much they tell, [width, those that tell something]."""
    moved = x.T @ target / target.square().sum(0).clamp(min=1e-30).sqrt()  # scatter between values is moved @ movedᵀ
    if kind == "means":
        u, s, _ = torch.linalg.svd(moved, full_matrices=False)
        return _leading(u, s)
    if kind == "ridge":
        u, s, _ = torch.linalg.svd(torch.linalg.solve(_regularised(x), x.T @ target), full_matrices=False)
        return _leading(u, s)
    within = torch.linalg.cholesky(_regularised(x - target @ torch.linalg.pinv(target) @ x))
    u, s, _ = torch.linalg.svd(torch.linalg.solve_triangular(within, moved, upper=False), full_matrices=False)
    discriminants: Tensor = torch.linalg.solve_triangular(within.T, _leading(u, s), upper=True)
    return discriminants


def _leading(columns: Tensor, sizes: Tensor) -> Tensor:
    """The columns whose size is more than rounding."""
    return columns[:, sizes > 1e-9 * sizes.amax().clamp(min=1e-30)]


def _regularised(x: Tensor) -> Tensor:
    """The covariance of centred vectors, [width, width], with a ridge."""
    covariance = x.T @ x / len(x)
    ridge = _RIDGE * covariance.diagonal().mean().clamp(min=1e-12)
    return covariance + ridge * torch.eye(len(covariance)).to(covariance)


def _targets(values: Tensor) -> Tensor:
    """One-hot columns of codes, [rows, values]; of numbers one column, centred."""
    if values.is_floating_point():
        return (values.double() - values.double().mean())[:, None]
    return torch.nn.functional.one_hot(torch.unique(values, return_inverse=True)[1]).double()
