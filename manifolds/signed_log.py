"""The chart of Dale's law: each unit excites all others or inhibits all others, and learning never changes the signs."""

from math import inf
from typing import final

import numpy as np
from array_api_compat import array_namespace

from manifolds.arguments import check_kind
from manifolds.arrays import Array
from manifolds.charts import Chart, Retraction
from manifolds.errors import InvalidArrayError, OutsideManifoldError
from manifolds.points import copied


@final
class SignedLog(Chart):
    """The elementwise chart φ(W) = log(s W), defined if the outgoing weights W_ij of each unit j have its sign s_j.

    Columns keep their signs on every path of the metric, and geodesics are exponentiated gradient steps,
    W ↦ W ∘ exp(V / W), whose gradient is W ∘ W ∘ ∇. Both edges, zero and infinity, are infinitely far away.

    Parameters
    ----------
    signs
        s, shape (columns,), 1 (excitatory) or −1 (inhibitory), in the array namespace and dtype of the points.

    Raises
    ------
    OutsideManifoldError
        From methods that take a point, if a weight is zero or has the wrong sign.
    InvalidArrayError
        For signs that are not ±1 or do not fit the point in shape or dtype.

    References
    ----------
    Kivinen and Warmuth, Information and Computation 132(1), 1997 (exponentiated gradient); Cornford and others,
    *Brain-like learning with exponentiated gradients*, bioRxiv, 2024 (in networks under Dale's law).
    """

    thread_safe = True

    def __init__(self, signs: Array) -> None:
        check_kind("signs", signs)
        if signs.ndim != 1 or not bool(array_namespace(signs).all(abs(signs) == 1)):
            raise InvalidArrayError("signs other than 1 and −1", "a unit excites or inhibits", "Pass one sign a column")
        self._signs = copied(signs)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"units": self._signs.shape[0], "inhibitory": int(array_namespace(self._signs).count_nonzero(self._signs < 0))}

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if self._signs.shape != shape[1:]:
            raise InvalidArrayError(
                f"{self._signs.shape[0]} signs for points of shape {shape}",
                "each column has one sign",
                f"Pass {shape[1]} signs, or a manifold of {self._signs.shape[0]} units",
            )

    def value(self, point: Array) -> Array:
        return array_namespace(point).log(abs(self._checked(point)))

    def inverse(self, coordinates: Array) -> Array:
        return self._signs * array_namespace(coordinates).exp(coordinates)

    def differential(self, point: Array, vector: Array) -> Array:
        return vector / self._checked(point)

    def adjoint(self, point: Array, coordinates: Array) -> Array:
        return coordinates / self._checked(point)

    def inverse_differential(self, point: Array, coordinates: Array) -> Array:
        return coordinates * self._checked(point)

    def inverse_adjoint(self, point: Array, covector: Array) -> Array:
        return covector * self._checked(point)

    def inverse_adjoint_derivative(self, point: Array, vector: Array, covector: Array) -> Array:
        return covector * vector

    def exponential(self, point: Array, vector: Array) -> Array:
        xp = array_namespace(point)
        with np.errstate(over="ignore", under="ignore"):  # the manifold checks that the end of a step is finite
            size = abs(point) * xp.exp(self.differential(point, vector))
        smallest = xp.full_like(size, xp.finfo(size.dtype).smallest_normal)
        return self._signs * xp.maximum(size, smallest)  # zero is infinitely far away, and has no sign

    def difference(self, point: Array, other: Array) -> Array:
        xp = array_namespace(point)
        with np.errstate(over="ignore", under="ignore"):
            quotient = self._checked(other) / self._checked(point)
        # For near points the logarithm of the quotient is accurate; for far points the quotient may overflow or underflow.
        normal = (quotient > xp.finfo(quotient.dtype).smallest_normal) & xp.isfinite(quotient)
        near = xp.log(xp.where(normal, quotient, 1.0))
        return xp.where(normal, near, xp.log(xp.abs(other)) - xp.log(xp.abs(point)))

    def exit_time(self, point: Array, vector: Array, retraction: Retraction) -> float:
        return inf if retraction == "geodesic" else self.exit_time_bound(point, vector, retraction)

    def exit_time_bound(self, point: Array, vector: Array, retraction: Retraction) -> float:
        fastest = -float(array_namespace(point).min(self.differential(point, vector)))
        return 1 / fastest if fastest > 0 else inf

    def origin(self, like: Array) -> Array:
        xp = array_namespace(like)
        return xp.full_like(like, -float(np.log(like.shape[1])))  # with weights of size 1/n the drive of a unit is of order one

    def _checked(self, point: Array) -> Array:
        if point.shape[1:] != self._signs.shape:
            raise InvalidArrayError(
                f"{self._signs.shape[0]} signs at a point of shape {tuple(point.shape)}",
                "each column has one sign",
                "Pass signs that fit the point",
            )
        if point.dtype != self._signs.dtype:
            raise InvalidArrayError(
                f"signs of dtype {self._signs.dtype} at a point of dtype {point.dtype}",
                "their dtypes must be equal",
                "Convert one of them",
            )
        smallest = float(array_namespace(point).min(self._signs * point))
        if not smallest > 0:
            raise OutsideManifoldError(
                f"smallest signed weight = {smallest:.3g}",
                "a weight is zero or has the wrong sign",
                "Start from weights that obey Dale's law and are not zero",
            )
        return point
