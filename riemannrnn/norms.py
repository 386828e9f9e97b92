"""Norms of rows that neither overflow nor underflow."""

from functools import cache
from math import inf

from manifolds import Array
from riemannrnn.backend import Namespace, namespace_of


def row_norms(array: Array, factor: float = 1.0) -> Array:
    """Return a factor times the Euclidean norm of each row, shape (batch,).

    The result overflows only where the norm times the factor does. Rows with NaN or infinity have the norm NaN or infinity.

    Parameters
    ----------
    array
        Shape (batch, n).
    factor
        A positive number.
    """
    xp = namespace_of(array)
    squares = xp.vecdot(array, array)  # one pass; `vector_norm` makes several
    norms = xp.sqrt(squares)
    if factor != 1:
        norms *= factor
    accurate = (squares > _least_square(xp, array.dtype)) & (squares < inf)
    if int(xp.count_nonzero(accurate)) < norms.shape[0]:
        rows = xp.take(array, xp.nonzero(~accurate)[0], axis=0)
        largest = xp.max(xp.abs(rows), axis=1)
        rows = rows / xp.where((largest > 0) & (largest < inf), largest, 1.0)[:, None]
        norms[~accurate] = factor * largest * xp.sqrt(xp.vecdot(rows, rows))
    return norms


@cache
def _least_square(namespace: Namespace, dtype: object) -> float:
    """Return a sum of squares that is so large that those that underflow are below its rounding."""
    limits = namespace.finfo(dtype)
    return float(limits.smallest_normal) / float(limits.eps)
