"""The positive definite symmetric part of I − W, its Cholesky factor, and a correction for points that rounding moves out."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

from array_api_compat import array_namespace

from manifolds.arrays import Array, frobenius_norm, identity_like, machine_epsilon, symmetric_part
from manifolds.errors import InvalidArrayError, OutsideManifoldError
from manifolds.linear_algebra import cholesky, triangular_inverse
from manifolds.points import all_finite


class CholeskyFactor:
    """S, the symmetric part of I − W, and its Cholesky factor L, S = L Lᵀ.

    Parameters
    ----------
    point
        W, shape (n, n).

    Raises
    ------
    OutsideManifoldError
        If S is not positive definite.
    InvalidArrayError
        If W holds NaN or infinity.
    """

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


def raised(weights: Array, margin: float) -> Array:
    """Return the matrix nearest to W, in the Frobenius norm, for which all eigenvalues of S are at least `margin`."""
    xp = array_namespace(weights)
    eigenvalues, basis = xp.linalg.eigh(identity_like(weights) - symmetric_part(weights))
    missing = xp.clip(margin - eigenvalues, 0.0, None)
    return weights - symmetric_part((basis * missing) @ basis.T)


def rounded_inside(point: Array, factor_at: Callable[[Array], CholeskyFactor]) -> Array:
    """Return W, with S raised if its smallest eigenvalue is below the rounding error of W.

    Parameters
    ----------
    point
        W, shape (n, n).
    factor_at
        Function that returns the Cholesky factor at a point, possibly from a cache.
    """
    identity, size = identity_like(point), float(array_namespace(point).linalg.matrix_norm(point, ord=1))
    rounding = point.shape[0] ** 0.5 * machine_epsilon(point) * (size + 1)
    with suppress(OutsideManifoldError):
        if frobenius_norm(factor_at(point).inverse) ** -2 > rounding:  # a lower bound of the smallest eigenvalue
            return point
    S = identity - symmetric_part(point)
    if cholesky(S - rounding * identity) is not None:
        return point
    return point - (rounding - min(_smallest(S), 0.0)) * identity


def _smallest(symmetric: Array) -> float:
    return float(array_namespace(symmetric).linalg.eigvalsh(symmetric)[0])
