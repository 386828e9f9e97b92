"""What a learning rule is: where to go from a point, a path along it, and what is remembered on the way."""

from abc import ABC, abstractmethod
from typing import Any, TypeAlias, final

from array_api_compat import array_namespace

from manifolds import Parameterization, Point
from manifolds.arrays import frobenius_norm
from manifolds.summary import Summarised
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.runtime import held

Memory: TypeAlias = Any
"""What a rule carries from step to step; None before the first."""


class Rule(Summarised, ABC):
    """Where to go from a point: a tangent vector, a path along it, and what is remembered on the way.

    The three are apart so that a step can be shortened between them.

    Attributes
    ----------
    parameterization
        How the rule's points stand for weights.
    """

    parameterization = Parameterization()

    @abstractmethod
    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        """Return the tangent vector of the next step, and what to remember.

        Parameters
        ----------
        point
            Where the rule is, for most rules W.
        evaluation
            The cost at the weights of the point.
        learning_rate
            η.
        memory
            What `carry` returned after the step before; None at the first.
        """

    def move(self, point: Point, velocity: Point) -> Point:
        """Return the end of the path along a tangent vector."""
        return self.parameterization.moved(point, velocity)

    def carry(self, point: Point, velocity: Point, memory: Memory) -> Memory:
        """Return what is remembered, carried along the step that was taken."""
        return memory

    def zero(self, point: Point) -> Point:
        """Return the tangent vector of no step."""
        return array_namespace(point).zeros_like(point)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return type(self).__name__

    @property
    def options(self) -> str:
        """The numbers and names that it was made with, but for its manifold, which its name tells."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, int | float | str | tuple)}
        return ", ".join(f"{name} = {value}" for name, value in plain.items())

    def length(self, point: Point, velocity: Point) -> float:
        """Return the length of a step in the metric of the rule; by default the Frobenius norm."""
        return frobenius_norm(velocity)

    def shortened(self, point: Point, velocity: Point, longest: float) -> Point:
        """Return a step that is no longer than this; by default in the same direction."""
        length = self.length(point, velocity)
        return longest / length * velocity if length > longest else velocity

    @final
    def step(self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None) -> tuple[Point, Memory]:
        """Take a whole step: return the next point and what to remember."""
        with held(evaluation.batch):
            velocity, memory = self.velocity(point, evaluation, learning_rate, memory)
            return self.move(point, velocity), self.carry(point, velocity, memory)
