"""Arnoldi's method for the rightmost eigenvalue of many matrices in lock-step, plain and with shift and inversion."""

from collections.abc import Callable

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import machine_epsilon, to_numpy
from manifolds.linear_algebra import inverse_by_blocks
from riemannrnn.equilibrium.jacobians import Matrices
from riemannrnn.norms import row_norms

PLAIN_STEPS, SHIFTED_STEPS = 24, 28
"""Dimensions of the Krylov spaces of A and of its resolvent."""

DOUBT_FACTOR = 2.0
"""Margin of a Ritz value of plain steps, in units of its residual: 1 was too small for trained networks, 2 sufficed."""

SLAB, LEAF = 2**20, 16
"""Entries of the inverses in memory at a time, few enough for the cache; LAPACK inverts matrices up to this size."""


def plain(product: Callable[[Array], Array], like: Array, steps: int = PLAIN_STEPS) -> tuple[Array, Array, Array]:
    """Return an estimate of the real part of the rightmost eigenvalue of A, from Krylov spaces of A, and an interval for it.

    A Ritz value θ with residual ‖A y − θ y‖ = ρ has an eigenvalue within ρ if A is normal. Otherwise the distance can be larger
    by the condition number of the eigenvalue. No residual excludes an eigenvalue further right. The interval from Re θ − 2 ρ of
    the rightmost Ritz value to the largest Re θ + 2 ρ of all Ritz values is therefore an empirical estimate, not a bound.

    Parameters
    ----------
    product
        Map from rows v, shape (batch, n), to the products A v, with a matrix A for each row.
    like
        An array with the shape, dtype and device of these rows.
    steps
        The largest dimension of the Krylov spaces.

    Returns
    -------
    tuple of NumPy arrays of shape (batch,)
        The estimate, and the lower and the upper end of the interval.
    """
    _, hessenberg = _arnoldi(product, like, steps)
    values, vectors = np.linalg.eig(_without_padding(hessenberg)[:, :-1, :])
    doubts = DOUBT_FACTOR * hessenberg[:, -1, -1:] * np.abs(vectors[:, -1, :])
    everyone, rightmost = np.arange(values.shape[0]), values.real.argmax(axis=1)
    estimate = values.real[everyone, rightmost]
    return estimate, estimate - doubts[everyone, rightmost], (values.real + doubts).max(axis=1)


def shift_invert(matrices: Matrices, estimate: Array, margin: float) -> tuple[Array, Array]:
    """Return the rightmost eigenvalue of each matrix A from a Krylov space of R = (σ I − A)⁻¹, with σ right of an estimate.

    An eigenvalue θ of R gives λ = σ − 1/θ of A, so eigenvalues close to σ are dominant. The Krylov spaces of R equal the Krylov
    spaces of the Cayley transform (A − (σ − 2s) I) (A − σ I)⁻¹. Its eigenvalues leave the unit disc where eigenvalues of A pass
    σ − s.

    Parameters
    ----------
    matrices
        The matrices A, one for each stimulus.
    estimate
        Estimates of the real part of the rightmost eigenvalue, shape (batch,).
    margin
        Distance of the shifts to the right of the estimate, relative to the estimate or to 1, the edge of stability.

    Returns
    -------
    tuple of NumPy arrays of shape (batch,)
        Re λ, and its error to first order: the residual ‖A y − λ y‖ of a unit vector y times the condition number of the Ritz
        value, ‖u‖ ‖s‖ / |uᴴ s| for its left and right eigenvectors in the Krylov space. Infinite if R could not be computed.

    References
    ----------
    Meerbergen & Roose, Matrix transformations for computing rightmost eigenvalues of large sparse non-symmetric eigenvalue
    problems, IMA Journal of Numerical Analysis 16, 1996.
    """
    batch, n = matrices.gains.shape
    rightmost, error = np.empty(batch), np.empty(batch)
    shifts = (estimate + margin * np.maximum(np.abs(estimate), 1.0)).astype(matrices.gains.dtype)
    slab = max(1, SLAB // (n * n))
    for start in range(0, batch, slab):
        rows = slice(start, start + slab)
        rightmost[rows], error[rows] = _shift_invert(matrices.take(rows), shifts[rows])
    return rightmost, error


def _shift_invert(matrices: Matrices, shifts: Array) -> tuple[Array, Array]:
    resolvents = _resolvents(matrices, shifts)
    basis, hessenberg = _arnoldi(lambda vectors: _times(resolvents, vectors), matrices.gains, SHIFTED_STEPS)
    values, vectors = np.linalg.eig(hessenberg[:, :-1, :])
    values = shifts[:, None] - 1 / np.where(values == 0, np.finfo(float).tiny, values)
    everyone, chosen = np.arange(values.shape[0]), values.real.argmax(axis=1)
    found = resolvents.any(axis=(1, 2))
    value, vector = np.where(found, values[everyone, chosen], shifts), vectors[everyone, :, chosen]
    # The recomputed residual, not the residual of the recurrence: it also shows an inaccurate inverse.
    parts = np.stack([vector.real, vector.imag], axis=1).astype(matrices.gains.dtype) @ basis[:, :-1, :]
    images = matrices.times(parts)
    residual = images[:, 0, :] + 1j * images[:, 1, :] - value[:, None] * (parts[:, 0, :] + 1j * parts[:, 1, :])
    error = np.linalg.norm(residual, axis=1) * _condition(vectors, chosen)
    return value.real, np.where(found, error, np.inf)


def _condition(vectors: Array, chosen: Array) -> Array:
    """Return the condition number of an eigenvalue of each matrix V Λ V⁻¹ with columns of norm 1: the norm of a row of V⁻¹."""
    target = np.eye(vectors.shape[1])[chosen][:, :, None]
    try:
        left = np.linalg.solve(np.moveaxis(vectors, 1, 2), target)
    except np.linalg.LinAlgError:  # one of the matrices lacks an eigenvector
        return np.full(len(chosen), np.inf)
    return np.linalg.norm(left[:, :, 0], axis=1)


def _arnoldi(product: Callable[[Array], Array], like: Array, dimension: int) -> tuple[Array, Array]:
    """Return bases, shape (batch, steps + 1, n), and Hessenberg matrices, a NumPy array, shape (batch, steps + 1, steps)."""
    xp = array_namespace(like)
    batch, n = like.shape
    steps, rounding = min(dimension, n), n * machine_epsilon(like)
    start = np.random.default_rng(0).standard_normal(n)
    basis = xp.zeros((batch, steps + 1, n), dtype=like.dtype, device=device(like))
    basis[:, 0, :] = xp.asarray(start / np.linalg.norm(start), dtype=like.dtype, device=device(like))
    hessenberg = np.zeros((batch, steps + 1, steps))
    for step in range(steps):
        vector, known = product(basis[:, step, :]), basis[:, : step + 1, :]
        before = row_norms(vector)
        for _ in range(2):  # Gram–Schmidt twice is enough (Giraud, Langou & Rozložník 2005)
            overlap = _times(known, vector)
            vector = vector - (overlap[:, None, :] @ known)[:, 0, :]
            hessenberg[:, : step + 1, step] += to_numpy(overlap)
        size = row_norms(vector)
        size = xp.where(size > rounding * before, size, 0.0)  # in a complete space only rounding is left
        hessenberg[:, step + 1, step] = to_numpy(size)
        # If nothing is left, a division by infinity gives 0. The reciprocal of a tiny size would overflow.
        basis[:, step + 1, :] = vector / xp.where(size > 0, size, xp.inf)[:, None]
    return basis, hessenberg


def _without_padding(hessenberg: Array) -> Array:
    """Return the matrices with eigenvalues far to the left for Krylov spaces that were complete before their last dimension.

    Matrices with few eigenvalues have such spaces. The remaining dimensions are zeros, and 0 would count as rightmost
    eigenvalue.
    """
    steps = np.arange(hessenberg.shape[2])
    ended = np.cumsum(hessenberg[:, steps[:-1] + 1, steps[:-1]] == 0, axis=1) > 0
    padded, far = hessenberg.copy(), -1 - 2 * np.linalg.norm(hessenberg, axis=(1, 2))
    padded[:, steps[1:], steps[1:]] = np.where(ended, far[:, None], padded[:, steps[1:], steps[1:]])
    return padded


def _resolvents(matrices: Matrices, shifts: Array) -> Array:
    """Return (σ I − A)⁻¹ for each matrix, 0 if it could not be computed."""
    stack, diagonal = -matrices.stack(), np.arange(len(matrices.offset))
    stack[:, diagonal, diagonal] += shifts[:, None]
    try:
        with np.errstate(all="ignore"):
            inverses = inverse_by_blocks(stack, smallest=LEAF)
    except np.linalg.LinAlgError:  # a block of one of them is singular
        return np.zeros_like(stack)
    inverses[~np.isfinite(inverses).all(axis=(1, 2))] = 0
    return inverses


def _times(matrices: Array, vectors: Array) -> Array:
    return (matrices @ vectors[:, :, None])[:, :, 0]
