"""Matrices of fixed rank: pymanopt's manifold, without whole matrices."""

from typing import final

import numpy as np

from manifolds.arrays import Array
from manifolds.deferred import pymanopt
from manifolds.points import Point, several
from manifolds.summary import Summarised

embedded = pymanopt.manifolds.fixed_rank


@final
class FixedRank(Summarised, pymanopt.manifolds.FixedRankEmbedded):
    """pymanopt's `FixedRankEmbedded`, with the same points (u, s, vᵀ) and tangent vectors (U_p, M, V_p), for large matrices.

    In pymanopt 2.2.1 `transport`, and so `ConjugateGradient`, forms an m×n matrix. The first step turns float32 into float64.
    Gradients are divided by differences of singular values, which may be equal. This class avoids all three. Like pymanopt's,
    it has no Riemannian Hessian, so `TrustRegions` does not run on it. NumPy only.

    Parameters
    ----------
    m, n, k
        Rows, columns and rank.
    seed
        Seed or generator for random points and vectors; the global NumPy state is never touched.

    References
    ----------
    Vandereycken, *Low-rank matrix completion by Riemannian optimization*, SIAM J. Optim. 23(2), 2013.

    Examples
    --------
    >>> m = FixedRank(6, 5, 2, seed=0)
    >>> u, s, vt = m.random_point()
    >>> u.shape, s.shape, vt.shape
    ((6, 2), (2,), (2, 5))
    """

    def __init__(self, m: int, n: int, k: int, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(m, n, k)
        self._shapes = (m, k), (k, k), (n, k)
        self._generator = np.random.default_rng(seed)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        (m, k), _, (n, _) = self._shapes
        return {"matrices": f"{m}×{n}", "rank": k, "dimension": self.dim}

    def projection(self, point: Point, vector: Point) -> Point:
        """Return the tangent vector nearest to a matrix, given as an array or as a triple (U, S, V) with the product U S Vᵀ."""
        u, _, vt = point
        if several(vector):
            left, core, right = vector
            return _tangent(point, left @ (core @ (right.T @ vt.T)), right @ (core.T @ (left.T @ u)))
        return _tangent(point, vector @ vt.T, vector.T @ u)

    def euclidean_to_riemannian_gradient(self, point: Point, euclidean_gradient: Point) -> Point:
        """Return the projection of ∇J, given the derivatives of J in u, s and vᵀ (for u this is ∇J v diag(s))."""
        self._check(point)
        _, s, _ = point
        du, _, dvt = euclidean_gradient
        return _tangent(point, du / s, dvt.T / s)

    def _check(self, point: Point) -> None:
        """Check the shapes of the factors; other shapes could broadcast."""
        (m, k), _, (n, _) = self._shapes
        if (found := [each.shape for each in point]) != (asked := [(m, k), (k,), (k, n)]):
            raise ValueError(f"the factors have shapes {found}; the points of {self} have {asked}: choose its sizes to fit")

    def retraction(self, point: Point, tangent_vector: Point) -> Point:
        """Return the nearest matrix of rank k, in the dtype of the point."""
        moved = super().retraction(point, tangent_vector)
        return embedded._FixedRankPoint(*(new.astype(old.dtype, copy=False) for new, old in zip(moved, point, strict=True)))

    def embedding(self, point: Point, tangent_vector: Point) -> Point:
        """Return the triple (U, S, V) whose product U S Vᵀ is the tangent vector as a matrix."""
        left, core, right = super().embedding(point, embedded._FixedRankTangentVector(*tangent_vector))
        return left, core.astype(left.dtype), right

    def to_tangent_space(self, point: Point, vector: Point) -> Point:
        """Return the tangent vector nearest to a triple of the same shapes: the components that are not tangent are removed."""
        u, _, vt = point
        left, core, right = vector
        return embedded._FixedRankTangentVector(left - u @ (u.T @ left), core, right - vt.T @ (vt @ right))

    def zero_vector(self, point: Point) -> Point:
        """Return the zero tangent vector, in the dtype of the point."""
        return embedded._FixedRankTangentVector(*(np.zeros(shape, point[0].dtype) for shape in self._shapes))

    def random_point(self) -> Point:
        """Return a point with the factors of normal matrices and singular values uniform in (0, 1), descending."""
        u, vt = (np.linalg.qr(self._generator.standard_normal(self._shapes[side]))[0] for side in (0, 2))
        return embedded._FixedRankPoint(u, np.sort(self._generator.random(self._k))[::-1], vt.T)

    def random_tangent_vector(self, point: Point) -> Point:
        """Return a tangent vector of unit norm in a random direction."""
        normal = (self._generator.standard_normal(shape).astype(point[0].dtype) for shape in self._shapes)
        vector = self.to_tangent_space(point, tuple(normal))
        return vector / self.norm(point, vector)


def _tangent(point: Point, right_product: Array, left_product: Array) -> Point:
    """Return the projection of a matrix Z from Z v and Zᵀ u."""
    u, _, vt = point
    core = u.T @ right_product
    return embedded._FixedRankTangentVector(right_product - u @ core, core, left_product - vt.T @ core.T)
