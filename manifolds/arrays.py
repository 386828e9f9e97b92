"""What every module needs of arrays, whichever array-API library they come from."""

from collections.abc import Callable
from math import ceil, log2
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_cupy_array

Array: TypeAlias = Any
"""An array of any namespace of the Python array API standard (NumPy, CuPy, array-api-strict, ...)."""

Work = TypeVar("Work")

SMALL_BLOCK = 64
"""Matrices up to this size are inverted by LAPACK."""

INVERSE_ERROR = 20.0
"""An inverse by blocks is accepted if it inverts a vector to so many times n machine epsilons."""

PADE_DEGREE = 13
PADE_RADIUS = 5.37
"""The Padé approximant of this degree gives the exponential to double precision up to this 1-norm."""


def inner(a: Array, b: Array) -> float:
    """Return the Frobenius inner product ⟨a, b⟩ = tr(aᵀ b) as a Python float."""
    xp = array_namespace(a, b)
    return float(xp.vecdot(xp.reshape(a, (-1,)), xp.reshape(b, (-1,))))


def frobenius_norm(a: Array) -> float:
    """Return the Frobenius norm ‖a‖ as a Python float."""
    return float(array_namespace(a).linalg.vector_norm(a))


def identity_like(matrix: Array) -> Array:
    """Return the identity of the shape, dtype and device of a square matrix."""
    xp = array_namespace(matrix)
    return xp.eye(matrix.shape[0], dtype=matrix.dtype, device=device(matrix))


def all_finite(a: Array) -> bool:
    """Tell whether no entry is NaN or infinite."""
    xp = array_namespace(a)
    return bool(xp.all(xp.isfinite(a)))


def machine_epsilon(a: Array) -> float:
    """Return the relative spacing of the floating-point numbers of the dtype of `a`."""
    return float(array_namespace(a).finfo(a.dtype).eps)


def to_numpy(a: Array) -> Array:
    """Return `a` as a NumPy array; for diagnostics that the array API has no routine for, such as eigenvalues."""
    return a.get() if is_cupy_array(a) else np.asarray(a)


def inverse(matrix: Array) -> Array:
    """Return the inverse of a square matrix, shape (n, n).

    By blocks, M = [[P, Q], [R, S]] through P⁻¹ and the Schur complement S − R P⁻¹ Q, so that the work is in matrix products:
    several times faster than LAPACK's inverse, which is kept for small blocks. Blocks are not pivoted; where a leading one is
    close to singular the result is found to be inaccurate, on a vector, and LAPACK does the whole.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is exactly singular.

    References
    ----------
    Strassen, Numerische Mathematik 13, 1969, section 3.
    """
    xp = array_namespace(matrix)
    n = matrix.shape[0]
    if n <= SMALL_BLOCK or not all_finite(matrix):
        return xp.linalg.inv(matrix)
    try:
        with np.errstate(all="ignore"):  # what overflows is found out below
            result = _inverse_by_blocks(matrix)
            signs = np.random.default_rng(0).integers(0, 2, (n, 1)) * 2.0 - 1.0  # rows may sum alike, so not all ones
            probe = xp.asarray(signs, dtype=matrix.dtype, device=device(matrix))
            error = xp.max(xp.abs(matrix @ (result @ probe) - probe)), xp.max(xp.abs((result @ (matrix @ probe)) - probe))
    except np.linalg.LinAlgError:  # a block is singular, which the matrix need not be
        return xp.linalg.inv(matrix)
    accurate = max(float(each) for each in error) <= INVERSE_ERROR * n * machine_epsilon(matrix)
    return result if accurate else xp.linalg.inv(matrix)


def _inverse_by_blocks(matrix: Array) -> Array:
    xp = array_namespace(matrix)
    n = matrix.shape[0]
    if n <= SMALL_BLOCK:
        return xp.linalg.inv(matrix)
    half = n // 2
    upper_right, lower_left = matrix[:half, half:], matrix[half:, :half]
    corner = _inverse_by_blocks(matrix[:half, :half])
    across = corner @ upper_right
    schur = _inverse_by_blocks(matrix[half:, half:] - lower_left @ across)
    down = schur @ (lower_left @ corner)
    top = xp.concat([corner + across @ down, -(across @ schur)], axis=1)
    return xp.concat([top, xp.concat([-down, schur], axis=1)], axis=0)


def exponential_minus_identity(matrix: Array) -> Array:
    """Return exp(M) − I of a finite square matrix, accurate for small M too: Padé approximant [13/13], scaling and squaring.

    With exp(M) = (p − q)⁻¹ (p + q), p and q the even and odd parts, exp(M) − I = (p − q)⁻¹ 2q; and E ↦ 2 E + E² squares I + E.

    References
    ----------
    Higham, SIAM J. Matrix Anal. Appl. 26(4), 2005, algorithm 2.3.
    """
    xp = array_namespace(matrix)
    size = float(xp.linalg.matrix_norm(matrix, ord=1))
    squarings = max(0, ceil(log2(size / PADE_RADIUS))) if size > 0 else 0
    scaled = matrix / 2.0**squarings
    square, power = scaled @ scaled, identity_like(matrix)
    even, odd, coefficient = xp.zeros_like(matrix), xp.zeros_like(matrix), 1.0
    for k in range(0, PADE_DEGREE, 2):
        even = even + coefficient * power
        coefficient *= _next_pade(k)
        odd = odd + coefficient * power
        coefficient *= _next_pade(k + 1)
        power = power @ square
    odd = scaled @ odd
    result = xp.linalg.solve(even - odd, 2 * odd)
    for _ in range(squarings):
        result = 2 * result + result @ result
    return result


def _next_pade(k: int) -> float:
    """Return the coefficient of the power k + 1 over that of k."""
    return (PADE_DEGREE - k) / ((k + 1) * (2 * PADE_DEGREE - k))


class PointCache(Generic[Work]):
    """Work that is done once per point, however often and from wherever it is asked for.

    Points are compared entry by entry with a private copy, so a caller who changes an array in place gets fresh work. The
    comparison costs O(n²) where the work costs O(n³).

    Parameters
    ----------
    prepare
        Function of a point that does the work.
    size
        Number of points remembered. Two suffice for whatever relates a point to another (distance, transport).
    """

    def __init__(self, prepare: Callable[[Array], Work], size: int = 2) -> None:
        self._prepare = prepare
        self._size = size
        self._entries: list[tuple[Array, Work]] = []

    def __call__(self, point: Array) -> Work:
        """Return the work for `point`, remembered or done now."""
        for index, (known, work) in enumerate(self._entries):
            if _same(known, point):
                self._entries.insert(0, self._entries.pop(index))
                return work
        copy = array_namespace(point).asarray(point, copy=True)
        work = self._prepare(copy)  # the copy, so that the work, too, is out of reach of changes in place
        self._entries = [(copy, work), *self._entries[: self._size - 1]]
        return work


def _same(a: Array, b: Array) -> bool:
    if type(a) is not type(b) or a.shape != b.shape or a.dtype != b.dtype or device(a) != device(b):
        return False
    return bool(array_namespace(a).all(a == b))
