"""A curve of the MNIST figure: the paper's network trained by one rule at one rate, as released or with exact fixed points."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import nan
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from manifolds import Array
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.cost.losses import CrossEntropy
from riemannrnn.data import Dataset
from riemannrnn.equilibrium import FixedPointError, FixedPoints
from riemannrnn.equilibrium.fixed_points import default_tolerance
from riemannrnn.equilibrium.stability import survey_stability
from riemannrnn.models import RateNetwork, Response
from riemannrnn.norms import row_norms
from riemannrnn.paper.recorded import load_recorded
from riemannrnn.rules.named import make_rule

EULER_STEPS, EULER_STEP = 500, 0.01
"""The released code integrates τ ṙ = −r + f(W r + x) by this many steps of this length in τ: 5 τ, not to a fixed point."""

STRIDE = 5
"""Number of Euler steps that are taken at once."""

RADIUS = 0.5
"""Spectral radius of the initial weights."""

LAST = 20
"""Number of last steps in the mean that is the quoted accuracy."""

JUDGED = ("final_accuracy", "final_lost", "final_unstable", "worst_abscissa", "largest_real_part")
"""The measured properties of a trained network."""

COMPONENTS = ["real", "imaginary"]

ANY_RESIDUAL = 1e30
"""A tolerance that accepts any rates."""

Curve: TypeAlias = tuple[str, float]
"""A rule and a learning rate."""

AfterStep: TypeAlias = Callable[[], bool]
"""Called after each step of a run; the run ends if it returns true."""


def recorded_curves() -> tuple[Curve, ...]:
    """Return the rules and learning rates of the authors' recorded curves."""
    recorded = load_recorded("mnist")["rules"]
    return tuple((rule, rate) for rule, curves in recorded.items() for rate in curves["learning_rates"])


@dataclass(frozen=True)
class Settings:
    """The settings of the experiment. Default: the paper's settings.

    Parameters
    ----------
    as_released
        500 Euler steps instead of fixed points, and each update from a test batch, as in the authors' code.
    seeds
        Seeds of the networks and of the batches.
    n_units, batch_size, epochs
        Size of the network, stimuli in a step, passes through the training set.
    curves
        Rules and learning rates. Default: the fifteen of the authors.
    """

    as_released: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)
    n_units: int = 300
    batch_size: int = 512
    epochs: int = 3
    curves: tuple[Curve, ...] = field(default_factory=recorded_curves)

    @property
    def source(self) -> str:
        """The part of the data for updates."""
        return "test" if self.as_released else "training"


def euler_rates(weights: Array, drive: Array, steps: int = EULER_STEPS, step: float = EULER_STEP) -> Array:
    """Return the rates after a number of Euler steps r ← r + h v(r), v(r) = tanh(W r + x) − r, from r = 0, shape (batch, n).

    After the first few steps, `STRIDE` steps are taken at once: v is extrapolated along the path by the cubic through its last
    four values, and summed over the steps. This is an explicit multistep method of Adams with sums instead of integrals. After
    5 τ it agrees with single steps to float32 rounding for spectral radii up to 1, and to 3e-5 for radius 2. It needs a fifth
    of the matrix products.

    Parameters
    ----------
    weights, drive
        W, shape (n, n), and x, shape (batch, n); NumPy arrays.
    steps, step
        Number and length h of the steps, in units of τ.
    """
    transposed = np.ascontiguousarray(weights.T)
    rates = np.zeros_like(drive)

    def velocity() -> Array:
        result = rates @ transposed
        result += drive
        np.tanh(result, out=result)
        result -= rates
        return result

    shares = [drive.dtype.type(step * share) for share in adams_sums(STRIDE, 4)]
    recent: deque[Array] = deque(maxlen=4)
    done = 0
    while done < steps:
        current = velocity()
        if done % STRIDE == 0:
            recent.appendleft(current)
        if len(recent) == 4 and done % STRIDE == 0 and done + STRIDE <= steps:
            for share, each in zip(shares, recent, strict=True):
                rates += share * each
            done += STRIDE
        else:
            rates += drive.dtype.type(step) * current
            done += 1
    return rates


def adams_sums(stride: int, order: int) -> Array:
    """Return w with Σ_j w_j p(−j s) = p(0) + … + p(s − 1) for every polynomial p of degree below `order`, s = `stride`."""
    nodes, ahead = -stride * np.arange(order), np.arange(stride)
    degrees = np.arange(order)[:, None]
    return np.linalg.solve(nodes.astype(float) ** degrees, np.sum(ahead.astype(float) ** degrees, axis=1))


def released_rates(network: RateNetwork, weights: Array, drive: Array) -> FixedPoints:
    """Return the rates that the released code uses as fixed points: the rates after 5 τ, with any residual."""
    rates = euler_rates(weights, drive)
    return network.solve(weights, drive, initial_rates=rates, solver="picard", tolerance=ANY_RESIDUAL, max_iterations=0)


def exact_rates(network: RateNetwork, weights: Array, drive: Array) -> FixedPoints:
    """Return the fixed points; stimuli without one are marked."""
    return network.solve(weights, drive, on_failure="mask")


def relative_residual(fixed_points: FixedPoints) -> Array:
    """Return ‖f(W r + x) − r‖ / ‖r‖ for each stimulus, infinite if r = 0 is not a fixed point; shape (batch,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(fixed_points.residual / row_norms(fixed_points.rates), nan=0.0, posinf=np.inf)


class Experiment:
    """The task of one seed: a network, its start, the data and the order of the batches, the same for every curve.

    Parameters
    ----------
    settings
        The settings.
    seed
        Seed of the network and of the batches.
    training, test
        MNIST.
    """

    def __init__(self, settings: Settings, seed: int, training: Dataset, test: Dataset) -> None:
        self.settings, self.seed = settings, seed
        self.parts = {"training": training, "test": test}
        dtype = training.stimuli.dtype
        self.network = RateNetwork(settings.n_units, training.stimuli.shape[1], training.n_classes, "tanh", seed, dtype)
        # The tolerance of the adjoints: a tolerance that accepts any rates would also accept any adjoints.
        options: dict[str, Any] = {"tolerance": default_tolerance(training.stimuli), "on_failure": "mask"}
        self._costs = {
            name: FixedPointCost(self.network, part.stimuli, CrossEntropy(part.labels), **options)
            for name, part in self.parts.items()
        }
        self._rates = released_rates if settings.as_released else exact_rates

    @property
    def steps(self) -> int:
        """Number of steps of a curve; the last batch of an epoch may be smaller."""
        return self.settings.epochs * -(-len(self.parts["training"].labels) // self.settings.batch_size)

    def run(self, rule: str, learning_rate: float, after_step: AfterStep = lambda: False) -> xr.Dataset:
        """Train by one rule.

        Parameters
        ----------
        rule, learning_rate
            "dW1", "dW3" or "dW4", and η for the mean over the batch.
        after_step
            Called after each step.

        Returns
        -------
        Dataset
            `loss` and `accuracy` of the batches of both parts before each step. A stimulus without a fixed point counts as
            wrong and is not in the loss. `lost`: the number of these stimuli in the batch of the update. `residual`: the median
            of ‖f(W r + x) − r‖ / ‖r‖ in this batch. `seconds`. The results of `judge` for the trained network. NaN if not
            measured. The attribute `stopped` says why a run ended early.
        """
        record = self._blank()
        weights, stepper = self.network.initial_weights(RADIUS), make_rule(rule, self.settings.n_units)
        try:
            for step, rows in enumerate(self._batches()):
                began = time.perf_counter()
                for name in rows:
                    evaluation, accuracy = self._evaluate(name, weights, rows[name])
                    record["loss"].loc[name, step] = evaluation.cost
                    record["accuracy"].loc[name, step] = accuracy
                    if name == self.settings.source:
                        fixed_points = evaluation.fixed_points
                        record["lost"][step] = np.count_nonzero(~fixed_points.converged)
                        record["residual"][step] = np.median(relative_residual(fixed_points))
                        changed, _ = stepper.step(weights, evaluation, learning_rate)
                weights = changed
                record["seconds"][step] = time.perf_counter() - began
                if after_step():
                    record.attrs["stopped"] = f"interrupted after {step + 1} steps"
                    return record
        except FixedPointError as error:
            record.attrs["stopped"] = f"step {step}: {error}"
        return record.assign(self.judge(weights)) if np.isfinite(weights).all() else record

    def judge(self, weights: Array) -> xr.Dataset:
        """Return properties of trained weights, from exact fixed points over the whole test set.

        Returns
        -------
        Dataset
            `final_accuracy`: stimuli without a fixed point count as wrong. `final_lost`: the number of these stimuli.
            `final_unstable`: the number of stimuli with an unstable fixed point. `worst_abscissa` of −I + G W.
            `largest_real_part` of the eigenvalues of W. `eigenvalue` of −I + G W for the first stimulus with a fixed point,
            over `component` (real, imaginary) and `unit`.
        """
        cost, labels = self._costs["test"], self.parts["test"].labels
        fixed_points = exact_rates(self.network, weights, cost.batch)
        found = fixed_points.converged
        right = (np.argmax(self.network.outputs(fixed_points.rates), axis=1) == labels) & found
        values: dict[str, object] = {
            "final_accuracy": float(np.mean(right)),
            "final_lost": float(np.count_nonzero(~found)),
            "largest_real_part": float(np.linalg.eigvals(weights).real.max()),
        }
        if found.any():
            gains = fixed_points.gains[found]
            values["worst_abscissa"], unstable = survey_stability(fixed_points.operator, gains)
            values["final_unstable"] = float(unstable)
            eigenvalues = np.linalg.eigvals(gains[0][:, None] * weights) - 1
            values["eigenvalue"] = (("component", "unit"), np.stack([eigenvalues.real, eigenvalues.imag]))
        return xr.Dataset(values, coords={"component": COMPONENTS})

    def _evaluate(self, name: str, weights: Array, rows: Array) -> tuple[Evaluation, float]:
        if not np.isfinite(weights).all():
            raise FixedPointError("the weights hold NaN or infinity: the step before was too long.")
        batch = self._costs[name].take(rows)
        fixed_points = self._rates(self.network, weights, batch.batch)
        evaluation = Evaluation(batch, Response(self.network, weights, batch.batch, (fixed_points,), batch.solving))
        right = np.argmax(evaluation.outputs, axis=1) == self.parts[name].labels[rows]
        return evaluation, float(np.mean(right & fixed_points.converged))

    def _batches(self) -> Iterator[dict[str, Array]]:
        """Yield the rows of each step's batches: the batch of the update, and one of the other part if curves are compared.

        The training set is used in a new random order in each epoch; test batches are drawn independently for each step.
        """
        generator, size = np.random.default_rng([self.seed, 1]), self.settings.batch_size
        counts = {name: len(part.labels) for name, part in self.parts.items()}
        compared = {*load_recorded("mnist")["steps"], *range(self.steps - LAST, self.steps)}
        step = 0
        for _ in range(self.settings.epochs):
            order = generator.permutation(counts["training"])
            for start in range(0, order.size, size):
                test_rows = generator.choice(counts["test"], min(size, counts["test"]), replace=False)
                rows = {"training": order[start : start + size], "test": test_rows}
                yield rows if step in compared else {self.settings.source: rows[self.settings.source]}
                step += 1

    def _blank(self) -> xr.Dataset:
        curves = {name: (("part", "step"), np.full((2, self.steps), nan)) for name in ("loss", "accuracy")}
        counts = {name: ("step", np.full(self.steps, nan)) for name in ("lost", "residual", "seconds")}
        judged: dict[str, Any] = dict.fromkeys(JUDGED, nan)
        judged["eigenvalue"] = (("component", "unit"), np.full((2, self.settings.n_units), nan))
        coordinates = {"part": list(self.parts), "step": np.arange(self.steps), "component": COMPONENTS}
        return xr.Dataset(curves | counts | judged, coords=coordinates)
