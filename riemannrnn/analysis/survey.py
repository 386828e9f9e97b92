"""The walk along a path that measures it in several metrics at once, shared among the cores."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from threading import Event, Lock
from typing import final

import numpy as np
import xarray as xr

from manifolds import Array, PullbackManifold, Resolvent, WeightManifold
from riemannrnn.analysis.path_geometry import (
    FAILURES,
    POINT_QUANTITIES,
    Geodesic,
    PathMeter,
    why_singular,
)
from riemannrnn.analysis.path_metrics import Chords, lifted_vector
from riemannrnn.analysis.singularity import SmallestSingularValue
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.counts import Evaluations
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.progress import Progress, ignore
from riemannrnn.rules.paper import delta_w3, delta_w4
from riemannrnn.runtime import workers

RULES = ("dW1", "dW2", "dW3", "dW4")
"""The rules with directions that are compared with the actual steps."""

SHOOTING_POINTS, FAR_POINTS = 64, 12
"""If logarithms take seconds: numbers of points at which the path is measured, and at which its deviation is measured."""

MOST_SHARED = 600
"""Largest number of units for several threads; each of them holds some sixty matrices."""

CHUNKS = 8
"""Parts of the path that are shared among the cores; each part solves its first fixed points from f(x)."""


def evenly(count: int, most: int) -> Array:
    """Return at most this many of the indices 0 … count − 1, evenly spread, including both ends."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def unobserved(cost: FixedPointCost) -> FixedPointCost:
    """Return a cost for one thread with its own counts and without an observer: an analysis adds nothing to its record."""
    part = cost.take(np.arange(len(cost.batch)))
    part.evaluations, part.observer = Evaluations(), None
    return part


@final
class Survey:
    """Measures a path; `LearningPath.measure` describes the result.

    Parameters
    ----------
    points, steps
        The path.
    metrics, lifted, geodesics
        The metrics by name, and for each the points of its manifold and the geodesic between the ends.
    cost
        The cost for losses, rules and singular values; None to leave them out.
    """

    def __init__(
        self,
        points: Sequence[Array],
        steps: Array,
        metrics: Mapping[str, WeightManifold],
        lifted: Mapping[str, Sequence[Array]],
        geodesics: Mapping[str, Geodesic],
        cost: FixedPointCost | None,
    ) -> None:
        self._points, self._steps, self._metrics, self._geodesics, self._cost = points, steps, metrics, geodesics, cost
        self._lifted = lifted
        count = len(points)
        shape = (len(metrics), count)
        self._values = {name: np.full(shape, nan) for name in POINT_QUANTITIES}
        self._angles = np.full((len(metrics), len(RULES), count), nan)
        self._losses, self._singular_values = np.full(count, nan), np.full(count, nan)
        self._notes = Notes()
        self._singular: dict[tuple[str, int], bool] = {}
        shot = {name: not manifold.closed_logarithm for name, manifold in metrics.items()}
        self._places = {name: evenly(count, SHOOTING_POINTS if shot[name] else count) for name in metrics}
        self._far = {name: {*evenly(len(self._places[name]), FAR_POINTS if shot[name] else count)} for name in metrics}
        for name, manifold in metrics.items():
            if isinstance(manifold, Chords):
                self._far[name] = set()
                self._notes.general(f"Under the {name} metric lengths are those of chords: geodesics have no closed form")
        for name, places in self._places.items():
            if len(places) < count:
                self._notes.general(
                    f"Under the {name} metric {len(places)} of {count} points are measured: logarithms take long"
                )

    def run(self, progress: Progress = ignore) -> None:
        """Measure every point; an interruption stops all threads."""
        done = iter(range(1, len(self._points) + 1))
        shared = all(manifold.thread_safe for manifold in self._metrics.values()) and len(self._points[0]) <= MOST_SHARED
        with workers(None if shared else 1) as (pool, stop):
            chunks = np.array_split(np.arange(len(self._points)), CHUNKS)
            for future in [
                pool.submit(self._walk, chunk, stop, lambda: progress(next(done) / len(self._points))) for chunk in chunks
            ]:
                future.result()

    def dataset(self) -> xr.Dataset:
        """Return the measurements."""
        point = ("metric", "point")
        data = xr.Dataset(
            {name: (point, values) for name, values in self._values.items()},
            coords={"metric": list(self._metrics), "step": ("point", self._steps)},
        )
        data["speed"] = (point, np.full(self._values["step_length"].shape, nan))
        for name in self._metrics:
            places, lengths = self._regular(name), self._values["step_length"][list(self._metrics).index(name)]
            data["speed"].loc[name][places[:-1]] = lengths[places[:-1]] / np.diff(self._steps[places])
        data["length"] = data["step_length"].sum("point")
        data["distance"] = ("metric", [self._geodesics[name].length for name in self._metrics])
        whole = xr.DataArray([self._is_whole(name) for name in self._metrics], dims="metric")
        data["efficiency"] = (data["distance"] / data["length"]).where(whole)
        data["total_turning"] = ("metric", [self._total_turning(row) for row in range(len(self._metrics))])
        if self._cost is not None:
            data = data.assign_coords(rule=list(RULES))
            data["angle"] = (("metric", "rule", "point"), self._angles)
            data["loss"], data["singular_value"] = ("point", self._losses), ("point", self._singular_values)
        data.attrs["notes"] = "\n".join(self._notes.sentences())
        return data

    def _walk(self, places: Array, stop: Event, report: Callable[[], None]) -> None:
        meters = {name: PathMeter(manifold, self._geodesics[name]) for name, manifold in self._metrics.items()}
        cost = None if self._cost is None else unobserved(self._cost)
        smallest = SmallestSingularValue()
        for place in map(int, places):
            if stop.is_set():
                return
            point = self._points[place]
            directions = [] if cost is None else self._evaluate(cost, smallest, place, point)
            for row, (name, meter) in enumerate(meters.items()):
                self._measure(row, name, meter, place, directions)
            report()

    def _measure(self, row: int, name: str, meter: PathMeter, place: int, directions: Sequence[Array]) -> None:
        index = np.searchsorted(self._places[name], place)
        chosen = self._places[name]
        if index == len(chosen) or chosen[index] != place or self._is_singular(name, meter, place):
            return
        own = self._lifted[name][place]
        before = self._next_regular(name, meter, chosen[:index][::-1])
        after = self._next_regular(name, meter, chosen[index + 1 :])
        result = meter.measure(before, own, after, int(index) in self._far[name])
        for quantity, value in result.values.items():
            self._values[quantity][row, place] = value
        for failure in result.failures:
            self._notes.add(name, int(self._steps[place]), failure)
        if result.ahead is not None:
            for number, direction in enumerate(directions):
                its = meter.tangents.of(own, lifted_vector(meter.tangents.manifold, own, direction))
                self._angles[row, number, place] = meter.tangents.angle(own, result.ahead, its)

    def _next_regular(self, name: str, meter: PathMeter, places: Iterable[int]) -> Array | None:
        return next((self._lifted[name][place] for place in places if not self._is_singular(name, meter, place)), None)

    def _is_singular(self, name: str, meter: PathMeter, place: int) -> bool:
        if (name, place) not in self._singular:
            reason = why_singular(meter.tangents.manifold, self._lifted[name][place])
            self._singular[name, place] = bool(reason)
            if reason:
                self._notes.add(name, int(self._steps[place]), reason)
        return self._singular[name, place]

    def _evaluate(self, cost: FixedPointCost, smallest: SmallestSingularValue, place: int, point: Array) -> list[Array]:
        """Measure loss and singular value, and return the directions of the rules."""
        try:
            evaluation = cost.at(point.astype(cost.model.dtype))
        except (FixedPointError, ValueError) as error:
            self._notes.add("", int(self._steps[place]), str(error))
            return []
        self._losses[place] = evaluation.cost
        found = evaluation.fixed_points
        self._singular_values[place] = smallest(point, np.where(found.converged[:, None], found.gains, nan))
        try:
            gradient = evaluation.gradient.astype(point.dtype)
            natural = PullbackManifold(Resolvent(), len(point)).euclidean_to_riemannian_gradient(point, gradient)
            weights, rates, gains, errors = (getattr(evaluation, each) for each in ("weights", "rates", "gains", "errors"))
            third, fourth = delta_w3(weights, rates, gains, errors), delta_w4(weights, rates, gains, errors)
        except (FixedPointError, *FAILURES) as error:
            self._notes.add("", int(self._steps[place]), str(error))
            return []
        return [-gradient, -natural, third.astype(point.dtype), fourth.astype(point.dtype)]

    def _total_turning(self, row: int) -> float:
        """Sum the turning angles; the half step at each end counts as turning like the path next to it."""
        lengths, angles = (self._values[name][row] for name in ("step_length", "turning"))
        lengths, angles = lengths[lengths > 0], angles[np.isfinite(angles)]
        if not len(angles) or len(lengths) < 2:
            return 0.0
        ends = angles[0] * lengths[0] / lengths[:2].sum() + angles[-1] * lengths[-1] / lengths[-2:].sum()
        return float(angles.sum() + ends)

    def _is_whole(self, name: str) -> bool:
        """Tell whether the length from every regular point to the next is known; otherwise the sum is too small."""
        lengths = self._values["step_length"][list(self._metrics).index(name), self._regular(name)[:-1]]
        return len(lengths) > 0 and bool(np.isfinite(lengths).all())

    def _regular(self, name: str) -> list[int]:
        """Return the points that are measured in a metric; a step goes from one of them to the next."""
        return [int(place) for place in self._places[name] if not self._singular.get((name, int(place)), False)]


class Notes:
    """Failures in few sentences: failures that differ only in their numbers are reported once, with their steps."""

    def __init__(self) -> None:
        self._general: list[str] = []
        self._failures: dict[tuple[str, str], dict[int, str]] = {}
        self._lock = Lock()

    def general(self, sentence: str) -> None:
        """Add a separate sentence."""
        self._general.append(f"{sentence}.")

    def add(self, metric: str, step: int, reason: str) -> None:
        """Add a failure at a step, in a metric, or with an empty name in all metrics."""
        kind = re.sub(r"-?\d[\d.e+-]*", "…", reason)
        with self._lock:
            self._failures.setdefault((metric, kind), {}).setdefault(step, reason.rstrip("."))

    def sentences(self) -> list[str]:
        """Return the sentences, ordered by their earliest step."""
        told = []
        for (metric, _), failures in self._failures.items():
            steps, first = sorted(failures), failures[min(failures)]
            under = f" under the {metric} metric" if metric else ""
            if len(steps) == 1:
                told.append((steps[0], f"Step {steps[0]}{under}: {first}."))
            else:
                span = f"Steps {steps[0]} to {steps[-1]}{under} ({len(steps)} points); at step {steps[0]}: {first}."
                told.append((steps[0], span))
        return [*self._general, *(sentence for _, sentence in sorted(told))]
