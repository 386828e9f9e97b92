"""A training step beside the time of the matrix products that it needs.

Times are medians of interleaved repeats. The ratio matters; the milliseconds depend on the machine and its load.
"""

import statistics
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.counting import count_products
from benchmarks.records import Row
from benchmarks.timing import beside_products, interleaved, ratio
from manifolds import Array
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.rules import make_rule

UNITS, STIMULI, INPUTS, CLASSES = 300, 512, 784, 10

RULES = ("dW1", "dW2", "dW3")


def random_task(dtype: np.dtype[Any]) -> tuple[RateNetwork, Array, Array, Array]:
    """Return a network with the sizes of the MNIST experiment, sparse random images in [0, 1], and labels."""
    generator = np.random.default_rng(0)
    images = generator.random((STIMULI, INPUTS)) * (generator.random((STIMULI, INPUTS)) < 0.2)
    network = RateNetwork(UNITS, INPUTS, CLASSES, seed=0, dtype=dtype)
    return network, network.initial_weights(0.5), images.astype(dtype), generator.integers(CLASSES, size=STIMULI)


def step(rule_name: str, network: RateNetwork, labels: Array, weights: Array, images: Array) -> Array:
    """Take one training step from a cold start: fixed points to the tolerance, the quantities of the rule, the new weights."""
    cost = FixedPointCost(network, images, CrossEntropy(labels), on_failure="raise")
    return make_rule(rule_name, UNITS).step(weights, cost.at(weights), 0.1)[0]


def products_table(repeats: int) -> tuple[Table, list[Row]]:
    """Measure every rule in both precisions."""
    table = Table(title=f"one step, n = {UNITS}, {STIMULI} stimuli, radius 0.5, medians of {repeats} interleaved repeats")
    rows = []
    for heading in ("dtype", "rule", "step (ms)", "products", "product (ms)", "step / products", "step / step of ΔW1"):
        table.add_column(heading, justify="right")
    for dtype in ("float32", "float64"):
        network, weights, images, labels = random_task(np.dtype(dtype))
        steps = {rule: partial(step, rule, network, labels) for rule in RULES}
        together = interleaved({rule: partial(run, weights, images) for rule, run in steps.items()}, repeats)
        for rule, run in steps.items():
            products = count_products(run, (weights, images), STIMULI * UNITS**2)
            times, one = beside_products(partial(run, weights, images), STIMULI, weights.T, products, repeats)
            row = {
                "dtype": dtype,
                "rule": rule,
                "milliseconds": 1e3 * statistics.median(times),
                "products": products,
                "product_ms": 1e3 * statistics.median(one),
                "ratio": ratio(times, one) / products,
                "over_dW1": ratio(together[rule], together["dW1"]),
            }
            rows.append(row)
            forms = {"milliseconds": ".1f", "products": ".1f", "product_ms": ".2f", "ratio": ".2f", "over_dW1": ".2f"}
            table.add_row(dtype, rule, *(format(row[key], form) for key, form in forms.items()))
    return table, rows
