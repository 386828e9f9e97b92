"""One step of learning: the rule, the decay, the longest step and the guard, in this order."""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from manifolds import Point
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.rules.rule import Memory, Rule
from riemannrnn.training.guard import StabilityGuard, Step
from riemannrnn.training.options import TrainingOptions


class Taken(NamedTuple):
    """A step that was taken: the step, the length that the rule requested, and the memory at its start."""

    step: Step
    length: float
    memory: Memory


@dataclass(frozen=True)
class Last:
    """The previous step: its start, its tangent vector, and the memory at its start."""

    point: Point
    velocity: Point
    memory: Memory


@dataclass(frozen=True)
class Stepper:
    """Takes steps by a rule.

    Parameters
    ----------
    rule
        The rule.
    reference
        The point that the decay pulls towards.
    guard
        Shortens steps; may be None.
    options
        The longest step and the decay.
    """

    rule: Rule
    reference: Point
    guard: StabilityGuard | None
    options: TrainingOptions

    def take(self, part: FixedPointCost, evaluation: Evaluation, point: Point, memory: Memory, rate: float) -> Taken:
        """Take a step from a point.

        Parameters
        ----------
        part, evaluation
            The cost of the batch, and its value at the point.
        point, memory
            The point, and the memory of the rule.
        rate
            η.
        """
        velocity, memory = self.rule.velocity(point, evaluation, rate, memory)
        decay, longest = self.options.decay, self.options.longest_step
        if decay:
            velocity = velocity + rate * decay * self.rule.manifold.log(point, self.reference)  # type: ignore[attr-defined]
        if longest is not None and longest < inf:
            velocity = self.rule.shortened(point, velocity, longest)
        length = self.rule.length(point, velocity)
        if self.guard is None:
            return Taken(Step(self.rule.move(point, velocity), velocity), length, memory)
        return Taken(self.guard.accept(self.rule, part, evaluation, point, velocity), length, memory)
