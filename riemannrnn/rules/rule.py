"""The base class of learning rules: a direction from a point, a path along it, and a memory between steps."""

from abc import ABC, abstractmethod
from typing import Any, TypeAlias, final

from array_api_compat import array_namespace

from manifolds import Parameterization, Point
from manifolds.arrays import frobenius_norm
from manifolds.summary import Summarised
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.runtime import held

Memory: TypeAlias = Any
"""The state of a rule between steps; None before the first step."""


class Rule(Summarised, ABC):
    """A direction from a point (a tangent vector), a path along it, and a memory between steps.

    The three are separate methods, so the caller can shorten a step between them.

    Attributes
    ----------
    parameterization
        The map from the rule's points to weights.
    """

    parameterization = Parameterization()

    @abstractmethod
    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Point, Memory]:
        """Return the tangent vector of the next step, and the new memory.

        Parameters
        ----------
        point
            The current point of the rule; for most rules it is W.
        evaluation
            The cost at the weights of the point.
        learning_rate
            η.
        memory
            What `carry` returned after the previous step; None at the first step.
        """

    def move(self, point: Point, velocity: Point) -> Point:
        """Return the end of the path along a tangent vector."""
        return self.parameterization.moved(point, velocity)

    def carry(self, point: Point, velocity: Point, memory: Memory) -> Memory:
        """Return the memory, carried along the step that was taken."""
        return memory

    def zero(self, point: Point) -> Point:
        """Return the zero tangent vector."""
        return array_namespace(point).zeros_like(point)

    @property
    def name(self) -> str:
        """Name in messages."""
        return type(self).__name__

    @property
    def options(self) -> str:
        """The numbers and names that define the rule, except its manifold, which is part of its name."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, int | float | str | tuple)}
        return ", ".join(f"{name} = {value}" for name, value in plain.items())

    def length(self, point: Point, velocity: Point) -> float:
        """Return the length of a step in the metric of the rule. Default: the Frobenius norm."""
        return frobenius_norm(velocity)

    def shortened(self, point: Point, velocity: Point, longest: float) -> Point:
        """Return a step that is not longer than `longest`. Default: in the same direction."""
        length = self.length(point, velocity)
        return longest / length * velocity if length > longest else velocity

    @final
    def step(self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None) -> tuple[Point, Memory]:
        """Take a whole step: return the next point and the new memory."""
        with held(evaluation.batch):
            velocity, memory = self.velocity(point, evaluation, learning_rate, memory)
            return self.move(point, velocity), self.carry(point, velocity, memory)
