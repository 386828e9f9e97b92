"""The loss over a plane in the coordinates of a chart: through three points, or along the principal components of a path."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from threading import Event
from typing import final

import numpy as np
import xarray as xr

from manifolds import Array, Chart
from manifolds.arrays import frobenius_norm, inner
from riemannrnn.analysis.path_geometry import FAILURES
from riemannrnn.analysis.survey import evenly, unobserved
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.equilibrium.arnoldi import plain
from riemannrnn.progress import Progress, ignore
from riemannrnn.runtime import workers

PLANE_POINTS, MARGIN, LEAST_ASPECT = 21, 0.25, 0.4
"""Points along each side; the margin of a plane around the path; and its smallest height, relative to the path's extent."""

STABILITY_STIMULI = 32
"""Stimuli that go first at each point of a plane. Their stability is estimated."""

PLANE_TOLERANCE = 1e-6
"""Largest residual of fixed points on a plane. A cost that asks for less accuracy keeps its own tolerance."""

STACK = 2**25
"""Most numbers for principal components, in float32; a longer path is thinned."""


def weights_at(chart: Chart, coordinates: Array) -> Array:
    """Return φ⁻¹ of coordinates; NaN if no point has these coordinates."""
    try:
        return chart.inverse(coordinates)
    except np.linalg.LinAlgError:
        return np.full_like(coordinates, nan)


@final
@dataclass(frozen=True)
class Plane:
    """The plane origin + u first + v second in the coordinates φ(W) of a chart, first and second orthonormal.

    Attributes
    ----------
    chart
        φ.
    origin, first, second
        Shape (n, n).
    explained
        The plane's share of the squared distances from the origin; NaN for a plane through three points.
    """

    chart: Chart
    origin: Array
    first: Array
    second: Array
    explained: float = nan

    @classmethod
    def through(cls, chart: Chart, points: Sequence[Array]) -> "Plane":
        """Return the plane through three points; the first is its origin, and the second is on its first axis.

        Raises
        ------
        ValueError
            For three points on a line.
        """
        origin, *others = (chart.value(point) for point in points)
        first, second = (each - origin for each in others)
        length = frobenius_norm(first)
        first = first / length if length > 0 else first
        across = second - inner(first, second) * first
        if not (length > 0 and frobenius_norm(across) > 1e-9 * frobenius_norm(second)):
            raise ValueError(
                "the three points lie on a line in the coordinates of the chart, so they do not determine a plane; move one"
            )
        return cls(chart, origin, first, across / frobenius_norm(across))

    @classmethod
    def of_path(cls, chart: Chart, points: Sequence[Array]) -> "Plane":
        """Return the plane of the first two principal components of the differences from the last point, through this point.

        Points without coordinates are left out (for the choice see Li, Xu, Taylor, Studer & Goldstein, NeurIPS 2018, section
        7).
        """
        origin = chart.value(points[-1])
        rows = []
        for place in evenly(len(points), max(3, STACK // origin.size)):
            try:
                rows.append((chart.value(points[place]) - origin).astype(np.float32).reshape(-1))
            except FAILURES:
                continue
        stack = np.stack([*rows, np.zeros_like(rows[0])])  # at least two rows
        values, vectors = np.linalg.eigh((stack @ stack.T).astype(np.float64))
        combined = vectors[:, [-1, -2]].T.astype(np.float32) @ stack
        axes, _ = np.linalg.qr(combined.T.astype(np.float64))  # orthonormal, even if the second vanishes
        axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))  # a single weight has only one direction
        first, second = (axis.reshape(origin.shape) for axis in axes.T)
        explained = values[-2:].sum() / values.sum() if values[-1] > 0 else nan
        return cls(chart, origin, first, second, float(explained))

    def project(self, point: Array | None) -> tuple[float, float]:
        """Return u and v of the nearest point of the plane; NaN for None or a point without coordinates."""
        if point is None:
            return nan, nan
        try:
            difference = self.chart.value(point) - self.origin
        except FAILURES:
            return nan, nan
        return inner(self.first, difference), inner(self.second, difference)

    def weights(self, u: float, v: float) -> Array:
        """Return W at u and v; NaN if it does not exist."""
        return weights_at(self.chart, self.origin + u * self.first + v * self.second)


def surroundings(projected: Array, side: int = PLANE_POINTS) -> tuple[Array, Array]:
    """Return the values of u and v of a grid that contains projected points, shape (points, 2), with a margin."""
    least, most = np.nanmin(projected, axis=0), np.nanmax(projected, axis=0)
    centre, half = (least + most) / 2, (most - least) / 2
    half = (1 + 2 * MARGIN) * np.maximum(half, LEAST_ASPECT * half.max())
    half = np.where(half > 0, half, 1.0)
    u, v = (np.linspace(c - h, c + h, side) for c, h in zip(centre, half, strict=True))
    return u, v


def landscape(cost: FixedPointCost, plane: Plane, first: Array, second: Array, progress: Progress = ignore) -> xr.Dataset:
    """Evaluate the loss over a grid of a plane, with rows shared among the cores.

    Parameters
    ----------
    cost, plane
        The cost and the plane.
    first, second
        The values of u and v.

    Returns
    -------
    Dataset
        Over `first` and `second`: `plane_cost`, from fixed points of a residual up to `PLANE_TOLERANCE`, infinite where a
        stimulus has no fixed point, NaN where W does not exist; `abscissa`, an estimate (Arnoldi) of the largest real part
        of −I + G W over the first `STABILITY_STIMULI` stimuli, stable below 0; `sign` of det(I − W), which changes where
        I − W is singular and, in resolvent coordinates, at the edge W → ∞.
    """
    done = iter(range(1, len(first) + 1))

    def row(u: float, stop: Event) -> Array:
        values, whole = [], unobserved(cost)
        whole.options = replace(whole.options, tolerance=max(PLANE_TOLERANCE, cost.tolerance))
        few = whole.take(np.arange(min(STABILITY_STIMULI, len(whole.batch))))
        for v in second:
            if stop.is_set():
                break
            values.append(_at(few, whole, plane.weights(u, v)))
        progress(next(done) / len(first))
        return np.array(values)

    with workers() as (pool, stop):
        rows = np.array([future.result() for future in [pool.submit(row, float(u), stop) for u in first]])
    names = ("plane_cost", "abscissa", "sign")
    data = xr.Dataset({name: (("first", "second"), rows[:, :, place]) for place, name in enumerate(names)})
    return data.assign_coords(first=first, second=second)


def _at(few: FixedPointCost, whole: FixedPointCost, weights: Array) -> tuple[float, float, float]:
    """Return cost, abscissa and sign at W. The whole batch is solved unless some of its first stimuli decide the cost."""
    if not np.isfinite(weights).all():
        return nan, nan, nan
    sign = float(np.linalg.slogdet(np.eye(len(weights)) - weights)[0])
    weights, abscissa = weights.astype(whole.model.dtype), nan
    try:
        sample = few.at(weights)
        abscissa = _abscissa(sample)
        lost = sample.cost == inf and whole.options.on_failure != "mask"
        return inf if lost else whole(weights), abscissa, sign
    except (FixedPointError, ValueError):
        return inf, abscissa, sign


def _abscissa(evaluation: Evaluation) -> float:
    """Return an estimate of the largest spectral abscissa of −I + G W; NaN where no stimulus has a fixed point."""
    fixed_points = evaluation.fixed_points
    gains = fixed_points.gains[fixed_points.converged]
    if not len(gains):
        return nan
    estimate, _, _ = plain(lambda vectors: gains * (vectors @ evaluation.weights.T), gains)
    return float(estimate.max()) - 1


def path_on_plane(plane: Plane, points: Sequence[Array]) -> Array:
    """Return the projections of points, shape (points, 2)."""
    return np.array([plane.project(points[place]) for place in range(len(points))])
