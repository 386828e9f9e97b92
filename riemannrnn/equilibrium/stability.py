"""Stability of fixed points: the spectral abscissa of −I + G W for every stimulus."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from array_api_compat import array_namespace, device
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

from manifolds import Array
from manifolds.arrays import to_numpy
from riemannrnn.equilibrium.chunks import one_blas_thread
from riemannrnn.equilibrium.equation import row_norms, take_rows
from riemannrnn.network.connectivity import Connectivity

DENSE_LIMIT = 256
"""Up to this many units all eigenvalues are computed, beyond it ARPACK finds the rightmost."""

WANTED, SUBSPACE = 4, 40
"""Eigenvalues asked of ARPACK, and its subspace: asked for the rightmost alone it may settle on the second."""

SCREENING_STEPS = 24
"""Arnoldi steps with which a survey looks at every stimulus before it computes eigenvalues exactly for those that matter."""

DOUBT_FACTOR, FINALISTS = 3.0, 16
"""A survey is exact for stimuli whose estimate is within so many times its residual of 0, and for so many of the largest."""


def spectral_abscissa(connectivity: Connectivity, weights: Array, gains: Array) -> Array:
    """Return the largest real part of the eigenvalues of −I + G W for each stimulus.

    Parameters
    ----------
    connectivity, weights
        The recurrent weights W on n units.
    gains
        g, shape (batch, n).

    Returns
    -------
    Array
        Shape (batch,), in units of 1/τ; negative: the fixed point is stable.
    """
    xp = array_namespace(gains)
    host_gains = to_numpy(gains)
    n = host_gains.shape[1]
    if n <= DENSE_LIMIT:
        matrix = to_numpy(connectivity.apply(weights, xp.eye(n, dtype=gains.dtype, device=device(gains)))).T
        rightmost = _dense(matrix, host_gains)
    else:
        rightmost = np.array([_arpack(connectivity, weights, gains[row, :]) for row in range(host_gains.shape[0])])
    return xp.asarray(rightmost - 1, dtype=gains.dtype, device=device(gains))


def survey_stability(connectivity: Connectivity, weights: Array, gains: Array) -> tuple[float, int]:
    """Return the largest spectral abscissa of −I + G W over all stimuli, and how many stimuli are not stable.

    Every stimulus is screened by a few Arnoldi steps, all stimuli in lock-step, which find the outlying eigenvalues; the exact
    eigenvalues are then computed for those that decide the answer. Several times faster than all eigenvalues of all stimuli.

    Parameters
    ----------
    connectivity, weights, gains
        As for `spectral_abscissa`; at least one stimulus.
    """
    xp = array_namespace(gains)
    if gains.shape[1] <= 2 * SCREENING_STEPS:
        abscissa = to_numpy(spectral_abscissa(connectivity, weights, gains))
    else:
        abscissa, doubt = _screen(connectivity, weights, gains)
        unsure = np.abs(abscissa) < DOUBT_FACTOR * doubt
        unsure[np.argsort(abscissa)[-FINALISTS:]] = True
        rows = xp.asarray(np.flatnonzero(unsure), device=device(gains))
        abscissa[unsure] = to_numpy(spectral_abscissa(connectivity, weights, take_rows(gains, rows)))
    return float(abscissa.max()), int(np.count_nonzero(abscissa >= 0))


def _screen(connectivity: Connectivity, weights: Array, gains: Array) -> tuple[Array, Array]:
    """Rightmost Ritz values of −I + G W and their residuals after a few Arnoldi steps, as NumPy arrays of shape (batch,)."""
    xp = array_namespace(gains)
    batch, n = gains.shape
    start = xp.asarray(np.random.default_rng(0).standard_normal(n), dtype=gains.dtype, device=device(gains))
    basis = [xp.broadcast_to(start / xp.linalg.vector_norm(start), gains.shape)]
    hessenberg = np.zeros((batch, SCREENING_STEPS + 1, SCREENING_STEPS))
    for step in range(SCREENING_STEPS):
        vector = gains * connectivity.apply(weights, basis[step])
        for _ in range(2):  # Gram–Schmidt twice is enough (Giraud, Langou & Rozložník 2005)
            for index, known in enumerate(basis):
                overlap = xp.vecdot(known, vector)
                vector = vector - overlap[:, None] * known
                hessenberg[:, index, step] += to_numpy(overlap)
        size = row_norms(vector)
        hessenberg[:, step + 1, step] = to_numpy(size)
        basis.append(vector / xp.where(size > 0, size, 1.0)[:, None])
    values, vectors = np.linalg.eig(hessenberg[:, :-1, :])
    everyone, rightmost = np.arange(batch), values.real.argmax(axis=1)
    doubt = hessenberg[:, -1, -1] * np.abs(vectors[everyone, -1, rightmost])
    return values[everyone, rightmost].real - 1, doubt


def _dense(matrix: Array, gains: Array) -> Array:
    """All eigenvalues of G W, stimuli shared among the cores (LAPACK releases the interpreter lock)."""
    cores = os.cpu_count() or 1
    chunks = np.array_split(gains, max(cores, gains.size * gains.shape[1] // 2**24 + 1))
    # With BLAS threads of its own in every worker they would fight for the cores.
    with one_blas_thread(), ThreadPoolExecutor(cores) as pool:
        parts = list(pool.map(lambda chunk: np.linalg.eigvals(chunk[:, :, None] * matrix).real.max(axis=1), chunks))
    return np.concatenate(parts)


def _arpack(connectivity: Connectivity, weights: Array, gains: Array) -> float:
    xp = array_namespace(gains)
    n = gains.shape[0]

    def product(vector: Array) -> Array:
        row = xp.asarray(vector.reshape(1, n), dtype=gains.dtype, device=device(gains))
        return to_numpy(gains * connectivity.apply(weights, row)[0, :])

    operator = LinearOperator((n, n), matvec=product, dtype=to_numpy(gains).dtype)
    # A seeded start: ARPACK draws a random one otherwise, and two runs would differ in the last digits.
    start = np.random.default_rng(0).standard_normal(n)
    try:
        found = eigs(operator, k=min(WANTED, n - 2), ncv=min(SUBSPACE, n), which="LR", v0=start, return_eigenvectors=False)
        return float(found.real.max())
    except ArpackError:  # not converged, or G W = 0
        matrix = to_numpy(connectivity.apply(weights, xp.eye(n, dtype=gains.dtype, device=device(gains)))).T
        return float(np.linalg.eigvals(to_numpy(gains)[:, None] * matrix).real.max())
