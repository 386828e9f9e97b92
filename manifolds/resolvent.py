"""The chart of the paper: W ↦ A = (I − W)⁻¹, with or without gains."""

from functools import cached_property, partial
from math import inf
from typing import final

import numpy as np
from array_api_compat import array_namespace

from manifolds.arguments import check_kind
from manifolds.arrays import Array, frobenius_norm, identity_like, machine_epsilon
from manifolds.charts import Chart, Retraction
from manifolds.errors import InvalidArrayError, OutsideManifoldError, SingularPointError
from manifolds.invertible import why_not_invertible
from manifolds.linear_algebra import chain, condition, direct_inverse, eigenvalues, inverse, solve
from manifolds.points import PointCache, all_finite, copied

CERTAIN_SIZE, CERTAIN_ROUNDING = 0.9, 0.01
"""‖S G‖ and the relative error of S, below which the bound of a geodesic's exit time is certain."""


@final
class Resolvent(Chart):
    """The chart of the paper, φ(W) = (I − W)⁻¹ = A; with gains g, φ(W) = (G − G W G)⁻¹, G = diag g.

    With L = I − W G and R = I − G W (both are B = I − W without gains), Dφ_W[V] = L⁻¹ V R⁻¹. So grad = L Lᵀ ∇ Rᵀ R takes no
    inverse, and exp_W(V) = W + L S with S = (L + V G)⁻¹ V takes one solve. The singular set det(I − W G) = 0 is infinitely
    far away. The edge that a geodesic can reach is W → ∞, where A becomes singular.

    Parameters
    ----------
    gain
        Gains g, shape (n,), finite, none of them zero, in the array namespace and dtype of the points. Default: all one.

    Raises
    ------
    SingularPointError
        From methods that need (I − G W)⁻¹, if this matrix is singular to working precision.
    InvalidArrayError
        For a gain that is zero or not finite, or points that are not square or do not fit the gains.

    References
    ----------
    Zhu and Rosenbaum, Neural Computation 36(8), 2024, section "Reparameterizing"; arXiv 2307.06732.
    """

    thread_safe = True

    def __init__(self, gain: Array | None = None) -> None:
        if gain is not None:
            check_kind("gain", gain)
        if gain is not None and not (all_finite(gain) and bool(array_namespace(gain).all(gain != 0))):
            raise InvalidArrayError(
                "gain has an entry that is zero or not finite",
                "the chart (G − G W G)⁻¹ needs every gain",
                "Bound the gains away from zero",
            )
        self._gain = None if gain is None else copied(gain)
        self._at = PointCache(partial(_ResolventPoint, gain=self._gain))
        self._step = PointCache(partial(_relative_step, self._at, self._gain), size=1)  # used by the bound, then by the step

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {} if self._gain is None else {"gains": self._gain.shape[0]}

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[0] != shape[1] or (self._gain is not None and self._gain.shape != shape[:1]):
            raise _misfit(shape, self._gain)

    def value(self, point: Array) -> Array:
        inverse = self._at(point).right_inverse
        return copied(inverse) if self._gain is None else inverse / self._gain[:, None]

    def inverse(self, coordinates: Array) -> Array:
        complement = direct_inverse(coordinates)
        if self._gain is None:
            return identity_like(coordinates) - complement
        return (identity_like(coordinates) - complement / self._gain) / self._gain[:, None]

    def differential(self, point: Array, vector: Array) -> Array:
        at = self._at(point)
        return chain(at.left_inverse, vector, at.right_inverse)

    def adjoint(self, point: Array, coordinates: Array) -> Array:
        at = self._at(point)
        return chain(at.left_inverse.T, coordinates, at.right_inverse.T)

    def inverse_differential(self, point: Array, coordinates: Array) -> Array:
        at = self._at(point)
        return chain(at.left, coordinates, at.right)

    def inverse_adjoint(self, point: Array, covector: Array) -> Array:
        at = self._at(point)
        return chain(at.left.T, covector, at.right.T)

    def inverse_adjoint_derivative(self, point: Array, vector: Array, covector: Array) -> Array:
        at = self._at(point)
        if self._gain is None:
            left_change, right_change = vector, vector
        else:
            left_change, right_change = vector * self._gain, self._gain[:, None] * vector
        return -chain(left_change.T, covector, at.right.T) - chain(at.left.T, covector, right_change.T)

    def sharp_factors(self, point: Array) -> tuple[Array, Array]:
        return self._at(point).sharp_factors

    def exponential(self, point: Array, vector: Array) -> Array:
        try:
            step, _ = self._step((point, vector))
        except np.linalg.LinAlgError:
            raise self._no_step(point, vector) from None
        return point + chain(self._at(point).left, step)

    def difference(self, point: Array, other: Array) -> Array:
        # A′ − A = L′⁻¹ (W′ − W) R⁻¹: the second resolvent identity, without the cancellation in A′ − A.
        return chain(self._at(other).left_inverse, other - point, self._at(point).right_inverse)

    def exit_time(self, point: Array, vector: Array, retraction: Retraction) -> float:
        # The geodesic ends where I + t V R⁻¹ G is singular, the straight line where I − t V R⁻¹ G is singular.
        velocity = self._relative_velocity(point, vector)
        if not all_finite(velocity):
            raise InvalidArrayError(
                "the tangent vector holds NaN or infinity", "it has no exit time", "Find the step that produced it"
            )
        xp, rates = array_namespace(velocity), eigenvalues(velocity)
        rates = rates if retraction == "additive" else -rates
        sizes = xp.abs(rates)
        real = xp.abs(xp.imag(rates)) <= machine_epsilon(point) ** 0.5 * sizes
        fastest = float(xp.max(xp.where(real, xp.real(rates), 0.0)))
        return 1 / fastest if fastest > machine_epsilon(point) * float(xp.max(sizes)) else inf

    def exit_time_bound(self, point: Array, vector: Array, retraction: Retraction) -> float:
        if retraction == "additive":
            size = frobenius_norm(self._relative_velocity(point, vector))
            return 1 / size if size > 0 else inf
        # An eigenvalue κ of V R⁻¹ G gives μ = κ / (1 + κ) of S G. A path ends at −1/κ = 1 − 1/μ, which is above 2 if |μ| < 1.
        try:
            step, rounding = self._step((point, vector))
        except np.linalg.LinAlgError:
            return 0.0
        size = frobenius_norm(_gained(step, self._gain))
        if not (size < CERTAIN_SIZE and rounding < CERTAIN_ROUNDING):  # otherwise rounding may hide an edge or a singular L
            return 0.0
        return 1 + 1 / size if size > 0 else inf

    def edge_distance(self, point: Array) -> float:
        complement = _gained(self._at(point).right, self._gain)
        if not all_finite(complement):
            raise InvalidArrayError("the point holds NaN or infinity", "it has no edge", "Find the step that produced it")
        return 1 / float(array_namespace(point).max(array_namespace(point).linalg.svdvals(complement)))

    def origin(self, like: Array) -> Array:
        identity = identity_like(like)
        return identity if self._gain is None else identity / self._gain

    def _no_step(self, point: Array, vector: Array) -> OutsideManifoldError:
        """Return the error for a step to the edge of the manifold, where det(L + V G) = 0."""
        with np.errstate(over="ignore", invalid="ignore"):
            matrix = self._at(point).left + _gained(vector, self._gain)
        found, remedy = "I − W G + V G holds NaN or infinity", "Shorten the step"
        if not all_finite(matrix):
            return OutsideManifoldError(found, "the step or the point is too large", remedy)
        found, _ = why_not_invertible("I − W G + V G", matrix)
        return OutsideManifoldError(found, "the step ends on the edge of the manifold to working precision", remedy)

    def _relative_velocity(self, point: Array, vector: Array) -> Array:
        """Return V R⁻¹ G."""
        inverted = self._at(point).right_inverse
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks the result
            return _gained(chain(vector, inverted), self._gain)


class _ResolventPoint:
    """L = I − W G, R = I − G W and their inverses at one point, each computed when first needed."""

    def __init__(self, point: Array, gain: Array | None) -> None:
        if point.shape[0] != point.shape[1] or (gain is not None and gain.shape != point.shape[:1]):
            raise _misfit(tuple(point.shape), gain)
        if gain is not None and gain.dtype != point.dtype:
            raise InvalidArrayError(
                f"gains of dtype {gain.dtype} at a point of dtype {point.dtype}",
                "their dtypes must be equal",
                "Convert one of them",
            )
        identity = identity_like(point)
        self._gain = gain
        self.left = identity - (point if gain is None else point * gain)
        self.right = self.left if gain is None else identity - gain[:, None] * point

    @cached_property
    def sharp_factors(self) -> tuple[Array, Array]:
        """L Lᵀ and Rᵀ R."""
        return self.left @ self.left.T, self.right.T @ self.right

    @cached_property
    def right_inverse(self) -> Array:
        return _inverse(self.right)

    @cached_property
    def left_inverse(self) -> Array:
        # L = G⁻¹ R G, so its inverse needs no second factorisation.
        if self._gain is None:
            return self.right_inverse
        return self.right_inverse * self._gain / self._gain[:, None]


def _inverse(matrix: Array) -> Array:
    if not all_finite(matrix):
        raise InvalidArrayError("the point holds NaN or infinity", "it has no coordinates", "Check where the weights come from")
    try:
        return _inverse_and_rounding(matrix)[0]
    except np.linalg.LinAlgError:
        raise SingularPointError(
            *why_not_invertible("I − G W", matrix),
            "Start from smaller weights with eigenvalues away from 1, or use a chart that is regular there",
        ) from None


def _inverse_and_rounding(matrix: Array) -> tuple[Array, float]:
    """Return M⁻¹ and its relative rounding error, the condition number in the 1-norm times machine epsilon.

    Raises
    ------
    numpy.linalg.LinAlgError
        If M is singular to working precision.
    """
    inverted = inverse(matrix)
    rounding = condition(matrix, inverted) * machine_epsilon(matrix)
    if not rounding < 1:
        raise np.linalg.LinAlgError("Singular matrix")
    return inverted, rounding


def _relative_step(at: PointCache[_ResolventPoint], gain: Array | None, start: tuple[Array, Array]) -> tuple[Array, float]:
    """Return S = (L + V G)⁻¹ V, given W and V, and its relative rounding error; raises as `_inverse_and_rounding` does."""
    point, vector = start
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = at(point).left + _gained(vector, gain)
    inverted, rounding = _inverse_and_rounding(matrix)
    return solve(matrix, vector, inverted), rounding


def _gained(matrix: Array, gain: Array | None) -> Array:
    """Return M G."""
    return matrix if gain is None else matrix * gain


def _misfit(shape: tuple[int, ...], gain: Array | None) -> InvalidArrayError:
    return InvalidArrayError(
        f"a point of shape {shape} with gains of shape {None if gain is None else tuple(gain.shape)}",
        "I − G W needs a square point and one gain for each row",
        "Pass gains that fit the point",
    )
