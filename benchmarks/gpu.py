"""Large networks with every array on a device: an exact-gradient step, a step of training, and an epoch."""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.records import Row
from benchmarks.timing import seconds
from manifolds.arrays import to_numpy
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, to_backend, train

UNITS, BATCH, INPUTS, CLASSES = (1024, 2048, 4096, 8192, 16384), 512, 784, 10
EPOCH_UNITS, EPOCH_STIMULI = 1024, 60_000

Work = Callable[[], object]


def device_rows(backend: Any, units: tuple[int, ...], stimuli: int, repeats: int, budget: float) -> Iterator[Row]:
    """Yield a row for each piece of work until the seconds are used up: first the epoch, then the networks by size."""
    end = time.perf_counter() + budget
    yield measured("epoch", EPOCH_UNITS, stimuli, training(backend, EPOCH_UNITS, stimuli), 1)
    for n in units:
        for name, work in (("gradient", gradient(backend, n)), ("training step", training(backend, n, BATCH))):
            if time.perf_counter() > end:
                return
            yield measured(name, n, BATCH, work, repeats)


def measured(name: str, units: int, stimuli: int, work: Work, repeats: int) -> Row:
    """Return the median time of a piece of work, after one run that is not measured."""
    first = seconds(work)
    times = [seconds(work) for _ in range(repeats)]
    return {
        "work": name,
        "units": units,
        "stimuli": stimuli,
        "dtype": "float32",
        "milliseconds": 1e3 * statistics.median(times),
        "first_ms": 1e3 * first,
    }


def problem(backend: Any, units: int, stimuli: int) -> tuple[RateNetwork, Any, Any, Any]:
    """Return a network, weights, stimuli of the size of MNIST's, and labels, on a device."""
    generator = np.random.default_rng(0)
    network = RateNetwork(units, INPUTS, CLASSES, seed=0, dtype="float32", backend=backend)
    images = generator.random((stimuli, INPUTS), dtype=np.float32) * (generator.random((stimuli, INPUTS)) < 0.2)
    labels = generator.integers(CLASSES, size=stimuli)
    return network, network.initial_weights(0.5), to_backend(images, backend), to_backend(labels, backend)


def gradient(backend: Any, units: int) -> Work:
    """Return a function that computes a cost and its exact gradient; it reads one number, which waits for the device."""
    network, weights, stimuli, labels = problem(backend, units, BATCH)
    cost = FixedPointCost(network, stimuli, CrossEntropy(labels))

    def run() -> object:
        everything = cost.take(network.namespace.arange(BATCH))  # a new cost, without the cache of the point
        return to_numpy(everything.gradient(weights)[:1, :1])

    return run


def training(backend: Any, units: int, stimuli: int) -> Work:
    """Return an epoch of training by default, in batches."""
    network, weights, images, labels = problem(backend, units, stimuli)
    options: dict[str, Any] = {"batch_size": BATCH, "epochs": 1, "seed": 0, "progress": False}
    return partial(train, network, weights, images, labels, **options)
