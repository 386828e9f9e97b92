"""How near to singular I − G W is: its smallest singular value, for every stimulus of a batch at once."""

import numpy as np

from manifolds import Array
from manifolds.arrays import inverse
from riemannrnn.equilibrium.chunks import map_chunks
from riemannrnn.equilibrium.equation import row_norms

ROUNDS = ((3, 48), (12, 2))
"""Iterations of each round, and how many stimuli of the smallest estimates go on from it; of the last all is computed."""

SHARED_VECTORS = 6
"""Vectors that are nearly singular for the mean gains, in whose span the iteration starts."""


def smallest_singular_value(weights: Array, gains: Array) -> float:
    """Return σ_min(I − G W), the least over all stimuli.

    Learning by ΔW1 divides by it. Rounds of ever better `singular_value_estimates` find the stimuli that come into question; of
    the last few it is exact. It may therefore be too large, never too small.

    Parameters
    ----------
    weights
        W, shape (n, n), NumPy.
    gains
        g, shape (batch, n); rows that are not finite are left out.

    Returns
    -------
    float
        NaN, if no row is left.
    """
    gains = gains[np.isfinite(gains).all(axis=1)]
    if not len(gains):
        return np.nan
    for iterations, kept in ROUNDS:
        if len(gains) > kept:
            gains = gains[np.argsort(singular_value_estimates(weights, gains, iterations))[:kept]]
    matrices = (np.eye(len(weights), dtype=gains.dtype) - row[:, None] * weights.astype(gains.dtype) for row in gains)
    return min(float(np.linalg.svd(each, compute_uv=False)[-1]) for each in matrices)


def singular_value_estimates(weights: Array, gains: Array, iterations: int) -> Array:
    """Return ‖(I − G W) v‖ for each stimulus, v a unit vector that makes it small: an upper bound of σ_min, shape (batch,).

    The locally optimal conjugate gradient method for the smallest eigenvalue of MᵀM, M = I − G W, all stimuli in lock-step,
    preconditioned by P Pᵀ with P = (I − Ḡ W)⁻¹, Ḡ the mean of the gains: four matrix products an iteration, no matrix for any
    stimulus.

    Parameters
    ----------
    weights
        W, shape (n, n).
    gains
        g, shape (batch, n), finite.
    iterations
        How many; the more, the lower the bound.

    References
    ----------
    Knyazev, SIAM J. Sci. Comput. 23(2), 2001.
    """
    weights = weights.astype(gains.dtype)
    identity = np.eye(len(weights), dtype=gains.dtype)
    try:
        shared = inverse(identity - gains.mean(axis=0)[:, None] * weights)
    except np.linalg.LinAlgError:  # rather no preconditioner than none of the results
        shared = identity
    start = np.random.default_rng(0).standard_normal((len(weights), SHARED_VECTORS)).astype(gains.dtype)
    for _ in range(2):
        start = np.linalg.qr(shared @ (shared.T @ start))[0]
    return np.concatenate(map_chunks(lambda rows: _estimates(weights, gains[rows], shared, start.T, iterations), gains))


def _estimates(weights: Array, gains: Array, shared: Array, start: Array, iterations: int) -> Array:
    """Estimates for a chunk of stimuli, from the rows of `start`, which span what is nearly singular for the mean gains."""

    def image(vectors: Array) -> Array:
        return vectors - gains * (vectors @ weights.T)

    basis = np.broadcast_to(start, (len(gains), *start.shape))
    images = start - gains[:, None, :] * (start @ weights.T)
    for _ in range(iterations):
        chosen = _smallest_ritz_vector(basis, images)
        # The direction is the part of the new vector that is not the old one.
        direction, direction_image = (_combined(chosen[:, 1:], each[:, 1:]) for each in (basis, images))
        vector, vector_image = (_combined(chosen, each) for each in (basis, images))
        norm = row_norms(vector)[:, None]
        vector, vector_image = vector / norm, vector_image / norm
        value = np.vecdot(vector_image, vector_image)[:, None]
        residual = vector_image - (gains * vector_image) @ weights - value * vector
        step = (residual @ shared) @ shared.T
        basis = np.stack([vector, step, direction], axis=1)
        images = np.stack([vector_image, image(step), direction_image], axis=1)
    chosen = _smallest_ritz_vector(basis, images)
    return row_norms(_combined(chosen, images)) / row_norms(_combined(chosen, basis))


def _combined(coefficients: Array, basis: Array) -> Array:
    return (coefficients[:, None, :] @ basis)[:, 0, :]


def _smallest_ritz_vector(basis: Array, images: Array) -> Array:
    """Coefficients c of the vector c·basis, shape (batch, k), that makes ‖c·images‖ / ‖c·basis‖ least; basis (batch, k, n)."""
    scale = np.maximum(np.linalg.norm(basis, axis=2), np.finfo(basis.dtype).tiny)
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
