"""The set of monotone weights, with the moving frame and the rounding to its interior that its metrics share."""

from abc import abstractmethod
from contextlib import suppress
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from manifolds.arguments import check_finite
from manifolds.arrays import Array, PointCache, all_finite, frobenius_norm, identity_like, inner, machine_epsilon
from manifolds.base import WeightManifold
from manifolds.errors import InvalidArrayError, OutsideManifoldError
from manifolds.linear_algebra import cholesky, triangular_inverse


class MonotoneSet(WeightManifold):
    """The matrices W for which S, the symmetric part of I − W = S + K, is positive definite, under a metric with a frame.

    A subclass says how tangent vectors are written in the frame of the Cholesky factor L, S = L Lᵀ, in which the metric is
    Euclidean, and gives the geodesics. Its retraction is the exponential map.

    Parameters
    ----------
    name
        The name in messages and tables, with the size.
    n
        Number of rows and columns.
    seed, like, validate
        See `WeightManifold`.
    """

    stable_by_construction = True

    def __init__(
        self,
        name: str,
        n: int,
        *,
        seed: int | np.random.Generator | None = None,
        like: Array | None = None,
        validate: bool = False,
    ) -> None:
        super().__init__(f"{name} of {n}×{n} matrices", (int(n), int(n)), seed=seed, like=like, validate=validate)
        self._at = PointCache(CholeskyFactor)
        self._frame = PointCache(self._coordinates)  # a step is measured, taken and carried: its coordinates are wanted often

    @abstractmethod
    def from_frame(self, point: Array, coordinates: Array) -> Array:
        """Return the tangent vector of given `to_frame`."""

    @abstractmethod
    def frame_log(self, point: Array, other: Array) -> Array:
        """Return `to_frame` of the logarithm: its Frobenius norm is the distance."""

    @abstractmethod
    def frame_curvature(self, X: Array, Y: Array) -> float:
        """Return the sectional curvature of the plane of two vectors given in the frame."""

    @abstractmethod
    def _coordinates(self, place: tuple[Array, Array]) -> Array:
        """Return the coordinates in the frame, given the point and the tangent vector."""

    def nearest(self, weights: Array, margin: float = 0.05) -> Array:
        """Return the point nearest to W, in the Frobenius norm, where all eigenvalues of S are at least `margin`.

        The eigenvalues of S below the margin are raised to it; K stays (Higham, Linear Algebra and its Applications 103, 1988).

        Raises
        ------
        InvalidArrayError
            For weights of another shape or dtype, or that are not finite.
        """
        self.check(weights)
        check_finite("the weights", weights, "no point is nearest to them")
        xp = array_namespace(weights)
        eigenvalues, basis = xp.linalg.eigh(identity_like(weights) - symmetric_part(weights))
        missing = xp.clip(margin - eigenvalues, 0.0, None)
        return weights - symmetric_part((basis * missing) @ basis.T)

    def to_frame(self, point: Array, tangent_vector: Array) -> Array:
        """Return coordinates in which the metric at W is Euclidean, shape (n, n).

        Momentum and moments of gradients may live in this frame, which moves along with the point.
        """
        self.check(point, tangent_vector)
        return array_namespace(point).asarray(self._frame((point, tangent_vector)), copy=True)

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return g_W(U, V), the Frobenius inner product in the frame."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        return inner(self._frame((point, tangent_vector_a)), self._frame((point, tangent_vector_b)))

    def retraction(self, point: Array, tangent_vector: Array) -> Array:
        """Return the exponential map, `exp`."""
        return self.exp(point, tangent_vector)

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return the V with exp_W(V) = W′."""
        return self.from_frame(point_a, self.frame_log(point_a, point_b))

    def sectional_curvature(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return the curvature of the plane of two vectors, never positive: see `frame_curvature`."""
        return self.frame_curvature(self.to_frame(point, tangent_vector_a), self.to_frame(point, tangent_vector_b))

    def random_point(self) -> Array:
        """Return exp₀(Z), where the entries of Z are normal, of standard deviation 0.5/√n."""
        sample = 0.5 / self.shape[0] ** 0.5 * self.normal()
        return self.exp(array_namespace(sample).zeros_like(sample), sample)

    def _inside(self, point: Array) -> Array:
        """Return W, with S raised where its smallest eigenvalue is below the rounding error of W."""
        identity, size = identity_like(point), float(array_namespace(point).linalg.matrix_norm(point, ord=1))
        rounding = self.shape[0] ** 0.5 * machine_epsilon(point) * (size + 1)
        with suppress(OutsideManifoldError):
            if frobenius_norm(self._at(point).inverse) ** -2 > rounding:  # the smallest eigenvalue is no smaller
                return point
        S = identity - symmetric_part(point)
        if cholesky(S - rounding * identity) is not None:
            return point
        return point - (rounding - min(_smallest(S), 0.0)) * identity


class CholeskyFactor:
    """S and the Cholesky factor L, S = L Lᵀ, at one point."""

    def __init__(self, point: Array) -> None:
        if not all_finite(point):
            raise InvalidArrayError("the point holds NaN or infinity", "it has no geometry", "Find the step that made it")
        self.symmetric = identity_like(point) - symmetric_part(point)
        factor = cholesky(self.symmetric)
        if factor is None:
            raise OutsideManifoldError(
                f"smallest eigenvalue of sym(I − W) = {_smallest(self.symmetric):.3g}",
                "the point is not monotone: stability is not guaranteed there",
                "Start from `nearest(W)`, the nearest point inside, or from weights of spectral norm below 1",
            )
        self.value = factor

    @cached_property
    def inverse(self) -> Array:
        """L⁻¹."""
        return triangular_inverse(self.value)


def _smallest(symmetric: Array) -> float:
    return float(array_namespace(symmetric).linalg.eigvalsh(symmetric)[0])


def symmetric_part(matrix: Array) -> Array:
    """Return (M + Mᵀ) / 2."""
    return (matrix + matrix.T) / 2


def skew_part(matrix: Array) -> Array:
    """Return (M − Mᵀ) / 2."""
    return (matrix - matrix.T) / 2
