"""Balls: real numbers as a center and a radius, and matrices of them."""

from typing import Any

import numpy as np

from commute.recheck.reading import Array, demand

try:
    from flint import arb, arb_mat, ctx, fmpq
except ImportError as error:
    raise ImportError("rechecking a certificate needs python-flint: pip install python-flint") from error

__all__ = ["BALL", "NAN", "Matrix", "arb", "arb_mat", "ctx", "exactly", "fmpq", "size", "tall"]

Matrix = Any  # arb_mat
BALL = arb(0, 1)
NAN = arb.nan()  # what nothing is known of: no comparison with it holds


def exactly(x: Array) -> Matrix:
    """A matrix of float64 as it is."""
    demand(x.dtype == np.float64 and x.ndim == 2 and np.isfinite(x).all(), "there are numbers that are not finite float64")
    return arb_mat(*x.shape, x.ravel().tolist())


def tall(row: Matrix, rows: int) -> Matrix:
    """A row as many times as there are rows."""
    return row if rows == 1 else arb_mat(rows, 1, [1] * rows) * row


def size(x: Matrix) -> Matrix:
    """|x|, number by number."""
    return arb_mat(x.nrows(), x.ncols(), [abs(a) for a in x.entries()])
