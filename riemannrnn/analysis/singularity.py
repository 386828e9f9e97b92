"""How near to singular I − G W is: its smallest singular value, for every stimulus of a batch at once."""

from typing import final

import numpy as np

from manifolds import Array
from manifolds.linear_algebra import inverse
from riemannrnn.norms import row_norms
from riemannrnn.runtime import map_chunks

FIRST_ITERATIONS, ITERATIONS = 24, 3
"""For every stimulus: at the first point of a path, and at those that follow, from the vectors found before."""

FINALISTS, FINAL_ITERATIONS, LAST = 24, 12, 2
"""So many of the smallest estimates are iterated further, and the last few by their own inverse."""

INVERSE_ITERATIONS = 12
"""By that inverse: each divides what is wrong by the square of the ratio of the two smallest singular values."""

SHARED_VECTORS = 2
"""Vectors that are nearly singular for the mean gains, in whose span the iteration starts."""


@final
class SmallestSingularValue:
    """σ_min(I − G W), the least over all stimuli, at one point of a path after the other.

    Learning by ΔW1 divides by it. Estimates tell which stimuli come into question, and those of the last few are as good as
    exact: it may be too large, never too small. The vectors are followed along the path, stimulus by stimulus, so that a few
    iterations at each point suffice where one point alone would want many.
    """

    def __init__(self) -> None:
        self._vectors: Array | None = None

    def __call__(self, weights: Array, gains: Array) -> float:
        """Return it at the next point.

        Parameters
        ----------
        weights
            W, shape (n, n), NumPy.
        gains
            g, shape (batch, n), of the same stimuli at every point; rows that are not finite are left out.

        Returns
        -------
        float
            NaN, if no row is left.
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
    """Return ‖(I − G W) v‖ for each stimulus, and v, a unit vector that makes it small: an upper bound of σ_min.

    The locally optimal conjugate gradient method for the smallest eigenvalue of MᵀM, M = I − G W, all stimuli in lock-step:
    four matrix products an iteration, no matrix for any stimulus.

    Parameters
    ----------
    weights
        W, shape (n, n).
    gains
        g, shape (batch, n), finite.
    preconditioner
        P, shape (n, n), near to (I − G W)⁻¹.
    start, shared
        Vectors in whose span the iteration starts: one of each stimulus, shape (batch, n), and some for all, shape (k, n).
    iterations
        How many; the more, the lower the bound.

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
    """Return σ_min(M), M = I − G W of one stimulus, by the power iteration of (MᵀM)⁻¹ from a vector that is nearly there."""
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
    """(I − Ḡ W)⁻¹, Ḡ the mean of the gains, and the vectors that I − Ḡ W shortens most, as rows."""
    matrix = np.eye(len(weights), dtype=weights.dtype) - gains[:, None] * weights
    try:
        preconditioner = inverse(matrix)
    except np.linalg.LinAlgError:  # rather no preconditioner than none of the results
        preconditioner = np.eye(len(weights), dtype=weights.dtype)
    vectors = np.random.default_rng(0).standard_normal((len(weights), SHARED_VECTORS)).astype(weights.dtype)
    for _ in range(2):
        vectors = np.linalg.qr(preconditioner @ (preconditioner.T @ vectors))[0]
    return preconditioner, vectors.T


def _estimates(
    weights: Array, gains: Array, preconditioner: Array, start: Array, shared: Array, iterations: int
) -> tuple[Array, Array]:
    """Estimates and vectors for a chunk of stimuli."""

    def spread(own: Array, common: Array) -> Array:
        return np.concatenate([own[:, None, :], np.broadcast_to(common, (len(gains), *common.shape))], axis=1)

    basis = spread(start, shared)
    images = basis - gains[:, None, :] * spread(start @ weights.T, shared @ weights.T)
    for _ in range(iterations):
        chosen = _smallest_ritz_vector(basis, images)
        # The direction is the part of the new vector that is not the old one.
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
    """Coefficients c of the vector c·basis, shape (batch, k), that makes ‖c·images‖ / ‖c·basis‖ least; basis (batch, k, n)."""
    lengths = np.linalg.norm(basis, axis=2)
    scale = np.where(lengths > np.finfo(basis.dtype).tiny ** 0.5, lengths, 1.0)  # shorter ones span nothing
    overlap = (basis @ basis.mT).astype(np.float64) / (scale[:, :, None] * scale[:, None, :])
    stiffness = (images @ images.mT).astype(np.float64) / (scale[:, :, None] * scale[:, None, :])
    values, vectors = np.linalg.eigh(overlap)
    # Directions that the others span already are left out: their part of the basis is rounding.
    kept = values > 100 * np.finfo(basis.dtype).eps
    whitened = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)[:, None, :] * vectors
    reduced = whitened.mT @ stiffness @ whitened
    reduced[:, np.arange(reduced.shape[1]), np.arange(reduced.shape[1])] += np.where(kept, 0.0, 1e30)
    _, ritz = np.linalg.eigh(reduced)
    return ((whitened @ ritz[:, :, :1])[:, :, 0] / scale).astype(basis.dtype)
