"""The response metric: Gauss–Newton on the rates, exact, and as a manifold; and the base of all metrics of a network.

Notation as in `riemannrnn.equilibrium.implicit`: δr[V] is the change of the rates along V, u is an adjoint, G the gains.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, final

from manifolds import (
    Array,
    ConvergenceError,
    ManifoldError,
    MetricManifold,
    OutsideManifoldError,
    PointCache,
    Retraction,
    SingularPointError,
)
from manifolds.cometric import MAX_ITERATIONS, conjugate_gradient
from manifolds.points import copied
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.equilibrium.implicit import Implicit
from riemannrnn.metrics.kronecker import KroneckerFactors, ResponseStatistics, response_factor

INEXACT = 0.1
"""Relative residual at which an inexact ♯ ends. Measured on 200 digits: this takes 5 to 45 iterations. The quadratic model
then falls by 97 to 100 % of its fall with 50 iterations."""

INNER = 1e-5
"""Residual of tangents and adjoints inside ♯, as a fraction of the relative residual of ♯, if above the cost's tolerance."""

REMEMBERED = 4
"""Number of cached results of ♯ and of ♭ at a point: a Hessian needs four, some of them twice."""


class PointMetric(ABC):
    """A metric at one point W, computed from the fixed points of a batch."""

    @abstractmethod
    def flat(self, vector: Array) -> Array:
        """Return the covector ♭V."""

    @abstractmethod
    def sharp(self, covector: Array) -> Array:
        """Return the vector ♯P, which solves ♭(♯P) = P."""

    @abstractmethod
    def sharp_derivative(self, covector: Array, along: Array) -> Array:
        """Return D_W(♯P)[V] along V; the fixed points move with W."""

    @abstractmethod
    def sharp_gradient(self, covector_a: Array, covector_b: Array) -> Array:
        """Return ∂_W⟨P, ♯Q⟩; the fixed points move with W."""


@final
class ResponseMetric(PointMetric):
    """g_W(U, V) = (1/m) Σ ⟨δr[U], δr[V]⟩ + λ⟨U, V⟩ over the m stimuli of a batch, at the point of an evaluation.

    The length of a step is the change of the rates that it causes. In a linear network ♭V = AᵀA V RᵀR/m + λV, A = (I − W)⁻¹.
    With white stimuli and λ = 0 this is the resolvent metric up to scale. With correlated stimuli ♯ also removes their
    correlation.

    ♭ costs a tangent and an adjoint of the whole batch. ♯ costs the same for each iteration of conjugate gradients. The
    preconditioner is the Kronecker product of `KroneckerFactors` at the mean gains; a linear network then needs one iteration.

    Parameters
    ----------
    evaluation
        A cost at W. Tangents, adjoints and ♯ are as accurate as its tolerance.
    damping
        λ, in the units of ♭. The mean eigenvalue of ♭ without it is about tr(AᵀA) tr(RᵀR/m) / n². λ = 0 needs as many
        independent rates as units, and no unit that is silent for all stimuli.
    max_iterations
        Most iterations of conjugate gradients for one ♯.
    enough
        Accepted relative residual of ♯ when the iterations are used up. Conjugate gradients stop earlier at this residual, or
        at `INEXACT` if it is smaller. The vector is then an inexact natural gradient. It still descends, because every iterate
        of conjugate gradients descends. 0: as accurate as the tolerance.

    Raises
    ------
    ValueError
        For a damping that is negative or NaN.
    FixedPointError
        If the cost is infinite, or a tangent or adjoint cannot be solved.
    SingularPointError
        From `sharp` and the derivatives, if the metric is singular to working precision.

    References
    ----------
    Martens, J. Machine Learning Research 21, 2020, section 8 (Gauss–Newton).

    Examples
    --------
    >>> import numpy as np
    >>> from riemannrnn import FixedPointCost, RateNetwork, SquaredError
    >>> net = RateNetwork(3, activation="identity")
    >>> cost = FixedPointCost(net, np.eye(3), SquaredError(np.ones((3, 3))))
    >>> W = net.initial_weights()
    >>> metric, B = ResponseMetric(cost.at(W)), np.eye(3) - W
    >>> np.allclose(metric.sharp(cost.gradient(W)), 3 * B @ B.T @ cost.gradient(W) @ B.T @ B)
    True
    """

    def __init__(
        self, evaluation: Evaluation, damping: float = 0.0, max_iterations: int = MAX_ITERATIONS, enough: float = 0.0
    ) -> None:
        if not damping >= 0:
            raise ValueError(f"damping = {damping} is negative or NaN; choose zero or more")
        self.damping, self.max_iterations, self.enough = damping, max_iterations, enough
        self._evaluation = evaluation
        self._implicit = evaluation.implicit
        self._solved = PointCache(self._solve, REMEMBERED)
        self._responses = PointCache(self._respond, REMEMBERED)

    def flat(self, vector: Array) -> Array:
        """Return ♭V = (1/m) Σ u rᵀ + λV, with u the adjoint of δr[V]."""
        _, adjoint = self._responses(vector)
        return self._implicit.gradient(adjoint) + self.damping * vector

    def sharp(self, covector: Array) -> Array:
        return copied(self._solved(covector))

    @cached_property
    def factors(self) -> KroneckerFactors:
        """The Kronecker approximation: the `ResponseMetric` if all stimuli had the mean gains."""
        statistics = ResponseStatistics.of(self._evaluation)
        return KroneckerFactors(
            response_factor(self._evaluation.weights, statistics.gains), statistics.second_moments, self.damping
        )

    def flat_derivative(self, vector: Array, along: Array) -> Array:
        """Return D_W(♭U)[V] at a vector U, along V. This is `Implicit.hessian` for the errors δr[U] / m.

        Along V, δr[U] changes by e + (I − G W)⁻¹ G (V δr[U] + U δr[V] + W e), with e = δG (W δr[U] + U r).
        """
        implicit, change = self._implicit, self._implicit.change(along)
        response, adjoint = self._responses(vector)
        included = self._evaluation.included

        def errors_change(rates_change: Array) -> Array:
            gains_change = implicit.curvature * implicit.inputs_change(along, rates_change)
            direct = gains_change * implicit.inputs_change(vector, response)
            drive = change.apply(response) + implicit.change(vector).apply(rates_change) + implicit.operator.apply(direct)
            return included * (direct + implicit.response(drive))

        return implicit.hessian(included * response, adjoint, along, errors_change)

    def flat_gradient(self, vector_a: Array, vector_b: Array) -> Array:
        """Return ∂_W g_W(U, V) at fixed U and V, by adjoints."""
        implicit, transpose = self._implicit, self._implicit.operator.transpose
        total, inputs_covectors, rates_covectors = 0.0, 0.0, 0.0
        for vector, other in ((vector_a, vector_b), (vector_b, vector_a)):
            response, _ = self._responses(vector)
            opposite, adjoint = self._responses(other)
            # ⟨opposite, δ response⟩, where response = G (W response + V r): G, W and r all move with W.
            through_gains = self._evaluation.included * opposite + transpose.apply(adjoint)
            inputs_covectors = inputs_covectors + through_gains * implicit.inputs_change(vector, response)
            rates_covectors = rates_covectors + implicit.change(vector).transpose.apply(adjoint)
            total = total + implicit.gradient(adjoint, response)
        return total + implicit.state_gradient(implicit.curvature * inputs_covectors, rates_covectors)

    def sharp_derivative(self, covector: Array, along: Array) -> Array:
        """Return D_W(♯P)[V] = −♯ D♭[V] ♯P."""
        return -self.sharp(self.flat_derivative(self.sharp(covector), along))

    def sharp_gradient(self, covector_a: Array, covector_b: Array) -> Array:
        """Return ∂_W⟨P, ♯Q⟩ = −∂_W g_W(♯P, ♯Q) at fixed ♯P and ♯Q."""
        return -self.flat_gradient(self.sharp(covector_a), self.sharp(covector_b))

    def _flat(self, vector: Array, implicit: Implicit) -> Array:
        """Return ♭V as accurately as the linear systems are solved; the result is not cached."""
        response = implicit.tangent(vector)
        return implicit.gradient(implicit.adjoint(self._evaluation.included * response)) + self.damping * vector

    def _respond(self, vector: Array) -> tuple[Array, Array]:
        """Return δr[V], and the adjoint of δr[V] / m, its share in the mean."""
        response = self._implicit.tangent(vector)
        return response, self._implicit.adjoint(self._evaluation.included * response)

    def _solve(self, covector: Array) -> Array:
        precondition, exact = self.factors.solve, self._evaluation.fixed_points.tolerance
        tolerance = max(exact, min(self.enough, INEXACT))
        inner = replace(self._implicit, tolerance=max(exact, INNER * tolerance))
        try:
            return conjugate_gradient(
                lambda vector: self._flat(vector, inner), covector, precondition, tolerance, "♭",
                enough=self.enough, most=self.max_iterations,
            )  # fmt: skip
        except ConvergenceError as error:
            if self.max_iterations < MAX_ITERATIONS:
                raise
            raise _singular(error) from error
        except SingularPointError as error:
            raise _singular(error) from error


def _singular(error: ManifoldError) -> SingularPointError:
    reason = "the response metric is singular to working precision there"
    return SingularPointError(error.value, reason, "Raise the damping, or add stimuli")


def response_metric(
    cost: FixedPointCost,
    damping: float = 0.0,
    retraction: Retraction = "additive",
    max_iterations: int = MAX_ITERATIONS,
    enough: float = 0.0,
    **options: Any,
) -> MetricManifold:
    """Return weight space under the `ResponseMetric` of the stimuli of a cost; the fixed points are shared with the cost.

    All methods except `sectional_curvature` exist. A gradient costs one ♯, and a product with the Riemannian Hessian up to
    five. Geodesics are integrated numerically, with some tens of ♯, each at a different point. Only small networks can afford
    `exp`; `log` and `dist` cost more. They need a cost in float64, and are as accurate as its tolerance.

    Parameters
    ----------
    cost
        The cost that provides the network, the stimuli, the solvers and the tolerance. Points that only the metric visits count
        as evaluations of J.
    damping
        λ, as for `ResponseMetric`.
    retraction
        "additive" is W + V; "geodesic" integrates numerically.
    max_iterations, enough
        As for `ResponseMetric`.
    options
        As for `MetricManifold`.

    Raises
    ------
    OutsideManifoldError
        From the manifold's methods, if a stimulus has no fixed point.
    SingularPointError
        From the manifold's methods, if the metric is singular to working precision.
    """
    return manifold_of(
        cost, lambda evaluation: ResponseMetric(evaluation, damping, max_iterations, enough), retraction, **options
    )


def manifold_of(
    cost: FixedPointCost, metric: Callable[[Evaluation], PointMetric], retraction: Retraction, **options: Any
) -> MetricManifold:
    """Return weight space under a metric that is computed from the fixed points of a cost, once for each point."""

    def prepare(weights: Array) -> PointMetric:
        return metric(cost.at(weights))

    at = PointCache(prepare)

    def defined(method: str) -> Callable[..., Array]:
        def call(point: Array, *arguments: Array) -> Array:
            try:
                return getattr(at(point), method)(*arguments)
            except FixedPointError as error:  # for the manifold this is an edge, which the integration of geodesics avoids
                reason = str(error).rpartition(". ")[0]  # without its remedy: the remedy is a different one here
                raise OutsideManifoldError("the metric is not defined here", reason, "Shorten the step") from error

        return call

    return MetricManifold(
        defined("sharp"),
        cost.model.units[0],
        retraction,
        flat=defined("flat"),
        sharp_derivative=defined("sharp_derivative"),
        sharp_gradient=defined("sharp_gradient"),
        accuracy=cost.tolerance,
        **options,
    )
