"""The decades of learning rates for which a manifold stays near its best: digits, every manifold, two optimisers."""

from dataclasses import dataclass, field

import numpy as np

from benchmarks.learning import uninterrupted
from benchmarks.records import Row
from benchmarks.training import OPTIMISERS
from manifolds import ManifoldError
from riemannrnn import RateNetwork, train
from riemannrnn.cost.task import Task
from riemannrnn.data import load_digits
from riemannrnn.training.by_name import rule_on

UNITS, TRAINING, BATCH, EPOCHS, RADIUS = 50, 1000, 50, 5, 0.5
PER_DECADE, NEAR = 5, 0.02
"""Learning rates in each decade, and the largest difference from the best accuracy that counts as near."""

EXPONENTS = {"plain": (-2.0, 2.0), "adam": (-3.4, 0.6)}
"""Decades of the search."""


def rates(optimiser: str) -> list[float]:
    """Return the learning rates of an optimiser, evenly spaced in their logarithms."""
    low, high = EXPONENTS[optimiser]
    return [float(rate) for rate in np.logspace(low, high, round((high - low) * PER_DECADE) + 1)]


@dataclass
class Digits:
    """The task: one network, start and order of stimuli for all contenders."""

    task: Task = field(init=False)

    def __post_init__(self) -> None:
        training, test = load_digits().split(TRAINING, 1797 - TRAINING, seed=0)
        network = RateNetwork(UNITS, training.stimuli.shape[1], training.n_classes, seed=0)
        self.task = Task(network, network.initial_weights(RADIUS), training, test, test)

    def learn(self, manifold: str, optimiser: str, rate: float) -> Row:
        """Train at one constant rate, without a guard or a limit of the step length; return the accuracy at the end.

        It is 0 if a fixed point was lost, or a step left the manifold.
        """
        task, rule = rule_on(self.task, OPTIMISERS[optimiser], manifold)
        row: Row = {"manifold": manifold, "optimiser": optimiser, "rate": rate, "accuracy": 0.0}
        data, test = task.training, task.test
        try:
            history = train(
                task.network,
                task.weights,
                data.stimuli,
                data.labels,
                rule,
                rate,
                BATCH,
                EPOCHS,
                seed=0,
                guard=False,
                held_out=(test.stimuli, test.labels),
                evaluate_every=EPOCHS * TRAINING // BATCH,
            )
        except ManifoldError as error:
            return row | {"stopped": str(error)}
        reached = history.test_accuracy[-1:]
        accuracy = float(np.nan_to_num(reached[0])) if reached else 0.0  # NaN if test stimuli lost their fixed points
        return row | {"accuracy": accuracy, "stopped": uninterrupted(history.stopped)}


def decades(rows: list[Row]) -> tuple[float, float]:
    """Return the best accuracy of a manifold, and the number of decades around its rate with an accuracy near it.

    Each rate counts as a fifth of a decade.
    """
    ordered = sorted(rows, key=lambda row: float(row["rate"]))
    accuracies = [float(row["accuracy"]) for row in ordered]
    best = max(accuracies)
    low = high = accuracies.index(best)
    while low > 0 and accuracies[low - 1] >= best - NEAR:
        low -= 1
    while high + 1 < len(ordered) and accuracies[high + 1] >= best - NEAR:
        high += 1
    return best, (high - low + 1) / PER_DECADE
