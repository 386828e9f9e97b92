"""A path of learning: its length, straightness, distance to an edge, and comparison with the steps of each rule."""

from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from typing import final

import numpy as np
import xarray as xr

from manifolds import Array, WeightManifold
from manifolds.summary import Summarised
from riemannrnn.analysis.path_geometry import Geodesic, why_singular
from riemannrnn.analysis.path_metrics import DEFAULT_METRICS, make_metric, points_of
from riemannrnn.analysis.recorded import RecordedRun
from riemannrnn.analysis.survey import Survey, unobserved
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.task import Task
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.progress import Progress, ignore
from riemannrnn.runtime import one_blas_thread

TIMES = 41
"""Points along a geodesic or straight line at which the loss is evaluated."""


@final
class LearningPath(Summarised):
    """The recorded points of learning, and methods that measure the geometry of their path.

    Parameters
    ----------
    points
        W at each point, shape (n, n), at least two. A `RecordedRun` is read point by point and never held in memory as a whole.
    steps
        Number of steps of learning at each point. Default: the index of the point.
    cost
        The cost that was minimised, for losses, angles of rules and singular values. Default: these are not computed.
    name
        Name in tables and figures.
    task
        The network, the first W and the data, in float64, for metrics that depend on them. Default: None.

    Raises
    ------
    ValueError
        For fewer than two points, or steps that are not one for each point and increasing.

    Examples
    --------
    >>> import numpy as np
    >>> corner = [np.zeros((2, 2)), np.eye(2) / 4, np.array([[0.25, 0.25], [0.0, 0.25]])]
    >>> measured = LearningPath(corner).measure({"euclidean": make_metric("euclidean", 2)})
    >>> bool(measured["length"] > measured["distance"]), measured["turning"].values.round(6)
    (True, array([[nan, 90., nan]]))
    """

    def __init__(
        self,
        points: Sequence[Array],
        steps: Sequence[int] | Array | None = None,
        cost: FixedPointCost | None = None,
        name: str = "path",
        task: Task | None = None,
    ) -> None:
        self.points = points
        self.steps = np.arange(len(points)) if steps is None else np.asarray(steps)
        self.cost = None if cost is None else unobserved(cost)
        self.name = name
        self.task = task
        self._on: dict[WeightManifold, Sequence[Array]] = {}
        if len(points) < 2:
            raise ValueError(f"{len(points)} points do not make a path; pass at least two")
        if self.steps.shape != (len(points),) or not np.all(np.diff(self.steps) > 0):
            raise ValueError(f"the steps do not increase from point to point, one for each of {len(points)}")

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        steps = f"{int(self.steps[0])} to {int(self.steps[-1])}"
        return {"name": self.name, "points": len(self.points), "steps": steps, "units": self.n_units}

    @classmethod
    def of_run(cls, run: RecordedRun, cost: FixedPointCost | None = None) -> "LearningPath":
        """Return the path of a recorded run, with a cost."""
        return cls(run, run.steps, cost, run.name, None if cost is None else run.task(len(cost.batch)))

    @property
    def n_units(self) -> int:
        """Rows of W."""
        return int(self.points[0].shape[0])

    def metrics(self, names: Sequence[str] = DEFAULT_METRICS) -> dict[str, WeightManifold]:
        """Return metrics by name, for points of this size."""
        return {name: make_metric(name, self.points[0].shape, self.task) for name in names}

    def points_on(self, manifold: WeightManifold) -> Sequence[Array]:
        """Return the points of a manifold for the path. They are found once for each manifold."""
        if manifold not in self._on:
            with one_blas_thread():
                self._on[manifold] = points_of(manifold, self.points)
        return self._on[manifold]

    def geodesic(self, manifold: WeightManifold) -> Geodesic:
        """Return the geodesic from the first to the last point that is regular under the metric."""
        points = self.points_on(manifold)
        with one_blas_thread():
            orders = range(len(points)), range(len(points))[::-1]
            start, end = (_first_regular(manifold, points, order) for order in orders)
            if start is None or end is None:
                return Geodesic(manifold, points[0], points[-1], None, nan, "no point is regular under this metric")
            return Geodesic.between(manifold, points[start], points[end])

    def measure(
        self,
        metrics: Mapping[str, WeightManifold],
        progress: Progress = ignore,
        geodesics: Mapping[str, Geodesic] | None = None,
    ) -> xr.Dataset:
        """Measure the path under each metric.

        Parameters
        ----------
        metrics
            The metrics by name.
        progress
            Called with the completed share.
        geodesics
            The result of `geodesic` for each metric, if known.

        Returns
        -------
        Dataset
            Over `metric` and `point`: `step_length` to the next point, `speed` (per step of learning), `turning` (degrees),
            `from_start`, `deviation` from the geodesic between the ends, `progress` along it (0 to 1), `edge_distance`
            (infinite: no known edge) and sectional `curvature` of the plane in which the path bends. Over metric: `length`,
            `distance`, `efficiency` = distance / length, and `total_turning`. With a cost also, over point, `loss` and
            `singular_value`, the smallest of I − G W over stimuli, and over metric, `rule` and point the `angle` (degrees)
            between the step of the rule and the actual step, the logarithm of the next point. Undefined values are NaN. The
            attribute `notes` describes what failed, and at which points.

            If logarithms are found by shooting, at most `SHOOTING_POINTS` points are measured, and the deviation at
            `FAR_POINTS` of them.
        """
        if geodesics is None:
            geodesics = {name: self.geodesic(manifold) for name, manifold in metrics.items()}
        lifted = {name: self.points_on(manifold) for name, manifold in metrics.items()}
        survey = Survey(self.points, self.steps, metrics, lifted, geodesics, self.cost)
        survey.run(progress)
        return survey.dataset()

    def losses_between(self, geodesics: Mapping[str, Geodesic], progress: Progress = ignore) -> xr.Dataset:
        """Return the loss along geodesics and along the straight line in W.

        Returns
        -------
        Dataset
            `loss_between` over `line` (the names of the geodesics, and "straight line in W") and `time`, from 0 to 1; NaN if
            the line is not on the manifold, infinite if a stimulus has no fixed point.
        """
        start, end = self.points[0], self.points[-1]
        lines: dict[str, Callable[[float], Array | None]] = {name: each.point for name, each in geodesics.items()}
        lines["straight line in W"] = lambda time: start + time * (end - start)
        times, values = np.linspace(0, 1, TIMES), np.full((len(lines), TIMES), nan)
        with one_blas_thread():
            for row, line in enumerate(lines.values()):
                for column, time in enumerate(times):
                    values[row, column] = self.loss(line(float(time)))
                    progress((row * TIMES + column + 1) / values.size)
        coordinates = {"line": list(lines), "time": times}
        return xr.Dataset({"loss_between": (("line", "time"), values)}, coords=coordinates)

    def loss(self, weights: Array | None) -> float:
        """Return J(W) on the stimuli of the cost; NaN without a point or a cost, infinite without fixed points."""
        if weights is None or self.cost is None:
            return nan
        try:
            return self.cost(weights.astype(self.cost.model.dtype))
        except (FixedPointError, ValueError):
            return inf if np.isfinite(weights).all() else nan


def _first_regular(manifold: WeightManifold, points: Sequence[Array], order: Sequence[int]) -> int | None:
    return next((place for place in order if not why_singular(manifold, points[place])), None)
