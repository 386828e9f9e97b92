"""Stability of fixed points: the spectral abscissa of −I + G W for every stimulus."""

from collections.abc import Callable
from math import nan

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import machine_epsilon, to_numpy
from riemannrnn.equilibrium.arnoldi import plain, shift_invert
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.matrix_free import rightmost_by_products
from riemannrnn.network.operator import Operator
from riemannrnn.runtime import cores, map_chunks, workers

DENSE_LIMIT, SURVEY_DENSE_LIMIT = 256, 64
"""Up to this many units all eigenvalues are computed: of every stimulus, or in a survey."""

ROUNDS = 2
"""Shifts that are tried before all eigenvalues of a stimulus are computed."""

FINALISTS = 16
"""A survey starts with this number of the largest estimates."""


def spectral_abscissa(operator: Operator, gains: Array) -> Array:
    """Return the largest real part of the eigenvalues of −I + G W for each stimulus.

    Up to 256 units, and for low rank, all eigenvalues are computed. For more units, Arnoldi's method with shift and inversion
    is used (`arnoldi.shift_invert`). All eigenvalues are computed where the estimated error of this method is above √ε, with ε
    the rounding of the dtype, or where its result lies further left than plain Arnoldi steps allow. This checks that no
    eigenvalue lies further right. It does not prove it. For a convolution of more than 256 units,
    `rightmost_by_products` is used, which needs no matrix.

    Parameters
    ----------
    operator
        The recurrent weights W on n units.
    gains
        g, shape (batch, n).

    Returns
    -------
    Array
        Shape (batch,), in units of 1/τ; negative: the fixed point is stable.
    """
    xp = array_namespace(gains)
    reduced = operator.reduced_jacobians(gains)
    if reduced is not None:
        rightmost = _reduced(reduced, gains.shape[1])
    elif gains.shape[1] <= DENSE_LIMIT:
        rightmost = _dense(to_numpy(operator.matrix), to_numpy(gains))
    elif operator.matrix_free:
        rightmost = rightmost_by_products(operator, gains)
    else:
        screened = _screen(operator, gains)
        rightmost = _exact(to_numpy(operator.matrix), to_numpy(gains), screened)
    return xp.asarray(rightmost - 1, dtype=gains.dtype, device=device(gains))


def survey_stability(operator: Operator, gains: Array) -> tuple[float, int]:
    """Return the largest spectral abscissa of −I + G W over all stimuli, and how many are not stable.

    Plain Arnoldi steps screen all stimuli in lock-step. Eigenvalues are then computed for the stimuli that may be the worst, or
    whose sign is not decided: for the sixteen worst like `spectral_abscissa`, for the others like `spectral_abscissa` for many
    units. The intervals of `arnoldi.plain` decide. They are not proven bounds. On trained networks close to the edge of
    stability they held for every stimulus that was checked.

    Parameters
    ----------
    operator, gains
        As for `spectral_abscissa`, with at least one stimulus.
    """
    rightmost = _rightmost_parts(operator, gains, 1.0, largest=True)
    return float(rightmost.max() - 1), int(np.count_nonzero(rightmost >= 1))


def unstable_stimuli(operator: Operator, gains: Array, limit: float = 0.0) -> tuple[float, Array]:
    """Return an estimate of the largest spectral abscissa, and the stimuli whose own is not below a limit.

    Like `survey_stability`, but stimuli that are clearly on one side of the limit are only screened.

    Returns
    -------
    tuple
        The estimate, and rows of the gains, shape (count,).
    """
    rightmost = _rightmost_parts(operator, gains, 1 + limit, largest=False)
    rows = array_namespace(gains).asarray(np.flatnonzero(rightmost >= 1 + limit), device=device(gains))
    return float(rightmost.max() - 1), rows


def _rightmost_parts(operator: Operator, gains: Array, edge: float, largest: bool) -> Array:
    """Rightmost real parts of the eigenvalues of G W, exact where it tells which exceed the edge, or also the largest."""
    reduced = operator.reduced_jacobians(gains)
    if reduced is not None:
        return _reduced(reduced, gains.shape[1])
    if operator.matrix_free and gains.shape[1] > DENSE_LIMIT:
        return rightmost_by_products(operator, gains, nan if largest else edge)
    matrix, host_gains = to_numpy(operator.matrix), to_numpy(gains)
    if gains.shape[1] <= SURVEY_DENSE_LIMIT:
        return _dense(matrix, host_gains)
    screened = _screen(operator, gains)
    rightmost, lower, upper = screened.copy()
    still_open = (lower < edge) & (upper >= edge)
    if largest:
        rows = np.argsort(rightmost)[-FINALISTS:]
        few = gains.shape[1] <= DENSE_LIMIT
        rightmost[rows] = _dense(matrix, host_gains[rows]) if few else _exact(matrix, host_gains[rows], screened[:, rows])
        still_open |= upper > rightmost[rows].max()
        still_open[rows] = False
    rightmost[still_open] = _exact(matrix, host_gains[still_open], screened[:, still_open], nan if largest else edge)
    return rightmost


def _screen(operator: Operator, gains: Array) -> Array:
    """Estimates of the rightmost real parts of the eigenvalues of G W, and the ends of their intervals, shape (3, batch)."""

    def screen(rows: Array) -> tuple[Array, ...]:
        chosen = take_rows(gains, rows)
        return plain(lambda vectors: chosen * operator.apply(vectors), chosen)

    return _in_chunks(screen, gains)


def _exact(matrix: Array, gains: Array, screened: Array, edge: float = nan) -> Array:
    """Rightmost real parts of the eigenvalues of G W, given what screening found; or only on which side of an edge they are."""
    rightmost, (_, lower, upper) = screened[0].copy(), screened
    rest = np.flatnonzero(upper - lower > machine_epsilon(gains) * np.maximum(np.abs(rightmost), 1))
    for _ in range(ROUNDS):
        found, error = _shifted(matrix, gains[rest], rightmost[rest])
        rightmost[rest] = found
        tolerance = np.fmax(machine_epsilon(gains) ** 0.5 * np.maximum(np.abs(found), 1), np.abs(found - edge) / 2)
        settled = (error <= tolerance) & (found >= lower[rest])
        rest = rest[~settled]
    rightmost[rest] = _dense(matrix, gains[rest])
    return rightmost


def _shifted(matrix: Array, gains: Array, estimate: Array) -> Array:
    return _in_chunks(lambda rows: shift_invert(matrix, gains[rows], estimate[rows]), gains)


def _in_chunks(function: Callable[[Array], tuple[Array, ...]], like: Array) -> Array:
    return np.concatenate([np.stack(each) for each in map_chunks(function, like)], axis=1)


def _dense(matrix: Array, gains: Array) -> Array:
    return _rightmost(lambda rows: gains[rows, :, None] * matrix, *gains.shape)


def _reduced(jacobians: Array, n: int) -> Array:
    """Rightmost real parts of the eigenvalues of G W on n units, from smaller matrices with all that are not zero."""
    host = to_numpy(jacobians)
    rightmost = _rightmost(lambda rows: host[rows], *host.shape[:2])
    return np.maximum(rightmost, 0.0) if host.shape[1] < n else rightmost


def _rightmost(matrices: Callable[[Array], Array], batch: int, size: int) -> Array:
    """All eigenvalues, stimuli shared among the cores (LAPACK releases the interpreter lock)."""
    chunks = np.array_split(np.arange(batch), max(cores(), batch * size * size // 2**24 + 1))
    with workers() as (pool, _):
        parts = list(pool.map(lambda rows: np.linalg.eigvals(matrices(rows)).real.max(axis=1), chunks))
    return np.concatenate(parts)
