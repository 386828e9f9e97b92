"""Two-sided metrics ⟨L⁻¹ U R⁻¹, L⁻¹ V R⁻¹⟩: the invariant metrics of the general linear group, and the gain metric.

The group element is B = I − W. Notation: X = −B⁻¹V is the velocity of B seen from B (in the right-invariant metric, −V B⁻¹).
"""

from contextlib import suppress
from math import ceil, inf
from typing import Any, Literal, TypeAlias, final, get_args

import numpy as np
from array_api_compat import array_namespace, device

from manifolds.arrays import Array, frobenius_norm, identity_like, inner, machine_epsilon, to_numpy
from manifolds.base import WeightManifold, squared_area
from manifolds.charts import Retraction
from manifolds.errors import OutsideManifoldError
from manifolds.geodesics import shoot
from manifolds.invariant_logarithm import newton_step
from manifolds.linear_algebra import chain, exponential_minus_identity
from manifolds.pullback import EDGE_MARGIN, PullbackManifold
from manifolds.resolvent import Resolvent

HALVINGS = 30
"""Most halvings of a step by a retraction."""

Side: TypeAlias = Literal["left", "right"]
"""The multiplications of B under which a metric is invariant."""


def left_invariant(n: int, retraction: Retraction = "geodesic", **options: Any) -> "InvariantManifold":
    """Return weight space under g_W(U, V) = ⟨B⁻¹U, B⁻¹V⟩, B = I − W: gradient B Bᵀ ∇. Options as for `InvariantManifold`."""
    return InvariantManifold("left", n, retraction, **options)


def right_invariant(n: int, retraction: Retraction = "geodesic", **options: Any) -> "InvariantManifold":
    """Return weight space under g_W(U, V) = ⟨U B⁻¹, V B⁻¹⟩, B = I − W: gradient ∇ Bᵀ B. Options as for `InvariantManifold`."""
    return InvariantManifold("right", n, retraction, **options)


def gain(gains: Array, retraction: Retraction = "geodesic", **options: Any) -> PullbackManifold:
    """Return weight space under ⟨L⁻¹U R⁻¹, L⁻¹V R⁻¹⟩, L = I − W G, R = I − G W: flat, by the chart `Resolvent(gains)`.

    Parameters
    ----------
    gains
        g, the diagonal of G, shape (n,), none of them zero.
    retraction, options
        As for `PullbackManifold`.
    """
    return PullbackManifold(Resolvent(gains), int(gains.shape[0]), retraction, **options)


@final
class InvariantManifold(WeightManifold):
    """The matrices W with B = I − W invertible, under a metric that is invariant under B ↦ C B (left) or B ↦ B C (right).

    The manifold is complete: the singular set det B = 0 and infinity are infinitely far away, and every geodesic continues
    for ever. In floating point a geodesic still ends: a step of length s may multiply the condition number of B by e²ˢ, and
    `exp` raises an error if B at the end is singular to working precision.

    Geodesics, parallel transport, Hessian and curvature are in closed form, of some tens of matrix products. A logarithm is
    found by Newton's method with a differential in closed form. The right-invariant metric at W is the left-invariant one at
    Wᵀ, transposed.

    Parameters
    ----------
    side
        "left" or "right".
    n
        Number of rows and columns.
    retraction, seed, like, validate
        See `WeightManifold`. The additive retraction goes at most `EDGE_MARGIN` of the way to the singular set.

    Raises
    ------
    ValueError
        For an unknown side.
    SingularPointError
        If B is singular to working precision.
    OutsideManifoldError
        From `exp` and `retraction`, for a step to a singular B; from `log`, for two points that no path connects.
    ConvergenceError
        From `log`, `dist` and `pair_mean`, if no geodesic between the points is found.

    References
    ----------
    Martin and Neff, Journal of Geometric Mechanics 8(3), 2016 (geodesics); Arnold, Annales de l'institut Fourier 16, 1966
    (connection and curvature of invariant metrics).

    Examples
    --------
    >>> from manifolds import left_invariant
    >>> m = left_invariant(3, seed=0)
    >>> W = m.random_point()
    >>> V = m.random_tangent_vector(W)
    >>> round(m.dist(W, m.exp(W, V)), 9)
    1.0
    """

    has_frame = True
    closed_logarithm = False
    has_curvature = True
    thread_safe = True

    def __init__(
        self,
        side: Side,
        n: int,
        retraction: Retraction = "geodesic",
        *,
        seed: int | np.random.Generator | None = None,
        like: Array | None = None,
        validate: bool = False,
    ) -> None:
        if side not in get_args(Side):
            raise ValueError(f"side = {side!r} is unknown; choose one of {get_args(Side)}")
        name = f"{side.capitalize()}-invariant manifold of {n}×{n} matrices, {retraction} retraction"
        super().__init__(name, (int(n), int(n)), retraction, seed=seed, like=like, validate=validate)
        self.side = side
        self._resolvent = Resolvent()  # caches B⁻¹ of the last points, and raises for singular B

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return g_W(U, V) = ⟨B⁻¹U, B⁻¹V⟩, or ⟨U B⁻¹, V B⁻¹⟩."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        return inner(self.to_frame(point, tangent_vector_a), self.to_frame(point, tangent_vector_b))

    def euclidean_to_riemannian_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return grad = B Bᵀ ∇, or ∇ Bᵀ B."""
        self.check(point, euclidean_gradient)
        return self.from_frame(point, self.frame_gradient(point, euclidean_gradient))

    def sharp_factors(self, point: Array) -> tuple[Array, Array]:
        self.check(point)
        identity = identity_like(point)
        B = identity - point
        return (B @ B.T, identity) if self.side == "left" else (identity, B.T @ B)

    def euclidean_to_riemannian_hessian(
        self, point: Array, euclidean_gradient: Array, euclidean_hessian: Array, tangent_vector: Array
    ) -> Array:
        """Return Hess[V] = −B (Xᵀ Y − Bᵀ H + ∇_X Y), Y = −Bᵀ ∇J the gradient seen from B, H the Euclidean Hessian along V."""
        self.check(point, euclidean_gradient, euclidean_hessian, tangent_vector)
        X, Y = self.to_frame(point, tangent_vector), self.frame_gradient(point, euclidean_gradient)
        change = X.T @ Y + self.frame_gradient(point, euclidean_hessian)
        return self.from_frame(point, change + _connection(X, Y))

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Return I − B exp(Xᵀ) exp(X − Xᵀ).

        Raises
        ------
        OutsideManifoldError
            If rounding has moved the determinant of the new B away from det(B) exp(tr X), so the point may be beyond the
            singular set, or if the point is not finite.
        """
        self.check(point, tangent_vector)
        X = self.arrived(self.to_frame(point, tangent_vector))
        with np.errstate(over="ignore", invalid="ignore"):  # the check below finds it
            arrival = point + self.from_frame(point, _displacement(X))
        self._refuse_rounded_off(point, self.arrived(arrival), X)
        return arrival

    def retraction(self, point: Array, tangent_vector: Array) -> Array:
        """Return the point reached by the chosen retraction, kept inside the manifold: a line search cannot leave it.

        It is `exp` of a step that is halved until rounding no longer hides its end, or W + V shortened before the singular set.
        """
        if self.retraction_kind == "geodesic":
            for _ in range(HALVINGS):
                with suppress(OutsideManifoldError):
                    return self.exp(point, tangent_vector)
                tangent_vector = tangent_vector / 2
            return self.exp(point, tangent_vector)
        self.check(point, tangent_vector)
        if self._resolvent.exit_time_bound(point, tangent_vector, "additive") * EDGE_MARGIN < 1:
            reach = EDGE_MARGIN * self.retraction_exit_time(point, tangent_vector)
            tangent_vector = tangent_vector * min(1.0, reach)
        return self.arrived(point + tangent_vector)

    def retraction_exit_time(self, point: Array, tangent_vector: Array) -> float:
        self.check(point, tangent_vector)
        return inf if self.retraction_kind == "geodesic" else self._resolvent.exit_time(point, tangent_vector, "additive")

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return V with exp_W(V) = W′, by Newton's method in float64 on the CPU. Of several V it may find any.

        Raises
        ------
        OutsideManifoldError
            If no path joins the points.
        ConvergenceError
            If Newton's method does not find V. This happens where a geodesic is so long that its neighbours meet it again.
        """
        self.check(point_a, point_b)
        relative = to_numpy(self.to_frame(point_a, self.arrived(point_b) - point_a)).astype(np.float64)
        if np.linalg.slogdet(np.eye(len(relative)) + relative)[0] <= 0:
            raise OutsideManifoldError(
                "det(I − W) has opposite signs at the two points",
                "the singular set lies between them, so no path on the manifold connects them",
                "Compare points on one side of it",
            )
        with np.errstate(over="ignore", invalid="ignore"):  # a step that overflows is halved
            velocity = shoot(lambda X, _: _displacement(X), relative, 100 * machine_epsilon(point_a), newton_step)
        as_given = array_namespace(point_a).asarray(velocity, dtype=point_a.dtype, device=device(point_a))
        return self.from_frame(point_a, as_given)

    def dist(self, point_a: Array, point_b: Array) -> float:
        """Return the length of the geodesic that `log` finds. It is the distance, unless a shorter geodesic exists."""
        return self.norm(point_a, self.log(point_a, point_b))

    def to_frame(self, point: Array, tangent_vector: Array) -> Array:
        """Return X = −B⁻¹ V (right-invariant: the transpose of −V B⁻¹), coordinates in which the metric is Euclidean."""
        self.check(point, tangent_vector)
        return -chain(self._turn(self._resolvent.value(point)), self._turn(tangent_vector))

    def from_frame(self, point: Array, coordinates: Array) -> Array:
        """Return the tangent vector with these coordinates, the inverse of `to_frame`."""
        self.check(point, coordinates)
        return -self._turn(chain(self._turn(identity_like(point) - point), coordinates))

    def frame_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return `to_frame` of the Riemannian gradient, −Bᵀ ∇ (right-invariant: the transpose of −∇ Bᵀ)."""
        self.check(point, euclidean_gradient)
        return -chain(self._turn(identity_like(point) - point).T, self._turn(euclidean_gradient))

    def transport(self, point_a: Array, point_b: Array, tangent_vector_a: Array) -> Array:
        """Return B′ B⁻¹ U, or U B⁻¹ B′: the group translation, an isometry that depends on no path. It is not parallel."""
        self.check(point_a, point_b, tangent_vector_a)
        return self.from_frame(point_b, self.to_frame(point_a, tangent_vector_a))

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        """Return −B exp(Xᵀ) Y(1) exp(X − Xᵀ), where Ẏ = ½ ([X − Xᵀ, Y] + [Yᵀ, X]) from Y(0) = −B⁻¹U.

        This is parallel transport in a frame that turns with the velocity of the geodesic: its coefficients are constant.
        """
        self.check(point, tangent_vector, carried)
        self.exp(point, tangent_vector)  # raises if the step is too long for the transport
        X, Y = self.to_frame(point, tangent_vector), self.to_frame(point, carried)
        parts = max(1, ceil(2 * frobenius_norm(X)))
        for _ in range(parts):
            Y = _transported(X / parts, Y)
        identity = identity_like(X)
        left, right = identity + exponential_minus_identity(X.T), identity + exponential_minus_identity(X - X.T)
        return self.from_frame(point, chain(left, Y, right))

    def sectional_curvature(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return K = ⟨R(X, Y)Y, X⟩ / (‖X‖²‖Y‖² − ⟨X, Y⟩²), the same at every point for the same velocities X and Y."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        X, Y = self.to_frame(point, tangent_vector_a), self.to_frame(point, tangent_vector_b)
        curvature = _connection(X, _connection(Y, Y)) - _connection(Y, _connection(X, Y)) - _connection(_bracket(X, Y), Y)
        return inner(curvature, X) / squared_area(inner(X, X), inner(Y, Y), inner(X, Y), X)

    def _turn(self, matrix: Array) -> Array:
        return matrix if self.side == "left" else matrix.T

    def _refuse_rounded_off(self, point: Array, arrival: Array, X: Array) -> None:
        linalg = array_namespace(point).linalg
        sign, logarithm = linalg.slogdet(identity_like(point) - point)
        new_sign, new_logarithm = linalg.slogdet(identity_like(point) - arrival)
        change = float(new_logarithm - logarithm) - float(linalg.trace(X))
        if float(sign) != float(new_sign) or not abs(change) < 0.1:
            raise OutsideManifoldError(
                f"a step of length {frobenius_norm(X):.3g}",
                "the geodesic stays on the manifold, but rounding leaves no correct digit of det(I − W) at its end",
                "Shorten the step, or use float64",
            )


def _bracket(X: Array, Y: Array) -> Array:
    return chain(X, Y) - chain(Y, X)


def _connection(X: Array, Y: Array) -> Array:
    """Return ∇_X Y = ½ ([X, Y] − [Xᵀ, Y] − [Yᵀ, X]) of left-invariant fields, the Levi-Civita connection (Arnold 1966)."""
    return (_bracket(X - X.T, Y) - _bracket(Y.T, X)) / 2


def _displacement(X: Array) -> Array:
    """Return exp(Xᵀ) exp(X − Xᵀ) − I."""
    first, second = exponential_minus_identity(X.T), exponential_minus_identity(X - X.T)
    return first + second + chain(first, second)


def _transported(X: Array, Y: Array) -> Array:
    """Return Y(1) of Ẏ = ½ ([X − Xᵀ, Y] + [Yᵀ, X]) by its Taylor series, for ‖X‖ ≤ ½."""
    turn, term, total, order = X - X.T, Y, Y, 0
    while frobenius_norm(term) > machine_epsilon(Y) / 4 * frobenius_norm(Y):
        order += 1
        term = (_bracket(turn, term) + _bracket(term.T, X)) / (2 * order)
        total = total + term
    return total
