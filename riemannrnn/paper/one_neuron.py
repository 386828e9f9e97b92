"""One linear neuron, r = x / (1 − W): the cost is singular at W = 1 and a parabola in a = 1 / (1 − W)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from manifolds import Array
from riemannrnn.paper.linear_network import AUTHORS_SEED
from riemannrnn.paper.reproduction import Claim, Reproduction, Row
from riemannrnn.progress import Progress, ignore

STEPS = 20_000
"""Steps of a learning curve."""

STARTS = (-2.0, 0.0, 0.9, 2.0)
"""W₀: the two starts of the paper, one beside the singularity and one beyond it."""

PAPER_STARTS = STARTS[:2]

LEARNING_RATES = {"dW1": (0.02, 0.2, 2.0, 20.0), "dW2": (0.02, 0.2, 2.0), "dW3": (0.02, 0.2, 2.0)}
"""η of each rule in the paper."""

COMMON_RATE = 2.0
"""The largest rate that is used for every rule."""

ARRIVED = 0.01
"""A run has arrived at the first step after which |W − W*| stays below this."""

RUNAWAY = 1e6
"""A run is ended when its weight exceeds this: it diverges to infinity."""


@dataclass(frozen=True)
class NeuronTask:
    """Targets y = x / (1 − Ŵ) + noise for one linear neuron, J = mean (r − y)².

    Attributes
    ----------
    stimuli, targets
        x and y, shape (m,).
    """

    stimuli: Array
    targets: Array

    @classmethod
    def draw(cls, n_samples: int = 500, seed: int = AUTHORS_SEED) -> "NeuronTask":
        """Draw x with standard deviation 0.1, and y for Ŵ = −1 with noise of 0.02."""
        generator = np.random.RandomState(seed)
        stimuli = 0.1 * generator.randn(n_samples)
        return cls(stimuli, stimuli / 2 + 0.02 * generator.randn(n_samples))

    @property
    def best_response(self) -> float:
        """The a that minimises J, mean(x y) / mean(x²)."""
        return float(np.mean(self.stimuli * self.targets) / np.mean(self.stimuli**2))

    @property
    def best_weight(self) -> float:
        """W* = 1 − 1/a*."""
        return 1 - 1 / self.best_response

    def loss(self, response: Array) -> Array:
        """Return J(a) = mean(x²) (a − a*)² + J(a*), for any shape of a."""
        floor = np.mean((self.best_response * self.stimuli - self.targets) ** 2)
        return np.mean(self.stimuli**2) * (response - self.best_response) ** 2 + floor

    def slope(self, response: Array) -> Array:
        """Return dJ/da = 2 mean(x²) (a − a*)."""
        return 2 * np.mean(self.stimuli**2) * (response - self.best_response)


def response(weight: Array) -> Array:
    """Return a = 1 / (1 − W), infinite at W = 1."""
    with np.errstate(divide="ignore"):
        return 1 / (1 - np.asarray(weight, dtype=float))


def step(task: NeuronTask, rule: str, weight: Array, learning_rate: Array) -> Array:
    """Return the next W: dJ/dW = a² dJ/da for ΔW1, a straight step in a for ΔW2, (1 − W)² dJ/da for ΔW3."""
    a = response(weight)
    slope = task.slope(a)
    if rule == "dW1":
        return weight - learning_rate * a**2 * slope
    if rule == "dW2":
        return 1 - 1 / (a - learning_rate * slope)
    return weight - learning_rate * (1 - weight) ** 2 * slope


def reproduce(progress: Progress = ignore, *, n_samples: int = 500, steps: int = STEPS) -> Reproduction:
    """Run every rule from every start at every rate, and tabulate J against W and against a.

    Returns
    -------
    Reproduction
        `weight` and `loss` over rule, start, learning_rate and step, NaN for rates that are not tried and after the end of a
        run; `cost` and `response` over `weight_grid`; `cost_of_response` over `response_grid`; `stimulus` and `target` over
        sample.
    """
    task = NeuronTask.draw(n_samples)
    rates = np.array(LEARNING_RATES["dW1"])
    weights = np.full((len(LEARNING_RATES), len(STARTS), rates.size, steps + 1), np.nan)
    for number, (rule, tried) in enumerate(LEARNING_RATES.items()):
        weights[number, :, : len(tried), 0] = np.array(STARTS)[:, None]
        for t in range(steps):
            following = step(task, rule, weights[number, :, :, t], rates)
            weights[number, :, :, t + 1] = np.where(abs(following) < RUNAWAY, following, np.nan)
        progress((number + 1) / len(LEARNING_RATES))
    weight_grid, response_grid = np.linspace(-3, 3, 1201), np.linspace(-3, 3, 1201)
    dims = ("rule", "start", "learning_rate", "step")
    data = xr.Dataset(
        {
            "weight": (dims, weights),
            "loss": (dims, task.loss(response(weights))),
            "cost": ("weight_grid", task.loss(response(weight_grid))),
            "response": ("weight_grid", response(weight_grid)),
            "cost_of_response": ("response_grid", task.loss(response_grid)),
            "stimulus": ("sample", task.stimuli),
            "target": ("sample", task.targets),
        },
        coords={
            "rule": list(LEARNING_RATES), "start": list(STARTS), "learning_rate": rates, "step": np.arange(steps + 1),
            "weight_grid": weight_grid, "response_grid": response_grid,
        },
        attrs={
            "title": "One linear neuron", "samples": n_samples, "seed": "numpy.random.RandomState(2023)",
            "best weight": task.best_weight, "least cost": float(task.loss(np.array(task.best_response))),
        },
    )  # fmt: skip
    return Reproduction("one-neuron", data, tuple(_claims(task, data)), tuple(_details(task, data)))


def arrival(task: NeuronTask, weights: Array) -> int | None:
    """Return the first step after which |W − W*| stays below `ARRIVED`; None if there is none."""
    away = np.flatnonzero(~(abs(weights - task.best_weight) < ARRIVED))
    first = 0 if away.size == 0 else int(away[-1]) + 1
    return first if first < weights.size else None


def _runs(data: xr.Dataset) -> Iterator[tuple[str, float, float, Array]]:
    for rule, tried in LEARNING_RATES.items():
        for start in STARTS:
            for rate in tried:
                yield rule, start, rate, data["weight"].sel(rule=rule, start=start, learning_rate=rate).values


def _claims(task: NeuronTask, data: xr.Dataset) -> Iterator[Claim]:
    beside = {side: float(task.loss(response(np.array(1 + side * 1e-6)))) for side in (-1, 1)}
    curvature = np.diff(data["cost_of_response"].values, 2)
    yield Claim(
        "J has a singularity at W = 1",
        "no number recorded",
        f"J({1 - 1e-6:.6f}) = {beside[-1]:.1e}, J({1 + 1e-6:.6f}) = {beside[1]:.1e}, J(W*) = {data.attrs['least cost']:.1e}",
        min(beside.values()) > 1e6 * data.attrs["least cost"],
    )
    spread = float(np.ptp(curvature) / curvature.mean())
    yield Claim(
        "J is a parabola in a", "no number recorded", f"its second difference varies by {spread:.0e} of itself", spread < 1e-6
    )
    runs = [(rule, rate, arrival(task, weights)) for rule, start, rate, weights in _runs(data) if start in PAPER_STARTS]
    arrived = {rule: [first is not None for name, _, first in runs if name == rule] for rule in LEARNING_RATES}
    yield Claim(
        "ΔW2 and ΔW3 learn more robustly than ΔW1 from W₀ = −2 and 0",
        "no number recorded",
        f"runs that come to stay within {ARRIVED} of W* = {task.best_weight:.3f} in {data['step'].values[-1]} steps: "
        + ", ".join(f"{rule} {sum(good)} of {len(good)}" for rule, good in arrived.items()),
        min(np.mean(arrived["dW2"]), np.mean(arrived["dW3"])) > np.mean(arrived["dW1"]),
    )
    near = {rule: float(step(task, rule, np.array(STARTS[2]), np.array(COMMON_RATE))) for rule in LEARNING_RATES}
    yield Claim(
        "Beside the singularity a step of ΔW1 is thrown far off, ΔW2 and ΔW3 move gently",
        "no number recorded",
        f"W₁ from {STARTS[2]} at rate {COMMON_RATE:g}: " + ", ".join(f"{rule} {value:.3g}" for rule, value in near.items()),
        abs(near["dW1"]) > 10 and max(abs(near["dW2"]), abs(near["dW3"])) < 2,
    )  # fmt: skip


def _details(task: NeuronTask, data: xr.Dataset) -> Iterator[Row]:
    for rule, start, rate, weights in _runs(data):
        arrived = arrival(task, weights)
        finite = weights[np.isfinite(weights)]
        ended = "" if finite.size == weights.size else f"beyond {RUNAWAY:g} after step {finite.size - 1}"
        yield {
            "rule": rule,
            "W₀": f"{start:g}",
            "rate": f"{rate:g}",
            f"within {ARRIVED} of W* from step": "not" if arrived is None else str(arrived),
            "last W": ended or f"{finite[-1]:.4g}",
        }
