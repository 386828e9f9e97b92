"""Norms of rows without avoidable overflow or underflow."""

from functools import cache
from math import inf, nan, sqrt

from manifolds import Array
from riemannrnn.backend import Namespace, namespace_of


def row_norms(array: Array, factor: float = 1.0) -> Array:
    """Return a factor times the Euclidean norm of each row, shape (batch,).

    The result overflows only if the norm times the factor does. Rows with NaN or infinity have the norm NaN or infinity.

    Parameters
    ----------
    array
        Shape (batch, n).
    factor
        A positive number.
    """
    return norms_in_range(array, factor)[0]


def norms_in_range(array: Array, factor: float = 1.0) -> tuple[Array, float, float]:
    """Return the result of `row_norms`, with the smallest and the largest norm: NaN if a norm is NaN or infinite."""
    xp = namespace_of(array)
    squares = xp.vecdot(array, array)  # one pass; `vector_norm` makes several
    norms = xp.sqrt(squares)
    if factor != 1:
        norms *= factor
    if not norms.shape[0]:
        return norms, nan, nan
    smallest, largest = float(xp.min(squares)), float(xp.max(squares))
    if smallest > _least_square(xp, array.dtype) and largest < inf:
        return norms, factor * sqrt(smallest), factor * sqrt(largest)
    accurate = (squares > _least_square(xp, array.dtype)) & (squares < inf)
    rows = xp.take(array, xp.nonzero(~accurate)[0], axis=0)
    peaks = xp.max(xp.abs(rows), axis=1)
    rows = rows / xp.where((peaks > 0) & (peaks < inf), peaks, 1.0)[:, None]
    norms[~accurate] = factor * peaks * xp.sqrt(xp.vecdot(rows, rows))
    smallest, largest = float(xp.min(norms)), float(xp.max(norms))
    return (norms, smallest, largest) if largest < inf else (norms, nan, nan)


def largest_norm(array: Array, factor: float = 1.0) -> float:
    """Return a factor times the largest norm of a row: NaN if a norm is NaN or infinite, or without rows."""
    xp = namespace_of(array)
    largest = float(xp.max(xp.vecdot(array, array))) if array.shape[0] else nan
    in_range = _least_square(xp, array.dtype) < largest < inf
    return factor * sqrt(largest) if in_range else norms_in_range(array, factor)[2]


@cache
def _least_square(namespace: Namespace, dtype: object) -> float:
    """Return a lower limit for sums of squares: in a larger sum, squares that underflow are below the rounding error."""
    limits = namespace.finfo(dtype)
    return float(limits.smallest_normal) / float(limits.eps)
