"""Weights that are stable by construction: the symmetric part of I − W is positive definite, at every point of every path."""

from collections.abc import Callable
from math import hypot, log
from typing import final

import numpy as np
from array_api_compat import array_namespace

from manifolds.arrays import Array, all_finite, frobenius_norm, identity_like, inner
from manifolds.base import squared_area
from manifolds.errors import InvalidArrayError, OutsideManifoldError
from manifolds.linear_algebra import chain, exponential_series
from manifolds.monotone_set import MonotoneSet, skew_part, symmetric_part

NEAR = 0.05
"""Logarithms of S are taken by eigenvalues whose smallest ratio exceeds this, and else by singular values of its factors."""


@final
class MonotoneManifold(MonotoneSet):
    """The matrices W for which S, the symmetric part of I − W = S + K, is positive definite.

    If f is non-decreasing with slope at most 1, then at each of these W every stimulus has exactly one fixed point
    r = f(W r + x), and it is exponentially stable: −I + G W is Hurwitz for all gains in [0, 1].

    The metric is affine-invariant on S and Euclidean on the skew part K; with V = V_s + V_k, symmetric and skew,

        g_W(U, V) = tr(S⁻¹ U_s S⁻¹ V_s) + ⟨U_k, V_k⟩,    grad = S ∇_s S + ∇_k.

    It is complete and of non-positive curvature: the edge is infinitely far away, no step of any length leaves, and any two
    points are joined by exactly one geodesic. The retraction is the exponential map, the transport is parallel along that
    geodesic. Everything is computed in the frame of the Cholesky factor, S = L Lᵀ: steps of length up to 1 cost a factor and a
    few products, longer ones and logarithms a symmetric eigenvalue problem.

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
    Winston and Kolter, *Monotone operator equilibrium networks*, NeurIPS 2020 (the set); Pennec, Fillard and Ayache,
    International Journal of Computer Vision 66(1), 2006 (the metric on S).

    Examples
    --------
    >>> from manifolds import MonotoneManifold
    >>> m = MonotoneManifold(3, seed=0)
    >>> W = m.random_point()
    >>> V = m.random_tangent_vector(W)
    >>> round(m.dist(W, m.exp(W, V)), 9)
    1.0
    """

    def __init__(
        self, n: int, *, seed: int | np.random.Generator | None = None, like: Array | None = None, validate: bool = False
    ) -> None:
        super().__init__("Monotone manifold", n, seed=seed, like=like, validate=validate)

    def from_frame(self, point: Array, coordinates: Array) -> Array:
        """Return the tangent vector of given `to_frame`: L Z_s Lᵀ + Z_k."""
        self.check(point, coordinates)
        L = self._at(point).value
        tangent_vector = _congruence(L, coordinates) + skew_part(coordinates)
        self._frame.remember((point, tangent_vector), array_namespace(point).asarray(coordinates, copy=True))
        return tangent_vector

    def frame_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return `to_frame` of the Riemannian gradient, Lᵀ ∇_s L + ∇_k, which takes products alone."""
        self.check(point, euclidean_gradient)
        L = self._at(point).value
        return _congruence(L.T, euclidean_gradient) + skew_part(euclidean_gradient)

    def euclidean_to_riemannian_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return grad = S ∇_s S + ∇_k, which takes products alone."""
        self.check(point, euclidean_gradient)
        S = self._at(point).symmetric
        return _congruence(S, euclidean_gradient) + skew_part(euclidean_gradient)

    def euclidean_to_riemannian_hessian(
        self, point: Array, euclidean_gradient: Array, euclidean_hessian: Array, tangent_vector: Array
    ) -> Array:
        """Return Hess[V] = S H_s S + H_k − sym(V_s ∇_s S), where H, `euclidean_hessian`, is the Euclidean Hessian along V."""
        self.check(point, euclidean_gradient, euclidean_hessian, tangent_vector)
        turn = chain(symmetric_part(tangent_vector), symmetric_part(euclidean_gradient), self._at(point).symmetric)
        return self.euclidean_to_riemannian_gradient(point, euclidean_hessian) - symmetric_part(turn)

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Return the W′ with S′ = L exp(−L⁻¹ V_s L⁻ᵀ) Lᵀ and K′ = K − V_k.

        Where S′ would be singular in the dtype of the point, it is raised by the rounding error of W′, to stay inside.

        Raises
        ------
        OutsideManifoldError
            If the largest eigenvalue of S′ exceeds the largest floating-point number.
        """
        growth = self._growth(point, tangent_vector)
        if frobenius_norm(growth) > 1:
            return self.geodesic(point, tangent_vector)(1.0)
        L = self._at(point).value
        turned = skew_part(point) + skew_part(tangent_vector)
        return self._inside(symmetric_part(point) - _congruence(L, exponential_series(growth)) + turned)

    def geodesic(self, point: Array, tangent_vector: Array) -> Callable[[float], Array]:
        """Return t ↦ exp_W(t V), from one eigenvalue problem for all of its points; each raises as `exp` does."""
        growth = self._growth(point, tangent_vector)
        xp = array_namespace(point)
        rates, basis = xp.linalg.eigh(growth)
        L, start, identity = self._at(point).value, xp.asarray(point, copy=True), identity_like(point)
        moved, turn = L @ basis, skew_part(tangent_vector)
        room = log(float(xp.finfo(point.dtype).max)) - 4 * log(self.shape[0] + 1) - 2 * log(frobenius_norm(L) + 1)

        def at(time: float) -> Array:
            fastest, size = float(xp.max(time * rates)), float(xp.max(xp.abs(time * rates)))
            if fastest > room:
                raise OutsideManifoldError(
                    f"a step that takes S by a factor exp({fastest:.3g})",
                    "the geodesic goes on for ever, but no floating-point number is so large",
                    "Shorten the step, for instance with a smaller learning rate",
                )
            if size <= 1:
                symmetric = symmetric_part(start) - _combined(moved, xp.expm1(time * rates))
            else:  # S′ itself: the difference from S would hide an S′ that is much smaller
                symmetric = identity - _combined(moved, xp.exp(time * rates))
            return self._inside(symmetric + (skew_part(start) + time * turn))

        return at

    def dist(self, point_a: Array, point_b: Array) -> float:
        """Return √(‖log(L⁻¹ S′ L⁻ᵀ)‖² + ‖K′ − K‖²)."""
        self.check(point_a, point_b)
        xp, factor = array_namespace(point_a), self._at(point_a)
        difference = self.to_frame(point_a, point_b - point_a)
        changes = xp.linalg.eigvalsh(-symmetric_part(difference))
        rates = xp.log1p(changes) if _near(changes) else 2 * xp.log(xp.linalg.svdvals(factor.inverse @ self._at(point_b).value))
        return hypot(frobenius_norm(rates[:, None]), frobenius_norm(skew_part(difference)))

    def frame_log(self, point: Array, other: Array) -> Array:
        """Return `to_frame` of the logarithm, K − K′ − log(L⁻¹ S′ L⁻ᵀ): its Frobenius norm is the distance."""
        rates, basis, turn = self._growth_to(point, other)
        return turn - _combined(basis, rates)

    def frame_logs(self, point: Array, other: Array) -> tuple[Array, Array]:
        """Return `frame_log` of W′ from W, and that of W from W′, by one eigenvalue problem for both.

        With G = log(L⁻¹ S′ L⁻ᵀ) the second is K′ − K + R G Rᵀ, R = L′⁻¹ L exp(G/2) orthogonal, since L′ exp(−R G Rᵀ) L′ᵀ = S.
        """
        rates, basis, turn = self._growth_to(point, other)
        turned = (self._at(other).inverse @ (self._at(point).value @ basis)) * array_namespace(point).exp(rates / 2)
        return turn - _combined(basis, rates), _combined(turned, rates) - turn

    def transport(self, point_a: Array, point_b: Array, tangent_vector_a: Array) -> Array:
        """Return the parallel transport from W to W′ along the one geodesic between them."""
        return self.parallel_transport(point_a, self.log(point_a, point_b), tangent_vector_a)

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        """Return E U_s Eᵀ + U_k, E = L exp(−½ L⁻¹ V_s L⁻ᵀ) L⁻¹: U carried along exp_W(t V), 0 ≤ t ≤ 1."""
        self.check(point, carried)
        factor, half, xp = self._at(point), self._growth(point, tangent_vector) / 2, array_namespace(point)
        if frobenius_norm(half) <= 1:
            turn = identity_like(point) + exponential_series(half)
        else:
            rates, basis = xp.linalg.eigh(half)
            turn = _combined(basis, xp.exp(rates))
        E = chain(factor.value, turn, factor.inverse)
        return _congruence(E, carried) + skew_part(carried)

    def frame_curvature(self, X: Array, Y: Array) -> float:
        """Return K = −¼ ‖[X_s, Y_s]‖² / (‖X‖²‖Y‖² − ⟨X, Y⟩²), X and Y the vectors in the frame.

        S lives in the symmetric space of positive definite matrices, K in a flat one (Helgason, *Differential Geometry, Lie
        Groups, and Symmetric Spaces*, 1978, section V.3).
        """
        product = symmetric_part(X) @ symmetric_part(Y)
        bracket = product - product.T
        return -inner(bracket, bracket) / 4 / squared_area(inner(X, X), inner(Y, Y), inner(X, Y), X)

    def _growth(self, point: Array, tangent_vector: Array) -> Array:
        """Return −L⁻¹ V_s L⁻ᵀ, the relative growth of S along V."""
        self.check(point, tangent_vector)
        growth = symmetric_part(-self._frame((point, tangent_vector)))
        if not all_finite(growth):
            raise InvalidArrayError("the tangent vector holds NaN or infinity", "it has no geodesic", "Find its source")
        return growth

    def _growth_to(self, point: Array, other: Array) -> tuple[Array, Array, Array]:
        """Return eigenvalues and eigenvectors of log(L⁻¹ S′ L⁻ᵀ), and K − K′."""
        self.check(point, other)
        xp = array_namespace(point)
        difference = self._coordinates((point, other - point))
        changes, basis = xp.linalg.eigh(-symmetric_part(difference))
        if _near(changes):
            rates = xp.log1p(changes)
        else:
            basis, roots, _ = xp.linalg.svd(self._at(point).inverse @ self._at(other).value)
            rates = 2 * xp.log(roots)
        return rates, basis, skew_part(difference)

    def _coordinates(self, place: tuple[Array, Array]) -> Array:
        """Return what `to_frame` does."""
        point, tangent_vector = place
        inverse = self._at(point).inverse
        return _congruence(inverse, tangent_vector) + skew_part(tangent_vector)


def _near(changes: Array) -> bool:
    """Tell whether I + M has small eigenvalues that do not drown in the rounding of its large ones, given those of M."""
    return float(changes[0]) + 1 > NEAR * (float(changes[-1]) + 1)


def _congruence(transform: Array, matrix: Array) -> Array:
    """Return T M_s Tᵀ, symmetric to the last bit.

    S may be so large that the rounding error of a product exceeds K by orders of magnitude. The metric on K is Euclidean: a
    skew error would count in full.
    """
    return symmetric_part(chain(transform, symmetric_part(matrix), transform.T))


def _combined(basis: Array, weights: Array) -> Array:
    """Return Q diag(w) Qᵀ, symmetric to the last bit."""
    return symmetric_part((basis * weights) @ basis.T)
