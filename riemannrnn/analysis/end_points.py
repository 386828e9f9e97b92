"""The end points of several runs: distances, the loss barriers along geodesics, and the mean."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import nan

import numpy as np
import xarray as xr

from manifolds import Array, ConvergenceError, WeightManifold
from riemannrnn.analysis.learning_path import TIMES, LearningPath
from riemannrnn.analysis.path_geometry import FAILURES, Geodesic
from riemannrnn.progress import Progress, ignore
from riemannrnn.runtime import one_blas_thread

SAME_VALLEY = 0.02
"""A barrier below this share of the loss at the start of learning counts as none."""

MOST_MEAN_STEPS = 50
"""Most steps to the mean; a flat metric takes one."""


def between_ends(
    paths: Sequence[LearningPath], metrics: Mapping[str, WeightManifold], progress: Progress = ignore
) -> xr.Dataset:
    """Connect the end points of runs by geodesics, and evaluate the loss along them with the cost of the first run.

    Parameters
    ----------
    paths
        At least two, of networks of one size.
    metrics
        The metrics by name.
    progress
        Called with the completed share.

    Returns
    -------
    Dataset
        Over metric, `run` and `other` run: `distance` between the ends; `barrier`, the height of the loss along the geodesic
        above the line between the losses of its ends (Frankle and others, ICML 2020; infinite if fixed points are lost, NaN if
        the geodesic leaves the manifold); over `time` also, `loss_between`. Over metric, `mean_loss` at the mean of the ends
        and `mean_distance` of the ends from it (root mean square). The attribute `notes` describes what failed.

    Raises
    ------
    ValueError
        For fewer than two runs, or networks of different sizes.
    """
    if len(paths) < 2 or len({path.n_units for path in paths}) > 1:
        raise ValueError("end points are compared between two runs or more, of networks of one size")
    judge, notes = paths[0], []
    times, shape = np.linspace(0, 1, TIMES), (len(metrics), len(paths), len(paths))
    distance, curves = np.zeros(shape), np.full((*shape, TIMES), nan)
    mean_loss, mean_distance = np.full(len(metrics), nan), np.full(len(metrics), nan)
    pairs = list(combinations(range(len(paths)), 2))
    with one_blas_thread():
        for row, (name, manifold) in enumerate(metrics.items()):
            ends = [path.points_on(manifold)[-1] for path in paths]
            for number, (a, b) in enumerate(pairs):
                geodesic = Geodesic.between(manifold, ends[a], ends[b])
                if geodesic.reason:
                    notes.append(f"{paths[a].name} to {paths[b].name} under the {name} metric: {geodesic.reason}")
                distance[row, a, b] = distance[row, b, a] = geodesic.length
                curves[row, a, b] = [judge.loss(geodesic.point(float(time))) for time in times]
                curves[row, b, a] = curves[row, a, b, ::-1]
                progress((row * len(pairs) + number + 1) / (len(metrics) * len(pairs)))
            try:
                mean = geodesic_mean(manifold, ends)
                mean_loss[row] = judge.loss(manifold.weights(mean))
                mean_distance[row] = np.sqrt(np.mean([manifold.dist(mean, end) ** 2 for end in ends]))
            except FAILURES as error:
                notes.append(f"The mean under the {name} metric: {error}")
    names, between = [path.name for path in paths], ("metric", "run", "other")
    values = {
        "distance": (between, distance),
        "barrier": (between, barriers(curves)),
        "loss_between": ((*between, "time"), curves),
        "mean_loss": ("metric", mean_loss),
        "mean_distance": ("metric", mean_distance),
    }
    coordinates = {"metric": list(metrics), "run": names, "other": names, "time": times}
    return xr.Dataset(values, coordinates, {"notes": "\n".join(notes)})


def barriers(curves: Array) -> Array:
    """Return max over t of J(t) − ((1 − t) J(0) + t J(1)) for curves of shape (…, times)."""
    times = np.linspace(0, 1, curves.shape[-1])
    with np.errstate(invalid="ignore"):
        rise = curves - ((1 - times) * curves[..., :1] + times * curves[..., -1:])
    return rise.max(axis=-1)


def geodesic_mean(manifold: WeightManifold, points: Sequence[Array]) -> Array:
    """Return the point with the smallest sum of squared distances to the points, by W ← exp_W(mean of log_W).

    Raises
    ------
    ManifoldError
        If a logarithm fails, or the iteration does not converge.

    References
    ----------
    Karcher, Communications on Pure and Applied Mathematics 30, 1977.
    """
    mean, scale = points[0], manifold.typical_dist
    for _ in range(MOST_MEAN_STEPS):
        step = sum(manifold.log(mean, point) for point in points) / len(points)
        length = manifold.norm(mean, step)
        mean = manifold.exp(mean, step)
        if length <= 1e-10 * scale:
            return mean
    raise ConvergenceError(
        f"a last step of {length:.1e} after {MOST_MEAN_STEPS} steps",
        "the iteration for the mean does not converge",
        "Use points nearer to each other",
    )
