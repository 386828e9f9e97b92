"""The cost of the linear network along random segments and over a random plane through the optimum, in W and in A.

In addition to the paper, the distances from the optimum in each metric are computed over the same planes.
"""

from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr
from numpy.random import Generator

from manifolds import Array, Chart, Identity, PullbackManifold, Resolvent, SingularPointError
from riemannrnn.analysis.landscape import weights_at
from riemannrnn.paper.linear_network import LinearTask
from riemannrnn.paper.reproduction import Claim, Reproduction, Row
from riemannrnn.progress import Progress, ignore

SEGMENTS, SEGMENT_POINTS = 5, 241
"""Number of random segments, and of points on each."""

PLANE_POINTS = 27
"""Points along each side of a plane; odd, so the optimum is one of them."""

EXTENT = 1.5
"""Segments and planes reach from −1.5 to 1.5 times a random matrix of spectral radius 1."""

COSTLIEST, NEAR_BOUNDARY = 20, 0.1
"""Number of points of the plane with the highest costs for which the spectral abscissa is computed, in 1/τ."""

COORDINATES: dict[str, Chart] = {"W": Identity(), "A": Resolvent()}
"""The coordinates in which a line is straight: the weights W, or A = (I − W)⁻¹."""

METRICS: dict[str, Chart] = {"euclidean": Identity(), "resolvent": Resolvent()}
"""The metrics of the measured distances."""

CURVED = 1e-6
"""A second difference below −1e-6 times the largest magnitude on its segment means not convex, despite rounding."""


def reproduce(
    progress: Progress = ignore,
    *,
    n_units: int = 200,
    n_samples: int = 100,
    segments: int = SEGMENTS,
    segment_points: int = SEGMENT_POINTS,
    plane_points: int = PLANE_POINTS,
) -> Reproduction:
    """Evaluate the cost around Ŵ, the weights that generated the targets.

    Returns
    -------
    Reproduction
        Over coordinates (W, A): `segment_cost` over segment and along; `plane_cost`, `abscissa` (largest real part of
        −I + W, stable below 0) and, for each metric, `distance` from Ŵ, over first and second. Infinite or NaN at singular
        points.
    """
    task = LinearTask.draw(n_units, n_samples)
    along, side = np.linspace(-EXTENT, EXTENT, segment_points), np.linspace(-EXTENT, EXTENT, plane_points)
    parts, total = [], len(COORDINATES) * (segments + plane_points)
    done = iter(range(1, total + 1))

    def report() -> None:
        progress(next(done) / total)

    for name, chart in COORDINATES.items():
        # The same directions in both coordinates, from another random stream than the task.
        directions = _directions(np.random.default_rng(0), segments + 2, n_units)
        origin = chart.value(task.optimal_weights)
        lines = [_costs(task, name, origin, along, each, report) for each in directions[:segments]]
        rows = [_plane_row(task, chart, name, origin + a * directions[-2], side, directions[-1], report) for a in side]
        parts.append(
            xr.Dataset({"segment_cost": (("segment", "along"), np.array(lines))})
            .merge(xr.concat(rows, "first"))
            .expand_dims(coordinates=[name])
        )
    data = xr.concat(parts, "coordinates").assign_coords(
        along=along, first=side, second=side, metric=list(METRICS), segment=np.arange(segments)
    )
    data.attrs = {
        "title": "The cost of the linear network around its optimum, in W and in A",
        "units": n_units,
        "samples": n_samples,
        "seed": "numpy.random.RandomState(2023) for the task, numpy.random.default_rng(0) for the directions",
    }
    return Reproduction("landscape", data, tuple(_claims(data)), tuple(_details(data)))


def _directions(generator: Generator, count: int, n: int) -> Array:
    return generator.standard_normal((count, n, n)) / np.sqrt(n)


def _costs(task: LinearTask, name: str, origin: Array, along: Array, direction: Array, report: Callable[[], None]) -> Array:
    points = origin + along[:, None, None] * direction
    report()
    return task.loss_of_weights(points) if name == "W" else task.loss_of_response(points)


def _plane_row(
    task: LinearTask, chart: Chart, name: str, origin: Array, side: Array, direction: Array, report: Callable[[], None]
) -> xr.Dataset:
    """Return one row of a plane: cost, spectral abscissa, and distances."""
    points = origin + side[:, None, None] * direction
    weights = np.array([weights_at(chart, point) for point in points])
    regular = np.isfinite(weights).all(axis=(1, 2))
    abscissa, distance = np.full(side.size, np.nan), np.full((len(METRICS), side.size), np.nan)
    abscissa[regular] = np.linalg.eigvals(weights[regular]).real.max(axis=1) - 1
    for number, metric in enumerate(METRICS.values()):
        manifold = PullbackManifold(metric, origin.shape[0])
        distance[number] = [_distance(manifold, task.optimal_weights, each) for each in weights]
    cost = _costs(task, name, origin, side, direction, report)
    values = {"plane_cost": ("second", cost), "abscissa": ("second", abscissa), "distance": (("metric", "second"), distance)}
    return xr.Dataset(values)


def _distance(manifold: PullbackManifold, origin: Array, weights: Array) -> float:
    try:
        return float(manifold.dist(origin, weights)) if np.isfinite(weights).all() else np.nan
    except SingularPointError:
        return np.inf


def convex(costs: Array) -> Array:
    """Tell whether costs at equally spaced points, shape (…, points), have no negative second difference."""
    curvature = np.diff(costs, 2)
    return np.all(np.isfinite(curvature) & (curvature > -CURVED * np.abs(curvature).max(axis=-1, keepdims=True)), axis=-1)


def _claims(data: xr.Dataset) -> Iterator[Claim]:
    count = data.sizes["segment"]
    good = {name: convex(data["segment_cost"].sel(coordinates=name).values) for name in COORDINATES}
    highest = {name: float((data["segment_cost"].sel(coordinates=name)).max()) for name in COORDINATES}
    yield Claim(
        "J is not convex in W",
        "no number recorded",
        f"{int(np.sum(~good['W']))} of {count} segments are not convex; the highest cost met on them is "
        f"{highest['W']:.1e}, in A {highest['A']:.1e}",
        not good["W"].any(),
    )
    yield Claim(
        "J is convex in A",
        "no number recorded",
        f"{int(np.sum(good['A']))} of {count} segments are convex",
        bool(good["A"].all()),
    )
    plane = data.sel(coordinates="W")
    costliest = np.argsort(-plane["plane_cost"].values, axis=None)[:COSTLIEST]
    near = int(np.sum(plane["abscissa"].values.ravel()[costliest] > -NEAR_BOUNDARY))
    yield Claim(
        "J is largest near and beyond the stability boundary",
        "no number recorded",
        f"{near} of the {costliest.size} costliest points of the plane in W have an abscissa above −{NEAR_BOUNDARY}",
        near == costliest.size,
    )
    yield from _distance_claim(data)


def _distance_claim(data: xr.Dataset) -> Iterator[Claim]:
    plane = data.sel(coordinates="W")
    inside = plane["abscissa"].values < 0
    from scipy.stats import spearmanr  # noqa: PLC0415  # half a second, for which every command would wait

    correlation = {}
    for metric in METRICS:
        distance, cost = plane["distance"].sel(metric=metric).values[inside], plane["plane_cost"].values[inside]
        correlation[metric] = float(spearmanr(distance, cost).statistic)
    yield Claim(
        "Distance in the metric of the reparameterisation tells the cost better than Euclidean distance (stimuli are white)",
        "not computed by the authors",
        "rank correlation of cost and distance from the optimum where stable: "
        + ", ".join(f"{metric} {value:.3f}" for metric, value in correlation.items()),
        correlation["resolvent"] > correlation["euclidean"],
    )


def _details(data: xr.Dataset) -> Iterator[Row]:
    for name in COORDINATES:
        plane = data.sel(coordinates=name)
        stable = plane["abscissa"] < 0
        farthest = plane["distance"].where(stable).max(("first", "second"))
        yield {
            "varied": name,
            "segments convex": f"{int(convex(plane['segment_cost'].values).sum())} of {data.sizes['segment']}",
            "highest cost on segments": f"{float(plane['segment_cost'].max()):.2e}",
            "stable share of the plane": f"{float(stable.mean()):.0%}",
            **{f"largest {name} distance where stable": f"{float(farthest.sel(metric=name)):.1f}" for name in METRICS},
        }
