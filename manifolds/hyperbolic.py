"""Geodesics in the frame of the symmetric space of monotone weights: series for short steps, singular values otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from manifolds.arrays import Array, frobenius_norm, identity_like, machine_epsilon, symmetric_part
from manifolds.errors import OutsideManifoldError
from manifolds.linear_algebra import chain, inverse, power_series
from manifolds.points import all_finite

MOST_TERMS = 20
"""Terms of a series: the number that double precision resolves for singular values up to 1."""


def _hyperbolic_series(terms: int) -> tuple[list[float], list[float]]:
    """Return the coefficients of x³, x⁵, … of t(x) = tanh(x/2) and of x², x⁴, … of s(x) = 1 / cosh(x/2).

    They follow from t′ = (1 − t²) / 2 and s′ = −s t / 2.
    """
    tanh, sech = [0.0, 0.5], [1.0, 0.0]
    for degree in range(2, 2 * terms + 2):
        lower = range(degree)
        tanh.append(-sum(tanh[k] * tanh[degree - 1 - k] for k in lower) / (2 * degree))
        sech.append(-sum(sech[k] * tanh[degree - 1 - k] for k in lower) / (2 * degree))
    return tanh[3::2], sech[2::2]


TANH, SECH = _hyperbolic_series(MOST_TERMS)
"""The coefficients of the powers of x² in tanh(x/2) / x − 1/2 and in 1 / cosh(x/2) − 1."""


@dataclass(frozen=True)
class FrameStep:
    """The geodesic I ↦ (I + T) (I − T)⁻¹ in the frame at one time, by the singular vectors and values of X = U Σ Rᵀ.

    With C = R cosh(Σ/2) − U sinh(Σ/2) it ends at B = I + 2 U sinh(Σ/2) C⁻¹, with symmetric part C⁻ᵀ C⁻¹. Before C is
    inverted its columns are scaled to unit length. They never contain 1 − tanh(Σ/2): nothing cancels or overflows.
    """

    left: Array
    sizes: Array
    right: Array

    @classmethod
    def along(cls, change: Array) -> "FrameStep":
        """Decompose X. For a symmetric X eigenvectors are used: then U = ±R to the last bit."""
        xp = array_namespace(change)
        if is_symmetric(change):
            rates, basis = xp.linalg.eigh(change)
            signs = xp.where(rates < 0, -xp.ones_like(rates), xp.ones_like(rates))
            return cls(basis * signs, xp.abs(rates), basis)
        left, sizes, right = xp.linalg.svd(change)
        return cls(left, sizes, right.T)

    def at(self, time: float) -> "FrameStep":
        """Return the step along t X."""
        return FrameStep(-self.left if time < 0 else self.left, abs(time) * self.sizes, self.right)

    def transposed(self) -> "FrameStep":
        """Return the step along Xᵀ."""
        return FrameStep(self.right, self.sizes, self.left)

    def inverse_denominator(self) -> Array:
        """Return C⁻¹."""
        inverted, lengths = self._inverted
        return (array_namespace(self.sizes).exp(-self.sizes / 2) / lengths)[:, None] * inverted

    def relative_change(self) -> Array:
        """Return 2 U sinh(Σ/2) C⁻¹."""
        inverted, lengths = self._inverted
        return (self.left * (-array_namespace(self.sizes).expm1(-self.sizes) / lengths)) @ inverted

    @cached_property
    def _inverted(self) -> tuple[Array, Array]:
        """Return the inverse of C exp(−Σ/2) with columns scaled to unit length, and these lengths."""
        xp = array_namespace(self.sizes)
        columns = ((self.right - self.left) + (self.right + self.left) * xp.exp(-self.sizes)) / 2
        lengths = xp.linalg.vector_norm(columns, axis=0)
        try:
            return inverse(columns / lengths), lengths
        except np.linalg.LinAlgError:
            raise _too_long() from None


@dataclass(frozen=True)
class ShortStep:
    """The same geodesic at time 1 by matrix products, if all singular values of X are at most 1.

    Parameters
    ----------
    change
        X.
    gram
        Xᵀ X.
    """

    change: Array
    gram: Array

    @classmethod
    def along(cls, change: Array) -> "ShortStep | None":
        """Return the step along X, or None if it is too long."""
        gram = short_gram(change)
        return None if gram is None else cls(change, gram)

    @cached_property
    def half_tanh(self) -> Array:
        """T = U tanh(Σ/2) Rᵀ."""
        return self.change / 2 + chain(self.change, power_series(self.gram, resolved(TANH, self.gram)))

    @cached_property
    def resolvent(self) -> Array:
        """(I − T)⁻¹. The singular values of T are below ½, so the inverse is as accurate as a solve."""
        return inverse(identity_like(self.change) - self.half_tanh)

    def relative_change(self) -> Array:
        """Return 2 (I − T)⁻¹ T."""
        return 2 * as_symmetric_as(chain(self.resolvent, self.half_tanh), self.change)

    def carried(self, coordinates: Array) -> Array:
        """Return (I − T)⁻¹ U sech(Σ/2) Uᵀ Ξ R sech(Σ/2) Rᵀ (I − T)⁻¹, the parallel transport of Ξ in the frame."""
        before, after = half_sech(chain(self.change, self.change.T)), half_sech(self.gram)
        moved = chain(self.resolvent, coordinates + chain(before, coordinates))
        moved = chain(moved + chain(moved, after), self.resolvent)
        return as_symmetric_as(moved, self.change, coordinates)


def short_gram(change: Array) -> Array | None:
    """Return Xᵀ X if the Frobenius norm shows that the singular values of X are at most 1, otherwise None."""
    xp = array_namespace(change)
    if float(xp.max(xp.abs(change))) > 1:
        return None
    gram = chain(change.T, change)
    return gram if frobenius_norm(gram) <= 1 else None


def half_sech(gram: Array) -> Array:
    """Return R sech(Σ/2) Rᵀ − I, given R Σ² Rᵀ."""
    return power_series(gram, resolved(SECH, gram))


def as_symmetric_as(matrix: Array, *models: Array) -> Array:
    """Symmetrise a matrix, in place, if all the models are symmetric; it is then symmetric up to rounding.

    A long step in a direction in which S grows would amplify a skew rounding error by the same factor.
    """
    return symmetric_part(matrix) if all(map(is_symmetric, models)) else matrix


def is_symmetric(matrix: Array) -> bool:
    """Tell whether a matrix is symmetric to the last bit."""
    return bool(array_namespace(matrix).all(matrix == matrix.T))


def resolved(coefficients: Sequence[float], matrix: Array) -> Sequence[float]:
    """Return the coefficients c₁, c₂, … that the dtype resolves, of the powers of a matrix with ‖M‖ ≤ 1."""
    size, epsilon = frobenius_norm(matrix), machine_epsilon(matrix)
    count = sum(abs(c) * size**power > epsilon / 8 for power, c in enumerate(coefficients, start=1))
    return coefficients[: max(count, 1)]


def representable(array: Array) -> Array:
    """Return the end of a step, after a check that it is finite.

    Raises
    ------
    OutsideManifoldError
        If it holds NaN or infinity.
    """
    if not all_finite(array):
        raise _too_long()
    return array


def _too_long() -> OutsideManifoldError:
    """Return the error for a step with an end that is not representable."""
    return OutsideManifoldError(
        "a step that ends in NaN or infinity",
        "the geodesic continues for ever, but no floating-point number is so large",
        "Shorten the step, for instance with a smaller learning rate",
    )
