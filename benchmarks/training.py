"""Whole training runs on MNIST: the default of `train` with a certificate for every stimulus, and manifold × optimiser."""

from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from benchmarks.learning import BATCH, EPOCHS, UNITS, uninterrupted
from benchmarks.learning import Task as Problem
from benchmarks.records import Row
from benchmarks.timing import StepClock
from manifolds import Array, ScaledMonotoneManifold
from riemannrnn import RateNetwork, train
from riemannrnn.cost.task import Task
from riemannrnn.equilibrium.stability import survey_stability
from riemannrnn.metrics.catalogue import GROWTH
from riemannrnn.training import History
from riemannrnn.training.by_name import rule_on
from riemannrnn.training.options import LONGEST_STEP
from riemannrnn.training.stopping import StepLimit

MANIFOLDS = ("euclidean", "resolvent", "left-invariant", "monotone", "scaled-monotone")
OPTIMISERS = {"plain": "descent", "momentum": "momentum", "adam": "adam"}
RATES = {"plain": (0.03, 0.1, 0.3, 1.0), "momentum": (0.003, 0.01, 0.03, 0.1), "adam": (0.0005, 0.0015, 0.005, 0.015, 0.05)}
"""The rates that are tried; the rate with the lowest loss after an epoch is used."""

TRIAL, LAST = 118, 10
"""Steps of the trial, and last steps in its mean loss. It has no guard: by shortening long steps, a guard would make all
rates look alike. Without a guard, rates that lose a fixed point are excluded."""

STABLE = (("scaled-monotone", "tanh"), ("scaled-monotone", "relu"), ("monotone", "tanh"))
"""The manifold of the default of `train` with two activations, and the manifold without scales."""

PLAIN_RATE = 0.03
"""Rate of Adam on the manifold without scales."""

RESIDUAL = 1e-6
"""Residual of the certified fixed points of all stimuli at the end, in float64."""

SLICE = 10_000


@dataclass
class Trained:
    """A run, its processor seconds without evaluations, and the data."""

    history: History
    seconds: float
    problem: Problem

    def row(self) -> Row:
        """Return the columns that the tables share."""
        history, per_epoch = self.history, -(-len(self.problem.training.labels) // BATCH)
        measured = dict(enumerate(history.test_accuracy, 1))
        return {
            "accuracy_first": measured.get(per_epoch, nan),
            "accuracy_last": measured.get(EPOCHS * per_epoch, nan),
            "steps": len(history.loss),
            "guard_actions": history.guard_actions,
            "left_out": sum(history.left_out),
            "jumps": int(np.nansum(history.jumps)),
            "iterations": float(np.mean(history.iterations)),
            "seconds": self.seconds,
            "stopped": uninterrupted(history.stopped),
        }


def learn_by_default(problem: Problem) -> Trained:
    """Train by `train` without a rule, a manifold or a rate."""
    return timed(problem, problem.weights, {})


def learn(manifold: str, optimiser: str, rate: float, problem: Problem, **options: Any) -> Trained:
    """Train on a manifold with an optimiser; rates fall along a cosine, and steps are at most 1 long."""
    network, weights = problem.network, problem.weights
    task = Task(network, weights, problem.training, problem.test, problem.test)
    task, rule = rule_on(task, OPTIMISERS[optimiser], manifold)
    settings = {"rule": rule, "learning_rate": rate, "schedule": "cosine", "longest_step": 1.0}
    return timed(problem, task.weights, settings | options)


def timed(problem: Problem, weights: Array, settings: dict[str, Any]) -> Trained:
    """Train, and count the processor time of all steps, without evaluations.

    It is the time of all cores, and does not depend on other load of the machine.
    """
    data, test = problem.training, problem.test
    per_epoch = -(-len(data.labels) // BATCH)
    clock = StepClock(per_epoch)
    shared: dict[str, Any] = {"batch_size": BATCH, "epochs": EPOCHS, "seed": problem.seed, "evaluate_every": per_epoch}
    held_out = {"held_out": (test.stimuli, test.labels)}
    history = train(problem.network, weights, data.stimuli, data.labels, **(shared | held_out | settings), callback=clock)
    return Trained(history, clock.seconds * len(history.loss), problem)


def best_rate(manifold: str, optimiser: str, problem: Problem) -> float:
    """Return the rate at which an epoch lowers the loss most; the lowest rate if none completes the epoch."""

    def loss(rate: float) -> float:
        options = {"schedule": "constant", "guard": False, "held_out": None, "stop": StepLimit(TRIAL)}
        run = learn(manifold, optimiser, rate, problem, **options)
        return float(np.mean(run.history.loss[-LAST:])) if len(run.history.loss) == TRIAL else np.inf

    return min(RATES[optimiser], key=loss)


def cell(manifold: str, optimiser: str, problem: Problem, rate: float | None = None) -> Row:
    """Return a cell of the table: the result at the best rate, and how many test stimuli lost stability."""
    rate = best_rate(manifold, optimiser, problem) if rate is None else rate
    trained = learn(manifold, optimiser, rate, problem)
    lost, unstable = judged(trained.history.weights, problem)
    return {"manifold": manifold, "optimiser": optimiser, "rate": rate} | trained.row() | {"lost": lost, "unstable": unstable}


def judged(weights: Array, problem: Problem) -> tuple[int, int]:
    """Return how many test stimuli have no fixed point, and how many have an unstable one.

    With large weights float32 cannot reach a small residual: stimuli without a solution in float32 are solved in float64.
    """
    network, stimuli = problem.network, problem.test.stimuli
    found = network.fixed_points(weights, stimuli, on_failure="mask")
    gains, lost = found.gains[found.converged], int(np.count_nonzero(~found.converged))
    if lost:
        exact, drive = (
            RateNetwork(UNITS, activation=problem.activation),
            network.drive(stimuli[~found.converged]).astype(np.float64),
        )
        again = exact.fixed_points(weights.astype(np.float64), drive, tolerance=RESIDUAL, on_failure="mask")
        gains = np.concatenate([gains, again.gains[again.converged].astype(gains.dtype)])
        lost = int(np.count_nonzero(~again.converged))
    return lost, survey_stability(found.operator, gains)[1]


def certified(manifold: str, problem: Problem) -> Row:
    """Train on a manifold that is stable by construction, and certify the fixed points of every training and test stimulus."""
    if manifold == "monotone":
        trained = learn(manifold, "adam", PLAIN_RATE, problem, longest_step=LONGEST_STEP)
    else:
        trained = learn_by_default(problem)
    weights, scales = trained.history.weights.astype(np.float64), 1.0
    if manifold == "scaled-monotone":
        point = [part.astype(np.float64) for part in trained.history.point]
        scales = ScaledMonotoneManifold(UNITS, GROWTH).scales(point)
    monotone = (np.eye(UNITS) - weights) / scales  # I − M = E⁻¹ (I − W) has a positive symmetric part on the manifold
    return {
        "manifold": manifold,
        "activation": problem.activation,
        "seed": problem.seed,
        **trained.row(),
        "last_iterations": float(np.mean(trained.history.iterations[-LAST:])),
        "margin": float(np.linalg.eigvalsh((monotone + monotone.T) / 2)[0]),
        "radius": float(np.max(np.abs(np.linalg.eigvals(weights)))),
        **residuals(weights, problem),
    }


def residuals(weights: Array, problem: Problem) -> Row:
    """Return the number of stimuli with a fixed point to the residual, and the largest residual."""
    exact, worst, count = RateNetwork(UNITS, activation=problem.activation), 0.0, 0
    drive = np.concatenate([problem.network.drive(data.stimuli) for data in (problem.training, problem.test)])
    for start in range(0, len(drive), SLICE):
        part = drive[start : start + SLICE].astype(np.float64)
        found = exact.fixed_points(weights, part, tolerance=RESIDUAL, solver="splitting", on_failure="mask")
        worst, count = max(worst, float(np.max(found.residual))), count + int(np.count_nonzero(found.converged))
    return {"stimuli": len(drive), "certified": count, "residual": worst}
