"""A layer of images on MNIST by the default of `train`: accuracy after each epoch, its time, and certified test stimuli."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import Row
from manifolds import Array
from riemannrnn import Layer, Stack, train
from riemannrnn.data import Dataset
from riemannrnn.equilibrium import Automatic, SolverOptions
from riemannrnn.training import History
from riemannrnn.training.by_name import product_of
from riemannrnn.training.checkpoints import PATTERN

BATCH, CHANNELS, POOL, ACTIVATION = 64, 16, 4, "relu"

RESIDUAL, SLICE = 1e-4, 250
"""Norm of the residual to which test stimuli are certified in float64; stimuli that are certified at a time."""


@dataclass(frozen=True)
class Images:
    """Images to learn and images to test on, brought to mean 0 and variance 1 by the pixels to learn.

    Parameters
    ----------
    training, test
        The data sets.
    shape
        Height, width and channels of an image.
    channels, pool
        Of the layer.
    seed, epochs
        Of the run.
    """

    training: Dataset
    test: Dataset
    shape: tuple[int, int, int] = (28, 28, 1)
    channels: int = CHANNELS
    pool: int = POOL
    seed: int = 0
    epochs: int = 1

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.training.labels) // BATCH)

    def stack(self, dtype: Any) -> Stack:
        """Return a stack of one layer of images."""
        layer = Layer.convolution(self.shape, self.channels, pool=self.pool)
        return Stack([layer], prod(self.shape), self.training.n_classes, ACTIVATION, self.seed, dtype)

    def standardised(self, stimuli: Array) -> Array:
        """Return pixels with the mean and the standard deviation of those to learn taken out."""
        pixels = self.training.stimuli
        return ((stimuli - pixels.mean(dtype=np.float64)) / pixels.std(dtype=np.float64)).astype(stimuli.dtype)


def epochs(problem: Images, tell: Callable[[Row], None], checkpoints: Path | None = None) -> Row:
    """Train, tell what each epoch took and reached, and certify the test stimuli at the end.

    Parameters
    ----------
    problem
        The images and the run.
    tell
        Called with a row after each epoch.
    checkpoints
        An existing folder for checkpoints. A run that was stopped goes on from the last one.
    """
    stack, data, held_out = problem.stack(np.float32), problem.training, problem.standardised(problem.test.stimuli)
    begun = time.perf_counter(), time.process_time()

    def row(epoch: int, history: History) -> Row:
        return {
            "channels": problem.channels,
            "seed": problem.seed,
            "epochs": problem.epochs,
            "epoch": epoch,
            "accuracy": history.test_accuracy[-1],
            "loss": float(np.mean(history.loss[-problem.per_epoch :])),
            "iterations": float(np.mean(history.iterations[-problem.per_epoch :])),
            "seconds": time.perf_counter() - begun[0],
            "processor_seconds": time.process_time() - begun[1],
        }

    def look(step: int, history: History) -> None:
        if step % problem.per_epoch == 0:
            tell(row(step // problem.per_epoch, history))

    history = train(
        stack,
        stack.initial_parameters(),
        problem.standardised(data.stimuli),
        data.labels,
        batch_size=BATCH,
        epochs=problem.epochs,
        seed=problem.seed,
        held_out=(held_out, problem.test.labels),
        callback=look,
        checkpoints=checkpoints,
        resume=checkpoints is not None and any(checkpoints.glob(PATTERN)),
        progress=False,
    )
    if history.failed:
        raise RuntimeError(history.stopped)
    last = row(problem.epochs, history)
    return last | certificate(problem, history, held_out)


def certificate(problem: Images, history: History, stimuli: Array) -> Row:
    """Return how many stimuli have a certified fixed point in float64, and the number that certifies it at every slope.

    The smallest eigenvalue of the symmetric part of E⁻¹ (I − W) over all frequencies is positive. Then each stimulus has one
    fixed point, which is stable. A stimulus counts if its fixed point is found to the residual.
    """
    stack = problem.stack(np.float64)
    exact = {name: value.astype(np.float64) for name, value in history.parameters.items()}
    manifold, _ = product_of(stack, stack.flat(exact), "monotone")
    (name,) = stack.recurrent
    smallest = manifold.factors[name].certificate(manifold.named(history.point)[name], stack.layers[0].connectivity.shape)
    solving, found, right = SolverOptions(Automatic("splitting"), tolerance=RESIDUAL), 0, 0
    for start in range(0, len(stimuli), SLICE):
        response = stack.respond(exact, stack.prepare(stimuli[start : start + SLICE].astype(np.float64)), solving)
        good = response.converged & (smallest > 0)
        found += int(np.count_nonzero(good))
        labels = problem.test.labels[start : start + SLICE]
        right += int(np.count_nonzero(response.outputs.argmax(1) == labels))
    return {
        "smallest_eigenvalue": smallest,
        "stimuli": len(stimuli),
        "certified": found,
        "certified_accuracy": right / len(stimuli),
    }
