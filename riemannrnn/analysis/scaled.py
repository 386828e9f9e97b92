"""The scaled monotone manifold for a path of W alone: the scales change as little as W allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.linalg import cho_solve

from manifolds import Array, ScaledMonotoneManifold, WeightManifold
from manifolds.linear_algebra import inverse
from manifolds.points import PointCache


@final
class LiftedScaledMonotone(WeightManifold):
    """`ScaledMonotoneManifold` with the arrays of a point combined, [M | ε], shape (n, n + 1).

    Different points represent the same W. A path of W is lifted to points: the first has ε = 0, as at the start of training,
    and each step is the shortest step that changes W as the path does. The length of the lifted path is a lower bound of the
    true length, because a rule may also change the scales without changing W.

    Parameters
    ----------
    n
        Number of rows of W.
    growth
        As for `ScaledMonotoneManifold`.
    """

    def __init__(self, n: int, growth: float) -> None:
        self.manifold = ScaledMonotoneManifold(n, growth)
        super().__init__(f"Scaled monotone manifold of {n}×{n} matrices", (n, n + 1))
        self._system = PointCache(self._prepare)

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return the inner product of the product manifold."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        arrays = (_parts(each) for each in (point, tangent_vector_a, tangent_vector_b))
        return float(self.manifold.inner_product(*arrays))

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Return the end of the geodesic of velocity [V | v]."""
        return np.hstack(self.manifold.exp(_parts(point), _parts(tangent_vector)))

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return the velocity of the geodesic between two points."""
        return np.hstack(self.manifold.log(_parts(point_a), _parts(point_b)))

    def dist(self, point_a: Array, point_b: Array) -> float:
        """Return the distance of two points."""
        return float(self.manifold.dist(_parts(point_a), _parts(point_b)))

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        return np.hstack(self.manifold.parallel_transport(*(_parts(each) for each in (point, tangent_vector, carried))))

    def point_at(self, weights: Array) -> Array:
        """Return [W | 0]."""
        return np.hstack(self.manifold.point_at(weights))

    def weights(self, point: Array) -> Array:
        """Return W = I − E (I − M)."""
        return self.manifold.weights(_parts(point))

    def lifted(self, points: Sequence[Array]) -> "LiftedPath":
        """Return the points of the manifold for a path of W. The path is read once, and its scales are stored."""
        scales = [np.zeros((self.shape[0], 1))]
        before = points[0]
        for place in range(1, len(points)):
            after = points[place]
            scales.append(scales[-1] + self._growth_along(self.over(before, scales[-1]), after - before))
            before = after
        return LiftedPath(self, points, scales)

    def over(self, weights: Array, scales: Array) -> Array:
        """Return the point [M | ε] that represents W with given ε, shape (n, 1)."""
        identity = np.eye(self.shape[0])
        return np.hstack([identity - np.exp(-self.manifold.growth * scales) * (identity - weights), scales])

    def lift(self, point: Array, change: Array) -> Array:
        """Return the shortest tangent vector [V | v] with the given change of W, shape (n, n).

        With N = I − M, S its symmetric part, and V = E⁻¹ Ẇ + c diag(v) N, the squared length tr(S⁻¹ V S⁻¹ Vᵀ) + ‖v‖² is
        quadratic in v. Its minimum is the solution of n equations.
        """
        return self._completed(point, change, self._growth_along(point, change))

    def _completed(self, point: Array, change: Array, growth: Array) -> Array:
        complement, scales = np.eye(self.shape[0]) - point[:, :-1], self.manifold.scales(_parts(point))
        return np.hstack([change / scales + self.manifold.growth * growth * complement, growth])

    def _growth_along(self, point: Array, change: Array) -> Array:
        """Return the v of `lift`, shape (n, 1); zero where the point is singular."""
        system = self._system(point)
        if system is None:
            return np.zeros((len(point), 1))
        straight, complement = change / self.manifold.scales(_parts(point)), np.eye(len(point)) - point[:, :-1]
        slope = self.manifold.growth * ((system.inverse @ straight @ system.inverse) * complement).sum(axis=1)
        return cho_solve((system.factor, True), -slope, check_finite=False)[:, None]

    def _prepare(self, point: Array) -> "_System | None":
        c, N = self.manifold.growth, np.eye(self.shape[0]) - point[:, :-1]
        try:
            P = inverse((N + N.T) / 2)
            return _System(P, np.linalg.cholesky(np.eye(len(N)) + c**2 * P * (N @ P @ N.T)))
        except np.linalg.LinAlgError:
            return None


@dataclass(frozen=True)
class _System:
    """What the lifts at a point share: S⁻¹, and the lower Cholesky factor of I + c² S⁻¹ ∘ (N S⁻¹ Nᵀ)."""

    inverse: Array
    factor: Array


@final
class LiftedPath(Sequence[Array]):
    """The points of a `LiftedScaledMonotone` for a path of W, made one at a time from W and its scales.

    Parameters
    ----------
    manifold
        The manifold.
    weights
        W at each point.
    scales
        ε at each point, shape (n, 1).
    """

    def __init__(self, manifold: LiftedScaledMonotone, weights: Sequence[Array], scales: Sequence[Array]) -> None:
        self._manifold, self._weights, self._scales = manifold, weights, scales

    def __len__(self) -> int:
        return len(self._weights)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        """Return the point at one place."""
        return self._manifold.over(self._weights[place], self._scales[place])


def _parts(stacked: Array) -> list[Array]:
    return [stacked[:, :-1], stacked[:, -1:]]
