"""Stability of fixed points: the spectral abscissa of T⁻¹ (−I + G W) for every stimulus."""

from collections.abc import Callable
from math import nan
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import machine_epsilon
from riemannrnn.equilibrium.arnoldi import plain, shift_invert
from riemannrnn.equilibrium.equation import take_rows
from riemannrnn.equilibrium.jacobians import Jacobians, Matrices
from riemannrnn.equilibrium.matrix_free import rightmost_by_products
from riemannrnn.network.operator import Operator
from riemannrnn.runtime import cores, map_chunks, workers

DENSE_LIMIT, SURVEY_DENSE_LIMIT = 256, 64
"""Up to this many units all eigenvalues are computed: for every stimulus, or in a survey."""

MARGINS = (0.1, 0.1, 0.01)
"""Distances of the shifts to the right of the latest estimate, before all eigenvalues of a stimulus are computed. The last
shift separates eigenvalues that are close to each other, such as the eigenvalues of slow units."""

FINALISTS = 16
"""Number of the largest estimates with which a survey starts."""


def spectral_abscissa(operator: Operator, gains: Array, time_constants: Any = None) -> Array:
    """Return the largest real part of the eigenvalues of T⁻¹ (−I + G W) for each stimulus.

    Up to 256 units, and for low rank, all eigenvalues are computed. For more units, Arnoldi's method with shift and inversion
    is used (`arnoldi.shift_invert`). All eigenvalues are computed if the estimated error of this method is above √ε, with ε the
    rounding of the dtype, or if its result is further left than plain Arnoldi steps allow. This checks that no eigenvalue is
    further right. It does not prove it. For a convolution of more than 256 units, `rightmost_by_products` is used, which needs
    no matrix.

    Low rank k saves work if the time constants have few different values, each for k units or more. Otherwise the weights are
    computed as an n × n matrix.

    Parameters
    ----------
    operator
        The recurrent weights W on n units.
    gains
        g, shape (batch, n).
    time_constants
        The diagonal τ of T, positive, shape (n,), in any unit of time. Default: all are 1.

    Returns
    -------
    Array
        Shape (batch,), in units of 1/τ, or 1 over the unit of the time constants; negative: the fixed point is stable.

    Raises
    ------
    ValueError
        For time constants of another shape, or that are not positive and finite.
    """
    xp = array_namespace(gains)
    jacobians = Jacobians.of(operator, gains, time_constants)
    rightmost = _reduced(jacobians)
    if rightmost is None and gains.shape[1] <= DENSE_LIMIT:
        rightmost = _dense(jacobians.on_host())
    elif rightmost is None and operator.matrix_free:
        rightmost = rightmost_by_products(jacobians)
    elif rightmost is None:
        rightmost = _exact(jacobians.on_host(), _screen(jacobians))
    return xp.asarray(jacobians.abscissa(rightmost), dtype=gains.dtype, device=device(gains))


def survey_stability(operator: Operator, gains: Array, time_constants: Any = None) -> tuple[float, int]:
    """Return the largest spectral abscissa of T⁻¹ (−I + G W) over all stimuli, and the number of stimuli that are not stable.

    Plain Arnoldi steps screen all stimuli in lock-step. Eigenvalues are then computed for the stimuli that may be the worst, or
    have an undecided sign: for the sixteen worst like `spectral_abscissa`, for the others like `spectral_abscissa` for many
    units. The intervals of `arnoldi.plain` decide. They are not proven bounds. On trained networks close to the edge of
    stability they held for every stimulus that was checked.

    Parameters
    ----------
    operator, gains, time_constants
        As for `spectral_abscissa`, with at least one stimulus.
    """
    jacobians = Jacobians.of(operator, gains, time_constants)
    rightmost = _rightmost_parts(jacobians, 1.0, largest=True)
    return float(jacobians.abscissa(rightmost.max())), int(np.count_nonzero(rightmost >= 1))


def unstable_stimuli(operator: Operator, gains: Array, limit: float = 0.0, time_constants: Any = None) -> tuple[float, Array]:
    """Return an estimate of the largest spectral abscissa, and the stimuli with an abscissa that is not below a limit.

    Like `survey_stability`, but stimuli that are clearly on one side of the limit are only screened.

    Returns
    -------
    tuple
        The estimate, and rows of the gains, shape (count,).
    """
    jacobians = Jacobians.of(operator, gains, time_constants)
    edge = jacobians.edge(limit)
    rightmost = _rightmost_parts(jacobians, edge, largest=False)
    rows = array_namespace(gains).asarray(np.flatnonzero(rightmost >= edge), device=device(gains))
    return float(jacobians.abscissa(rightmost.max())), rows


def _rightmost_parts(jacobians: Jacobians, edge: float, largest: bool) -> Array:
    """Return rightmost real parts of the eigenvalues, exact where needed to compare with the edge, or for the largest."""
    reduced = _reduced(jacobians)
    if reduced is not None:
        return reduced
    n = jacobians.gains.shape[1]
    if jacobians.operator.matrix_free and n > DENSE_LIMIT:
        return rightmost_by_products(jacobians, nan if largest else edge)
    host = jacobians.on_host()
    if n <= SURVEY_DENSE_LIMIT:
        return _dense(host)
    screened = _screen(jacobians)
    rightmost, lower, upper = screened.copy()
    if not largest:
        rest = np.flatnonzero((lower < edge) & (upper >= edge))
        rightmost[rest] = _exact(host.take(rest), screened[:, rest], edge)
        return rightmost
    rows = np.argsort(rightmost)[-FINALISTS:]
    rightmost[rows] = _dense(host.take(rows)) if n <= DENSE_LIMIT else _exact(host.take(rows), screened[:, rows])
    best = float(rightmost[rows].max())
    still_open = ((lower < edge) & (upper >= edge)) | (upper > best)
    still_open[rows] = False
    rest = np.flatnonzero(still_open)
    # Of most stimuli it only matters that they are to the left of the largest eigenvalue so far.
    rightmost[rest] = _exact(host.take(rest), screened[:, rest], best if best < edge else nan)
    larger = rest[rightmost[rest] > best]
    rightmost[larger] = _exact(host.take(larger), screened[:, larger])
    return rightmost


def _screen(jacobians: Jacobians) -> Array:
    """Return estimates of the rightmost real parts of the eigenvalues, and the ends of their intervals, shape (3, batch)."""

    def screen(rows: Array) -> tuple[Array, ...]:
        chosen = take_rows(jacobians.gains, rows)
        return plain(lambda vectors: jacobians.product(vectors, chosen), chosen)

    return _in_chunks(screen, jacobians.gains)


def _exact(host: Matrices, screened: Array, edge: float = nan) -> Array:
    """Return rightmost real parts of the eigenvalues, given the screening; with an edge only on which side they are."""
    rightmost, (_, lower, upper) = screened[0].copy(), screened
    epsilon = machine_epsilon(host.gains)
    rest = np.flatnonzero(upper - lower > epsilon * np.maximum(np.abs(rightmost), 1))
    for margin in MARGINS:
        found, error = _shifted(host.take(rest), rightmost[rest], margin)
        rightmost[rest] = found
        tolerance = np.fmax(epsilon**0.5 * np.maximum(np.abs(found), 1), np.abs(found - edge) / 2)
        settled = (error <= tolerance) & (found >= lower[rest])
        rest = rest[~settled]
    rightmost[rest] = _dense(host.take(rest))
    return rightmost


def _shifted(host: Matrices, estimate: Array, margin: float) -> Array:
    return _in_chunks(lambda rows: shift_invert(host.take(rows), estimate[rows], margin), host.gains)


def _in_chunks(function: Callable[[Array], tuple[Array, ...]], like: Array) -> Array:
    return np.concatenate([np.stack(each) for each in map_chunks(function, like)], axis=1)


def _dense(host: Matrices) -> Array:
    return _rightmost(host.stack, *host.gains.shape)


def _reduced(jacobians: Jacobians) -> Array | None:
    """Return rightmost real parts of the eigenvalues from smaller matrices, or None if there are none."""
    reduced = jacobians.reduced()
    if reduced is None:
        return None
    matrices, lacking = reduced
    return np.maximum(_rightmost(lambda rows: matrices[rows], *matrices.shape[:2]), lacking)


def _rightmost(matrices: Callable[[Array], Array], batch: int, size: int) -> Array:
    """Compute all eigenvalues, with stimuli shared among the cores (LAPACK releases the interpreter lock)."""
    chunks = np.array_split(np.arange(batch), max(cores(), batch * size * size // 2**24 + 1))
    with workers() as (pool, _):
        parts = list(pool.map(lambda rows: np.linalg.eigvals(matrices(rows)).real.max(axis=1), chunks))
    return np.concatenate(parts)
