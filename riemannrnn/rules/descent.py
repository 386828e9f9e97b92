"""Gradient descent under a metric."""

from dataclasses import dataclass
from typing import Any

from manifolds import Parameterization, Point
from manifolds.parameterization import parameterization_of
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.rules.rule import Memory, Rule


@dataclass(frozen=True)
class Descent(Rule):
    """Gradient descent under a metric: W ← exp_W(−η grad J), or W ← W − η grad J if the manifold's retraction is "additive".

    Parameters
    ----------
    manifold
        The metric and the retraction: a `WeightManifold`, a `ScaledMonotoneManifold`, or any manifold of pymanopt, with its
        retraction in place of geodesics.
    """

    manifold: Any

    @property
    def name(self) -> str:
        return f"{type(self).__name__} on the {self.manifold}"

    @property
    def parameterization(self) -> Parameterization:  # type: ignore[override]  # a read-only attribute of the base
        return parameterization_of(self.manifold)

    def gradient(self, point: Point, evaluation: Evaluation) -> Point:
        """Return grad J, the Riemannian gradient."""
        pulled = self.parameterization.pull_back(point, evaluation.gradient)
        return self.manifold.euclidean_to_riemannian_gradient(point, pulled)

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        return -learning_rate * self.gradient(point, evaluation), None

    def zero(self, point: Point) -> Point:
        return self.manifold.zero_vector(point)

    def length(self, point: Point, velocity: Point) -> float:
        return float(self.manifold.norm(point, velocity))
