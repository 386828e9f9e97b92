"""The metric that aggregates the per-stimulus metrics of ΔW3."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias, final

from array_api_compat import array_namespace
from autograd import make_vjp
from autograd.differential_operators import make_jvp_reversemode

from manifolds import Array, MetricManifold, Retraction
from manifolds.arrays import identity_like
from manifolds.autograd_chart import vanishing_derivatives
from manifolds.cometric import conjugate_gradient
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.metrics.kronecker import KroneckerFactors
from riemannrnn.metrics.response import PointMetric, manifold_of

Moments: TypeAlias = list[list[Array]]
"""The means of gᵢᵃ gⱼᵇ over stimuli at [a][b], a and b from 0 to 2, with shapes that broadcast to (n, n)."""


def gain_moments(gains: Array, included: Array) -> Moments:
    """Return the moments of gains of shape (batch, n); `included` is the weight of each stimulus, shape (batch, 1)."""
    powers = (array_namespace(included).ones_like(included), gains, gains * gains)
    return [[left.T @ (included * right) for right in powers] for left in powers]


def aggregated_sharp(weights: Array, moments: Moments, covector: Array) -> Array:
    """Return ♯P = (1/m) Σ (I − W G)(I − G Wᵀ) P (I − Wᵀ G)(I − G W) in six n × n matrix products, for any batch size.

    The gains are factors gᵢ of rows and gⱼ of columns between fixed matrices. The mean over stimuli of Gᵖ (I − G Wᵀ) P (I − Wᵀ
    G) G^q is therefore a sum of entrywise products of P, Wᵀ P, P Wᵀ and Wᵀ P Wᵀ with moments of the gains.
    """
    W, on_left = weights, weights.T @ covector
    inside = ((covector, covector @ W.T), (on_left, on_left @ W.T))

    def middle(p: int, q: int) -> Array:
        return sum((-1) ** (a + b) * moments[a + p][b + q] * inside[a][b] for a in (0, 1) for b in (0, 1))

    return middle(0, 0) - W @ (middle(1, 0) - middle(1, 1) @ W) - middle(0, 1) @ W


@final
class AggregatedMetric(PointMetric):
    """The metric with ♯ = the mean over stimuli of the ♯ of ΔW3, L Lᵀ · Rᵀ R with L = I − W G and R = I − G W.

    ΔW3 applies a different ♯ to the gradient of each stimulus. This metric applies the mean ♯ to the gradient of the batch. The
    mean is symmetric and positive definite, so −♯∇J always descends; ΔW3 may not. If all stimuli have the same gains, as in a
    linear network, the two are equal.

    ♯ costs three products with the batch and six matrix products. ♭ inverts ♯ by conjugate gradients, preconditioned by ♯ at
    the mean gains. ΔW4 has no such metric: its left factor contains G⁻¹, which is infinite if a unit is silent or saturated.

    Parameters
    ----------
    evaluation
        A cost at W.

    Raises
    ------
    FixedPointError
        If the cost is infinite, or a tangent or adjoint cannot be solved.
    SingularPointError
        From `flat`, if I − W G is singular for all stimuli.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._implicit = evaluation.implicit
        self._weights, self._gains, self._included = evaluation.weights, evaluation.gains, evaluation.averaging
        self.moments = gain_moments(self._gains, self._included)

    def sharp(self, covector: Array) -> Array:
        return aggregated_sharp(self._weights, self.moments, covector)

    def flat(self, vector: Array) -> Array:
        return conjugate_gradient(self.sharp, vector, self.factors.solve)

    @cached_property
    def factors(self) -> KroneckerFactors:
        """♯ if all stimuli had the mean gains: P ↦ L̄ L̄ᵀ P R̄ᵀ R̄."""
        identity, mean = identity_like(self._weights), self.moments[0][1]
        left, right = identity - self._weights * mean, identity - mean.T * self._weights
        return KroneckerFactors(left @ left.T, right.T @ right, 0.0)

    def sharp_derivative(self, covector: Array, along: Array) -> Array:
        implicit = self._implicit
        gains_change = implicit.curvature * implicit.inputs_change(along, implicit.tangent(along))
        by_weights, by_gains = self._dependence(covector)
        with vanishing_derivatives():
            explicit = make_jvp_reversemode(by_weights)(self._weights)(along)
            return explicit + make_jvp_reversemode(by_gains)(self._gains)(gains_change)

    def sharp_gradient(self, covector_a: Array, covector_b: Array) -> Array:
        by_weights, by_gains = self._dependence(covector_b)
        with vanishing_derivatives():
            explicit = make_vjp(by_weights)(self._weights)[0](covector_a)
            through_gains = make_vjp(by_gains)(self._gains)[0](covector_a)
        return explicit + self._implicit.state_gradient(self._implicit.curvature * through_gains)

    def _dependence(self, covector: Array) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
        """Return ♯P as a function of W at fixed gains, and as a function of the gains at fixed W."""
        return (
            lambda weights: aggregated_sharp(weights, self.moments, covector),
            lambda gains: aggregated_sharp(self._weights, gain_moments(gains, self._included), covector),
        )


def aggregated_metric(cost: FixedPointCost, retraction: Retraction = "additive", **options: Any) -> MetricManifold:
    """Return weight space under the `AggregatedMetric` of the stimuli of a cost; the fixed points are shared with the cost.

    All methods except `sectional_curvature` exist. Metric, gradient and additive retraction work in any array namespace.

    Parameters
    ----------
    cost
        The cost that provides the network, the stimuli, the solvers and the tolerance. Points that only the metric visits count
        as evaluations of J.
    retraction
        "additive" is W + V; "geodesic" integrates numerically in float64, so the cost must be in float64 too.
    options
        As for `MetricManifold`.

    Raises
    ------
    OutsideManifoldError
        From the manifold's methods, if a stimulus has no fixed point.
    """
    return manifold_of(cost, AggregatedMetric, retraction, **options)
