"""Change only the metric: line searches on the digits, from the same start and with the same number of evaluations."""

import statistics
from math import inf

from benchmarks.records import Row
from riemannrnn.cli.compared import digits_task
from riemannrnn.comparison import compare
from riemannrnn.comparison.contenders import Contender
from riemannrnn.cost.task import Task
from riemannrnn.metrics.catalogue import CATALOGUE

SHOWN = ("euclidean", "resolvent", "left-invariant", "monotone")
"""The metrics of the figure and of the README's table."""

USUAL = "conjugate-gradient"
"""The optimiser of this figure and table."""

UNITS, TRAINING, RADIUS, BUDGET, SEEDS = 100, 500, 0.5, 40, 10


def digits(seed: int, units: int = UNITS, training: int = TRAINING) -> Task:
    """Return the task of `riemannrnn compare`: the seed determines the network, its start and the split of the digits."""
    return digits_task(units, RADIUS, "tanh", training, seed, "float64")


def learn(metric: str, optimiser: str, seed: int, task: Task, budget: int = BUDGET) -> Row:
    """Run an optimiser of pymanopt on a manifold with its default retraction; return the curve and the reason of its end.

    The training stimuli must keep a stable fixed point, as `riemannrnn compare` requires by default. `unstable` counts training
    and test stimuli without a stable fixed point at the last accepted weights. The run has no time limit, because with a time
    limit the result would depend on the machine.
    """
    contender = Contender(metric, CATALOGUE[metric].retractions[0], optimiser)
    (entry,) = compare(task, [contender], budget, max_seconds=inf).entries
    return {
        "metric": metric,
        "optimiser": optimiser,
        "seed": seed,
        "seconds": entry.seconds,
        "loss": entry.training_loss,
        "accuracy": entry.test_accuracy,
        "unstable": entry.without_stable_fixed_point,
        "stopped": entry.stopped,
        "curve": [[point.evaluations, point.loss] for point in entry.history],
    }


def by_metric(rows: list[Row], optimiser: str = USUAL) -> dict[str, list[Row]]:
    """Return the rows of each metric under an optimiser, in the order in which the metrics were first measured."""
    metrics = dict.fromkeys(row["metric"] for row in rows)
    return {metric: [row for row in rows if (row["metric"], row["optimiser"]) == (metric, optimiser)] for metric in metrics}


def shown(rows: list[Row]) -> dict[str, list[Row]]:
    """Return the rows of the figure, by metric."""
    return {metric: runs for metric, runs in by_metric(rows).items() if metric in SHOWN}


def loss_at(row: Row, evaluations: int) -> float:
    """Return the loss of the last point accepted by this number of evaluations, or of the first point if there is none."""
    curve = row["curve"]
    reached = [loss for count, loss in curve if count <= evaluations]
    return float(reached[-1] if reached else curve[0][1])


def median_curve(rows: list[Row], budget: int = BUDGET) -> list[float]:
    """Return the median over seeds of the loss after 1, 2, …, `budget` evaluations."""
    return [statistics.median(loss_at(row, count) for row in rows) for count in range(1, budget + 1)]
