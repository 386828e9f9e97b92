"""Large networks and layers of images with every array on a device: an exact-gradient step, a step of training, an epoch."""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np

from benchmarks.records import Row
from benchmarks.timing import seconds
from manifolds.arrays import to_numpy
from riemannrnn import Convolution, CrossEntropy, FixedPointCost, Layer, RateNetwork, Stack, to_backend, train

UNITS, BATCH, INPUTS, CLASSES = (1024, 2048, 4096, 8192, 16384), 512, 784, 10
EPOCH_UNITS, EPOCH_STIMULI = 1024, 60_000
IMAGE, CHANNELS, SUPPORT, POOL = (28, 28, 1), (16, 54), 5, 4
"""Of the layers of images: height, width and channels of a stimulus; and the layer."""

Work = Callable[[], object]


def device_rows(backend: Any, units: tuple[int, ...], stimuli: int, repeats: int, budget: float) -> Iterator[Row]:
    """Yield a row for each piece of work, until the seconds are used up: the epoch, layers of images, and networks by size."""
    end = time.perf_counter() + budget
    yield measured("epoch", EPOCH_UNITS, stimuli, training(backend, EPOCH_UNITS, stimuli), 1)
    for name, size, make in (*images(backend), *networks(backend, units)):
        if time.perf_counter() > end:
            return
        yield measured(name, size, BATCH, make(), repeats)


def images(backend: Any) -> Iterator[tuple[str, int, Callable[[], Work]]]:
    """Yield the name, the units and the making of each piece of work of layers of images."""
    for channels in CHANNELS:
        size = prod(IMAGE[:2]) * channels
        yield f"convolution, {channels} channels", size, partial(application, backend, channels)
        yield f"training step, {channels} channels", size, partial(image_training, backend, channels)


def networks(backend: Any, units: tuple[int, ...]) -> Iterator[tuple[str, int, Callable[[], Work]]]:
    """Yield the name, the units and the making of each piece of work of networks of one dense layer."""
    for n in units:
        yield "gradient", n, partial(gradient, backend, n)
        yield "training step", n, partial(training, backend, n, BATCH)


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


def application(backend: Any, channels: int) -> Work:
    """Return a convolution of a batch of images, until it is done: a number of it is read."""
    generator = np.random.default_rng(0)
    connectivity = Convolution(channels, IMAGE[:2], SUPPORT)
    kernels = connectivity.initial(connectivity.n_units, 0.5, generator).astype(np.float32)
    rows = generator.standard_normal((BATCH, connectivity.n_units), dtype=np.float32)
    operator, there = connectivity.bind(to_backend(kernels, backend)), to_backend(rows, backend)
    return lambda: to_numpy(operator.apply(there)[:1, :1])


def image_training(backend: Any, channels: int) -> Work:
    """Return a step of training of a layer of images by default."""
    generator = np.random.default_rng(0)
    layer = Layer.convolution(IMAGE, channels, SUPPORT, pool=POOL)
    stack = Stack([layer], prod(IMAGE), CLASSES, "relu", 0, np.float32, backend)
    stimuli = generator.standard_normal((BATCH, prod(IMAGE)), dtype=np.float32)
    labels = generator.integers(CLASSES, size=BATCH)
    options: dict[str, Any] = {"batch_size": BATCH, "epochs": 1, "seed": 0, "progress": False}
    return partial(
        train, stack, stack.initial_parameters(), to_backend(stimuli, backend), to_backend(labels, backend), **options
    )
