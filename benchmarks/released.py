"""The cost of the released method, implemented again: 500 Euler steps, then N × N matrices for every stimulus."""

import statistics
from functools import partial

import numpy as np
from rich.table import Table

from benchmarks.records import Row
from benchmarks.steps import Step, ours
from benchmarks.timing import interleaved, ratio
from manifolds import Array
from riemannrnn import RateNetwork
from riemannrnn.rules.paper import delta_w3
from riemannrnn.runtime import one_blas_thread, summed

UNITS, STIMULI, RADIUS = 300, 512, 0.5

SMALLER = 1000
"""Factor by which our second residual is smaller than the released method's; the first is our default tolerance."""


def euler(step: Step) -> Array:
    """Return the rates after 500 steps of 0.01 τ."""
    rates = np.zeros_like(step.drive)
    for _ in range(500):
        rates = rates + np.float32(0.01) * (np.tanh(rates @ step.weights.T + step.drive) - rates)
    return rates


def released_state(step: Step) -> tuple[Array, Array, Array]:
    """Return rates, gains and errors, each of shape (batch, n)."""
    rates = euler(step)
    return rates, 1 - np.tanh(rates @ step.weights.T + step.drive) ** 2, step.errors(rates)


def released_w1(step: Step) -> Array:
    """Return ΔW1 by an N × N solve for every stimulus."""
    identity, change = np.eye(UNITS, dtype=step.weights.dtype), np.zeros_like(step.weights)
    for r, g, e in zip(*released_state(step), strict=True):
        change += np.outer(np.linalg.solve(identity - g[:, None] * step.weights.T, g * e), r)
    return change


def released_w3(step: Step) -> Array:
    """Return ΔW3 by products of N × N matrices for every stimulus."""
    identity, change = np.eye(UNITS, dtype=step.weights.dtype), np.zeros_like(step.weights)
    for r, g, e in zip(*released_state(step), strict=True):
        left, right = identity - step.weights * g, identity - g[:, None] * step.weights
        change += left @ np.outer(g * e, r) @ (right.T @ right)
    return change


def our_w3(step: Step, tolerance: float) -> Array:
    """Return ΔW3 from fixed points to a tolerance, for the whole batch."""
    network = RateNetwork(UNITS, None, 10, seed=0, dtype=step.weights.dtype)
    with one_blas_thread():  # as in `train`
        found = network.solve(step.weights, step.drive, tolerance=tolerance)
        arrays = found.rates, found.gains, step.errors(found.rates), found.inputs - step.drive
        return summed(partial(delta_w3, step.weights), *arrays)  # as the rule does


def released_table(repeats: int) -> tuple[Table, list[Row]]:
    """Measure both rules with both methods, ours at two tolerances."""
    step = Step.draw(UNITS, RADIUS, np.dtype("float32"), STIMULI)
    exact, theirs = ours(step), step.residual(euler(step))
    tolerances = {f"{SMALLER} times smaller": theirs / SMALLER, "default": step.tolerance}
    methods = {"dW1": (released_w1, lambda each: exact(each, each)), "dW3": (released_w3, lambda each: our_w3(step, each))}
    words = f"n = {UNITS}, {STIMULI} stimuli, radius {RADIUS}, float32: residual as released {theirs:.1e}"
    table, rows = Table("rule", "our residual", "as released (ms)", "ours (ms)", "ratio", title=words), []
    for rule, (released, own) in methods.items():
        runs = {"released": partial(released, step)} | {name: partial(own, each) for name, each in tolerances.items()}
        times = interleaved(runs, repeats)
        for name, tolerance in tolerances.items():
            residual = step.residual(exact(tolerance, tolerance)[0])
            released_ms, ours_ms = (1e3 * statistics.median(times[each]) for each in ("released", name))
            row = {"rule": rule, "aim": name, "released_ms": released_ms, "ours_ms": ours_ms}
            row |= {"ratio": ratio(times["released"], times[name]), "released_residual": theirs, "residual": residual}
            rows.append(row)
            table.add_row(rule, f"{residual:.1e}", f"{released_ms:.0f}", f"{ours_ms:.1f}", f"{row['ratio']:.0f}")
    return table, rows
