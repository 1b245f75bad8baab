"""Products of matrices, dense or sparse, with vectors and rows of many cells."""

from torch import Tensor

_SHARED = 2  # dimensions


def absolute(weights: Tensor) -> Tensor:
    """|W|."""
    return weights.coalesce().abs() if weights.is_sparse else weights.abs()


def applied(weights: Tensor, vectors: Tensor) -> Tensor:
    """W·x of each x [..., in], [..., out]."""
    return pulled(vectors, weights.t())


def pulled(rows: Tensor, weights: Tensor) -> Tensor:
    """Rows [..., out] times W [out, in], [..., in]."""
    return (rows.reshape(-1, rows.shape[-1]) @ weights).reshape(*rows.shape[:-1], weights.shape[1])


def shared(rows: Tensor) -> bool:
    """Whether rows are the same for all cells, [rows, width]; else [cells, rows, width]."""
    return rows.dim() == _SHARED


def dots(rows: Tensor, vectors: Tensor) -> Tensor:
    """Rows, [rows, width] for all cells or [cells, rows, width], times each cell's vector [cells, width]: [cells, rows]."""
    return vectors @ rows.t() if shared(rows) else (rows @ vectors.unsqueeze(2)).squeeze(2)
