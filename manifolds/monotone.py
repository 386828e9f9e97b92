"""Weights that are stable by construction, as a symmetric space: its metric is the same for W and for (I − W)⁻¹."""

from collections.abc import Callable
from typing import final

import numpy as np
from array_api_compat import array_namespace

from manifolds.arguments import check_finite
from manifolds.arrays import Array, frobenius_norm, identity_like, inner, skew_part
from manifolds.base import WeightManifold, squared_area
from manifolds.cholesky_factor import CholeskyFactor, raised, rounded_inside
from manifolds.errors import InvalidArrayError
from manifolds.hyperbolic import FrameStep, ShortStep, as_symmetric_as, representable
from manifolds.linear_algebra import chain, orthogonal_factor
from manifolds.points import PointCache, all_finite


@final
class MonotoneManifold(WeightManifold):
    """The matrices W for which S, the symmetric part of B = I − W = S + K, is positive definite, as a symmetric space.

    If f is non-decreasing with slope at most 1, then at each of these W every stimulus has exactly one fixed point
    r = f(W r + x), and it is exponentially stable: −I + G W is Hurwitz for all gains in [0, 1].

    The metric is

        g_W(U, V) = tr(S⁻¹ U S⁻¹ Vᵀ),    grad = S ∇ S.

    Its isometries are the congruences B ↦ Q B Qᵀ, the shifts of B by a skew matrix, transposition, and the inversion B ↦ B⁻¹.
    So gradient descent in W and gradient descent in A = (I − W)⁻¹ follow the same path. The space is
    O(n, n) / (O(n) × O(n)). It is complete and has non-positive curvature: the edge is infinitely far away, no step of any
    length leaves the space, and exactly one geodesic connects any two points. The retraction is the exponential map. The
    transport is parallel along the geodesic.

    Everything is computed in the frame of the Cholesky factor, S = L Lᵀ. With the singular values of the change of B in the
    frame, X = −L⁻¹ V L⁻ᵀ = U Σ Rᵀ, and T = U tanh(Σ/2) Rᵀ,

        exp_W(V) = W − 2 L T (I − T)⁻¹ Lᵀ,    dist = ‖Σ‖.

    If all singular values are at most about 1, a step takes a few products and one solve; otherwise it takes a singular value
    decomposition. Transport between near points also needs only products.

    Parameters
    ----------
    n
        Number of rows and columns.
    seed, like, validate
        See `WeightManifold`.

    Raises
    ------
    OutsideManifoldError
        At a point where S is not positive definite, and for a step beyond the largest floating-point number.
    InvalidArrayError
        For a point or a step that holds NaN or infinity.

    References
    ----------
    Winston and Kolter, *Monotone operator equilibrium networks*, NeurIPS 2020 (the set); Siegel, *Symplectic geometry*,
    American Journal of Mathematics 65(1), 1943 (the complex counterpart); Helgason, *Differential Geometry, Lie Groups, and
    Symmetric Spaces*, 1978.

    Examples
    --------
    >>> from manifolds import MonotoneManifold
    >>> m = MonotoneManifold(3, seed=0)
    >>> W = m.random_point()
    >>> V = m.random_tangent_vector(W)
    >>> round(m.dist(W, m.exp(W, V)), 9)
    1.0
    """

    stable_by_construction = True
    has_frame = True
    frame_logarithm = True
    has_curvature = True
    thread_safe = True

    def __init__(
        self, n: int, *, seed: int | np.random.Generator | None = None, like: Array | None = None, validate: bool = False
    ) -> None:
        n = int(n)
        super().__init__(f"Monotone manifold of {n}×{n} matrices", (n, n), seed=seed, like=like, validate=validate)
        self._at = PointCache(CholeskyFactor)
        self._short = PointCache(self._short_step)  # of a step and of the transport along it
        self._frame = PointCache(self._coordinates)  # a step is measured, taken and transported with the same coordinates

    def nearest(self, weights: Array, margin: float = 0.05) -> Array:
        """Return the point nearest to W, in the Frobenius norm, where all eigenvalues of S are at least `margin`.

        Eigenvalues of S below the margin are raised to it, and K is unchanged (Higham, Linear Algebra Appl. 103, 1988).

        Raises
        ------
        InvalidArrayError
            For weights of another shape or dtype, or that are not finite.
        """
        self.check(weights)
        check_finite("the weights", weights, "no point is nearest to them")
        return raised(weights, margin)

    def random_point(self) -> Array:
        """Return exp₀(Z), where the entries of Z are normal with standard deviation 0.5/√n."""
        sample = 0.5 / self.shape[0] ** 0.5 * self.normal()
        return self.exp(array_namespace(sample).zeros_like(sample), sample)

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return g_W(U, V), the Frobenius inner product in the frame."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        return inner(self._frame((point, tangent_vector_a)), self._frame((point, tangent_vector_b)))

    def sharp_factors(self, point: Array) -> tuple[Array, Array]:
        """Return S and S: the gradient is S ∇ S."""
        self.check(point)
        xp, S = array_namespace(point), self._at(point).symmetric
        return xp.asarray(S, copy=True), xp.asarray(S, copy=True)

    def to_frame(self, point: Array, tangent_vector: Array) -> Array:
        """Return L⁻¹ V L⁻ᵀ, coordinates in which the metric at W is Euclidean, shape (n, n).

        Momentum and the moments of gradients may be kept in this frame, which moves along with the point.
        """
        self.check(point, tangent_vector)
        return array_namespace(point).asarray(self._frame((point, tangent_vector)), copy=True)

    def from_frame(self, point: Array, coordinates: Array) -> Array:
        """Return the tangent vector with these coordinates, L Z Lᵀ."""
        self.check(point, coordinates)
        tangent_vector = _congruence(self._at(point).value, coordinates)
        self._frame.remember((point, tangent_vector), array_namespace(point).asarray(coordinates, copy=True))
        return tangent_vector

    def frame_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return `to_frame` of the Riemannian gradient, Lᵀ ∇ L, which takes only products."""
        self.check(point, euclidean_gradient)
        return _congruence(self._at(point).value.T, euclidean_gradient)

    def euclidean_to_riemannian_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return grad = S ∇ S."""
        self.check(point, euclidean_gradient)
        return _congruence(self._at(point).symmetric, euclidean_gradient)

    def euclidean_to_riemannian_hessian(
        self, point: Array, euclidean_gradient: Array, euclidean_hessian: Array, tangent_vector: Array
    ) -> Array:
        """Return Hess[V] = S H S − ½ (Vᵀ ∇ S + S ∇ Vᵀ), where H, `euclidean_hessian`, is the Euclidean Hessian along V."""
        self.check(point, euclidean_gradient, euclidean_hessian, tangent_vector)
        S, V = self._at(point).symmetric, tangent_vector
        turn = chain(V.T, euclidean_gradient, S) + chain(S, euclidean_gradient, V.T)
        return _congruence(S, euclidean_hessian) - turn / 2

    def retraction(self, point: Array, tangent_vector: Array) -> Array:
        """Return the exponential map, `exp`."""
        return self.exp(point, tangent_vector)

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Return the W′ with B′ = L (I + T) (I − T)⁻¹ Lᵀ + K.

        If S′ would be singular in the dtype of the point, it is raised by the rounding error of W′, and W′ stays inside.

        Raises
        ------
        OutsideManifoldError
            If W′ exceeds the largest floating-point number.
        """
        self.check(point, tangent_vector)
        step = self._short((point, tangent_vector))
        if step is None:
            return self.geodesic(point, tangent_vector)(1.0)
        return rounded_inside(point - _congruence(self._at(point).value, step.relative_change()), self._at)

    def geodesic(self, point: Array, tangent_vector: Array) -> Callable[[float], Array]:
        """Return t ↦ exp_W(t V), from one singular value decomposition for all t; each call raises the errors of `exp`."""
        change = self._change(point, tangent_vector)
        direction = FrameStep.along(change)
        L, start = self._at(point).value, array_namespace(point).asarray(point, copy=True)

        def at(time: float) -> Array:
            step = direction.at(time)
            with np.errstate(all="ignore"):  # the check of the end finds overflow
                moved = _congruence(L, as_symmetric_as(step.relative_change(), change))
                if float(array_namespace(start).max(step.sizes)) <= 1:
                    end = start - moved
                else:  # S′ itself: the difference from S would hide an S′ that is much smaller
                    root = L @ step.inverse_denominator().T
                    end = identity_like(start) - root @ root.T + skew_part(start) - skew_part(moved)
            return rounded_inside(representable(end), self._at)

        return at

    def dist(self, point_a: Array, point_b: Array) -> float:
        """Return ‖Σ‖, where sinh(Σ/2) are the singular values of ½ L⁻¹ (W′ − W) L′⁻ᵀ."""
        self.check(point_a, point_b)
        xp = array_namespace(point_a)
        return 2 * frobenius_norm(xp.asinh(xp.linalg.svdvals(self._half_difference(point_a, point_b))))

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return the V with exp_W(V) = W′."""
        return self.from_frame(point_a, self.frame_log(point_a, point_b))

    def frame_log(self, point: Array, other: Array) -> Array:
        """Return `to_frame` of the logarithm, −U Σ Rᵀ: its Frobenius norm is the distance.

        The factors are found without a solve, from

            ½ L⁻¹ (B′ − B) L′⁻ᵀ = U sinh(Σ/2) Pᵀ,    ½ L⁻¹ (B′ + Bᵀ) L′⁻ᵀ = R cosh(Σ/2) Pᵀ,    P orthogonal.
        """
        return self._logarithm(point, other, *self._decomposed(point, other))

    def frame_logs(self, point: Array, other: Array) -> tuple[Array, Array]:
        """Return `frame_log` of W′ from W, and of W from W′, by one singular value decomposition for both.

        The second is N Σ Pᵀ, where ½ L′⁻¹ (B′ + Bᵀ) L⁻ᵀ = N cosh(Σ/2) Uᵀ.
        """
        left, sizes, right = self._decomposed(point, other)
        back = (_unit_columns(self._half_sum(point, other, other, point) @ left) * sizes) @ right.T
        return self._logarithm(point, other, left, sizes, right), as_symmetric_as(back, point - other)

    def transport(self, point_a: Array, point_b: Array, tangent_vector_a: Array) -> Array:
        """Return the parallel transport from W to W′ along the geodesic between them, Q Ξ O in the frames.

        Ξ is `to_frame` at W. Q and O are the orthogonal factors of ½ L′⁻¹ (B′ + Bᵀ) L⁻ᵀ and ½ L⁻¹ (B′ + Bᵀ) L′⁻ᵀ.
        """
        self.check(point_a, point_b, tangent_vector_a)
        coordinates = self._coordinates((point_a, tangent_vector_a))
        left = orthogonal_factor(self._half_sum(point_a, point_b, point_b, point_a))
        right = orthogonal_factor(self._half_sum(point_a, point_b, point_a, point_b))
        moved = as_symmetric_as(chain(left, coordinates, right), coordinates, point_b - point_a)
        return _congruence(self._at(point_b).value, moved)

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        """Return the tangent vector `carried` after parallel transport along exp_W(t V), 0 ≤ t ≤ 1; Ξ is its `to_frame`.

        This is L M Ξ N Lᵀ, where M = (I − T)⁻¹ U sech(Σ/2) Uᵀ and N = R sech(Σ/2) Rᵀ (I − T)⁻¹.

        Raises
        ------
        OutsideManifoldError
            If the result exceeds the largest floating-point number.
        """
        self.check(point, tangent_vector, carried)
        L, coordinates, short = self._at(point).value, self._frame((point, carried)), self._short((point, tangent_vector))
        if short is not None:
            return _congruence(L, short.carried(coordinates))
        change = self._change(point, tangent_vector)
        step = FrameStep.along(change)
        with np.errstate(all="ignore"):  # the check of the result finds overflow
            turned = chain(step.left.T, coordinates, step.right)
            moved = chain(step.transposed().inverse_denominator().T, turned, step.inverse_denominator())
            return representable(_congruence(L, as_symmetric_as(moved, change, coordinates)))

    def sectional_curvature(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return the curvature of the plane of two vectors, never positive: see `frame_curvature`."""
        return self.frame_curvature(self.to_frame(point, tangent_vector_a), self.to_frame(point, tangent_vector_b))

    def frame_curvature(self, X: Array, Y: Array) -> float:
        """Return −⅛ (‖X Yᵀ − Y Xᵀ‖² + ‖Xᵀ Y − Yᵀ X‖²) / (‖X‖²‖Y‖² − ⟨X, Y⟩²), for vectors X and Y in the frame.

        It is between −½ and 0. In O(n, n), X is half of the symmetric matrix with the blocks X and Xᵀ, and the curvature is
        R(X, Y) Y = −[[X, Y], Y] (Helgason, section V.3).
        """
        left, right = X @ Y.T, X.T @ Y
        left, right = left - left.T, right - right.T
        area = squared_area(inner(X, X), inner(Y, Y), inner(X, Y), X)
        return -(inner(left, left) + inner(right, right)) / 8 / area

    def _change(self, point: Array, tangent_vector: Array) -> Array:
        """Return X = −L⁻¹ V L⁻ᵀ, the change of B in the frame."""
        self.check(point, tangent_vector)
        change = -self._frame((point, tangent_vector))
        if not all_finite(change):
            raise InvalidArrayError("the tangent vector holds NaN or infinity", "it has no geodesic", "Find its source")
        return change

    def _short_step(self, place: tuple[Array, Array]) -> ShortStep | None:
        return ShortStep.along(self._change(*place))

    def _coordinates(self, place: tuple[Array, Array]) -> Array:
        point, tangent_vector = place
        return _congruence(self._at(point).inverse, tangent_vector)

    def _half_difference(self, point: Array, other: Array) -> Array:
        """Return ½ L⁻¹ (B′ − B) L′⁻ᵀ."""
        return chain(self._at(point).inverse, (point - other) / 2, self._at(other).inverse.T)

    def _half_sum(self, point: Array, other: Array, first: Array, last: Array) -> Array:
        """Return ½ L⁻¹ (B′ + Bᵀ) L′⁻ᵀ, with the Cholesky factors L of the point `first` and L′ of `last`."""
        total = identity_like(point) - (other + point.T) / 2
        return chain(self._at(first).inverse, total, self._at(last).inverse.T)

    def _logarithm(self, point: Array, other: Array, left: Array, sizes: Array, right: Array) -> Array:
        """Return −U Σ Rᵀ, given U, Σ and P of `frame_log`."""
        turned = _unit_columns(self._half_sum(point, other, point, other) @ right)
        return as_symmetric_as(-(left * sizes) @ turned.T, point - other)

    def _decomposed(self, point: Array, other: Array) -> tuple[Array, Array, Array]:
        """Return U, Σ and P of `frame_log`."""
        self.check(point, other)
        xp = array_namespace(point)
        left, sizes, right = xp.linalg.svd(self._half_difference(point, other))
        return left, 2 * xp.asinh(sizes), right.T


def _congruence(transform: Array, matrix: Array) -> Array:
    """Return T M Tᵀ."""
    return as_symmetric_as(chain(transform, matrix, transform.T), matrix)


def _unit_columns(matrix: Array) -> Array:
    return matrix / array_namespace(matrix).linalg.vector_norm(matrix, axis=0)
