"""A training step against the time of the matrix products that it needs.

Medians of interleaved repeats; the ratio is what counts, the milliseconds depend on the machine and on what else it does.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from rich.table import Table

from manifolds import Array
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.learning import make_rule

UNITS, STIMULI, INPUTS, CLASSES = 300, 512, 784, 10

RULE_PRODUCTS = {"dW1": 0.0, "dW2": (5 + 1 + 4 / 3) * UNITS / STIMULI, "dW3": 3.0}
"""Beyond the products that the connectivity counts, in products of batch × n × n: for dW2 four products of the gradient and one
of the step, an inverse and a solve, each n × n × n; for dW3 three products of the rule. The read-in comes on top."""


def random_task(dtype: type) -> tuple[RateNetwork, Array, Array, Array]:
    """Return a network with the sizes of the MNIST experiment, sparse random images in [0, 1], and labels."""
    generator = np.random.default_rng(0)
    images = generator.random((STIMULI, INPUTS)) * (generator.random((STIMULI, INPUTS)) < 0.2)
    network = RateNetwork(UNITS, INPUTS, CLASSES, seed=0, dtype=dtype)
    return network, network.initial_weights(0.5), images.astype(dtype), generator.integers(CLASSES, size=STIMULI)


class CountingConnectivity:
    """Dense connectivity that counts its products of batch × n × n."""

    def __init__(self) -> None:
        self.products = 0.0

    def apply(self, parameters: Array, rates: Array) -> Array:
        self.products += rates.shape[0] / STIMULI
        return rates @ parameters.T

    def apply_transpose(self, parameters: Array, adjoints: Array) -> Array:
        self.products += adjoints.shape[0] / STIMULI
        return adjoints @ parameters

    def accumulate(self, adjoints: Array, rates: Array) -> Array:
        self.products += adjoints.shape[0] / STIMULI
        return adjoints.T @ rates


def step(rule_name: str, network: RateNetwork, weights: Array, images: Array, labels: Array, solver: str) -> Array:
    """Take one training step from a cold start: fixed points to tolerance, what the rule needs, and the new weights."""
    cost = FixedPointCost(network, images, CrossEntropy(labels), solver=solver, on_failure="raise")
    return make_rule(rule_name, UNITS).step(cost.at(weights), 0.1)[0]


def multiply(rates: Array, matrix: Array, times: int) -> None:
    """Multiply again and again: as many products in a row as a step needs meet the same neighbours on the machine."""
    for _ in range(times):
        rates @ matrix


def seconds(function: Callable[[], object]) -> float:
    """Return the wall-clock time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def products_table(repeats: int) -> Table:
    """Measure every rule in both precisions."""
    table = Table(title=f"one step, n = {UNITS}, {STIMULI} stimuli, radius 0.5, medians of {repeats} interleaved repeats")
    for heading in ("dtype", "rule", "step (ms)", "products", "product (ms)", "step / products"):
        table.add_column(heading, justify="right")
    for dtype in (np.float32, np.float64):
        network, weights, images, labels = random_task(dtype)
        rates = network.fixed_points(weights, images).rates
        for rule in ("dW1", "dW2", "dW3"):
            counter = CountingConnectivity()
            network.connectivity = counter
            step(rule, network, weights, images, labels, "picard")
            products = counter.products + INPUTS / UNITS + RULE_PRODUCTS[rule]
            run = partial(step, rule, network, weights, images, labels, "picard")
            alone = partial(multiply, rates, weights.T, round(products))
            run()
            pairs = [(seconds(run), seconds(alone) / round(products)) for _ in range(repeats)]
            step_time, product_time = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratio = statistics.median(total / (products * one) for total, one in pairs)
            cells = (f"{1e3 * step_time:.1f}", f"{products:.1f}", f"{1e3 * product_time:.2f}", f"{ratio:.2f}")
            table.add_row(np.dtype(dtype).name, rule, *cells)
    return table
