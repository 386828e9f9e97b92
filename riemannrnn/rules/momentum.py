"""Momentum on a manifold."""

from dataclasses import dataclass
from typing import final

from manifolds import Point
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.rule import Memory


@final
@dataclass(frozen=True)
class Momentum(Descent):
    """Momentum on a manifold: V ← β P(V) − η grad J, W ← exp_W(V), with P the parallel transport along the previous step.

    For a straight step, and on manifolds without parallel transport, P is the manifold's vector transport. On a
    `MetricManifold` parallel transport is integrated numerically and takes much longer than a step.

    Parameters
    ----------
    manifold
        As for `Descent`.
    momentum
        β, in [0, 1).

    Raises
    ------
    ValueError
        For a momentum outside this range.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum = {self.momentum} is not in [0, 1); 0.9 is usual")
        object.__setattr__(self, "momentum", float(self.momentum))  # a NumPy scalar would widen float32

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        descent = -learning_rate * self.gradient(point, evaluation)
        if memory is None:
            return descent, None
        return descent + self.momentum * self.manifold.to_tangent_space(point, memory), None

    def carry(self, point: Point, velocity: Point, memory: Memory) -> Memory:
        return self.parameterization.carried(point, velocity, velocity)
