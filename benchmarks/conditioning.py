"""Steps of descent to the optimum of a linear network against the condition of its stimuli, under three metrics."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from benchmarks.records import Row
from manifolds import Array, Identity, ManifoldError, PullbackManifold, Resolvent, WeightManifold
from riemannrnn import FixedPointCost, RateNetwork, SquaredError
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.metrics import response_metric
from riemannrnn.rules import Descent

CONDITIONS = (1, 10, 100, 1000)
UNITS, STIMULI, RADIUS, SEED = 10, 20, 0.5, 0
GOAL = 1e-6
"""Cost at the end, relative to the cost at the start; the optimum is zero."""

RATES = [2.0 ** (-power / 2) for power in range(-4, 24)]
"""The grid of learning rates, from the largest."""

MOST_STEPS = 50_000

METRICS: dict[str, Callable[[FixedPointCost], WeightManifold]] = {
    "Euclidean": lambda cost: PullbackManifold(Identity(), cost.model.n_units),
    "resolvent": lambda cost: PullbackManifold(Resolvent(), cost.model.n_units, "additive"),
    "response": response_metric,
}


@dataclass
class Regression:
    """Targets that a linear network can fit exactly, for stimuli with a second moment of a given condition number.

    Its eigenvalues are spaced evenly in their logarithms, with mean one.
    """

    condition: float
    start: Array = field(init=False)
    stimuli: Array = field(init=False)
    targets: Array = field(init=False)

    def __post_init__(self) -> None:
        generator = np.random.default_rng(SEED)
        start, optimum = RADIUS * generator.standard_normal((2, UNITS, UNITS)) / UNITS**0.5
        on_stimuli = np.linalg.qr(generator.standard_normal((STIMULI, UNITS)))[0]
        on_units = np.linalg.qr(generator.standard_normal((UNITS, UNITS)))[0]
        eigenvalues = np.logspace(0, -np.log10(self.condition), UNITS)
        self.start = start
        self.stimuli = on_stimuli * (STIMULI * eigenvalues / np.mean(eigenvalues)) ** 0.5 @ on_units.T
        self.targets = np.linalg.solve(np.eye(UNITS) - optimum, self.stimuli.T).T

    def costs(self, metric: str, rate: float) -> Iterator[float]:
        """Yield the cost before each step W ← W − η grad J, relative to the first."""
        cost = FixedPointCost(RateNetwork(UNITS, activation="identity"), self.stimuli, SquaredError(self.targets))
        rule, weights = Descent(METRICS[metric](cost)), self.start
        first = cost(weights)
        while True:
            yield cost(weights) / first
            weights, _ = rule.step(weights, cost.at(weights), rate)


def steps_to_goal(costs: Iterator[float]) -> int | None:
    """Return the number of steps to the goal; None if the cost does not fall at every step, or there are too many steps."""
    try:
        for step, (before, after) in enumerate(pairwise(costs), 1):
            if not after < before or step == MOST_STEPS:
                return None
            if after <= GOAL:
                return step
    except (FixedPointError, ManifoldError):  # at the end of the step the cost has no gradient
        pass
    return None


def descend(metric: str, condition: float) -> Row:
    """Return the steps at the largest rate of the grid at which the cost falls at every step."""
    task = Regression(condition)
    row: Row = {"metric": metric, "condition": condition, "units": UNITS, "stimuli": STIMULI}
    for rate in RATES:
        if (steps := steps_to_goal(task.costs(metric, rate))) is not None:
            return row | {"rate": rate, "steps": steps}
    return row | {"rate": None, "steps": None}
