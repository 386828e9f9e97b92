"""Charts of weight space. A flat manifold needs only a chart φ; all of its geometry is derived from φ.

Notation: W is a point, V a tangent vector, U a covector (a Euclidean gradient), Z a coordinate or a change of it.
"""

from abc import ABC, abstractmethod
from math import inf
from typing import Literal, TypeAlias, final

from array_api_compat import array_namespace

from manifolds.arrays import Array
from manifolds.summary import Summarised

Retraction: TypeAlias = Literal["geodesic", "additive"]
"""How a tangent vector becomes a step: along the geodesic, or by adding it to the point."""


class Chart(Summarised, ABC):
    """A diffeomorphism φ from an open set of matrices onto an open set of coordinates.

    The pullback metric is g_W(U, V) = ⟨Dφ_W[U], Dφ_W[V]⟩ (Lee, *Introduction to Riemannian Manifolds*, 2018, ch. 2).
    All arrays have the shape of the point.

    Attributes
    ----------
    thread_safe
        Whether copies may be used in several threads at once. Charts that use autograd may not: it has one global stack.
    """

    thread_safe = False

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Check that the chart fits points of a shape; by default it fits every shape.

        Raises
        ------
        InvalidArrayError
            For a shape that does not fit.
        """
        return

    @abstractmethod
    def value(self, point: Array) -> Array:
        """Return the coordinates φ(W)."""

    @abstractmethod
    def inverse(self, coordinates: Array) -> Array:
        """Return the point φ⁻¹(Z)."""

    @abstractmethod
    def differential(self, point: Array, vector: Array) -> Array:
        """Return Dφ_W[V]."""

    @abstractmethod
    def adjoint(self, point: Array, coordinates: Array) -> Array:
        """Return Dφ_W*[Z], defined by ⟨Dφ_W*[Z], V⟩ = ⟨Z, Dφ_W[V]⟩."""

    @abstractmethod
    def inverse_differential(self, point: Array, coordinates: Array) -> Array:
        """Return (Dφ_W)⁻¹[Z]."""

    @abstractmethod
    def inverse_adjoint(self, point: Array, covector: Array) -> Array:
        """Return (Dφ_W*)⁻¹[U], the Euclidean gradient U expressed in coordinates."""

    @abstractmethod
    def inverse_adjoint_derivative(self, point: Array, vector: Array, covector: Array) -> Array:
        """Return the derivative along V of W ↦ (Dφ_W*)⁻¹[U], with U held fixed; the Hessian needs it."""

    def sharp_factors(self, point: Array) -> tuple[Array, Array] | None:
        """Return P and Q, if (Dφ_W)⁻¹ (Dφ_W*)⁻¹ is U ↦ P U Q; None if it does not have that form."""
        return None

    def exponential(self, point: Array, vector: Array) -> Array:
        """Return φ⁻¹(φ(W) + Dφ_W[V])."""
        return self.inverse(self.value(point) + self.differential(point, vector))

    def difference(self, point: Array, other: Array) -> Array:
        """Return φ(W′) − φ(W) for two points W and W′."""
        return self.value(other) - self.value(point)

    def exit_time(self, point: Array, vector: Array, retraction: Retraction) -> float:
        """Return the first t > 0 at which the path with velocity V at W meets the edge. Default: infinity, for no edge."""
        return inf

    def exit_time_bound(self, point: Array, vector: Array, retraction: Retraction) -> float:
        """Return a cheap lower bound of `exit_time`; it need not be sharp. Default: `exit_time` itself."""
        return self.exit_time(point, vector, retraction)

    def edge_distance(self, point: Array) -> float:
        """Return the distance in coordinates from φ(W) to the nearest edge. Default: infinity, for no edge."""
        return inf

    def origin(self, like: Array) -> Array:
        """Return the coordinates around which random points are drawn, in the shape and dtype of `like`. Default: 0."""
        return array_namespace(like).zeros_like(like)


@final
class Identity(Chart):
    """The Euclidean chart φ(W) = W."""

    thread_safe = True

    def value(self, point: Array) -> Array:
        return point

    def inverse(self, coordinates: Array) -> Array:
        return coordinates

    def differential(self, point: Array, vector: Array) -> Array:
        return vector

    def adjoint(self, point: Array, coordinates: Array) -> Array:
        return coordinates

    def inverse_differential(self, point: Array, coordinates: Array) -> Array:
        return coordinates

    def inverse_adjoint(self, point: Array, covector: Array) -> Array:
        return covector

    def inverse_adjoint_derivative(self, point: Array, vector: Array, covector: Array) -> Array:
        return array_namespace(point).zeros_like(point)

    def exponential(self, point: Array, vector: Array) -> Array:
        return point + vector

    def difference(self, point: Array, other: Array) -> Array:
        return other - point


@final
@final
class Composition(Chart):
    """The chart φ = outer ∘ inner: the coordinates of `inner` are the points of `outer`.

    Parameters
    ----------
    outer, inner
        The charts. Geodesics have the edge of `outer`, if `inner` reaches all points of `outer`. A straight line in W is curved
        in the coordinates of `inner`. It has the nearer of two edges: the edge of `inner`, and the edge of `outer` to first
        order.
    """

    def __init__(self, outer: Chart, inner: Chart) -> None:
        self._outer = outer
        self._inner = inner
        self.thread_safe = outer.thread_safe and inner.thread_safe

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        return {"outer": repr(self._outer), "inner": repr(self._inner)}

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self._outer.check_shape(shape)
        self._inner.check_shape(shape)

    def value(self, point: Array) -> Array:
        return self._outer.value(self._inner.value(point))

    def inverse(self, coordinates: Array) -> Array:
        return self._inner.inverse(self._outer.inverse(coordinates))

    def differential(self, point: Array, vector: Array) -> Array:
        return self._outer.differential(self._inner.value(point), self._inner.differential(point, vector))

    def adjoint(self, point: Array, coordinates: Array) -> Array:
        return self._inner.adjoint(point, self._outer.adjoint(self._inner.value(point), coordinates))

    def inverse_differential(self, point: Array, coordinates: Array) -> Array:
        return self._inner.inverse_differential(point, self._outer.inverse_differential(self._inner.value(point), coordinates))

    def inverse_adjoint(self, point: Array, covector: Array) -> Array:
        return self._outer.inverse_adjoint(self._inner.value(point), self._inner.inverse_adjoint(point, covector))

    def inverse_adjoint_derivative(self, point: Array, vector: Array, covector: Array) -> Array:
        middle = self._inner.value(point)
        velocity = self._inner.differential(point, vector)
        carried = self._inner.inverse_adjoint(point, covector)
        change = self._inner.inverse_adjoint_derivative(point, vector, covector)
        return self._outer.inverse_adjoint_derivative(middle, velocity, carried) + self._outer.inverse_adjoint(middle, change)

    def exponential(self, point: Array, vector: Array) -> Array:
        velocity = self._inner.differential(point, vector)
        return self._inner.inverse(self._outer.exponential(self._inner.value(point), velocity))

    def difference(self, point: Array, other: Array) -> Array:
        return self._outer.difference(self._inner.value(point), self._inner.value(other))

    def exit_time(self, point: Array, vector: Array, retraction: Retraction) -> float:
        velocity = self._inner.differential(point, vector)
        outer = self._outer.exit_time(self._inner.value(point), velocity, retraction)
        return outer if retraction == "geodesic" else min(outer, self._inner.exit_time(point, vector, retraction))

    def exit_time_bound(self, point: Array, vector: Array, retraction: Retraction) -> float:
        velocity = self._inner.differential(point, vector)
        outer = self._outer.exit_time_bound(self._inner.value(point), velocity, retraction)
        return min(outer, self._inner.exit_time_bound(point, vector, retraction))

    def edge_distance(self, point: Array) -> float:
        return self._outer.edge_distance(self._inner.value(point))

    def origin(self, like: Array) -> Array:
        return self._outer.value(self._inner.origin(like))
