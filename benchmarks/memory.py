"""The peak memory of the solver, in arrays of batch × n."""

import tracemalloc
from typing import Any

import numpy as np

from benchmarks.records import Row
from benchmarks.steps import CLASSES, LIMIT, Step
from manifolds import Array
from riemannrnn import RateNetwork
from riemannrnn.equilibrium.implicit import Implicit


def peak(units: int, stimuli: int, radius: float, dtype: str) -> Row:
    """Return the peak of fixed points and adjoints in addition to W, drive and errors; their results are included."""
    step = Step.draw(units, radius, np.dtype(dtype), stimuli)
    network = RateNetwork(units, None, CLASSES, seed=0, dtype=dtype)
    errors = step.errors(solve(network, step, np.zeros_like(step.drive)))  # the first solve creates threads that remain
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        solve(network, step, errors)
        used = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    setting = {"units": units, "stimuli": stimuli, "radius": radius, "dtype": dtype}
    return setting | {"megabytes": used / 1e6, "arrays": used / step.drive.nbytes}


def solve(network: RateNetwork, step: Step, errors: Array) -> Array:
    """Solve for fixed points and adjoints, and return the rates."""
    options: dict[str, Any] = {"on_failure": "mask", "max_iterations": LIMIT}
    fixed_points = network.solve(step.weights, step.drive, **options)
    Implicit(fixed_points, max_iterations=LIMIT).adjoint(errors)
    return fixed_points.rates
