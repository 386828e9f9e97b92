"""The geometry of one path under one metric: lengths, the geodesic between its ends, deviation from it, turning, curvature."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import asin, degrees, nan
from typing import final

import numpy as np

from manifolds import (
    Array,
    InvariantManifold,
    ManifoldError,
    MetricManifold,
    MonotoneManifold,
    PullbackManifold,
    SubspaceManifold,
    WeightManifold,
)

STRAIGHT = 1e-6
"""Two vectors whose angle has a smaller sine span no plane: its curvature would be rounding."""

FAILURES = (ManifoldError, np.linalg.LinAlgError)
"""What ends a measurement at one point with a reason."""

POINT_QUANTITIES = ("step_length", "turning", "from_start", "deviation", "progress", "edge_distance", "curvature")
"""What is measured at a point under a metric."""


def needs_shooting(manifold: WeightManifold) -> bool:
    """Tell whether logarithms are found by shooting, seconds each, and not in closed form."""
    inner = manifold.manifold if isinstance(manifold, SubspaceManifold) else manifold
    return isinstance(inner, MetricManifold | InvariantManifold)


@dataclass(frozen=True)
class Geodesic:
    """The geodesic between two points.

    Attributes
    ----------
    start, end
        W at its ends.
    velocity
        V at the start, with exp(V) = end; None where there is none.
    length
        The distance; NaN where there is none.
    reason
        Why there is none.
    """

    manifold: WeightManifold
    start: Array
    end: Array
    velocity: Array | None
    length: float
    reason: str = ""

    @classmethod
    def between(cls, manifold: WeightManifold, start: Array, end: Array) -> "Geodesic":
        """Find it; a point that is singular, or a logarithm that fails, makes one without velocity and with a reason."""
        try:
            velocity = manifold.log(start, end)
            return cls(manifold, start, end, velocity, manifold.norm(start, velocity))
        except FAILURES as error:
            return cls(manifold, start, end, None, nan, str(error))

    def point(self, time: float) -> Array | None:
        """Return the point at 0 ≤ t ≤ 1; None where the geodesic is not, having met the edge of the manifold or for its reason."""
        if time in (0, 1):
            return self.end if time else self.start
        if self.velocity is None:
            return None
        try:
            return self.manifold.exp(self.start, time * self.velocity)
        except FAILURES:
            return None


@final
@dataclass(frozen=True)
class Neighbourhood:
    """A point W with what the path does there: the logarithms of its neighbours.

    Attributes
    ----------
    ahead, behind
        log_W of the next and of the last regular point; None where there is none.
    """

    point: Array
    ahead: Array | None
    behind: Array | None


@dataclass
class PointMeasurement:
    """What was measured at a point: quantities by name, and sentences about those that failed."""

    values: dict[str, float] = field(default_factory=lambda: dict.fromkeys(POINT_QUANTITIES, nan))
    failures: list[str] = field(default_factory=list)


class PathMeter:
    """Measures a path under one metric, point by point.

    Parameters
    ----------
    manifold
        The metric; copies are used, so that several threads may measure, each with a meter of its own.
    geodesic
        Between the ends of the path.
    """

    def __init__(self, manifold: WeightManifold, geodesic: Geodesic) -> None:
        # Manifolds remember their last two points: those along the path and the start would drive out each other.
        self.manifold = deepcopy(manifold)
        self.geodesic = replace(geodesic, manifold=deepcopy(manifold))

    def measure(
        self, before: Array | None, point: Array, after: Array | None, far: bool = True
    ) -> tuple[PointMeasurement, Neighbourhood]:
        """Return what is measured at W, between its regular neighbours.

        Parameters
        ----------
        before, point, after
            The points; None past the ends.
        far
            Whether to measure what needs the logarithm from the start.
        """
        result = PointMeasurement()
        behind, ahead = (self._log(point, other, result) for other in (before, after))  # in the order that remembers most
        here = Neighbourhood(point, ahead, behind)
        values = result.values
        if ahead is not None:
            values["step_length"] = self.manifold.norm(point, ahead)
        if ahead is not None and behind is not None:
            values["turning"] = angle(self.manifold, point, ahead, -behind)
        for measure in (self._edge, self._curvature, *([self._from_geodesic] if far else [])):
            try:
                values.update(measure(here))
            except FAILURES as error:
                result.failures.append(str(error))
        return result, here

    def _log(self, point: Array, other: Array | None, result: PointMeasurement) -> Array | None:
        if other is None:
            return None
        try:
            return self.manifold.log(point, other)
        except FAILURES as error:
            result.failures.append(str(error))
            return None

    def _edge(self, here: Neighbourhood) -> dict[str, float]:
        return {"edge_distance": self.manifold.edge_distance(here.point)}

    def _curvature(self, here: Neighbourhood) -> dict[str, float]:
        if isinstance(self.manifold, PullbackManifold):
            return {"curvature": 0.0}
        norm, point = self.manifold.norm, here.point
        lengths = [0.0 if each is None else norm(point, each) for each in (here.ahead, here.behind)]
        if not isinstance(self.manifold, MetricManifold | InvariantManifold | MonotoneManifold) or not min(lengths) > 0:
            return {}
        # The plane in which the path bends, by an orthonormal basis: nearly parallel vectors would divide rounding by nothing.
        first, second = (each / length for each, length in zip((here.ahead, here.behind), lengths, strict=True))
        second = second - self.manifold.inner_product(point, first, second) * first
        sine = norm(point, second)
        return {"curvature": self.manifold.sectional_curvature(point, first, second / sine)} if sine > STRAIGHT else {}

    def _from_geodesic(self, here: Neighbourhood) -> dict[str, float]:
        """Distance from the start, and from the point of the geodesic whose logarithm is nearest to that of W."""
        geodesic, manifold = self.geodesic, self.geodesic.manifold
        vector = manifold.log(geodesic.start, here.point)
        values = {"from_start": manifold.norm(geodesic.start, vector)}
        if geodesic.velocity is None or not geodesic.length > 0:
            return values
        inner = manifold.inner_product(geodesic.start, vector, geodesic.velocity)
        time = min(max(inner / geodesic.length**2, 0.0), 1.0)
        values["progress"] = time
        if isinstance(manifold, PullbackManifold):  # exact, and there also where the geodesic meets the edge in between
            values["deviation"] = manifold.norm(geodesic.start, vector - time * geodesic.velocity)
        else:
            values["deviation"] = manifold.dist(here.point, manifold.exp(geodesic.start, time * geodesic.velocity))
        return values


def angle(manifold: WeightManifold, point: Array, vector_a: Array, vector_b: Array) -> float:
    """Return the angle of two tangent vectors in the metric, in degrees; NaN where one vanishes.

    From the chord between unit vectors, which tells small angles too.
    """
    norm_a, norm_b = manifold.norm(point, vector_a), manifold.norm(point, vector_b)
    if not (norm_a > 0 and norm_b > 0):
        return nan
    chord = manifold.norm(point, vector_a / norm_a - vector_b / norm_b)
    return degrees(2 * asin(min(chord / 2, 1.0)))


def why_singular(manifold: WeightManifold, point: Array) -> str:
    """Return why a point is singular under a metric, or nothing where it is not."""
    try:
        manifold.norm(point, point)
    except FAILURES as error:
        return str(error)
    return "" if np.isfinite(point).all() else "it holds NaN or infinity"
