"""Adam on a manifold."""

from dataclasses import dataclass
from typing import final

from array_api_compat import array_namespace

from manifolds import Point
from manifolds.points import arrays_of, vector_of
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.rule import Memory


@final
@dataclass(frozen=True)
class Adam(Descent):
    """Adam with its moments in a frame that moves with the point and makes the metric Euclidean: W ← exp_W(V).

    With Z the frame coordinates of grad J: m ← β₁ m + (1 − β₁) Z, v ← β₂ v + (1 − β₂) Z², and V has the coordinates
    −η m̂ / (√v̂ + ε), where m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ). On a flat manifold these are coordinates of the chart.

    Parameters
    ----------
    manifold
        A manifold with a frame; otherwise as for `Descent`.
    decays
        β₁ and β₂.
    epsilon
        ε, relative to gradients of the loss. Coordinates with smaller gradients learn more slowly.

    Raises
    ------
    ValueError
        For decays outside [0, 1), an epsilon that is not positive, or a manifold without a frame.

    References
    ----------
    Kingma and Ba, *Adam: a method for stochastic optimization*, ICLR 2015; Bécigneul and Ganea, *Riemannian adaptive
    optimization methods*, ICLR 2019.
    """

    decays: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        if not all(0 <= decay < 1 for decay in self.decays) or not self.epsilon > 0:
            raise ValueError(
                f"decays = {self.decays}, epsilon = {self.epsilon}: choose decays in [0, 1) and a positive epsilon"
            )
        if not self.parameterization.has_frame:
            raise ValueError(
                f"{self.manifold} has no frame in which moments of gradients keep their meaning from point to point; choose a "
                "pullback, invariant or monotone manifold, or another optimiser"
            )
        object.__setattr__(self, "decays", tuple(map(float, self.decays)))
        object.__setattr__(self, "epsilon", float(self.epsilon))

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        pulled = self.parameterization.pull_back(point, evaluation.gradient)
        coordinates = arrays_of(self.manifold.frame_gradient(point, pulled))
        count, means, squares = memory or (0, [0.0] * len(coordinates), [0.0] * len(coordinates))
        first, second = self.decays
        count += 1
        means = [first * mean + (1 - first) * z for mean, z in zip(means, coordinates, strict=True)]
        squares = [second * square + (1 - second) * z * z for square, z in zip(squares, coordinates, strict=True)]
        rate, root = learning_rate / (1 - first**count), (1 - second**count) ** 0.5
        steps = [
            -rate * mean / (array_namespace(mean).sqrt(square) / root + self.epsilon)
            for mean, square in zip(means, squares, strict=True)
        ]
        return self.manifold.from_frame(point, vector_of(steps)), (count, means, squares)

    def shortened(self, point: Point, velocity: Point, longest: float) -> Point:
        """Return the step with the part of each factor of a product shortened separately.

        The moments normalise each coordinate, so the length of a part depends only on its number of coordinates. A common limit
        would shorten small parts too much.
        """
        if self.parameterization.separate:
            return self.manifold.shortened(point, velocity, longest)
        return super().shortened(point, velocity, longest)
