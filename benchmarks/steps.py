"""One exact-gradient step: its inputs, its residuals, ours, and a plain NumPy loop."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from manifolds import Array
from riemannrnn import CrossEntropy, RateNetwork
from riemannrnn.equilibrium.implicit import Implicit
from riemannrnn.runtime import one_blas_thread

INPUTS, CLASSES = 784, 10
TOLERANCES = {"float32": 1e-5, "float64": 1e-8}
LARGE, LARGE_TOLERANCE = 500, 3e-5
"""Rates of more units than this have norms of 25 and more: in float32 1e-5 is then below their rounding, four epsilons."""

LIMIT = 400
"""Most iterations of every contender."""

Outcome: TypeAlias = tuple[Array, Array, Array]
"""Rates, adjoints and the gradient."""

Run: TypeAlias = Callable[[float, float], Outcome]
"""Takes a step, given a tolerance for the fixed points and one for the adjoints."""


@dataclass(frozen=True)
class Step:
    """The inputs of a step.

    Attributes
    ----------
    weights, drive, readout, labels
        W, x, the readout and the labels.
    """

    weights: Array
    drive: Array
    readout: Array
    labels: Array

    @classmethod
    def draw(cls, n: int, radius: float, dtype: np.dtype[Any], stimuli: int) -> "Step":
        """Draw a network, and sparse random images in [0, 1] of the size of MNIST's."""
        generator = np.random.default_rng(0)
        images = generator.random((stimuli, INPUTS)) * (generator.random((stimuli, INPUTS)) < 0.2)
        network = RateNetwork(n, INPUTS, CLASSES, seed=0, dtype=dtype)
        drive = network.drive(images.astype(dtype))
        return cls(network.initial_weights(radius), drive, network.readout, generator.integers(CLASSES, size=stimuli))

    @property
    def tolerance(self) -> float:
        """The residual that every contender must meet."""
        large = self.weights.shape[0] > LARGE and self.weights.dtype == np.float32
        return LARGE_TOLERANCE if large else TOLERANCES[self.weights.dtype.name]

    def errors(self, rates: Array) -> Array:
        """Return ℓ for each stimulus."""
        return CrossEntropy(self.labels).gradient(rates @ self.readout.T) @ self.readout

    def residual(self, rates: Array) -> float:
        """Return the largest ‖tanh(W r + x) − r‖ over stimuli, in float64; not finite if rates are not."""
        W, x, R = (np.asarray(array, np.float64) for array in (self.weights, self.drive, rates))
        return float(np.linalg.norm(np.tanh(R @ W.T + x) - R, axis=1).max())

    def adjoint_residual(self, rates: Array, adjoints: Array) -> float:
        """Return the largest ‖g ∘ (ℓ + Wᵀ u) − u‖ over stimuli, in float64."""
        W, R, U = (np.asarray(array, np.float64) for array in (self.weights, rates, adjoints))
        errors = np.asarray(self.errors(rates), np.float64)
        return float(np.linalg.norm((1 - R * R) * (errors + U @ W) - U, axis=1).max())


def ours(step: Step, solver: str = "auto", threads: Callable[[], AbstractContextManager[None]] = one_blas_thread) -> Run:
    """Return our step with a solver, in the context of `train` or in another."""
    network = RateNetwork(step.weights.shape[0], None, CLASSES, seed=0, dtype=step.weights.dtype)

    def run(tolerance: float, adjoint_tolerance: float) -> Outcome:
        options: dict[str, Any] = {"solver": solver, "max_iterations": LIMIT, "on_failure": "mask"}
        with threads():
            fixed_points = network.solve(step.weights, step.drive, tolerance=tolerance, **options)
            implicit = Implicit(fixed_points, solver, adjoint_tolerance, LIMIT)
            adjoints = implicit.adjoint(step.errors(fixed_points.rates))
            return fixed_points.rates, adjoints, implicit.gradient(adjoints)

    return run


def numpy_picard(step: Step) -> Run:
    """Return a plain Picard loop, written in place as a careful NumPy user would write it."""
    transposed = step.weights.T

    def iterate(state: Array, product: Callable[[Array, Array], None], tolerance: float) -> Array:
        image = np.empty_like(state)
        for _ in range(LIMIT):
            product(state, image)
            state -= image
            residual = np.sqrt(np.einsum("ij,ij->i", state, state).max())
            state, image = image, state
            if residual < tolerance:
                break
        return state

    def run(tolerance: float, adjoint_tolerance: float) -> Outcome:
        def forward(rates: Array, out: Array) -> None:
            np.matmul(rates, transposed, out=out)
            np.add(out, step.drive, out=out)
            np.tanh(out, out=out)

        rates = iterate(np.tanh(step.drive), forward, tolerance)
        gains, errors = 1 - rates * rates, step.errors(rates)

        def backward(adjoints: Array, out: Array) -> None:
            np.matmul(adjoints, step.weights, out=out)
            np.add(out, errors, out=out)
            np.multiply(out, gains, out=out)

        adjoints = iterate(gains * errors, backward, adjoint_tolerance)
        return rates, adjoints, adjoints.T @ rates

    return run
