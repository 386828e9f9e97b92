"""Gradient descent under the Kronecker approximation of the response metric, for mini-batches."""

from dataclasses import dataclass
from typing import final

from array_api_compat import array_namespace

from manifolds import Array, Point
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.metrics.kronecker import ResponseStatistics
from riemannrnn.rules.rule import Memory, Rule


@final
@dataclass(frozen=True)
class KFAC(Rule):
    """Gradient descent under the Kronecker approximation of the response metric: W ← W − η V with L V C + λV = ∇J.

    In addition to the gradient, a step costs an inverse and two sets of eigenvectors of n × n matrices.

    Parameters
    ----------
    damping
        λ relative to the mean eigenvalue of L ⊗ C; its meaning does not depend on the scale of rates and gains.
    decay
        Largest weight of the past in the running averages of gains and rates: between 0 (no memory) and 1 (full memory).

    Raises
    ------
    ValueError
        For a damping that is not positive, or a decay that is not between 0 and 1.

    References
    ----------
    Martens and Grosse, ICML 2015, section 5 (running averages) and 6 (damping).
    """

    damping: float = 0.1
    decay: float = 0.95

    def __post_init__(self) -> None:
        if not (self.damping > 0 and 0 <= self.decay <= 1):
            raise ValueError(f"damping = {self.damping}, decay = {self.decay}; choose a positive one, and one between 0 and 1")
        for name in ("damping", "decay"):
            object.__setattr__(self, name, float(getattr(self, name)))  # a NumPy scalar would widen float32

    def direction(self, evaluation: Evaluation, memory: Memory = None) -> tuple[Array, Memory]:
        """Return −V and the statistics for the next step."""
        statistics = ResponseStatistics.of(evaluation)
        if memory is not None:
            statistics = ResponseStatistics(*memory).updated(statistics, self.decay)
        gradient = evaluation.gradient
        if not bool(array_namespace(gradient).any(gradient)):  # for example for silent stimuli, with factors that are also 0
            return gradient, statistics
        return -statistics.factors(evaluation.weights, self.damping).solve(gradient), statistics

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Array, Memory]:
        direction, memory = self.direction(evaluation, memory)
        return learning_rate * direction, memory
