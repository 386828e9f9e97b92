"""Linear algebra of square matrices by matrix products; a caller may share the rows of products among threads."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import reduce
from math import ceil, factorial, inf, log2
from operator import matmul
from typing import TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

from manifolds.arrays import Array, frobenius_norm, identity_like, machine_epsilon, to_numpy
from manifolds.points import all_finite

Share: TypeAlias = Callable[[Callable[[slice], Array], Array], list[Array]]
"""Calls a function for parts of the rows of an array, given as slices, and returns the results in order."""

SMALL_BLOCK = 64
"""Matrices up to this size are inverted by LAPACK."""

INVERSE_ERROR = 20.0
"""Largest error of an accepted block inverse, for one vector, in units of n machine epsilons."""

PADE_DEGREE = 13
PADE_RADIUS = 5.37
"""The Padé approximant of this degree gives the exponential to double precision up to this 1-norm."""

SCHULZ_RADIUS, SCHULZ_ITERATIONS = 0.5, 6
"""Newton–Schulz iterations start where ‖Mᵀ M − I‖ is below this radius; from there they need fewer than this many."""


_share: ContextVar[Share | None] = ContextVar("share", default=None)


def share_rows(share: Share) -> None:
    """Let every later `chain` of the calling thread share its rows in this way."""
    _share.set(share)


@contextmanager
def sharing_rows(share: Share) -> Iterator[None]:
    """Let every `chain` of the calling thread share its rows in this way, within a `with` block."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


def chain(first: Array, *others: Array) -> Array:
    """Return the product of matrices, from left to right. Each row of the first matrix is multiplied independently.

    The last bits may depend on how the rows are shared.
    """
    share = _share.get()
    if share is None:
        return reduce(matmul, others, first)
    parts = share(lambda rows: reduce(matmul, others, first[rows, ...]), first)
    return parts[0] if len(parts) == 1 else array_namespace(first).concat(parts)


def eigenvalues(matrix: Array) -> Array:
    """Return the eigenvalues of a square matrix, shape (n,), complex, in the namespace and on the device of the matrix."""
    xp = array_namespace(matrix)
    if hasattr(xp.linalg, "eigvals"):
        with suppress(RuntimeError):  # CUDA before 12.6 has no such routine
            return xp.linalg.eigvals(matrix)
    return xp.asarray(np.linalg.eigvals(to_numpy(matrix)) + 0j, device=device(matrix))


def direct_inverse(matrix: Array) -> Array:
    """Return the inverse by the library's own routine.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a finite matrix is exactly singular, for every library (CuPy would return NaN and infinity).
    """
    result = array_namespace(matrix).linalg.inv(matrix)
    if not all_finite(result) and all_finite(matrix):
        raise np.linalg.LinAlgError("Singular matrix")
    return result


def inverse(matrix: Array) -> Array:
    """Return the inverse of a square matrix, shape (n, n).

    The matrix is inverted by blocks, M = [[P, Q], [R, S]], through P⁻¹ and the Schur complement S − R P⁻¹ Q. Most of the work
    is then in matrix products, several times faster than LAPACK's inverse, which inverts the small blocks. Blocks are not
    pivoted. If a leading block is close to singular, a test vector shows that the result is inaccurate, and LAPACK inverts the
    whole matrix. Arrays of other libraries are inverted by their own routine.

    Parameters
    ----------
    matrix
        M.

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
        with np.errstate(all="ignore"):  # the check below finds overflow
            result = inverse_by_blocks(matrix, chain)
            probe = _probe(matrix)
            error = np.max(np.abs(matrix @ (result @ probe) - probe)), np.max(np.abs((result @ (matrix @ probe)) - probe))
    except np.linalg.LinAlgError:  # a block is singular; the matrix need not be
        return direct_inverse(matrix)
    accurate = all(float(each) <= INVERSE_ERROR * n * machine_epsilon(matrix) for each in error)  # False for NaN
    return result if accurate else direct_inverse(matrix)


def condition(matrix: Array, inverted: Array) -> float:
    """Return ‖M‖₁ ‖M⁻¹‖₁, infinite on overflow; the norms of M / s and s M⁻¹, s the largest entry of M, do not overflow."""
    xp = array_namespace(matrix, inverted)
    size = float(xp.max(xp.abs(matrix)))
    if not 0 < size < inf:
        return inf
    with np.errstate(over="ignore", invalid="ignore"):
        return float(xp.linalg.matrix_norm(matrix / size, ord=1)) * float(xp.linalg.matrix_norm(inverted * size, ord=1))


def solve(matrix: Array, right_hand_side: Array, inverted: Array | None = None) -> Array:
    """Return M⁻¹ B for a square M and a B of the same shape. M⁻¹ is used if it is known or if it is faster than LAPACK's solve.

    If a vector has a larger residual than elimination would leave, the solution gets one step of iterative refinement (Higham,
    *Accuracy and Stability of Numerical Algorithms*, 2002, ch. 12).

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is exactly singular.
    """
    if inverted is None and (matrix.shape[0] <= SMALL_BLOCK or not is_numpy_array(matrix)):
        return array_namespace(matrix).linalg.solve(matrix, right_hand_side)
    inverted = inverse(matrix) if inverted is None else inverted
    solution, probe = chain(inverted, right_hand_side), _probe(matrix)
    image = solution @ probe
    with np.errstate(over="ignore", invalid="ignore"):  # the norm of a huge matrix is infinite
        error = frobenius_norm(matrix @ image - right_hand_side @ probe)
        bound = machine_epsilon(matrix) * frobenius_norm(matrix) * frobenius_norm(image)
    if error > bound:
        solution += chain(inverted, right_hand_side - chain(matrix, solution))
    return solution


def inverse_by_blocks(
    matrices: Array,
    product: Callable[[Array, Array], Array] = matmul,
    smallest: int = SMALL_BLOCK,
    out: Array | None = None,
) -> Array:
    """Return the inverse of a NumPy matrix, or of each matrix of a stack, shape (..., n, n), by blocks and without a check.

    Blocks up to the size `smallest` are inverted by LAPACK.
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

    With p and q the even and odd parts, exp(M) = (p − q)⁻¹ (p + q) and exp(M) − I = (p − q)⁻¹ 2q. E ↦ 2 E + E² squares I + E.

    References
    ----------
    Higham, SIAM J. Matrix Anal. Appl. 26(4), 2005, algorithm 2.3.
    """
    xp = array_namespace(matrix)
    size = float(xp.linalg.matrix_norm(matrix, ord=1))
    squarings = max(0, ceil(log2(size / PADE_RADIUS))) if size > 0 else 0
    scaled = matrix / 2.0**squarings
    square, power = chain(scaled, scaled), identity_like(matrix)
    even, odd, coefficient = xp.zeros_like(matrix), xp.zeros_like(matrix), 1.0
    for k in range(0, PADE_DEGREE, 2):
        even = even + coefficient * power
        coefficient *= _next_pade(k)
        odd = odd + coefficient * power
        coefficient *= _next_pade(k + 1)
        power = chain(power, square)
    odd = chain(scaled, odd)
    result = xp.linalg.solve(even - odd, 2 * odd)
    for _ in range(squarings):
        result = 2 * result + chain(result, result)
    return result


def exponential_series(matrix: Array) -> Array:
    """Return exp(M) − I of a square matrix with ‖M‖ up to about 1, by the terms of the power series that the dtype resolves."""
    size, terms = frobenius_norm(matrix), 3
    while size**terms / factorial(terms + 1) > machine_epsilon(matrix) / 4:
        terms += 3
    return power_series(matrix, [1 / factorial(power) for power in range(1, terms + 1)])


def power_series(matrix: Array, coefficients: Sequence[float]) -> Array:
    """Return the sum of c₁ M, c₂ M², … of a square matrix, given c₁, c₂, and so on.

    Powers are summed in groups of three, with one product for each group and two more (Paterson and Stockmeyer, SIAM J.
    Comput. 2(1), 1973).
    """
    powers = [matrix]
    while len(powers) < min(3, len(coefficients)):
        powers.append(chain(powers[-1], matrix))
    result = None
    for first in range((len(coefficients) - 1) // 3 * 3, -1, -3):
        block = sum(factor * power for factor, power in zip(coefficients[first : first + 3], powers))
        result = block if result is None else block + chain(powers[-1], result)
    return result


def orthogonal_factor(matrix: Array) -> Array:
    """Return the orthogonal Q of the polar decomposition M = Q H, H symmetric and positive definite.

    Near an orthogonal matrix Newton–Schulz iterations M ← M (3 I − Mᵀ M) / 2 are used, otherwise singular values (Higham,
    *Functions of Matrices*, 2008, section 8.3).
    """
    orthogonal, excess = matrix, inf
    for _ in range(SCHULZ_ITERATIONS):
        defect = chain(orthogonal.T, orthogonal) - identity_like(matrix)
        previous, excess = excess, frobenius_norm(defect)
        if not excess < min(SCHULZ_RADIUS, previous):
            break
        orthogonal = orthogonal - chain(orthogonal, defect) / 2
        if excess**2 < machine_epsilon(matrix):  # the error after this step
            return orthogonal
    left, _, right = array_namespace(matrix).linalg.svd(matrix)
    return left @ right


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
    return factor if error <= matrix.shape[0] * machine_epsilon(matrix) * size else None  # CuPy does not report a failure


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
    result[half:, :half] = -chain(lower, matrix[half:, :half], upper)
    return result


def _probe(matrix: Array) -> Array:
    """Return a test column for a matrix. Its entries are quasi-random, because the sums of rows may be equal."""
    xp = array_namespace(matrix)
    return xp.cos(xp.arange(matrix.shape[0], dtype=matrix.dtype, device=device(matrix)) ** 2)[:, None]


def _next_pade(k: int) -> float:
    """Return the coefficient of power k + 1 divided by the coefficient of power k."""
    return (PADE_DEGREE - k) / ((k + 1) * (2 * PADE_DEGREE - k))
