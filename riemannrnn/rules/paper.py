"""The learning rules of the paper: their formulas, and ΔW3 and ΔW4, which use one metric for each stimulus.

The formulas of Zhu & Rosenbaum (2024) have their own names here. Rows are stimuli: R rates, G gains, E = ∂L/∂r.
"""

from functools import partial
from typing import final

from manifolds import Array, Point
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.rules.rule import Memory, Rule
from riemannrnn.runtime import summed


def delta_w1(rates: Array, adjoints: Array) -> Array:
    """Return ΔW1 / η = −Σ u rᵀ with u = (I − G Wᵀ)⁻¹ G ℓ: the negative Euclidean gradient, shape (n, n)."""
    return -(adjoints.T @ rates)


def delta_w3(weights: Array, rates: Array, gains: Array, errors: Array, recurrent: Array | None = None) -> Array:
    """Return ΔW3 / η = −Σ (I − W G) G ℓ [(I − G W)ᵀ (I − G W) r]ᵀ, four matrix products and no linear solve.

    Parameters
    ----------
    weights
        W, shape (n, n).
    rates, gains, errors
        r, g and ℓ, shape (batch, n); ℓ contains the factor 1/m of the mean.
    recurrent
        R Wᵀ if it is known (at a fixed point it is z − x); this saves a product.

    Returns
    -------
    Array
        Shape (n, n).
    """
    recurrent = rates @ weights.T if recurrent is None else recurrent
    scaled = errors * gains
    left = scaled - (scaled * gains) @ weights.T
    residual = rates - recurrent * gains
    right = residual - (residual * gains) @ weights
    return -(left.T @ right)


def delta_w4(weights: Array, rates: Array, gains: Array, errors: Array) -> Array:
    """Return ΔW4 / η = −Σ (I − W G) ℓ [(I − W G)ᵀ (I − W G) r]ᵀ, arguments as for `delta_w3`."""
    left = errors - (errors * gains) @ weights.T
    residual = rates - (rates * gains) @ weights.T
    right = residual - (residual @ weights) * gains
    return -(left.T @ right)


@final
class DeltaW3(Rule):
    """ΔW3: sum of the stimuli's natural gradients under their gain metrics. In a linear network W − η grad J (resolvent)."""

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Array, Memory]:
        arrays = (evaluation.rates, evaluation.gains, evaluation.errors, evaluation.recurrent)
        delta = summed(partial(delta_w3, evaluation.weights), *arrays)
        return learning_rate * delta, None


@final
class DeltaW4(Rule):
    """ΔW4: ΔW3 with fewer gains; the two are equal in a linear network."""

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Array, Memory]:
        delta = summed(partial(delta_w4, evaluation.weights), evaluation.rates, evaluation.gains, evaluation.errors)
        return learning_rate * delta, None
