"""Points of the monotone manifold that several tests share."""

import numpy as np

from manifolds import MonotoneManifold


def sym(matrix):
    return (matrix + matrix.T) / 2


def smallest(W):
    """Return the smallest eigenvalue of the symmetric part of I − W, in double precision."""
    return np.linalg.eigvalsh(np.eye(len(W)) - sym(W.astype(float)))[0]


def drawn(n, length, seed=0, dtype=np.float64):
    """Return a manifold, a point that is not near the origin, and a tangent vector of a given length."""
    manifold = MonotoneManifold(n, seed=seed, like=np.empty(0, dtype))
    W = manifold.random_point()
    W = manifold.exp(W, manifold.random_tangent_vector(W))
    return manifold, W, dtype(length) * manifold.random_tangent_vector(W)


def rotated(x, y, dtype=np.float64):
    """Return the W with I − W = x I + y J, J a quarter turn: a point of the half-plane x > 0."""
    return np.array([[1 - x, y], [-y, 1 - x]], dtype)
