"""The data of a run's report in one dataset, and its numbers with their meanings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import xarray as xr

from manifolds import Array, Chart, Identity, PullbackManifold, Resolvent, WeightManifold
from riemannrnn.analysis.landscape import PLANE_POINTS, Plane, landscape, path_on_plane, surroundings
from riemannrnn.analysis.learning_path import LearningPath
from riemannrnn.analysis.path_geometry import Geodesic, why_singular
from riemannrnn.analysis.verdict import RULE_LABELS
from riemannrnn.progress import Progress, ignore
from riemannrnn.runtime import one_blas_thread

SURVEY_SHARE, LINES_SHARE = 0.75, 0.1
"""Shares of the work of a report: the survey of the path, and the losses along lines."""


def gather(
    path: LearningPath, metrics: Mapping[str, WeightManifold], progress: Progress = ignore, plane_points: int = PLANE_POINTS
) -> xr.Dataset:
    """Measure a path, the losses between its ends and the landscape around it.

    Returns
    -------
    Dataset
        The results of `LearningPath.measure` and `losses_between`; of `landscape` over the plane of the path's principal
        components, in resolvent coordinates if this metric was requested; and on this plane `path_on_plane` and
        `lines_on_plane` over `axis`. Enough to draw every figure.
    """
    between = {name: path.geodesic(manifold) for name, manifold in metrics.items()}
    data = path.measure(metrics, lambda share: progress(SURVEY_SHARE * share), between)
    geodesics = {f"geodesic, {name}": each for name, each in between.items() if name != "euclidean"}
    lines = path.losses_between(geodesics, lambda share: progress(SURVEY_SHARE + LINES_SHARE * share))
    data = data.merge(lines)
    chart, coordinates = _chart(path, metrics)
    with one_blas_thread():
        plane = Plane.of_path(chart, path.points)
        projected = path_on_plane(plane, path.points)
        data["path_on_plane"] = (("point", "axis"), projected)
        data["lines_on_plane"] = (("line", "time", "axis"), _lines_on_plane(path, geodesics, plane, data["time"].values))
    if path.cost is not None:
        first, second = surroundings(projected, plane_points)
        rest = 1 - SURVEY_SHARE - LINES_SHARE
        data = data.merge(landscape(path.cost, plane, first, second, lambda share: progress(1 - rest + rest * share)))
    notes = [data.attrs["notes"], *(f"There is no {name}: {each.reason}" for name, each in geodesics.items() if each.reason)]
    data.attrs = {
        "title": path.name,
        "notes": "\n".join(note for note in notes if note),
        "chart": coordinates,
        "explained": plane.explained,
        "stimuli": 0 if path.cost is None else len(path.cost.batch),
        "units": path.n_units,
    }
    return data


def _chart(path: LearningPath, metrics: Mapping[str, WeightManifold]) -> tuple[Chart, str]:
    """Return the chart of the plane: the paper's chart, unless it was not requested or is singular at the end of learning."""
    resolvent = PullbackManifold(Resolvent(), path.n_units)
    if "resolvent" in metrics and not why_singular(resolvent, path.points[-1]):
        return Resolvent(), "A = (I − W)⁻¹"
    return Identity(), "W"


def _lines_on_plane(path: LearningPath, geodesics: Mapping[str, Geodesic], plane: Plane, times: Array) -> Array:
    start, end = path.points[0], path.points[-1]

    def straight(time: float) -> Array:
        return start + time * (end - start)

    lines = [*(each.point for each in geodesics.values()), straight]
    return np.array([[plane.project(line(float(time))) for time in times] for line in lines])


@dataclass(frozen=True)
class Number:
    """A number of the report: its name, its formatted value, and its meaning."""

    name: str
    value: str
    meaning: str


def numbers(data: xr.Dataset) -> list[Number]:
    """Return the numbers of a run, each with a sentence about its meaning."""
    found = [Number("points recorded", f"{data.sizes['point']}, steps {int(data['step'][0])} to {int(data['step'][-1])}",
                    "How finely the path is known; between recorded points it is taken to be a geodesic.")]  # fmt: skip
    for name in map(str, data["metric"].values):
        found += _metric_numbers(data.sel(metric=name), name)
    if "loss" in data:
        found += _cost_numbers(data)
    return found


def _metric_numbers(data: xr.Dataset, name: str) -> list[Number]:
    efficiency, turning = float(data["efficiency"]), _median(data["turning"])
    deviation, edge = float(data["deviation"].max()), float(data["edge_distance"].min())
    found = [
        Number(f"length, {name}", f"{float(data['length']):.4g}", "How far learning went, step by step, in this metric."),
        Number(f"distance, {name}", f"{float(data['distance']):.4g}", "How far the end is from the start, along the geodesic."),
        Number(
            f"efficiency, {name}",
            f"{efficiency:.1%}" if isfinite(efficiency) else "undefined",
            "Distance over length: 100 % is a geodesic; what is missing was spent on detours and noise."
            if isfinite(efficiency)
            else "The path did not move."
            if float(data["length"]) == 0
            else "A part of the path, or the geodesic, has no length in this metric: see the notes.",
        ),
    ]
    if isfinite(deviation):
        meaning = "How far the path strays from the geodesic between its ends."
        found.append(Number(f"largest deviation, {name}", f"{deviation:.4g}", meaning))
    if isfinite(turning):
        meaning = "The angle between one recorded step and the next: 0° goes straight on, 90° is what a random walk does."
        found.append(Number(f"median turning, {name}", f"{turning:.0f}°", meaning))
    if isfinite(edge):
        meaning = "The nearest that the path came to where W → ∞, which a geodesic can reach; a longer step may leave there."
        found.append(Number(f"distance to the edge, {name}", f"{edge:.3g}", meaning))
    curvature = data["curvature"]
    if float(abs(curvature).max()) > 0:
        meaning = (
            "Sectional curvature of the plane in which the path bends; where it is negative, neighbouring runs drift apart."
        )
        found.append(Number(f"median curvature, {name}", f"{_median(curvature):.3g}", meaning))
    if "angle" in data:
        medians = {rule: _median(data["angle"].sel(rule=rule)) for rule in map(str, data["rule"].values)}
        angles = {rule: median for rule, median in medians.items() if isfinite(median)}
    else:
        angles = {}
    if angles:
        best = min(angles, key=angles.__getitem__)
        told = ", ".join(f"{RULE_LABELS[rule]} {value:.0f}°" for rule, value in angles.items())
        meaning = (
            f"Median angle between the step of each rule on all stimuli and what was done; {RULE_LABELS[best]} is the nearest."
        )
        found.append(Number(f"angles to the rules, {name}", told, meaning))
    return found


def _cost_numbers(data: xr.Dataset) -> list[Number]:
    nearest = data["singular_value"].values
    place = int(np.nanargmin(nearest)) if np.isfinite(nearest).any() else 0
    return [
        Number(
            "loss", f"{float(data['loss'][0]):.3f} to {float(data['loss'][-1]):.3f} nat",
            f"At the first and the last point, mean over {data.attrs['stimuli']} training stimuli.",
        ),
        Number(
            "nearest singularity", f"σ_min(I − G W) = {float(nearest[place]):.3g} at step {int(data['step'][place])}",
            "The smallest over stimuli and points: the gradient of ΔW1 grows as its inverse, and at 0 a fixed point is lost.",
        ),
    ]  # fmt: skip


def _median(values: xr.DataArray) -> float:
    finite = values.values[np.isfinite(values.values)]
    return float(np.median(finite)) if finite.size else float("nan")


def runs_table(reports: Sequence[xr.Dataset]) -> list[dict[str, object]]:
    """Return a row for each run and metric: length, distance, efficiency, and the smallest distance from a singularity.

    Parameters
    ----------
    reports
        The result of `gather` for each run, or the contents of its data.nc.
    """
    rows: list[dict[str, object]] = []
    for data in reports:
        for name in map(str, data["metric"].values):
            chosen = data.sel(metric=name)
            row: dict[str, object] = {"run": data.attrs["title"], "metric": name}
            row |= {each: float(chosen[each]) for each in ("length", "distance", "efficiency")}
            row |= {
                "largest_deviation": float(chosen["deviation"].max()),
                "median_turning": _median(chosen["turning"]),
                "edge_distance": float(chosen["edge_distance"].min()),
            }
            if "loss" in data:
                row |= {"last_loss": float(data["loss"][-1]), "smallest_singular_value": float(data["singular_value"].min())}
            rows.append(row)
    return rows
