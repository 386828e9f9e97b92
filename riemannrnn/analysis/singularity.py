"""The distance of I − G W from singular: its smallest singular value, for all stimuli of a batch at once."""

from typing import final

import numpy as np

from manifolds import Array
from manifolds.linear_algebra import inverse
from riemannrnn.norms import row_norms
from riemannrnn.runtime import map_chunks

FIRST_ITERATIONS, ITERATIONS = 24, 3
"""Iterations for every stimulus: at the first point of a path, and at later points, which start from earlier vectors."""

FINALISTS, FINAL_ITERATIONS, LAST = 24, 12, 2
"""Numbers of the smallest estimates that are iterated further, and that are finished with their own inverse."""

INVERSE_ITERATIONS = 12
"""Iterations with the inverse: each reduces the error by the squared ratio of the two smallest singular values."""

SHARED_VECTORS = 2
"""Number of nearly singular vectors for the mean gains; the iteration starts in their span."""


@final
class SmallestSingularValue:
    """σ_min(I − G W), the smallest over all stimuli, for successive points of a path.

    Learning by ΔW1 divides by it. Estimates show which stimuli may have the smallest value, and the values of the last few are
    almost exact: the result may be too large, never too small. The vectors are followed along the path for each stimulus, so a
    few iterations at each point suffice; a single point would need many.
    """

    def __init__(self) -> None:
        self._vectors: Array | None = None

    def __call__(self, weights: Array, gains: Array) -> float:
        """Return the value at the next point.

        Parameters
        ----------
        weights
            W, shape (n, n), NumPy.
        gains
            g, shape (batch, n), of the same stimuli at every point; rows that are not finite are ignored.

        Returns
        -------
        float
            The value; NaN if no row is finite.
        """
        weights, rows = weights.astype(gains.dtype), np.flatnonzero(np.isfinite(gains).all(axis=1))
        if not len(rows):
            return np.nan
        preconditioner, shared = _nearly_singular(weights, gains[rows].mean(axis=0))
        iterations = ITERATIONS
        if self._vectors is None:
            self._vectors, iterations = np.tile(shared[0], (len(gains), 1)), FIRST_ITERATIONS
        for count, kept in ((iterations, FINALISTS), (FINAL_ITERATIONS, LAST)):
            start = self._vectors[rows]
            estimates, self._vectors[rows] = singular_value_estimates(
                weights, gains[rows], preconditioner, start, shared, count
            )
            rows = rows[np.argsort(estimates)[:kept]]
        return min(_by_inverse(weights, gains[row], self._vectors[row]) for row in rows)


def singular_value_estimates(
    weights: Array, gains: Array, preconditioner: Array, start: Array, shared: Array, iterations: int
) -> tuple[Array, Array]:
    """Return ‖(I − G W) v‖ for each stimulus, an upper bound of σ_min, and v, a unit vector for which it is small.

    This is the locally optimal conjugate gradient method for the smallest eigenvalue of MᵀM, M = I − G W, for all stimuli in
    lock-step: four matrix products in each iteration, and no matrix for any stimulus.

    Parameters
    ----------
    weights
        W, shape (n, n).
    gains
        g, shape (batch, n), finite.
    preconditioner
        P, shape (n, n), close to (I − G W)⁻¹.
    start, shared
        Vectors that span the start of the iteration: one for each stimulus, shape (batch, n), and some for all, shape (k, n).
    iterations
        Number of iterations; more iterations lower the bound.

    Returns
    -------
    tuple of arrays
        Shapes (batch,) and (batch, n).

    References
    ----------
    Knyazev, SIAM J. Sci. Comput. 23(2), 2001.
    """

    def estimate(rows: slice) -> tuple[Array, Array]:
        return _estimates(weights, gains[rows], preconditioner, start[rows], shared, iterations)

    estimates, vectors = zip(*map_chunks(estimate, gains), strict=True)
    return np.concatenate(estimates), np.concatenate(vectors)


def _by_inverse(weights: Array, gain: Array, vector: Array) -> float:
    """Return σ_min(M), M = I − G W of one stimulus, by power iteration of (MᵀM)⁻¹ from a vector close to the solution."""
    matrix = np.eye(len(weights), dtype=weights.dtype) - gain[:, None] * weights
    try:
        inverted = inverse(matrix)
    except np.linalg.LinAlgError:
        return 0.0
    for _ in range(INVERSE_ITERATIONS):
        vector = inverted @ (inverted.T @ vector)
        vector = vector / np.linalg.norm(vector)
    return float(np.linalg.norm(matrix @ vector))


def _nearly_singular(weights: Array, gains: Array) -> tuple[Array, Array]:
    """Return (I − Ḡ W)⁻¹, with Ḡ the mean of the gains, and the vectors that I − Ḡ W shortens most, as rows."""
    matrix = np.eye(len(weights), dtype=weights.dtype) - gains[:, None] * weights
    try:
        preconditioner = inverse(matrix)
    except np.linalg.LinAlgError:  # without a preconditioner there is still a result
        preconditioner = np.eye(len(weights), dtype=weights.dtype)
    vectors = np.random.default_rng(0).standard_normal((len(weights), SHARED_VECTORS)).astype(weights.dtype)
    for _ in range(2):
        vectors = np.linalg.qr(preconditioner @ (preconditioner.T @ vectors))[0]
    return preconditioner, vectors.T


def _estimates(
    weights: Array, gains: Array, preconditioner: Array, start: Array, shared: Array, iterations: int
) -> tuple[Array, Array]:
    """Return estimates and vectors for a chunk of stimuli."""

    def spread(own: Array, common: Array) -> Array:
        return np.concatenate([own[:, None, :], np.broadcast_to(common, (len(gains), *common.shape))], axis=1)

    basis = spread(start, shared)
    images = basis - gains[:, None, :] * spread(start @ weights.T, shared @ weights.T)
    for _ in range(iterations):
        chosen = _smallest_ritz_vector(basis, images)
        # The direction is the component of the new vector outside the old one.
        direction, direction_image = (_combined(chosen[:, 1:], each[:, 1:]) for each in (basis, images))
        vector, vector_image = (_combined(chosen, each) for each in (basis, images))
        norm = row_norms(vector)[:, None]
        vector, vector_image = vector / norm, vector_image / norm
        value = np.vecdot(vector_image, vector_image)[:, None]
        residual = vector_image - (gains * vector_image) @ weights - value * vector
        step = (residual @ preconditioner) @ preconditioner.T
        basis = np.stack([vector, step, direction], axis=1)
        images = np.stack([vector_image, step - gains * (step @ weights.T), direction_image], axis=1)
    chosen = _smallest_ritz_vector(basis, images)
    vector, norm = _combined(chosen, basis), row_norms(_combined(chosen, basis))
    return row_norms(_combined(chosen, images)) / norm, vector / norm[:, None]


def _combined(coefficients: Array, basis: Array) -> Array:
    return (coefficients[:, None, :] @ basis)[:, 0, :]


def _smallest_ritz_vector(basis: Array, images: Array) -> Array:
    """Return coefficients c, shape (batch, k), that minimise ‖c·images‖ / ‖c·basis‖; basis has shape (batch, k, n)."""
    lengths = np.linalg.norm(basis, axis=2)
    scale = np.where(lengths > np.finfo(basis.dtype).tiny ** 0.5, lengths, 1.0)  # shorter vectors span nothing
    overlap = (basis @ basis.mT).astype(np.float64) / (scale[:, :, None] * scale[:, None, :])
    stiffness = (images @ images.mT).astype(np.float64) / (scale[:, :, None] * scale[:, None, :])
    values, vectors = np.linalg.eigh(overlap)
    # Directions in the span of the others are left out: their component outside it is rounding.
    kept = values > 100 * np.finfo(basis.dtype).eps
    whitened = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)[:, None, :] * vectors
    reduced = whitened.mT @ stiffness @ whitened
    reduced[:, np.arange(reduced.shape[1]), np.arange(reduced.shape[1])] += np.where(kept, 0.0, 1e30)
    _, ritz = np.linalg.eigh(reduced)
    return ((whitened @ ritz[:, :, :1])[:, :, 0] / scale).astype(basis.dtype)
