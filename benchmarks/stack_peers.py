"""Our stacks, torchdeq and a monotone operator network side by side: the same sizes, batches, epochs and evaluation.

After each epoch a contender yields its parameters and the processor seconds used so far. The evaluation solves for the fixed
points of these parameters itself, and does not use a contender's own solver.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.learning import uninterrupted
from benchmarks.records import Row
from benchmarks.stacks import BATCH, RATE, Parameters, Problem, certificate
from riemannrnn import train
from riemannrnn.equilibrium.options import SolverOptions
from riemannrnn.training.training import single_residual

TANH, RELU, TORCHDEQ, MONOTONE = "riemannrnn, tanh", "riemannrnn, relu", "torchdeq, Adam", "monotone operator network, Adam"
TORCH_RATES = (3e-4, 1e-3, 3e-3)
RATES: dict[str, tuple[float, ...]] = {TANH: (RATE,), RELU: (RATE, 5e-3), TORCHDEQ: TORCH_RATES, MONOTONE: TORCH_RATES}
"""All learning rates fall along a cosine."""

DECAY = 0.2
"""Strength with which the weights of our stack with tanh are drawn to their start."""

NEEDS = {TANH: (), RELU: (), TORCHDEQ: ("torch", "torchdeq"), MONOTONE: ("torch",)}
"""The packages that a contender needs."""

ITERATIONS = 1000


@dataclass(frozen=True)
class Learned:
    """The state of a contender after an epoch.

    Attributes
    ----------
    parameters
        Parameters by the names of `Stack`.
    seconds
        Processor time of all threads so far, without evaluations.
    iterations
        Mean number of iterations of the slowest stimulus of a batch so far.
    """

    parameters: Parameters
    seconds: float
    iterations: float


def missing(contender: str) -> list[str]:
    """Return the packages that a contender needs and that are not installed."""
    return [package for package in NEEDS[contender] if find_spec(package) is None]


def raced(contender: str, rate: float, problem: Problem) -> Row:
    """Train a contender at a rate, and evaluate it after each epoch, and its fixed points at the end.

    Training ends if parameters are no longer finite. The accuracy is then zero, also for the epochs that are left.
    """
    learn, activation, solver = CONTENDERS[contender]
    problem = replace(problem, activation=activation)
    accuracies, seconds, learned = [], [], None
    proved: Row = {"stimuli": len(problem.test.stimuli), "certified": 0, "unstable": 0, "residual": 0.0}
    for learned in learn(problem, rate):
        seconds.append(learned.seconds)
        if not all(np.isfinite(value).all() for value in learned.parameters.values()):
            break
        accuracies.append(judged(problem, learned.parameters, solver))
    if learned is None:
        raise ValueError("a contender learns for one epoch at least; choose epochs ≥ 1")
    if lacking := problem.epochs - len(accuracies):
        accuracies += lacking * [0.0]
        seconds += (problem.epochs - len(seconds)) * seconds[-1:]
    else:
        proved = certificate(problem, learned.parameters, problem.test.stimuli, solver)
    return {
        "contender": contender,
        "rate": rate,
        "layers": ", ".join(map(str, problem.layers)),
        "seed": problem.seed,
        "epochs": problem.epochs,
        "accuracies": accuracies,
        "seconds": seconds,
        "iterations": learned.iterations,
        **proved,
    }


def judged(problem: Problem, parameters: Parameters, solver: str) -> float:
    """Return the test accuracy of parameters at their fixed points; a stimulus without a fixed point counts as wrong."""
    stack = problem.stack(parameters=parameters)
    solving = SolverOptions(solver, tolerance=single_residual(min(problem.layers)), max_iterations=ITERATIONS)
    response = stack.respond(parameters, stack.prepare(problem.test.stimuli), solving)
    right = np.argmax(response.outputs, axis=1) == problem.test.labels
    return float(np.mean(right & response.converged))


def learn_by_ours(problem: Problem, rate: float, decay: float) -> Iterator[Learned]:
    """Train on the monotone manifold, and yield the state after each epoch."""
    stack, data, marks, kept = problem.stack(), problem.training, [time.process_time()], []

    def note(step: int, history: Any) -> None:
        marks.append(time.process_time())
        if step > 1 and (step - 1) % problem.per_epoch == 0:  # the callback sees the parameters at the start of a step
            kept.append({name: np.array(value) for name, value in history.parameters.items()})

    options: dict[str, Any] = {
        "batch_size": BATCH,
        "epochs": problem.epochs,
        "seed": problem.seed,
        "learning_rate": rate,
        "decay": decay,
    }
    history = train(stack, stack.initial_parameters(), data.stimuli, data.labels, **options, callback=note, progress=False)
    uninterrupted(history.stopped)
    for epoch, parameters in enumerate([*kept, dict(history.parameters)], 1):
        steps = epoch * problem.per_epoch
        yield Learned(parameters, marks[steps] - marks[0], float(np.mean(history.iterations[:steps])))


def learn_by_torch(problem: Problem, rate: float, make: Callable[[Problem], Any]) -> Iterator[Learned]:
    """Train a torch module by Adam with a rate that falls along a cosine, and yield the state after each epoch."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(problem.seed)
    network = make(problem)
    stimuli, labels = torch.as_tensor(problem.training.stimuli), torch.as_tensor(problem.training.labels)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, problem.per_epoch * problem.epochs)
    seconds, iterations = 0.0, []
    for number, rows in enumerate(problem.batches(), 1):
        began, order = time.process_time(), torch.as_tensor(rows)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(stimuli[order]), labels[order]).backward()
        optimiser.step()
        schedule.step()
        seconds += time.process_time() - began
        iterations.append(network.iterations)
        if number % problem.per_epoch == 0:
            yield Learned(network.named(), seconds, float(np.mean(iterations)))


def torchdeq_stack(problem: Problem) -> Any:
    """Return a stack with our architecture and start, torchdeq's plain iteration and its implicit gradient."""
    from benchmarks.torch_stacks import TorchdeqStack

    start = problem.stack().initial_parameters()
    return TorchdeqStack(start, len(problem.layers), single_residual(min(problem.layers)), BATCH, ITERATIONS)


def monotone_stack(problem: Problem) -> Any:
    """Return layers of the same sizes of a monotone operator network of ReLU units."""
    from benchmarks.torch_stacks import MonotoneStack

    sizes = (problem.training.stimuli.shape[1], *problem.layers, problem.training.n_classes)
    return MonotoneStack(sizes, single_residual(min(problem.layers)), ITERATIONS)


Learn = Callable[[Problem, float], Iterator[Learned]]

CONTENDERS: dict[str, tuple[Learn, str, str]] = {
    TANH: (lambda problem, rate: learn_by_ours(problem, rate, DECAY), "tanh", "splitting"),
    RELU: (lambda problem, rate: learn_by_ours(problem, rate, 0.0), "relu", "splitting"),
    TORCHDEQ: (lambda problem, rate: learn_by_torch(problem, rate, torchdeq_stack), "tanh", "auto"),
    MONOTONE: (lambda problem, rate: learn_by_torch(problem, rate, monotone_stack), "relu", "splitting"),
}
"""Training function, activation, and solver of the evaluation: splitting if fixed points are unique by construction."""
