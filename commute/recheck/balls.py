"""Balls: real numbers as a center and a radius, and matrices of them."""

from typing import Any

import numpy as np

from commute.recheck.reading import Array, demand

try:
    from flint import arb, arb_mat, ctx, fmpq
except ImportError as error:
    raise ImportError("rechecking a certificate needs python-flint: pip install python-flint") from error

__all__ = ["BALL", "NAN", "Matrix", "arb", "arb_mat", "ctx", "exactly", "fmpq", "is_matrix", "size", "tall"]

Matrix = Any  # arb_mat
BALL = arb(0, 1)
NAN = arb.nan()  # what nothing is known of: no comparison with it holds


def exactly(x: Array) -> Matrix:
    """A matrix of float64 as it is."""
    demand(is_matrix(x) and np.isfinite(x).all(), "there are numbers that are not finite float64")
    return arb_mat(x.shape[0], x.shape[1], x.ravel().tolist())


def is_matrix(x: Array) -> bool:
    """Whether it has rows and columns, of float64."""
    return x.dtype == np.float64 and len(x.shape) == len(("rows", "columns"))


def tall(row: Matrix, rows: int) -> Matrix:
    """A row as many times as there are rows."""
    return row if rows == 1 else arb_mat(rows, 1, [1] * rows) * row


def size(x: Matrix) -> Matrix:
    """|x|, number by number."""
    return arb_mat(x.nrows(), x.ncols(), [abs(a) for a in x.entries()])
