"""The learning rules of the paper: their formulas, and each by name as a metric with a retraction or a per-stimulus rule.

The formulas of Zhu & Rosenbaum (2024) stand here under their own names. Rows are stimuli: R rates, G gains, E = ∂L/∂r.
"""

from functools import partial
from typing import Any, final

from array_api_compat import array_namespace

from manifolds import Array, Identity, Point, PullbackManifold, Resolvent, WeightManifold
from riemannrnn.learning.evaluation import Evaluation
from riemannrnn.learning.optimizers import Adam, Memory, MetricRule, ParallelTransport, Rule
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
        r, g and ℓ, shape (batch, n); ℓ holds the factor 1/m of the mean.
    recurrent
        R Wᵀ where it is known (at a fixed point it is z − x), which saves a product.

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
    """ΔW3: each stimulus' natural gradient under its own gain metric, summed. In a linear network W − η grad J (resolvent)."""

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Array, Memory]:
        arrays = (evaluation.rates, evaluation.gains, evaluation.errors, evaluation.recurrent)
        delta = summed(partial(delta_w3, evaluation.weights), *arrays)
        return learning_rate * delta, None


@final
class DeltaW4(Rule):
    """ΔW4: as ΔW3, with fewer gains; the same in a linear network."""

    def velocity(
        self, point: Point, evaluation: Evaluation, learning_rate: float, memory: Memory = None
    ) -> tuple[Array, Memory]:
        delta = summed(partial(delta_w4, evaluation.weights), evaluation.rates, evaluation.gains, evaluation.errors)
        return learning_rate * delta, None


def _euclidean(n: int) -> WeightManifold:
    return PullbackManifold(Identity(), n)


def _resolvent(n: int) -> WeightManifold:
    return PullbackManifold(Resolvent(), n)


RULES_WITH_MANIFOLD = ("geodesic_flow", "parallel_transport", "adam")
"""The rules known by name that take a manifold."""

RULES: tuple[str, ...] = ("dW1", "dW2", "dW3", "dW4", *RULES_WITH_MANIFOLD)
"""The rules known by name."""


def make_rule(name: "str | Rule", n: int, manifold: Any = None) -> Rule:
    """Return the rule of that name for a network of n units.

    Parameters
    ----------
    name
        One of `RULES`, or a rule, which is returned.
    n
        Number of units.
    manifold
        The metric of "geodesic_flow", "parallel_transport" and "adam"; default: the resolvent metric. No other rule takes
        one.

    Raises
    ------
    ValueError
        For an unknown name, a manifold given to a rule that has its own, or one given by name.
    """
    if isinstance(manifold, str):
        raise ValueError(f"manifold = {manifold!r} is a name; pass a manifold, such as PullbackManifold(Resolvent(), {n})")
    if isinstance(name, Rule):
        if manifold is not None:
            raise ValueError(f"the rule {name.name} is made already; give the manifold to the rule")
        return name
    if name not in RULES:
        raise ValueError(f"rule {name!r} is unknown; choose one of {', '.join(RULES)}")
    if name.startswith("dW") and manifold is not None:
        raise ValueError(f"rule {name!r} has a metric of its own; use 'geodesic_flow' to choose the manifold")
    if name == "dW1":
        return MetricRule(_euclidean(n), "additive")
    if name == "dW2":
        return MetricRule(_resolvent(n))
    if name == "dW3":
        return DeltaW3()
    if name == "dW4":
        return DeltaW4()
    chosen = manifold or _resolvent(n)
    return {"geodesic_flow": MetricRule, "parallel_transport": ParallelTransport, "adam": Adam}[name](chosen)


def descent_cosine(step: Array, gradient: Array) -> float:
    """Return the cosine between a step and −∇J in the Euclidean inner product; positive: the step descends.

    ΔW3 and ΔW4 sum natural gradients under a different metric for each stimulus, so that the sum need not be one.
    """
    xp = array_namespace(step, gradient)
    norm = xp.linalg.vector_norm
    return -float(xp.sum(step * gradient) / (norm(step) * norm(gradient)))
