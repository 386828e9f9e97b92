"""How the time of an exact-gradient step grows with the units and with the stimuli, beside its own matrix products."""

import statistics
from functools import partial

import numpy as np

from benchmarks.counting import count_products
from benchmarks.records import Row
from benchmarks.steps import Step, ours
from benchmarks.timing import beside_products, ratio, seconds
from manifolds import Array

UNITS = (100, 200, 300, 500, 1000, 2000, 4000)
STIMULI = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
BATCH, NETWORK = 512, 300
"""The number of stimuli while the units grow, and the number of units while the stimuli grow."""

ASYMPTOTIC = 300
"""Exponents are fitted from this many units, or stimuli, on: below, the fixed work of a step weighs as much."""

LONG = 5.0
"""Seconds of a step above which few repeats suffice."""


def grow(units: int, stimuli: int, radius: float, dtype: str, repeats: int) -> Row:
    """Measure one step, count its matrix products, and measure the same number of products alone."""
    step = Step.draw(units, radius, np.dtype(dtype), stimuli)
    tolerance = step.tolerance

    def counted(weights: Array, drive: Array) -> None:
        ours(Step(weights, drive, step.readout, step.labels))(tolerance, tolerance)

    products = count_products(counted, (step.weights, step.drive), stimuli * units**2)
    run = partial(ours(step), tolerance, tolerance)
    few = 3 if seconds(run) > LONG else repeats
    times, one = beside_products(run, stimuli, step.weights.T, products, few)
    return {
        "units": units,
        "stimuli": stimuli,
        "radius": radius,
        "dtype": dtype,
        "milliseconds": 1e3 * statistics.median(times),
        "products": products,
        "product_ms": 1e3 * statistics.median(one),
        "limit_ms": 1e3 * products * statistics.median(one),
        "ratio": ratio(times, one) / products,
    }


def exponent(rows: list[Row], axis: str) -> float:
    """Return p of time ∝ axis^p by least squares on logarithms; NaN for fewer than two points or several processors."""
    points = [(row[axis], row["milliseconds"]) for row in rows if row[axis] >= ASYMPTOTIC]
    if len({x for x, _ in points}) < 2 or len({row.get("processor") for row in rows}) > 1:
        return float("nan")
    x, y = np.log(np.asarray(points)).T
    return float(np.polyfit(x, y, 1)[0])


def curves(rows: list[Row], axis: str) -> dict[tuple[float, str], list[Row]]:
    """Return the rows along an axis, in order, by radius and dtype."""
    fixed, value = ("stimuli", BATCH) if axis == "units" else ("units", NETWORK)
    found: dict[tuple[float, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: float(row[axis])):
        if row[fixed] == value:
            found.setdefault((row["radius"], row["dtype"]), []).append(row)
    return found
