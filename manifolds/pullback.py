"""Flat manifolds: all of their geometry in closed form, through a chart (pullback metrics)."""

from typing import final

import numpy as np

from manifolds.arrays import Array, frobenius_norm, inner
from manifolds.base import WeightManifold, described
from manifolds.charts import Chart, Retraction
from manifolds.errors import OutsideManifoldError

EDGE_MARGIN = 0.9
"""Largest fraction of the way to the edge that the retraction goes."""


@final
class PullbackManifold(WeightManifold):
    """Weight space under the metric g_W(U, V) = ⟨Dφ_W[U], Dφ_W[V]⟩ of a chart φ.

    The metric is flat: geodesics are straight lines in the coordinates φ(W), and parallel transport keeps coordinates.

    Parameters
    ----------
    chart
        The chart φ.
    n
        Number of rows and columns, or the shape of a rectangular point.
    retraction, seed, like, validate
        See `WeightManifold`.

    Raises
    ------
    InvalidArrayError
        For a chart that does not fit the shape, such as `SignedLog` with another number of signs.

    Examples
    --------
    >>> from manifolds import PullbackManifold, Resolvent
    >>> m = PullbackManifold(Resolvent(), 3, seed=0)
    >>> W = m.random_point()
    >>> V = m.random_tangent_vector(W) / 10
    >>> round(m.dist(W, m.exp(W, V)), 12)
    0.1
    """

    has_frame = True
    flat = True

    def __init__(
        self,
        chart: Chart,
        n: int | tuple[int, ...],
        retraction: Retraction = "geodesic",
        *,
        seed: int | np.random.Generator | None = None,
        like: Array | None = None,
        validate: bool = False,
    ) -> None:
        shape = n if isinstance(n, tuple) else (int(n), int(n))
        chart.check_shape(shape)
        name = f"{type(chart).__name__} manifold of {described(shape)}, {retraction} retraction"
        super().__init__(name, shape, retraction, seed=seed, like=like, validate=validate)
        self.chart = chart
        self.thread_safe = chart.thread_safe

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return g_W(U, V) = ⟨Dφ[U], Dφ[V]⟩."""
        self.check(point, tangent_vector_a, tangent_vector_b)
        a = self.chart.differential(point, tangent_vector_a)
        b = a if tangent_vector_b is tangent_vector_a else self.chart.differential(point, tangent_vector_b)
        return inner(a, b)

    def euclidean_to_riemannian_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return grad = Dφ⁻¹ Dφ⁻* ∇; in the resolvent chart this is B Bᵀ ∇ Bᵀ B, without an inverse."""
        self.check(point, euclidean_gradient)
        return self.chart.inverse_differential(point, self.chart.inverse_adjoint(point, euclidean_gradient))

    def sharp_factors(self, point: Array) -> tuple[Array, Array] | None:
        self.check(point)
        return self.chart.sharp_factors(point)

    def euclidean_to_riemannian_hessian(
        self, point: Array, euclidean_gradient: Array, euclidean_hessian: Array, tangent_vector: Array
    ) -> Array:
        """Return Hess[V] = Dφ⁻¹ D_V(Dφ⁻* ∇J), where `euclidean_hessian` is the Euclidean Hessian along V."""
        self.check(point, euclidean_gradient, euclidean_hessian, tangent_vector)
        change = self.chart.inverse_adjoint_derivative(point, tangent_vector, euclidean_gradient)
        return self.chart.inverse_differential(point, change + self.chart.inverse_adjoint(point, euclidean_hessian))

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Return exp_W(V) = φ⁻¹(φ(W) + Dφ[V]).

        Raises
        ------
        OutsideManifoldError
            If the geodesic meets the edge at a time t* ≤ 1.
        """
        self.check(point, tangent_vector)
        if self.chart.exit_time_bound(point, tangent_vector, "geodesic") <= 1:
            exit_time = self.exit_time(point, tangent_vector)
            if exit_time <= 1:
                raise OutsideManifoldError(
                    f"exit time t* = {exit_time:.3g}",
                    "the geodesic meets the edge of the manifold before t = 1",
                    "Shorten the step below t* V, for instance with a smaller learning rate",
                )
        return self.arrived(self.chart.exponential(point, tangent_vector))

    def retraction(self, point: Array, tangent_vector: Array) -> Array:
        """Return the point reached by the chosen retraction, kept inside the manifold.

        A step that would meet the edge is shortened to `EDGE_MARGIN` of the way to it, so a line search never crosses the edge.
        Steps near the zero vector are not shortened.
        """
        self.check(point, tangent_vector)
        if self.chart.exit_time_bound(point, tangent_vector, self.retraction_kind) * EDGE_MARGIN < 1:
            reach = EDGE_MARGIN * self.retraction_exit_time(point, tangent_vector)
            tangent_vector = tangent_vector * min(1.0, reach)
        if self.retraction_kind == "additive":
            return self.arrived(point + tangent_vector)
        return self.arrived(self.chart.exponential(point, tangent_vector))

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return the tangent vector V at W with exp_W(V) = W′: Dφ⁻¹(φ(W′) − φ(W))."""
        self.check(point_a, point_b)
        return self.chart.inverse_differential(point_a, self.chart.difference(point_a, point_b))

    def dist(self, point_a: Array, point_b: Array) -> float:
        """Return ‖φ(W′) − φ(W)‖, the length of the straight line between the coordinates."""
        self.check(point_a, point_b)
        return frobenius_norm(self.chart.difference(point_a, point_b))

    def to_frame(self, point: Array, tangent_vector: Array) -> Array:
        """Return Dφ[V], coordinates in which the metric is Euclidean and parallel transport is the identity."""
        self.check(point, tangent_vector)
        return self.chart.differential(point, tangent_vector)

    def from_frame(self, point: Array, coordinates: Array) -> Array:
        """Return the tangent vector with these coordinates, the inverse of `to_frame`."""
        self.check(point, coordinates)
        return self.chart.inverse_differential(point, coordinates)

    def frame_gradient(self, point: Array, euclidean_gradient: Array) -> Array:
        """Return `to_frame` of the Riemannian gradient, (Dφ⁻¹)*[∇]."""
        self.check(point, euclidean_gradient)
        return self.chart.inverse_adjoint(point, euclidean_gradient)

    def transport(self, point_a: Array, point_b: Array, tangent_vector_a: Array) -> Array:
        """Return the parallel transport Dφ(W′)⁻¹ Dφ(W) V. It is the same along every path, because the metric is flat."""
        self.check(point_a, point_b, tangent_vector_a)
        return self.chart.inverse_differential(point_b, self.chart.differential(point_a, tangent_vector_a))

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        return self.transport(point, self.exp(point, tangent_vector), carried)

    def random_point(self) -> Array:
        """Return a point with normal coordinates about the origin of the chart, with standard deviation min(1, d)/(2√n).

        d is the distance of the origin from the edge. The spectral norm of the deviation is then at most about d, and the chart
        is seldom ill-conditioned at the point.
        """
        sample = self.normal()
        origin = self.chart.origin(sample)
        spread = min(1.0, self.chart.edge_distance(self.chart.inverse(origin))) / (2 * max(self.shape) ** 0.5)
        return self.chart.inverse(origin + spread * sample)

    def exit_time(self, point: Array, tangent_vector: Array) -> float:
        self.check(point, tangent_vector)
        return self.chart.exit_time(point, tangent_vector, "geodesic")

    def retraction_exit_time(self, point: Array, tangent_vector: Array) -> float:
        self.check(point, tangent_vector)
        return self.chart.exit_time(point, tangent_vector, self.retraction_kind)

    def edge_distance(self, point: Array) -> float:
        self.check(point)
        return self.chart.edge_distance(point)
