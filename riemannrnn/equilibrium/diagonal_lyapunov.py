"""Diagonal Lyapunov functions: Cholesky factors show without eigenvalues that fixed points are unique, or stable by a margin.

Let T = diag(τ), G = diag(g) with g ≥ 0, C = I − μ T with positive entries, and D a positive diagonal matrix. If

    X = C D⁻¹ − G^½ sym(D⁻¹ W) G^½

is positive definite, all eigenvalues of T⁻¹ (−I + G W) have a real part below −μ.

*Why.* For g > 0, T⁻¹ (−C + G W) is similar to P M with the positive diagonal P = T⁻¹ D and M = −C D⁻¹ + D⁻¹ G^½ W G^½. The
symmetric part of M is −X. So P M is stable, because P⁻¹ (P M) + (P M)ᵀ P⁻¹ = 2 sym M is negative definite. Gains of 0 follow by
continuity, because X stays positive definite.

For μ = 0 and all gains in [0, 1], X is positive definite if sym(D⁻¹ (I − W)) is. Then I − G W is invertible for all these
gains, and r = f(W r + x) has one solution for every activation with slopes in [0, 1].

D = I is the certificate of the monotone manifold. The norms of the rows of I − W are the certificate of the scaled monotone
manifold: there I − W = diag(exp ε) (I − M), and the rows of I − M have similar norms.
"""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array
from scipy.linalg.lapack import get_lapack_funcs

from manifolds import Array
from manifolds.arrays import identity_like, machine_epsilon
from riemannrnn.equilibrium.jacobians import checked_time_constants
from riemannrnn.network.operator import Operator
from riemannrnn.norms import row_norms

CHUNK = 64
"""Matrices that are formed at a time, few enough to stay in cache."""

SAMPLE = 16
"""Stimuli that are tried first, spread over the batch. If few of them are decided, the others are not tried."""

ROUNDING = 4.0
"""Rounding errors are taken to be below this multiple of n ε times the largest eigenvalue, or n² ε times the largest entry."""

MOST_UNITS = 256
"""D is looked for up to this many units. The eigenvectors of more units take longer than they save."""

STEPS, STEP = 3, 0.5
"""Values of D that are tried, and the largest change of log D between two of them."""

NEARLY = 0.1
"""D is given up where an eigenvalue is below minus this, in units of the mean of D⁻¹."""


def unique_by_rows(operator: Operator) -> bool:
    """Tell whether sym(D⁻¹ (I − W)) is certain to be positive definite for some D, which is looked for.

    The search starts at the norms of the rows of I − W. A step changes log D along the gradient of a smooth minimum of the
    eigenvalues. Only dense weights are looked at, of `MOST_UNITS` units at most.
    """
    if not operator.formed or operator.row_norms.shape[0] > MOST_UNITS:
        return False
    xp, matrix = array_namespace(operator.parameters), identity_like(operator.matrix) - operator.matrix
    inverse_scales = 1 / _norms(operator.matrix)
    for _ in range(STEPS):
        inverse_scales = inverse_scales / xp.mean(inverse_scales)
        scaled = inverse_scales[:, None] * matrix
        values, vectors = xp.linalg.eigh((scaled + scaled.T) / 2)
        smallest, largest = float(values[0]), float(xp.max(xp.abs(values)))
        if smallest > ROUNDING * matrix.shape[0] * machine_epsilon(matrix) * largest:
            return True
        if not smallest > -NEARLY:
            return False
        weights = xp.exp((smallest - values) / max(abs(smallest), machine_epsilon(matrix)))
        slope = inverse_scales * xp.sum(weights * vectors * (matrix @ vectors), axis=1)
        inverse_scales = inverse_scales * xp.exp(STEP * slope / xp.max(xp.abs(slope)))
    return False


def stable_by_rows(operator: Operator, gains: Array, margin: float, time_constants: Any = None) -> Array:
    """Tell for each stimulus whether the spectral abscissa of T⁻¹ (−I + G W) is certain to be below −margin, shape (batch,).

    D is I, and then the norms of the rows of I − W. Only dense weights are looked at. False says nothing.

    Parameters
    ----------
    operator
        The recurrent weights W on n units.
    gains
        g, shape (batch, n).
    margin
        μ, in units of 1/τ, or 1 over the unit of the time constants.
    time_constants
        The diagonal τ of T, positive, shape (n,). Default: all are 1.

    Raises
    ------
    ValueError
        For time constants of another shape, or that are not positive and finite.
    """
    xp = array_namespace(gains)
    certain = xp.zeros_like(gains[:, 0], dtype=xp.bool)
    speed = xp.ones_like(gains[0, :])
    if time_constants is not None:
        speed = xp.astype(checked_time_constants(time_constants, gains), gains.dtype)
    kept = 1 - margin * speed
    if not operator.formed or bool(xp.any(gains < 0)) or not bool(xp.all(kept > 0)):
        return certain
    roots = xp.sqrt(gains)
    for scales in (xp.ones_like(speed), _norms(operator.matrix)):
        symmetric = _symmetric(operator.matrix, scales)
        diagonal = (kept / scales)[None, :]
        if bool(xp.all(certain)):
            break
        decided = _definite(symmetric, roots[:: max(1, roots.shape[0] // SAMPLE), :], diagonal)
        if 2 * int(xp.count_nonzero(decided)) > decided.shape[0]:
            certain = certain | _definite(symmetric, roots, diagonal)
    return certain


def _norms(weights: Array) -> Array:
    """Return the norms of the rows of I − W, all positive."""
    xp, norms = array_namespace(weights), row_norms(identity_like(weights) - weights)
    return xp.where(norms > 0, norms, 1.0)


def _symmetric(weights: Array, scales: Array) -> Array:
    """Return the symmetric part of D⁻¹ W."""
    scaled = weights / scales[:, None]
    return (scaled + scaled.T) / 2


def _definite(symmetric: Array, roots: Array, diagonal: Array) -> Array:
    """Tell for each stimulus whether diag(d) − G^½ S G^½ is positive definite, rounding included, shape (batch,).

    Parameters
    ----------
    symmetric
        S, shape (n, n).
    roots
        The diagonals of G^½, shape (batch, n).
    diagonal
        d, shape (1, n).
    """
    xp, n = array_namespace(symmetric), symmetric.shape[0]
    largest = float(xp.max(xp.abs(symmetric))) + float(xp.max(diagonal))
    reduced = identity_like(symmetric) * (diagonal - ROUNDING * n**2 * machine_epsilon(symmetric) * largest)
    found, batch = [], roots.shape[0]
    for start in range(0, batch, CHUNK):
        part = roots[start : min(start + CHUNK, batch), :]
        found.append(_positive(reduced - part[:, :, None] * (symmetric * part[:, None, :])))
    return xp.concat(found)


def _positive(matrices: Array) -> Array:
    """Tell for each matrix whether its Cholesky factor exists."""
    if is_numpy_array(matrices):  # NumPy refuses a stack with one bad matrix
        (factorise,) = get_lapack_funcs(("potrf",), (matrices,))
        return np.array([factorise(matrix.T, overwrite_a=True, clean=False)[1] == 0 for matrix in matrices], bool)
    xp = array_namespace(matrices)
    try:
        return xp.all(xp.isfinite(xp.linalg.cholesky(matrices)), axis=(1, 2))
    except np.linalg.LinAlgError:  # some libraries refuse it, too, and then nothing is said of the stack
        return xp.zeros(matrices.shape[0], dtype=xp.bool)
