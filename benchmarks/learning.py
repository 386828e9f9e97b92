"""Seconds and steps to a test accuracy on MNIST: every rule, each at a few rates, and gradient descent by another package."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.peers import best_threads
from benchmarks.records import Row
from manifolds import Array
from riemannrnn import RateNetwork, train
from riemannrnn.data import Dataset
from riemannrnn.rules.named import RULES
from riemannrnn.training import History
from riemannrnn.training.options import ADAM_RATE
from riemannrnn.training.training import single_residual

UNITS, BATCH, RADIUS, EPOCHS, EVERY = 300, 512, 0.5, 3, 10
MARKS = (0.80, 0.87)
PATIENCE = 150.0
"""Seconds of training after which a curve ends."""

EUCLIDEAN = (0.0025, 0.005, 0.01, 0.025)
NATURAL = (0.025, 0.05, 0.1, 0.25)
DEFAULT = "the default of train"
RATES: dict[str, tuple[float, ...]] = (
    {DEFAULT: (ADAM_RATE,)}
    | dict.fromkeys(RULES, NATURAL)
    | {
        "dW1": EUCLIDEAN,
        "dW4": (0.01, 0.02, 0.05, 0.1),
        "adam": (1.5e-4, 5e-4, 1.5e-3, 5e-3),
        "momentum": tuple(rate / 10 for rate in NATURAL),  # momentum 0.9 makes a step count tenfold
        "torchdeq, SGD": EUCLIDEAN,
        "torchdeq, Adam": (1e-4, 3e-4, 1e-3, 3e-3),
        "torchdeq, Adam, as exact as the default": (1e-4, 3e-4, 1e-3, 3e-3),
    }
)
"""The paper's rates without the slowest of each rule. Other rules have the rates of similar rules, the default its own."""

SATURATED: dict[str, Any] = {"solver": "splitting", "tolerance": single_residual(UNITS)}
"""The solver options for the default, whose weights grow large; the same as in its training."""

EXACT, BY_DEFAULT = 1e-5, SATURATED["tolerance"]
"""Residual of fixed points and adjoints for all contenders, except the default and its match."""


def contenders() -> list[str]:
    """Return every rule, and the two contenders with torchdeq if it is installed."""
    return [name for name in RATES if not name.startswith("torchdeq") or find_spec("torchdeq")]


class EnoughLearnedError(Exception):
    """The last mark is reached, or the time is over."""


@dataclass
class Task:
    """The network, its start and the data: the same for every curve."""

    training: Dataset
    test: Dataset
    epochs: int = EPOCHS
    seed: int = 0
    activation: str = "tanh"
    network: RateNetwork = field(init=False)
    weights: Array = field(init=False)

    def __post_init__(self) -> None:
        inputs, dtype = self.training.stimuli.shape[1], self.training.stimuli.dtype
        options: dict[str, Any] = {"activation": self.activation, "seed": self.seed, "dtype": dtype}
        self.network = RateNetwork(UNITS, inputs, self.training.n_classes, **options)
        self.weights = self.network.initial_weights(RADIUS)

    def batches(self) -> Iterator[Array]:
        """Yield the rows of each step, in the orders of `train`."""
        generator, count = np.random.default_rng(self.seed), len(self.training.labels)
        for _ in range(self.epochs):
            order = generator.permutation(count)
            yield from (order[start : start + BATCH] for start in range(0, count, BATCH))


class Observer:
    """Records when the test accuracy, with exact fixed points, passes each mark; its own time is not counted."""

    def __init__(self, task: Task, **options: Any) -> None:
        self.task, self.options = task, options
        self.drive = task.network.drive(task.test.stimuli)
        self.rates: Array | None = None
        self.seconds, self.best = 0.0, 0.0
        self.reached: dict[float, tuple[int, float]] = {}
        self.resume()

    def resume(self) -> None:
        """Start the clock."""
        self._resumed = time.perf_counter()

    def step(self, number: int, before: Array) -> None:
        """Record a finished step, given the weights before it, which result from number − 1 steps."""
        now = time.perf_counter()
        if (number - 1) % EVERY == 0:
            self.look(number - 1, before)
        self.seconds += now - self._resumed
        if len(self.reached) == len(MARKS) or self.seconds > PATIENCE:
            raise EnoughLearnedError
        self.resume()

    def look(self, steps: int, weights: Array) -> None:
        """Measure the test accuracy; a stimulus without a fixed point counts as wrong."""
        network = self.task.network
        found = network.solve(weights, self.drive, initial_rates=self.rates, on_failure="mask", **self.options)
        self.rates = np.where(found.converged[:, None], found.rates, 0)
        right = np.argmax(network.outputs(self.rates), axis=1) == self.task.test.labels
        accuracy = float(np.mean(right & found.converged))
        self.best = max(self.best, accuracy)
        for mark in MARKS:
            if accuracy >= mark:
                self.reached.setdefault(mark, (steps, self.seconds))

    def row(self, contender: str, rate: float, stopped: str) -> Row:
        """Return the curve in numbers."""
        marks: dict[str, float | None] = {}
        for mark in MARKS:
            steps, seconds = self.reached.get(mark, (None, None))
            marks |= {f"steps_{mark:.0%}": steps, f"seconds_{mark:.0%}": seconds}
        return {"contender": contender, "rate": rate, **marks, "best_accuracy": self.best, "stopped": stopped}


def curve(contender: str, rate: float, task: Task) -> Row:
    """Train by one rule, or by torchdeq and an optimiser, at one rate."""
    observer = Observer(task, **(SATURATED if contender == DEFAULT else {}))
    learn = learn_by_torchdeq if contender.startswith("torchdeq") else learn_by_rule
    try:
        stopped = learn(contender, rate, task, observer)
    except EnoughLearnedError:
        stopped = "reached the last mark" if len(observer.reached) == len(MARKS) else "took too long"
    return observer.row(contender, rate, stopped)


def learn_by_rule(rule: str, rate: float, task: Task, observer: Observer) -> str:
    """Train, and return why it ended."""

    def callback(number: int, history: History) -> None:
        observer.step(number, history.weights)  # the callback sees the weights at the start of the step

    data = task.training
    options: dict[str, Any] = {"learning_rate": rate, "batch_size": BATCH, "epochs": task.epochs, "seed": task.seed}
    if rule != DEFAULT:
        options |= {"rule": rule, "guard": False}
    return uninterrupted(train(task.network, task.weights, data.stimuli, data.labels, **options, callback=callback).stopped)


def uninterrupted(stopped: str) -> str:
    """Return why a run of `train` ended; raise Ctrl-C again, which `train` treats as an ordinary end."""
    if stopped.startswith("Interrupted"):
        raise KeyboardInterrupt
    return stopped


def learn_by_torchdeq(contender: str, rate: float, task: Task, observer: Observer) -> str:
    """Train the same recurrent weights by torchdeq's implicit gradient and an optimiser of torch."""
    import torch
    import torchdeq

    readout = torch.as_tensor(task.network.readout)
    labels = torch.as_tensor(task.training.labels)
    # Our time includes the drive of all stimuli; here the drive is not timed.
    drive = torch.as_tensor(task.network.drive(task.training.stimuli))
    weights = torch.nn.Parameter(torch.as_tensor(task.weights.copy()))
    optimiser = (torch.optim.SGD if contender.endswith("SGD") else torch.optim.Adam)([weights], lr=rate)
    tolerance = BY_DEFAULT if contender.endswith("default") else EXACT
    # Our adjoints of a mean over stimuli meet the tolerance relative to their size; so do these.
    options = {"f_tol": tolerance, "b_tol": tolerance / BATCH, "f_max_iter": 1000, "b_max_iter": 1000}
    deq = torchdeq.get_deq(core="indexing", ift=True, f_solver="fixed_point_iter", b_solver="fixed_point_iter", **options)

    def differentiate(rows: Any) -> None:
        x = drive[rows]
        out, _ = deq(lambda R: torch.tanh(R @ weights.T + x), torch.tanh(x))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(out[-1] @ readout.T, labels[rows]).backward()

    torch.set_num_threads(best_threads(lambda: differentiate(torch.arange(BATCH))))
    observer.resume()
    for number, order in enumerate(task.batches(), 1):
        before = weights.detach().numpy().copy()
        differentiate(torch.as_tensor(order))
        optimiser.step()
        observer.step(number, before)
    return f"All {task.epochs} epochs done."
