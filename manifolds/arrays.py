"""What every module needs of arrays, whichever array-API library they come from."""

import operator
from collections.abc import Callable
from contextlib import suppress
from math import ceil, factorial, log2
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

Array: TypeAlias = Any
"""An array of any namespace of the Python array API standard (NumPy, CuPy, array-api-strict, ...)."""

Point: TypeAlias = Any
"""A point or a vector: an array, or several of them, with the arithmetic of pymanopt, where a manifold takes several."""

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


def add_to_diagonal(matrix: Array, number: float) -> Array:
    """Add a number to every entry of the diagonal of a square matrix, in place; return the matrix."""
    if is_numpy_array(matrix):
        np.einsum("ii->i", matrix)[...] += number  # a view, in whatever order the entries lie; no pass over all of them
    else:
        matrix += number * identity_like(matrix)
    return matrix


def arrays_of(point: Point) -> tuple[Array, ...]:
    """Return the arrays of a point: those of a tuple, or the one that it is."""
    return tuple(point) if isinstance(point, tuple) else (point,)


def map_arrays(function: Callable[..., Any], *points: Point) -> Point:
    """Return what a function makes of the arrays of points: of each in turn where they are tuples, or of the one."""
    return tuple(map(function, *points)) if isinstance(points[0], tuple) else function(*points)


def all_finite(point: Point) -> bool:
    """Tell whether no entry is NaN or infinite."""
    return all(bool(array_namespace(a).all(array_namespace(a).isfinite(a))) for a in arrays_of(point))


def machine_epsilon(a: Array) -> float:
    """Return the relative spacing of the floating-point numbers of the dtype of `a`."""
    return float(array_namespace(a).finfo(a.dtype).eps)


def to_numpy(a: Array) -> Array:
    """Return `a` as a NumPy array, off its device if need be; for diagnostics and results, never inside an iteration."""
    return a.get() if hasattr(a, "get") else np.asarray(a)  # CuPy's arrays have it, and refuse to be converted in silence


def eigenvalues(matrix: Array) -> Array:
    """Return the eigenvalues of a square matrix, shape (n,), complex, in the namespace and on the device of the matrix."""
    xp = array_namespace(matrix)
    if hasattr(xp.linalg, "eigvals"):
        with suppress(RuntimeError):  # CUDA before 12.6 has no routine for it
            return xp.linalg.eigvals(matrix)
    return xp.asarray(np.linalg.eigvals(to_numpy(matrix)) + 0j, device=device(matrix))


def direct_inverse(matrix: Array) -> Array:
    """Return the inverse by the library's own routine.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a finite matrix is exactly singular, on every library: CuPy answers with NaN and infinity.
    """
    result = array_namespace(matrix).linalg.inv(matrix)
    if not all_finite(result) and all_finite(matrix):
        raise np.linalg.LinAlgError("Singular matrix")
    return result


def inverse(matrix: Array, product: Callable[[Array, Array], Array] = operator.matmul) -> Array:
    """Return the inverse of a square matrix, shape (n, n).

    By blocks, M = [[P, Q], [R, S]] through P⁻¹ and the Schur complement S − R P⁻¹ Q, so that the work is in matrix products:
    several times faster than LAPACK's inverse, which is kept for small blocks. Blocks are not pivoted; where a leading one is
    close to singular the result is found to be inaccurate, on a vector, and LAPACK does the whole. Other libraries invert
    their arrays by their own routine.

    Parameters
    ----------
    matrix
        M.
    product
        What multiplies two matrices.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is exactly singular.

    References
    ----------
    Strassen, Numerische Mathematik 13, 1969, section 3.
    """
    n = matrix.shape[0]
    if n <= SMALL_BLOCK or not is_numpy_array(matrix) or not all_finite(matrix):
        return direct_inverse(matrix)
    try:
        with np.errstate(all="ignore"):  # what overflows is found out below
            result = inverse_by_blocks(matrix, product)
            probe = _signs(matrix)
            error = np.max(np.abs(matrix @ (result @ probe) - probe)), np.max(np.abs((result @ (matrix @ probe)) - probe))
    except np.linalg.LinAlgError:  # a block is singular, which the matrix need not be
        return direct_inverse(matrix)
    accurate = all(float(each) <= INVERSE_ERROR * n * machine_epsilon(matrix) for each in error)  # NaN is not
    return result if accurate else direct_inverse(matrix)


def solve(matrix: Array, right_hand_side: Array) -> Array:
    """Return M⁻¹ B for a square M and a B of as many columns: by `inverse`, where LAPACK's solution takes longer.

    Where the residual of a vector is larger than elimination would leave it, that of the whole is taken out once (Higham,
    *Accuracy and Stability of Numerical Algorithms*, 2002, ch. 12).

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is exactly singular.
    """
    if matrix.shape[0] <= SMALL_BLOCK or not is_numpy_array(matrix):
        return array_namespace(matrix).linalg.solve(matrix, right_hand_side)
    factor = inverse(matrix)
    solution = factor @ right_hand_side
    probe = _signs(matrix)
    image = solution @ probe
    error = frobenius_norm(matrix @ image - right_hand_side @ probe)
    if error > machine_epsilon(matrix) * frobenius_norm(matrix) * frobenius_norm(image):
        solution += factor @ (right_hand_side - matrix @ solution)
    return solution


def inverse_by_blocks(
    matrices: Array,
    product: Callable[[Array, Array], Array] = operator.matmul,
    smallest: int = SMALL_BLOCK,
    out: Array | None = None,
) -> Array:
    """Return the inverse of a NumPy matrix or of each of a stack, shape (..., n, n), as `inverse` does, but unchecked.

    Blocks up to the size `smallest` are left to LAPACK.
    """
    n = matrices.shape[-1]
    result = np.empty_like(matrices) if out is None else out
    if n <= smallest:
        result[...] = np.linalg.inv(matrices)
        return result
    half = n // 2
    lower_left = matrices[..., half:, :half]
    corner = inverse_by_blocks(matrices[..., :half, :half], product, smallest, result[..., :half, :half])
    across = product(corner, matrices[..., :half, half:])
    schur = product(lower_left, across)
    np.subtract(matrices[..., half:, half:], schur, out=schur)
    schur = inverse_by_blocks(schur, product, smallest, result[..., half:, half:])
    down = product(schur, product(lower_left, corner))
    corner += product(across, down)
    np.negative(product(across, schur), out=result[..., :half, half:])
    np.negative(down, out=result[..., half:, :half])
    return result


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


def exponential_series(matrix: Array) -> Array:
    """Return exp(M) − I of a square matrix with ‖M‖ ≤ 1 or so, by as much of the power series as the dtype can tell.

    Powers are summed three at a time, which takes a product for each three and one more (Paterson and Stockmeyer, SIAM J.
    Comput. 2(1), 1973).
    """
    size, terms = frobenius_norm(matrix), 3
    while size**terms / factorial(terms + 1) > machine_epsilon(matrix) / 4:
        terms += 3
    square = matrix @ matrix
    powers = matrix, square, square @ matrix
    result = None
    for first in range(terms - 2, 0, -3):
        block = sum(power * (1 / factorial(first + place)) for place, power in enumerate(powers))
        result = block if result is None else block + powers[-1] @ result
    return result


def cholesky(matrix: Array) -> Array | None:
    """Return the lower triangular L with L Lᵀ = M of a symmetric matrix, or None if M is not positive definite."""
    xp = array_namespace(matrix)
    try:
        factor = xp.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    if is_numpy_array(matrix):
        return factor
    size, error = (float(xp.linalg.matrix_norm(each, ord=1)) for each in (matrix, factor @ factor.T - matrix))
    return factor if error <= matrix.shape[0] * machine_epsilon(matrix) * size else None  # CuPy does not say that it fails


def triangular_inverse(matrix: Array) -> Array:
    """Return the inverse of a lower triangular matrix, shape (n, n): [[A, 0], [B, C]]⁻¹ = [[A⁻¹, 0], [−C⁻¹ B A⁻¹, C⁻¹]].

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is exactly singular.
    """
    n = matrix.shape[0]
    if n <= SMALL_BLOCK:
        return direct_inverse(matrix)
    half, result = n // 2, array_namespace(matrix).zeros_like(matrix)
    result[:half, :half] = upper = triangular_inverse(matrix[:half, :half])
    result[half:, half:] = lower = triangular_inverse(matrix[half:, half:])
    result[half:, :half] = -lower @ (matrix[half:, :half] @ upper)
    return result


def _signs(matrix: Array) -> Array:
    """Return a column of random signs to try a NumPy matrix on; not all ones, since rows may sum alike."""
    return (np.random.default_rng(0).integers(0, 2, (matrix.shape[0], 1)) * 2.0 - 1.0).astype(matrix.dtype)


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

    def __init__(self, prepare: Callable[[Point], Work], size: int = 2) -> None:
        self._prepare = prepare
        self._size = size
        self._entries: list[tuple[Point, Work]] = []

    def __call__(self, point: Point) -> Work:
        """Return the work for `point`, remembered or done now."""
        for index, (known, work) in enumerate(self._entries):
            if isinstance(known, tuple) == isinstance(point, tuple) and all(map(_same, arrays_of(known), arrays_of(point))):
                self._entries.insert(0, self._entries.pop(index))
                return work
        copy = copied(point)
        work = self._prepare(copy)  # the copy, so that the work, too, is out of reach of changes in place
        self._entries = [(copy, work), *self._entries[: self._size - 1]]
        return work

    def remember(self, point: Point, work: Work) -> None:
        """Take over work that was done elsewhere."""
        self._entries = [(copied(point), work), *self._entries[: self._size - 1]]


def is_single_or_double(array: Array) -> bool:
    """Tell whether an array is of one of the dtypes that LAPACK knows, float32 and float64."""
    xp = array_namespace(array)
    return array.dtype in (xp.float32, xp.float64)


def copied(point: Point) -> Point:
    """Return a copy of an array, or of each of several."""
    return map_arrays(lambda array: array_namespace(array).asarray(array, copy=True), point)


def _same(a: Array, b: Array) -> bool:
    if type(a) is not type(b) or a.shape != b.shape or a.dtype != b.dtype or device(a) != device(b):
        return False
    return bool(array_namespace(a).all(a == b))
