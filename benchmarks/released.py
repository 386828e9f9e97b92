"""The cost of the released method, written afresh: 500 Euler steps, then N × N matrices for every stimulus."""

import statistics
import time
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.peers import Step, ours
from manifolds import Array
from riemannrnn import RateNetwork
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
    found = network.solve(step.weights, step.drive)
    return delta_w3(step.weights, found.rates, found.gains, step.errors(found.rates), found.inputs - step.drive)


def released_table(repeats: int) -> tuple[Table, list[dict[str, Any]]]:
    """Measure both rules both ways."""
    step = Step.draw(UNITS, RADIUS, np.dtype("float32"), STIMULI)
    exact = ours(step)
    pairs = {"dW1": (lambda: released_w1(step), lambda: exact(1e-5)), "dW3": (lambda: released_w3(step), lambda: our_w3(step))}
    forward, _ = step.residuals(euler(step), None)
    found, _ = step.residuals(exact(1e-5)[0], None)
    table = Table(
        title=f"n = {UNITS}, {STIMULI} stimuli, radius {RADIUS}, float32: residual as released {forward:.1e}, ours {found:.1e}"
    )
    for heading in ("rule", "as released (ms)", "ours (ms)", "ratio"):
        table.add_column(heading, justify="right")
    rows = []
    for rule, contenders in pairs.items():
        times: list[list[float]] = [[], []]
        for _ in range(repeats):
            for place, run in enumerate(contenders):
                time.sleep(0.06)
                began = time.perf_counter()
                run()
                times[place].append(time.perf_counter() - began)
        theirs, mine = (1e3 * statistics.median(each) for each in times)
        ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
        table.add_row(rule, f"{theirs:.0f}", f"{mine:.1f}", f"{ratio:.0f}")
        rows.append(
            {
                "rule": rule,
                "released_ms": theirs,
                "ours_ms": mine,
                "ratio": ratio,
                "released_residual": forward,
                "residual": found,
            }
        )
    return table, rows
