"""A larger set of stable weights: I − W has the rows of monotone weights, each scaled by a positive number."""

from typing import final

import numpy as np
from array_api_compat import array_namespace

from manifolds.arrays import Array, identity_like
from manifolds.charts import Identity
from manifolds.monotone import MonotoneManifold
from manifolds.points import Point, vector_of
from manifolds.product import ProductManifold
from manifolds.pullback import PullbackManifold


@final
class ScaledMonotoneManifold(ProductManifold):
    """Points (M, ε) of monotone weights and scales, which represent the W with I − W = E (I − M), E = diag(exp(c ε)).

    At each point every stimulus of a network with slopes at most 1 has exactly one fixed point, and it is stable. For G⁻¹ − W
    is diagonally Lyapunov stable, with E⁻¹, and so −I + G W is Hurwitz for all gains in [0, 1]. Unlike monotone weights, W may
    amplify strongly, as a feedforward chain does. The metric is the product metric of `MonotoneManifold` and the Euclidean
    space of ε; it is complete. Different points may represent the same W.

    Parameters
    ----------
    n
        Number of rows and columns of W.
    growth
        c: the logarithms of the scales change c times as much as entries of M, for steps of equal length.
    seed, like, validate
        See `WeightManifold`.

    Raises
    ------
    ValueError
        For a growth that is not positive.

    References
    ----------
    Kaszkurewicz and Bhaya, *Matrix Diagonal Stability in Systems and Computation*, Birkhäuser 2000, chapter 2.

    Examples
    --------
    >>> from manifolds import ScaledMonotoneManifold
    >>> m = ScaledMonotoneManifold(3, seed=0)
    >>> M, scales = point = m.random_point()
    >>> m.weights(point).shape, scales.shape
    ((3, 3), (3, 1))
    """

    def __init__(
        self,
        n: int,
        growth: float = 1.0,
        *,
        seed: int | np.random.Generator | None = None,
        like: Array | None = None,
        validate: bool = False,
    ) -> None:
        if not growth > 0:
            raise ValueError(f"growth = {growth} is not positive; pass 1, or more to let the scales change faster")
        generator = np.random.default_rng(seed)
        self.growth = growth
        self.monotone = MonotoneManifold(n, seed=generator, like=like, validate=validate)
        scales = PullbackManifold(Identity(), (n, 1), seed=generator, like=like, validate=validate)
        super().__init__({"monotone": self.monotone, "scales": scales})
        self.stable_by_construction, self.weights_layout, self.separate = True, 1, False

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        n = self.monotone.shape[0]
        return {"points": f"(M, ε) of shapes ({n}, {n}) and ({n}, 1)", "dimension": self.dim, "growth": self.growth}

    def promises(self, names: tuple[str, ...]) -> bool:
        return True

    def point_at(self, weights: Array) -> Point:
        """Return the point (W, 0) for monotone weights.

        Raises
        ------
        OutsideManifoldError
            For weights that are not monotone.
        """
        self.monotone.norm(weights, weights)
        return array_namespace(weights).asarray(weights, copy=True), array_namespace(weights).zeros_like(weights[:, :1])

    def scales(self, point: Point) -> Array:
        """Return exp(c ε), the diagonal of E, shape (n, 1)."""
        return array_namespace(point[1]).exp(self.growth * point[1])

    def weights(self, point: Point) -> Array:
        """Return W = I − E (I − M), shape (n, n)."""
        return identity_like(point[0]) - self._complement(point)

    def velocity(self, point: Point, tangent_vector: Point) -> Array:
        """Return the change of W along (V, v), E V − c diag(v) (I − W), shape (n, n)."""
        change, growth = tangent_vector
        return self.scales(point) * change - self.growth * growth * self._complement(point)

    def pull_back(self, point: Point, gradient: Array) -> Point:
        """Return (E G, −c times the row sums of G ∘ (I − W)), the gradient in (M, ε), given the gradient G in W."""
        return vector_of([self.scales(point) * gradient, _row_sums(-self.growth * gradient * self._complement(point))])

    def pull_back_hessian(self, point: Point, gradient: Array, hessian: Array, tangent_vector: Point) -> Point:
        """Return (E H + c diag(v) E G, −c times the row sums of H ∘ (I − W) − G ∘ Ẇ), with Ẇ the velocity of W."""
        turned = gradient * self.velocity(point, tangent_vector) - hessian * self._complement(point)
        grown = hessian + self.growth * tangent_vector[1] * gradient
        return vector_of([self.scales(point) * grown, self.growth * _row_sums(turned)])

    def _complement(self, point: Point) -> Array:
        return self.scales(point) * (identity_like(point[0]) - point[0])


def _row_sums(matrix: Array) -> Array:
    return array_namespace(matrix).sum(matrix, axis=1, keepdims=True)
