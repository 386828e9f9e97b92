"""A full epoch of MNIST with ΔW3, beside its matrix products."""

import statistics
from functools import partial

import numpy as np

from benchmarks.counting import count_products
from benchmarks.learning import uninterrupted
from benchmarks.records import Row
from benchmarks.timing import beside_products, ratio
from manifolds import Array
from riemannrnn import RateNetwork, train
from riemannrnn.data import Dataset

UNITS, BATCH, RADIUS, RATE = 300, 512, 0.5, 0.1


def epoch_row(training: Dataset, repeats: int) -> Row:
    """Measure an epoch from the initial weights, and its number of products of a batch with W."""
    network = RateNetwork(UNITS, training.stimuli.shape[1], training.n_classes, seed=0, dtype=training.stimuli.dtype)
    weights, count = network.initial_weights(RADIUS), len(training.labels)

    def epoch(W: Array, stimuli: Array) -> str:
        return uninterrupted(
            train(network, W, stimuli, training.labels, "dW3", RATE, BATCH, epochs=1, seed=0, guard=False).stopped
        )

    products = count_products(epoch, (weights, training.stimuli), BATCH * UNITS**2)
    run = partial(epoch, weights, training.stimuli)
    times, one = beside_products(run, BATCH, weights.T, products, repeats)
    return {
        "rule": "dW3",
        "units": UNITS,
        "dtype": np.dtype(network.dtype).name,
        "stimuli": count,
        "batch": BATCH,
        "rate": RATE,
        "seconds": statistics.median(times),
        "products": products,
        "limit_seconds": products * statistics.median(one),
        "ratio": ratio(times, one) / products,
        "stopped": run(),
    }
