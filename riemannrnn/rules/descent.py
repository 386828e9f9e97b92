"""Gradient descent under a metric."""

from dataclasses import dataclass
from typing import Any, get_args

from manifolds import Parameterization, Point, Retraction
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.rules.rule import Memory, Rule


@dataclass(frozen=True)
class MetricRule(Rule):
    """Gradient descent under a metric: W ← exp_W(−η grad J), or W ← W − η grad J.

    Parameters
    ----------
    manifold
        The metric: a `WeightManifold`, `ScaledMonotoneManifold`, or any manifold of pymanopt, whose retraction then stands
        for geodesics.
    retraction
        "geodesic", or "additive" where points are weights.

    Raises
    ------
    ValueError
        For an unknown retraction, or additive steps where points are not weights.
    """

    manifold: Any
    retraction: Retraction = "geodesic"

    def __post_init__(self) -> None:
        if self.retraction not in get_args(Retraction):
            raise ValueError(f"retraction = {self.retraction!r} is unknown; choose one of {get_args(Retraction)}")
        if self.retraction == "additive" and self.manifold.point_layout != 1:
            raise ValueError(
                f"points of {self.manifold} are several arrays, which are not weights; choose retraction='geodesic'"
            )

    @property
    def name(self) -> str:
        return f"{type(self).__name__} on the {self.manifold}"

    @property
    def parameterization(self) -> Parameterization:  # type: ignore[override]  # a read-only attribute of the base
        return self.manifold if isinstance(self.manifold, Parameterization) else _Embedded(self.manifold)

    def gradient(self, point: Point, evaluation: Evaluation) -> Point:
        """Return grad J, the Riemannian gradient."""
        pulled = self.parameterization.pull_back(point, evaluation.gradient)
        return self.manifold.euclidean_to_riemannian_gradient(point, pulled)

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        return -learning_rate * self.gradient(point, evaluation), None

    def move(self, point: Point, velocity: Point) -> Point:
        if self.retraction == "additive":
            return point + velocity
        # Manifolds of pymanopt need not have an exponential map; all have a retraction.
        exponential = "exp" if isinstance(self.manifold, Parameterization) else "retraction"
        return getattr(self.manifold, exponential)(point, velocity)

    def zero(self, point: Point) -> Point:
        return self.manifold.zero_vector(point)

    def length(self, point: Point, velocity: Point) -> float:
        return float(self.manifold.norm(point, velocity))


class _Embedded(Parameterization):
    """The points of a manifold of pymanopt, which are the parameters of the connectivity."""

    def __init__(self, manifold: Any) -> None:
        self._manifold = manifold

    def velocity(self, point: Point, tangent_vector: Point) -> Point:
        return self._manifold.embedding(point, tangent_vector)
