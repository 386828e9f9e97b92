"""The paper's linear network, its cost in W and in A = (I − W)⁻¹, and its rules in closed form.

Rows are samples: R = X Aᵀ, J = (1/m) Σ ‖r − y‖². Weights may have leading axes, with one network for each index. Every rule
returns the change for η = 1. Source: Zhu & Rosenbaum (2024), with f = id and G = I.
"""

from dataclasses import dataclass

import numpy as np

from manifolds import Array

AUTHORS_SEED = 2023
"""The seed of the released code, for `numpy.random.RandomState`."""


@dataclass(frozen=True)
class LinearTask:
    """Regression on the fixed points of a linear network.

    Attributes
    ----------
    stimuli, targets
        X and Y, shape (m, n).
    optimal_weights, initial_weights
        Ŵ, which generated the targets, and W₀, shape (n, n).
    """

    stimuli: Array
    targets: Array
    optimal_weights: Array
    initial_weights: Array

    @classmethod
    def draw(cls, n_units: int = 200, n_samples: int = 100, seed: int = AUTHORS_SEED) -> "LinearTask":
        """Draw X, Ŵ, the noise and W₀ in the order of the released code, with NumPy's legacy generator.

        X has standard deviation 0.1, the noise 0.01; Ŵ has spectral radius 0.5, and W₀ 0.75.
        """
        generator = np.random.RandomState(seed)
        stimuli = 0.1 * generator.randn(n_units, n_samples).T
        optimal = 0.5 * generator.randn(n_units, n_units) / np.sqrt(n_units)
        noise = 0.01 * generator.randn(n_units, n_samples).T
        initial = 0.75 * generator.randn(n_units, n_units) / np.sqrt(n_units)
        return cls(stimuli, fixed_points(optimal, stimuli) + noise, optimal, initial)

    def errors(self, rates: Array) -> Array:
        """Return ∂J/∂r = (2/m) (R − Y), shape (…, m, n)."""
        return 2 / self.targets.shape[0] * (rates - self.targets)

    def loss(self, rates: Array) -> Array:
        """Return J = (1/m) Σ ‖r − y‖² from rates of shape (…, m, n)."""
        return np.sum((rates - self.targets) ** 2, axis=(-2, -1)) / self.targets.shape[0]

    def loss_of_weights(self, weights: Array) -> Array:
        """Return J(W) for weights of shape (…, n, n); +∞ if I − W is singular to working precision."""
        try:
            return self.loss(fixed_points(weights, self.stimuli))
        except np.linalg.LinAlgError:
            if weights.ndim == 2:
                return np.array(np.inf)
            return np.array([self.loss_of_weights(each) for each in weights])

    def loss_of_response(self, response: Array) -> Array:
        """Return J as a function of A, shape (…, n, n): convex and quadratic."""
        return self.loss(self.stimuli @ response.mT)


def fixed_points(weights: Array, stimuli: Array) -> Array:
    """Return R with (I − W) r = x for every sample, shape (…, m, n)."""
    return np.linalg.solve(_subtracted(weights), stimuli.T).mT


def delta_w1(weights: Array, rates: Array, errors: Array) -> Array:
    """Return ΔW1 = −Σ (I − Wᵀ)⁻¹ e rᵀ, the negative Euclidean gradient, with e a row of `errors`."""
    adjoints = np.linalg.solve(_subtracted(weights).mT, errors.mT)
    return -(adjoints @ rates)


def delta_a(stimuli: Array, errors: Array) -> Array:
    """Return ΔA = −Σ e xᵀ, the negative gradient of J in A. ΔW2 is the resulting change of W: I − (A + η ΔA)⁻¹ − W."""
    return -(errors.mT @ stimuli)


def delta_w2(weights: Array, change_of_response: Array) -> Array:
    """Return ΔW2 = I − (A + ΔA)⁻¹ − W for a finite step ΔA = `change_of_response`, without forming A.

    A + ΔA = (I + ΔA B) A, so (A + ΔA)⁻¹ = B (I + ΔA B)⁻¹ and ΔW2 = B − B (I + ΔA B)⁻¹ = B (I + ΔA B)⁻¹ ΔA B.
    """
    B = _subtracted(weights)
    step = change_of_response @ B
    return B @ np.linalg.solve(np.eye(step.shape[-1]) + step, step)


def delta_w3(weights: Array, stimuli: Array, errors: Array) -> Array:
    """Return ΔW3 = −Σ (I − W) e [(I − W)ᵀ x]ᵀ, the first order of ΔW2, without a linear solve."""
    B = _subtracted(weights)
    return -((B @ errors.mT) @ (stimuli @ B))


def _subtracted(weights: Array) -> Array:
    """B = I − W."""
    return np.eye(weights.shape[-1], dtype=weights.dtype) - weights
