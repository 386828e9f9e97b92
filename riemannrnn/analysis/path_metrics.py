"""The metrics for measuring a path, by the names of the manifolds in `compare` and `train`."""

from collections.abc import Sequence
from typing import final

from manifolds import (
    Array,
    Identity,
    NoGeodesicError,
    PullbackManifold,
    WeightManifold,
)
from riemannrnn.analysis.scaled import LiftedScaledMonotone
from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import CATALOGUE, GROWTH

METRIC_NAMES = tuple(CATALOGUE)
"""The names of all metrics."""

DEFAULT_METRICS = ("euclidean", "resolvent")
"""The metrics for a run without a manifold: those of ΔW1 and of the paper."""

WITHOUT_LOGARITHM = ("response", "aggregated", "sparse", "hollow")
"""In these, steps are measured along chords: their geodesics have no closed form, and integration takes too long."""


@final
class Chords(WeightManifold):
    """A manifold with steps measured along chords: log_W(W′) is the tangent vector W′ − W, and geodesics do not exist.

    Parameters
    ----------
    manifold
        The manifold that provides the inner product.
    """

    def __init__(self, manifold: WeightManifold) -> None:
        super().__init__(f"{manifold}, along chords", manifold.shape)
        self.manifold = manifold

    def inner_product(self, point: Array, tangent_vector_a: Array, tangent_vector_b: Array) -> float:
        """Return the inner product of the manifold."""
        return float(self.manifold.inner_product(point, tangent_vector_a, tangent_vector_b))

    def log(self, point_a: Array, point_b: Array) -> Array:
        """Return W′ − W."""
        return point_b - point_a

    def exp(self, point: Array, tangent_vector: Array) -> Array:
        """Raise an error: geodesics do not exist."""
        raise NoGeodesicError("a geodesic was requested", "only chords are measured here", "Choose another metric")

    def parallel_transport(self, point: Array, tangent_vector: Array, carried: Array) -> Array:
        return carried

    def edge_distance(self, point: Array) -> float:
        return self.manifold.edge_distance(point)


def make_metric(name: str, n: int | tuple[int, ...], task: Task | None = None) -> WeightManifold:
    """Return the named metric for weights of n units, or on kernels of a convolution.

    Parameters
    ----------
    name
        The name of a manifold, as for `train`.
    n
        Number of units, or the shape of a point: kernels have shape (C, C, k, l).
    task
        The network, the first W of the path and the data, in float64, for the metrics that depend on them.

    Raises
    ------
    ValueError
        For an unknown name, a manifold with points that are not weights, a metric of matrices for kernels, or a metric that
        depends on a task if there is none.
    """
    if isinstance(n, tuple) and len(n) > 2:
        if name != "euclidean":
            raise ValueError(
                f"metric {name!r} measures matrices, and this path holds kernels of a convolution; choose 'euclidean'"
            )
        return PullbackManifold(Identity(), n)
    n = n[0] if isinstance(n, tuple) else n
    if name == "scaled-monotone":
        return LiftedScaledMonotone(n, GROWTH)
    if name not in METRIC_NAMES:
        raise ValueError(f"metric {name!r} is unknown; choose one of {', '.join(METRIC_NAMES)}")
    make = CATALOGUE[name].make
    if make is not None:
        return make(n, "geodesic")
    if name == "low-rank":
        raise ValueError(
            "metric 'low-rank' measures factors of W, and a recorded path holds W itself; its metric is inherited from the "
            "Euclidean one: choose 'euclidean'"
        )
    if task is None:
        raise ValueError(f"metric {name!r} is made for a task; pass the path of a run with its task, LearningPath.of_run(run)")
    manifold: WeightManifold = CATALOGUE[name].start(task, CATALOGUE[name].retractions[0]).manifold
    return Chords(manifold) if name in WITHOUT_LOGARITHM else manifold


def points_of(manifold: WeightManifold, weights: Sequence[Array]) -> Sequence[Array]:
    """Return the points of a manifold for a path of W; on most manifolds they are W."""
    return manifold.lifted(weights) if isinstance(manifold, LiftedScaledMonotone) else weights


def lifted_vector(manifold: WeightManifold, point: Array, change: Array) -> Array:
    """Return the tangent vector at a point for a change of W; on most manifolds that is the change."""
    return manifold.lift(point, change) if isinstance(manifold, LiftedScaledMonotone) else change
