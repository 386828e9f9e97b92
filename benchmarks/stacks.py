"""Stacks of layers with everything trained: MNIST on monotone weights, certificates, and the cost of a step."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from benchmarks.default_step import Learner
from benchmarks.learning import uninterrupted
from benchmarks.products import CLASSES, INPUTS, STIMULI, UNITS, random_task
from benchmarks.records import Row
from benchmarks.timing import StepClock, interleaved, ratio
from manifolds import Array
from riemannrnn import CrossEntropy, FixedPointCost, Stack, train
from riemannrnn.data import Dataset
from riemannrnn.equilibrium.auto import Automatic
from riemannrnn.equilibrium.certificate import not_stable
from riemannrnn.equilibrium.options import SolverOptions
from riemannrnn.models import PARTS
from riemannrnn.training import History
from riemannrnn.training.by_name import product_of
from riemannrnn.training.options import RATE_OF_SEVERAL
from riemannrnn.training.training import single_residual

LAYERS, BATCH, EPOCHS = ((300,), (300, 150)), 256, 10

ACTIVATION, RATE = "relu", 0.003
"""What differs from the defaults of `Stack` and `train`."""

RESIDUAL = 1e-6
"""Residual of the certified fixed points of all stimuli at the end, in float64."""

SLICE, LAST = 10_000, 20
"""Number of stimuli that are certified at a time, and of last steps in the mean of iterations."""

Parameters = Mapping[str, Array]


@dataclass(frozen=True)
class Problem:
    """Training and test stimuli, the sizes of the layers from the lowest, and the activation of their units."""

    training: Dataset
    test: Dataset
    layers: tuple[int, ...]
    seed: int = 0
    epochs: int = EPOCHS
    activation: str = ACTIVATION

    def stack(self, dtype: Any = None, parameters: Parameters | None = None) -> Stack:
        """Return a stack that trains everything, with given parameters or the random parameters of the seed."""
        stimuli = self.training.stimuli
        here = {"dtype": dtype or stimuli.dtype, "activation": self.activation, "parameters": parameters, "seed": self.seed}
        return Stack(self.layers, stimuli.shape[1], self.training.n_classes, **here)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.training.labels) // BATCH)

    def batches(self) -> Iterator[Array]:
        """Yield the rows of each step, in the orders of `train`."""
        generator, count = np.random.default_rng(self.seed), len(self.training.labels)
        for _ in range(self.epochs):
            order = generator.permutation(count)
            yield from (order[start : start + BATCH] for start in range(0, count, BATCH))


def trained(problem: Problem) -> tuple[History, StepClock]:
    """Train at the learning rate above, with an evaluation after each epoch."""
    stack, data, clock = problem.stack(), problem.training, StepClock(problem.per_epoch)
    history = train(
        stack,
        stack.initial_parameters(),
        data.stimuli,
        data.labels,
        batch_size=BATCH,
        epochs=problem.epochs,
        seed=problem.seed,
        learning_rate=RATE,
        held_out=(problem.test.stimuli, problem.test.labels),
        callback=clock,
        progress=False,
    )
    return history, clock


def certified_run(problem: Problem) -> Row:
    """Train a stack on MNIST, and certify the fixed points of every training and test stimulus, in float64."""
    history, clock = trained(problem)
    steps = len(history.loss)
    return {
        "layers": ", ".join(map(str, problem.layers)),
        "seed": problem.seed,
        "epochs": problem.epochs,
        "accuracies": measured(history.test_accuracy),
        "steps": steps,
        "seconds": clock.seconds * steps,
        "iterations": float(np.mean(history.iterations)),
        "last_iterations": float(np.mean(history.iterations[-LAST:])),
        "radius": [radius(history.parameters[name]) for name in history.model.network.recurrent],
        "stopped": uninterrupted(history.stopped),
        **certificate(problem, history.parameters, np.concatenate([problem.training.stimuli, problem.test.stimuli])),
    }


def measured(values: Sequence[float]) -> list[float]:
    """Return the measured values: a history has NaN at steps without an evaluation."""
    return [value for value in values if not isnan(value)]


def radius(weights: Array) -> float:
    """Return the spectral radius."""
    return float(np.max(np.abs(np.linalg.eigvals(weights.astype(np.float64)))))


def certificate(problem: Problem, parameters: Parameters, stimuli: Array, solver: str = "splitting") -> Row:
    """Return the number of stimuli with stable fixed points to the residual in every layer, in float64, and the largest
    residual.

    The largest residual is over the stimuli that have converged.
    """
    exact = {name: value.astype(np.float64) for name, value in parameters.items()}
    stack, worst, count, unstable = problem.stack(np.float64, exact), 0.0, 0, 0
    flat, solving = (
        stack.flat(exact),
        SolverOptions(Automatic("splitting") if solver == "splitting" else solver, tolerance=RESIDUAL),
    )
    for start in range(0, len(stimuli), SLICE):
        response = stack.respond(flat, stack.prepare(stimuli[start : start + SLICE].astype(np.float64)), solving)
        good = np.array(response.converged)
        for layer in response.layers:
            worst = max(worst, float(np.max(layer.residual[good], initial=0.0)))
        lost = unstable_rows(response.layers, good)
        unstable += int(np.count_nonzero(lost))
        count += int(np.count_nonzero(good & ~lost))
    return {"stimuli": len(stimuli), "certified": count, "unstable": unstable, "residual": worst}


def unstable_rows(layers: Any, good: Array) -> Array:
    """Return which stimuli with fixed points have an unstable layer, shape (batch,)."""
    rows, lost = np.flatnonzero(good), np.zeros(len(good), bool)
    for layer in layers:
        if len(rows):
            lost[rows[not_stable(layer.operator, layer.gains[rows], 0.0)[1]]] = True
    return lost


KINDS = {"everything": PARTS, "recurrent": ("recurrent",)}
"""The trained kinds of parameters in the two compared steps."""


def step_price(dtype: str, age: int, repeats: int) -> Row:
    """Return the processor time of steps of Adam on monotone weights, with everything trained and with W alone, in turn.

    Both start from the same parameters, reached after `age` steps with everything trained.
    """
    everything = learner(np.dtype(dtype), PARTS)
    for _ in range(age):
        everything.step(RATE_OF_SEVERAL)
    reached = everything.cost.model.named(everything.rule.parameterization.weights(everything.point))
    learners = {name: learner(np.dtype(dtype), kinds, reached) for name, kinds in KINDS.items()}
    runs: dict[str, Callable[[], None]] = {name: each.creep for name, each in learners.items()}
    for run in runs.values():
        run()
    times = interleaved(runs, repeats, clock=time.process_time)
    return {
        "dtype": dtype,
        "age": age,
        "units": UNITS,
        "stimuli": STIMULI,
        **{f"{name}_ms": 1e3 * statistics.median(spent) for name, spent in times.items()},
        "ratio": ratio(times["everything"], times["recurrent"]),
    }


def learner(dtype: np.dtype[Any], trained_kinds: tuple[str, ...], parameters: Parameters | None = None) -> Learner:
    """Return Adam on monotone weights, as in the default of `train`, for a layer and one batch of images."""
    _, _, images, labels = random_task(dtype)
    stack = Stack([UNITS], INPUTS, CLASSES, seed=0, dtype=dtype, trained=trained_kinds, parameters=parameters)
    manifold, start = product_of(stack, stack.flat(stack.initial_parameters()), "monotone")
    asked: dict[str, Any] = {"tolerance": single_residual(UNITS)} if dtype == np.float32 else {}
    cost = FixedPointCost(stack, images, CrossEntropy(labels), on_failure="raise", solver=Automatic("splitting"), **asked)
    return Learner(cost, manifold, start)
