"""Stable weights of a larger kind: the rows of I − W for monotone weights, each scaled by a positive number.

A point is a list [M, ε] of monotone weights, shape (n, n), and logarithms of the scales, shape (n, 1); it stands for the W with
I − W = E (I − M), E = diag(exp ε). G is a Euclidean gradient with respect to W, [V, v] a tangent vector at [M, ε].
"""

from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace
from pymanopt.manifolds import Product

from manifolds.arrays import Array, identity_like
from manifolds.charts import Identity
from manifolds.monotone import MonotoneManifold
from manifolds.pullback import PullbackManifold


def scaled_monotone(
    n: int, *, seed: int | np.random.Generator | None = None, like: Array | None = None, validate: bool = False
) -> Product:
    """Return the product of the monotone manifold and the Euclidean space of ε, a manifold of points [M, ε].

    At each point every stimulus of a network with slopes at most 1 has exactly one fixed point, and it is stable: G⁻¹ − W is
    diagonally Lyapunov stable, with E⁻¹, and so −I + G W is Hurwitz for all gains in [0, 1]. Unlike monotone weights, W may
    amplify strongly, as a feedforward chain does. The manifold is complete. Different points may stand for the same W.

    Parameters
    ----------
    n
        Number of rows and columns of W.
    seed, like, validate
        See `WeightManifold`.

    Returns
    -------
    pymanopt.manifolds.Product
        Its points go to `scaled_weights`, and gradients and Hessians with respect to W come from `scaled_gradient` and
        `scaled_hessian`. To start from monotone weights, pass [W, zeros of shape (n, 1)].

    References
    ----------
    Kaszkurewicz and Bhaya, *Matrix Diagonal Stability in Systems and Computation*, Birkhäuser 2000, chapter 2.
    """
    generator = np.random.default_rng(seed)
    monotone = MonotoneManifold(n, seed=generator, like=like, validate=validate)
    return Product([monotone, PullbackManifold(Identity(), (n, 1), seed=generator, like=like, validate=validate)])


def scaled_weights(point: Sequence[Array]) -> Array:
    """Return W = I − E (I − M), shape (n, n)."""
    return identity_like(point[0]) - _complement(point)


def scaled_velocity(point: Sequence[Array], tangent_vector: Sequence[Array]) -> Array:
    """Return the change of W along [V, v], E V − diag(v) (I − W), shape (n, n)."""
    change, growth = tangent_vector
    return _scales(point) * change - growth * _complement(point)


def scaled_gradient(point: Sequence[Array], gradient: Array) -> list[Array]:
    """Return the Euclidean gradient with respect to [M, ε]: [E G, −row sums of G ∘ (I − W)]."""
    return [_scales(point) * gradient, _row_sums(-gradient * _complement(point))]


def scaled_hessian(point: Sequence[Array], gradient: Array, hessian: Array, tangent_vector: Sequence[Array]) -> list[Array]:
    """Return the change of `scaled_gradient` along [V, v].

    Parameters
    ----------
    point, tangent_vector
        [M, ε] and [V, v].
    gradient, hessian
        G, and its change along `scaled_velocity`, shape (n, n).

    Returns
    -------
    list of arrays
        [E H + diag(v) E G, −row sums of (H ∘ (I − W) − G ∘ Ẇ)] with Ẇ the velocity of W; shapes (n, n) and (n, 1).
    """
    turned = gradient * scaled_velocity(point, tangent_vector) - hessian * _complement(point)
    return [_scales(point) * (hessian + tangent_vector[1] * gradient), _row_sums(turned)]


def _scales(point: Sequence[Array]) -> Array:
    return array_namespace(point[1]).exp(point[1])


def _complement(point: Sequence[Array]) -> Array:
    return _scales(point) * (identity_like(point[0]) - point[0])


def _row_sums(matrix: Array) -> Array:
    return array_namespace(matrix).sum(matrix, axis=1, keepdims=True)
