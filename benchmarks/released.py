"""The cost of the released method, written afresh: 500 Euler steps, then N × N matrices for every stimulus."""

import statistics
from functools import partial

import numpy as np
from rich.table import Table

from benchmarks.records import Row
from benchmarks.steps import Step, ours
from benchmarks.timing import interleaved, ratio
from manifolds import Array
from riemannrnn import RateNetwork
from riemannrnn.equilibrium.chunks import one_blas_thread, summed
from riemannrnn.learning.rules import delta_w3

UNITS, STIMULI, RADIUS = 300, 512, 0.5


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


def our_w3(step: Step) -> Array:
    """Return ΔW3 from fixed points to tolerance, for the whole batch."""
    network = RateNetwork(UNITS, None, 10, seed=0, dtype=step.weights.dtype)
    with one_blas_thread():  # as in `train`
        found = network.solve(step.weights, step.drive)
        arrays = found.rates, found.gains, step.errors(found.rates), found.inputs - step.drive
        return summed(partial(delta_w3, step.weights), *arrays)  # as the rule does


def released_table(repeats: int) -> tuple[Table, list[Row]]:
    """Measure both rules both ways."""
    step = Step.draw(UNITS, RADIUS, np.dtype("float32"), STIMULI)
    exact = ours(step)
    pairs = {
        "dW1": {"released": lambda: released_w1(step), "ours": lambda: exact(1e-5, 1e-5)},
        "dW3": {"released": lambda: released_w3(step), "ours": lambda: our_w3(step)},
    }
    theirs, mine = step.residual(euler(step)), step.residual(exact(1e-5, 1e-5)[0])
    words = f"n = {UNITS}, {STIMULI} stimuli, radius {RADIUS}, float32: residual as released {theirs:.1e}, ours {mine:.1e}"
    table, rows = Table("rule", "as released (ms)", "ours (ms)", "ratio", title=words), []
    for rule, runs in pairs.items():
        times = interleaved(runs, repeats)
        medians = {f"{name}_ms": 1e3 * statistics.median(each) for name, each in times.items()}
        row = {"rule": rule, **medians, "ratio": ratio(times["released"], times["ours"])}
        rows.append(row | {"released_residual": theirs, "residual": mine})
        table.add_row(rule, f"{row['released_ms']:.0f}", f"{row['ours_ms']:.1f}", f"{row['ratio']:.0f}")
    return table, rows
