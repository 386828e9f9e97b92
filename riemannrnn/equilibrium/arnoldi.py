"""Arnoldi's method for the rightmost eigenvalue of many matrices in lock-step, plain and with shift and inversion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import inverse, machine_epsilon, to_numpy
from riemannrnn.equilibrium.equation import row_norms

PLAIN_STEPS, SHIFTED_STEPS = 32, 24
"""Dimensions of the Krylov spaces of A and of (σ I − A)⁻¹."""

MARGIN = 0.1
"""Shifts lie this far to the right of the estimate, relative to it or to 1, the edge of stability."""

SLAB = 2**20
"""Entries of the inverses that are held at a time: few enough to stay in cache."""


@dataclass(frozen=True)
class Estimate:
    """Estimates of the rightmost eigenvalues of a batch of matrices.

    Attributes
    ----------
    rightmost
        Real parts, shape (batch,), a NumPy array.
    doubt
        Norm of the residual ‖A y − λ y‖ of a unit vector y, shape (batch,): where A is normal, some eigenvalue is within it.
        Where A is not, the distance can be larger by the condition number of the eigenvalue; nor does a residual, however
        small, say that no eigenvalue lies further right.
    """

    rightmost: Array
    doubt: Array

    def take(self, rows: Array) -> "Estimate":
        """Return the estimates of some of the batch."""
        return Estimate(self.rightmost[rows], self.doubt[rows])


def plain(product: Callable[[Array], Array], like: Array) -> Estimate:
    """Return the rightmost Ritz values of A from a Krylov space of A: outlying eigenvalues to many digits, others roughly.

    Parameters
    ----------
    product
        Of rows v, shape (batch, n), the products A v, each with a matrix A of its own.
    like
        An array of the shape, dtype and device of those rows.
    """
    values, doubts = _ritz(arnoldi(product, like, PLAIN_STEPS))
    return _rightmost(values, doubts)


def shift_invert(matrix: Array, gains: Array, estimate: Array) -> Estimate:
    """Return the rightmost eigenvalue of each A = G W from a Krylov space of R = (σ I − A)⁻¹, σ to the right of an estimate.

    An eigenvalue θ of R is λ = σ − 1/θ of A, so that those close to σ lead. The Krylov spaces of R are those of the Cayley
    transform (A − (σ − 2s) I) (A − σ I)⁻¹, whose eigenvalues leave the disc around 0 where those of A pass σ − s.

    Parameters
    ----------
    matrix
        W, shape (n, n), a NumPy array.
    gains
        The diagonals of the matrices G, shape (batch, n), a NumPy array.
    estimate
        Estimates of the real part of the rightmost eigenvalue, shape (batch,).

    References
    ----------
    Meerbergen & Roose, Matrix transformations for computing rightmost eigenvalues of large sparse non-symmetric eigenvalue
    problems, IMA Journal of Numerical Analysis 16, 1996.
    """
    batch, n = gains.shape
    result = Estimate(np.empty(batch), np.empty(batch))
    shifts = estimate + MARGIN * np.maximum(np.abs(estimate), 1.0)
    slab = max(1, SLAB // (n * n))
    for start in range(0, batch, slab):
        rows = slice(start, start + slab)
        resolvents = _resolvents(matrix, gains[rows], shifts[rows])
        values, doubts = _ritz(arnoldi(lambda vectors: _times(resolvents, vectors), gains[rows], SHIFTED_STEPS))  # noqa: B023
        with np.errstate(divide="ignore", invalid="ignore"):
            doubts /= np.abs(values) ** 2
            values = np.where(values == 0, -np.inf, shifts[rows, None] - 1 / values)
        found = _rightmost(values, doubts)
        result.rightmost[rows], result.doubt[rows] = found.rightmost, found.doubt
    return result


def arnoldi(product: Callable[[Array], Array], like: Array, dimension: int) -> Array:
    """Return the Hessenberg matrices of Arnoldi's method, shape (batch, steps + 1, steps), as a NumPy array.

    Parameters
    ----------
    product, like
        As for `plain`.
    dimension
        Steps, n at most.
    """
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
        size = xp.where(size > rounding * before, size, 0.0)  # what is left of a space that is complete is rounding
        hessenberg[:, step + 1, step] = to_numpy(size)
        basis[:, step + 1, :] = xp.where(size > 0, 1 / xp.where(size > 0, size, 1.0), 0.0)[:, None] * vector
    return hessenberg


def _ritz(hessenberg: Array) -> tuple[Array, Array]:
    """Eigenvalues of the square parts, and the residual of each, shape (batch, steps)."""
    values, vectors = np.linalg.eig(hessenberg[:, :-1, :])
    return values, hessenberg[:, -1, -1:] * np.abs(vectors[:, -1, :])


def _rightmost(values: Array, doubts: Array) -> Estimate:
    everyone, rightmost = np.arange(values.shape[0]), values.real.argmax(axis=1)
    return Estimate(values[everyone, rightmost].real, doubts[everyone, rightmost])


def _resolvents(matrix: Array, gains: Array, shifts: Array) -> Array:
    n = matrix.shape[0]
    stack = -gains[:, :, None] * matrix
    stack[:, np.arange(n), np.arange(n)] += shifts[:, None].astype(gains.dtype)
    for index in range(stack.shape[0]):
        stack[index] = inverse(stack[index])
    return stack


def _times(matrices: Array, vectors: Array) -> Array:
    return (matrices @ vectors[:, :, None])[:, :, 0]
