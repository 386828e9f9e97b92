"""Change only the metric: conjugate gradients on the digits, from the same start and with the same number of evaluations."""

import statistics
from math import inf

from benchmarks.records import Row
from riemannrnn.cli.compare import digits_task
from riemannrnn.learning import compare
from riemannrnn.learning.contenders import Contender
from riemannrnn.learning.task import Task

RETRACTIONS = {"euclidean": "additive", "resolvent": "geodesic", "left-invariant": "geodesic", "monotone": "geodesic"}
"""The metrics, each with the retraction by which it is compared."""

UNITS, TRAINING, RADIUS, BUDGET, SEEDS = 100, 500, 0.5, 40, 6


def digits(seed: int, units: int = UNITS, training: int = TRAINING) -> Task:
    """Return the task of `riemannrnn compare`: a network, its start and the split of the digits follow from the seed."""
    return digits_task(units, RADIUS, "tanh", training, seed, "float64")


def learn(metric: str, seed: int, task: Task, budget: int = BUDGET) -> Row:
    """Run conjugate gradients under a metric and return its curve and how it ended.

    The training stimuli have to keep a stable fixed point, as `riemannrnn compare` asks by default. `unstable` counts training
    and test stimuli without a stable fixed point at the last accepted weights. The run has no time limit, because with a time
    limit the result would depend on the machine.
    """
    contender = Contender(metric, RETRACTIONS[metric], "conjugate-gradient")
    (entry,) = compare(task, [contender], budget, max_seconds=inf).entries
    return {
        "metric": metric,
        "seed": seed,
        "loss": entry.training_loss,
        "accuracy": entry.test_accuracy,
        "unstable": entry.without_stable_fixed_point,
        "stopped": entry.stopped,
        "curve": [[point.evaluations, point.loss] for point in entry.history],
    }


def by_metric(rows: list[Row]) -> dict[str, list[Row]]:
    """Return the rows of each metric, in the order in which the metrics were first measured."""
    return {metric: [row for row in rows if row["metric"] == metric] for metric in dict.fromkeys(row["metric"] for row in rows)}


def loss_at(row: Row, evaluations: int) -> float:
    """Return the loss of the last point that was accepted by this number of evaluations; of the first one before that."""
    curve = row["curve"]
    reached = [loss for count, loss in curve if count <= evaluations]
    return float(reached[-1] if reached else curve[0][1])


def median_curve(rows: list[Row], budget: int = BUDGET) -> list[float]:
    """Return the median over seeds of the loss after 1, 2, …, `budget` evaluations."""
    return [statistics.median(loss_at(row, count) for row in rows) for count in range(1, budget + 1)]
