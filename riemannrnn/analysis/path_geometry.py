"""The geometry of one path in one metric: lengths, the geodesic between its ends, deviation from it, turning, curvature."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import asin, degrees, nan, sqrt

import numpy as np

from manifolds import Array, ManifoldError, WeightManifold
from manifolds.arrays import inner
from riemannrnn.analysis.path_metrics import Chords

STRAIGHT = 1e-6
"""Two vectors at an angle with a smaller sine span no plane: its curvature would be rounding."""

FAILURES = (ManifoldError, np.linalg.LinAlgError)
"""Errors that end a measurement at one point, with a reason."""

POINT_QUANTITIES = ("step_length", "turning", "from_start", "deviation", "progress", "edge_distance", "curvature")
"""The measured quantities at a point in a metric."""


@dataclass(frozen=True)
class Geodesic:
    """The geodesic between two points.

    Attributes
    ----------
    start, end
        The points at its ends.
    velocity
        V at the start, with exp(V) = end; None without a geodesic.
    length
        The distance; NaN without a geodesic.
    reason
        Why no geodesic was found.
    """

    manifold: WeightManifold
    start: Array
    end: Array
    velocity: Array | None
    length: float
    reason: str = ""

    @classmethod
    def between(cls, manifold: WeightManifold, start: Array, end: Array) -> "Geodesic":
        """Find the geodesic. For a singular point or a failed logarithm the result has no velocity, but a reason."""
        if isinstance(manifold, Chords):
            return cls(manifold, start, end, None, nan, "geodesics of this metric have no closed form; steps are chords")
        try:
            velocity = manifold.log(start, end)
            return cls(manifold, start, end, velocity, manifold.norm(start, velocity))
        except FAILURES as error:
            return cls(manifold, start, end, None, nan, str(error))

    @cached_property
    def path(self) -> Callable[[float], Array]:
        """The point at a time t, if there is a velocity; raises the errors of the manifold's exponential map."""
        return self.manifold.geodesic(self.start, self.velocity)

    def point(self, time: float) -> Array | None:
        """Return W at 0 ≤ t ≤ 1; None if it does not exist: for the given `reason`, or beyond the edge."""
        if time in (0, 1):
            return self.manifold.weights(self.end if time else self.start)
        if self.velocity is None:
            return None
        try:
            return self.manifold.weights(self.path(time))
        except FAILURES:
            return None


class Tangents:
    """Tangent vectors of a manifold in the form with the cheapest inner products.

    For a pullback metric the form is coordinates, and on the monotone manifold the moving frame: the inner product is the
    Frobenius product, and logarithms have this form. For other metrics it is the vectors themselves.

    Parameters
    ----------
    manifold
        The metric. A copy is used, so each of several threads can measure with its own.
    """

    def __init__(self, manifold: WeightManifold) -> None:
        self.manifold = deepcopy(manifold)
        self.flat, self._framed = manifold.flat, manifold.frame_logarithm
        self.chords = isinstance(manifold, Chords)

    def log(self, point: Array, other: Array) -> Array:
        """Return the logarithm of another point."""
        if self.flat:
            return self.manifold.chart.difference(point, other)
        return self.manifold.frame_log(point, other) if self._framed else self.manifold.log(point, other)

    def logs(self, point: Array, other: Array) -> tuple[Array, Callable[[], Array]]:
        """Return the logarithm of another point, and a function that returns the logarithm back: the reversed geodesic."""
        if self._framed:
            ahead, back = self.manifold.frame_logs(point, other)
            return ahead, lambda: back
        log = self.log(point, other)
        return log, lambda: -log if self.flat else -self.manifold.parallel_transport(point, log, log)

    def of(self, point: Array, vector: Array) -> Array:
        """Return a tangent vector in this form."""
        if self.flat:
            return self.manifold.chart.differential(point, vector)
        return self.manifold.to_frame(point, vector) if self._framed else vector

    def inner(self, point: Array, a: Array, b: Array) -> float:
        """Return the inner product of two vectors in this form."""
        return inner(a, b) if self.flat or self._framed else float(self.manifold.inner_product(point, a, b))

    def norm(self, point: Array, a: Array) -> float:
        """Return the norm of a vector in this form."""
        return sqrt(max(self.inner(point, a, a), 0.0))

    def angle(self, point: Array, a: Array, b: Array) -> float:
        """Return the angle of two vectors in degrees, from the chord between unit vectors; NaN if one is zero."""
        norms = self.norm(point, a), self.norm(point, b)
        if not min(norms) > 0:
            return nan
        chord = self.norm(point, a / norms[0] - b / norms[1])
        return degrees(2 * asin(min(chord / 2, 1.0)))

    def curvature(self, point: Array, a: Array, b: Array) -> float:
        """Return the sectional curvature of the plane of two vectors; NaN if they span none or the metric has no curvature."""
        if self.flat:
            return 0.0
        norms = self.norm(point, a), self.norm(point, b)
        if not self.manifold.has_curvature or not min(norms) > 0:
            return nan
        # An orthonormal basis of the plane: for nearly parallel vectors, rounding would be divided by almost zero.
        first, second = a / norms[0], b / norms[1]
        second = second - self.inner(point, first, second) * first
        sine = self.norm(point, second)
        if not sine > STRAIGHT:
            return nan
        if self._framed:
            return float(self.manifold.frame_curvature(first, second / sine))
        return float(self.manifold.sectional_curvature(point, first, second / sine))


@dataclass
class PointMeasurement:
    """The measurements at a point: quantities by name, sentences about failures, and the logarithm of the next point."""

    values: dict[str, float] = field(default_factory=lambda: dict.fromkeys(POINT_QUANTITIES, nan))
    failures: list[str] = field(default_factory=list)
    ahead: Array | None = None


class PathMeter:
    """Measures a path in one metric, point by point.

    Parameters
    ----------
    manifold
        The metric.
    geodesic
        The geodesic between the ends of the path.
    """

    def __init__(self, manifold: WeightManifold, geodesic: Geodesic) -> None:
        self.tangents = Tangents(manifold)
        self._geodesic = geodesic
        # Manifolds cache their last two points: points along the path and the start would evict each other.
        self._from_start = Tangents(manifold)
        self._last: tuple[Array, Array, Callable[[], Array]] | None = (
            None  # two neighbours, and the logarithm of the first from the second
        )
        self._velocity = None if geodesic.velocity is None else self._from_start.of(geodesic.start, geodesic.velocity)
        self._own = replace(geodesic, manifold=self._from_start.manifold)

    def measure(self, before: Array | None, point: Array, after: Array | None, far: bool = True) -> PointMeasurement:
        """Return the measurements at W, between its regular neighbours.

        Parameters
        ----------
        before, point, after
            The points; None beyond the ends.
        far
            Whether to measure quantities that need the logarithm from the start.
        """
        result, tangents = PointMeasurement(), self.tangents

        def attempt(measure: Callable[[], dict[str, float]]) -> None:
            try:
                result.values.update(measure())
            except FAILURES as error:
                result.failures.append(str(error))

        def found(log: Callable[[Array, Array], Array], other: Array | None) -> Array | None:
            try:
                return None if other is None else log(point, other)
            except FAILURES as error:
                result.failures.append(str(error))
                return None

        behind = found(self._behind, before)  # before `_ahead`: this order uses the caches of manifolds best
        result.ahead = ahead = found(self._ahead, after)
        if ahead is not None:
            result.values["step_length"] = tangents.norm(point, ahead)
        if ahead is not None and behind is not None:
            result.values["turning"] = tangents.angle(point, ahead, -behind)
            attempt(lambda: {"curvature": tangents.curvature(point, ahead, behind)})
        attempt(lambda: {"edge_distance": tangents.manifold.edge_distance(point)})
        if far:
            attempt(lambda: self._far(point))
        return result

    def _behind(self, point: Array, before: Array) -> Array:
        """Return the logarithm of the previous point, which is known if the step was measured from there."""
        if self._last is not None and np.array_equal(before, self._last[0]) and np.array_equal(point, self._last[1]):
            return self._last[2]()
        return self.tangents.log(point, before)

    def _ahead(self, point: Array, after: Array) -> Array:
        """Return the logarithm of the next point, and keep the reverse logarithm."""
        self._last = None
        log, back = self.tangents.logs(point, after)
        self._last = None if self.tangents.chords else (point, after, back)
        return log

    def _far(self, point: Array) -> dict[str, float]:
        """Return the distance from the start, and the distance from the nearest point of the geodesic."""
        geodesic, tangents, start = self._geodesic, self._from_start, self._geodesic.start
        vector = tangents.log(start, point)
        values = {"from_start": tangents.norm(start, vector)}
        if geodesic.velocity is None or self._velocity is None or not geodesic.length > 0:
            return values
        time = min(max(tangents.inner(start, vector, self._velocity) / geodesic.length**2, 0.0), 1.0)
        values["progress"] = time
        if tangents.flat:  # exact, even if the geodesic crosses the edge in between
            values["deviation"] = tangents.norm(start, vector - time * self._velocity)
        else:
            values["deviation"] = tangents.manifold.dist(point, self._own.path(time))
        return values


def why_singular(manifold: WeightManifold, point: Array) -> str:
    """Return why a point is singular in a metric, or an empty string if it is not."""
    try:
        manifold.norm(point, point)
    except FAILURES as error:
        return str(error)
    return "" if np.isfinite(point).all() else "it holds NaN or infinity"
