"""A check whether ΔW3 or ΔW4 is a descent direction."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.rules.paper import delta_w3, delta_w4

PerStimulus: TypeAlias = Literal["dW3", "dW4"]


@dataclass(frozen=True)
class DescentCheck:
    """The result of `check_descent`: true if the rule descends; prints as a sentence.

    Attributes
    ----------
    rule
        "dW3" or "dW4".
    cosine
        Cosine of the angle between its step and −∇J, in the Euclidean inner product.
    """

    rule: str
    cosine: float

    def __bool__(self) -> bool:
        return self.cosine > 0

    def __str__(self) -> str:
        name = f"Δ{self.rule[1:]}"
        if self:
            return f"{name} is a descent direction of the batch loss here: its cosine with −∇J is {self.cosine:.3g}."
        return (
            f"{name} is not a descent direction of the batch loss here: its cosine with −∇J is {self.cosine:.3g}, so that a "
            "short step does not lower the loss. AggregatedMetric gives a direction that does."
        )


def check_descent(evaluation: Evaluation, rule: PerStimulus = "dW3") -> DescentCheck:
    """Return whether ΔW3 or ΔW4 descends at a point. Both sum natural gradients, each under the metric of its stimulus.

    Parameters
    ----------
    evaluation
        The cost of the batch at W; its gradient is counted.
    rule
        "dW3" or "dW4".

    Raises
    ------
    ValueError
        For another rule.
    FixedPointError
        If the gradient does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from riemannrnn import FixedPointCost, RateNetwork, SquaredError
    >>> net = RateNetwork(3, activation="identity")
    >>> cost = FixedPointCost(net, np.eye(3), SquaredError(np.ones((3, 3))))
    >>> print(check_descent(cost.at(np.zeros((3, 3)))))
    ΔW3 is a descent direction of the batch loss here: its cosine with −∇J is 1.
    """
    if rule not in get_args(PerStimulus):
        raise ValueError(f"rule = {rule!r} has no metric for each stimulus; choose one of {get_args(PerStimulus)}")
    delta = delta_w3 if rule == "dW3" else delta_w4
    step = delta(evaluation.weights, evaluation.rates, evaluation.gains, evaluation.errors)
    return DescentCheck(rule, descent_cosine(step, evaluation.gradient))


def descent_cosine(step: Array, gradient: Array) -> float:
    """Return the cosine between a step and −∇J in the Euclidean inner product; the step descends if it is positive.

    ΔW3 and ΔW4 sum natural gradients under a different metric for each stimulus; the sum need not be a descent direction.
    """
    xp = array_namespace(step, gradient)
    norm = xp.linalg.vector_norm
    return -float(xp.sum(step * gradient) / (norm(step) * norm(gradient)))
