"""Angles between the updates of ΔW1, ΔW2 and ΔW3 during learning, in the Euclidean and the resolvent metric."""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from manifolds import Array
from riemannrnn.paper.linear_network import LinearTask, delta_a, delta_w1, delta_w2, delta_w3, fixed_points
from riemannrnn.paper.reproduction import Claim, Reproduction, Row
from riemannrnn.progress import Progress, ignore

STEPS, LEARNING_RATES = 1000, (0.1, 1.0)
"""Steps of a path, and η. A longer step of ΔW2 is more curved, so its angles depend on η."""

PATHS = ("dW1", "dW2", "dW3")
"""The rule that generates the path, on which all three are compared."""

METRICS = ("euclidean", "resolvent")

PAIRS = ("theta_12", "theta_23")
"""θ₁₂ between ΔW1 and ΔW2, θ₂₃ between ΔW2 and ΔW3."""


def angle(first: Array, second: Array) -> Array:
    """Return the angle in degrees between matrices of shape (…, n, n), accurate for small angles (Kahan's formula)."""
    unit = [each / np.linalg.norm(each, axis=(-2, -1), keepdims=True) for each in (first, second)]
    difference, total = (np.linalg.norm(unit[0] + sign * unit[1], axis=(-2, -1)) for sign in (-1, 1))
    return np.degrees(2 * np.arctan2(difference, total))


def updates(task: LinearTask, weights: Array, learning_rates: Array) -> dict[str, Array]:
    """Return the update of each rule at W with η = `learning_rates`, arrays of shape (n_rates, n, n)."""
    rates = learning_rates[:, None, None]
    fixed = fixed_points(weights, task.stimuli)
    errors = task.errors(fixed)
    return {
        "dW1": rates * delta_w1(weights, fixed, errors),
        "dW2": delta_w2(weights, rates * delta_a(task.stimuli, errors)),
        "dW3": rates * delta_w3(weights, task.stimuli, errors),
    }


def angles(weights: Array, changes: dict[str, Array]) -> Array:
    """Return θ₁₂ and θ₂₃ in both metrics, shape (metric, pair, …), in degrees.

    The resolvent metric ⟨A U A, A V A⟩ of U and V is the Euclidean inner product of A U A and A V A, with A = (I − W)⁻¹.
    """
    response = np.linalg.inv(np.eye(weights.shape[-1]) - weights)
    result = []
    for metric in METRICS:
        seen = changes if metric == "euclidean" else {name: response @ each @ response for name, each in changes.items()}
        result.append([angle(seen["dW1"], seen["dW2"]), angle(seen["dW2"], seen["dW3"])])
    return np.array(result)


def reproduce(
    progress: Progress = ignore,
    *,
    n_units: int = 200,
    n_samples: int = 100,
    steps: int = STEPS,
    learning_rates: Sequence[float] = LEARNING_RATES,
) -> Reproduction:
    """Follow each rule, and compare all three rules on its path, at steps that grow by a constant factor.

    Returns
    -------
    Reproduction
        `angle` in degrees over path, metric, pair, learning_rate and step, and `loss` over path, learning_rate and step.
    """
    task, grid = LinearTask.draw(n_units, n_samples), np.array(learning_rates)
    shown = np.unique(np.geomspace(1, steps, 40).astype(int)) - 1
    found = np.full((len(PATHS), len(METRICS), len(PAIRS), grid.size, shown.size), np.nan)
    loss = np.full((len(PATHS), grid.size, shown.size), np.nan)
    for number, path in enumerate(PATHS):
        weights = np.broadcast_to(task.initial_weights, (grid.size, n_units, n_units))
        for t in range(steps):
            changes = updates(task, weights, grid)
            if t in shown:
                place = int(np.searchsorted(shown, t))
                found[number, ..., place] = angles(weights, changes)
                loss[number, :, place] = task.loss_of_weights(weights)
            weights = weights + changes[path]
            progress((number + (t + 1) / steps) / len(PATHS))
    data = xr.Dataset(
        {
            "angle": (("path", "metric", "pair", "learning_rate", "step"), found, {"units": "degree"}),
            "loss": (("path", "learning_rate", "step"), loss),
        },
        coords={"path": list(PATHS), "metric": list(METRICS), "pair": list(PAIRS), "learning_rate": grid, "step": shown},
        attrs={
            "title": "Angles between ΔW1, ΔW2 and ΔW3 along learning",
            "units": n_units, "samples": n_samples, "seed": "numpy.random.RandomState(2023)",
        },
    )  # fmt: skip
    return Reproduction("angles", data, tuple(_claims(data)), tuple(_details(data)))


def _range(values: xr.DataArray) -> str:
    return f"{float(values.min()):.3g}° to {float(values.max()):.3g}°"


def _claims(data: xr.Dataset) -> Iterator[Claim]:
    published = data["angle"].sel(metric="euclidean")
    theta_12, theta_23 = (published.sel(pair=pair) for pair in PAIRS)
    yield Claim(
        "ΔW2 and ΔW3 point the same way: θ₂₃ is small (Euclidean)",
        "no number recorded",
        _range(theta_23),
        float(theta_23.max()) < 10,
    )
    yield Claim(
        "ΔW1 and ΔW2 point different ways: θ₁₂ is large (Euclidean)",
        "no number recorded",
        _range(theta_12),
        float(theta_12.min()) > 30,
    )
    yield Claim(
        "Both descend: θ₁₂ stays below 90° (Euclidean)", "no number recorded", _range(theta_12), float(theta_12.max()) < 90
    )
    ours = data["angle"].sel(metric="resolvent")
    first, second = (ours.sel(pair=pair) for pair in PAIRS)
    yield Claim(
        "The same holds in the metric under which ΔW2 and ΔW3 are steepest descent",
        "not computed by the authors",
        f"resolvent metric: θ₁₂ {_range(first)}, θ₂₃ {_range(second)}",
        float(second.max()) < 10 and float(first.min()) > 30 and float(first.max()) < 90,
    )


def _details(data: xr.Dataset) -> Iterator[Row]:
    for path in PATHS:
        for rate in data["learning_rate"].values:
            for metric in METRICS:
                chosen = data["angle"].sel(path=path, learning_rate=rate, metric=metric)
                first, second = (chosen.sel(pair=pair) for pair in PAIRS)
                yield {
                    "along": path,
                    "rate": f"{rate:g}",
                    "metric": metric,
                    "θ₁₂ at the start": f"{float(first[0]):.1f}°",
                    "θ₁₂ range": _range(first),
                    "θ₂₃ at the start": f"{float(second[0]):.3g}°",
                    "θ₂₃ range": _range(second),
                }
