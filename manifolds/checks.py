"""Numerical checks of a manifold, for tests, tutorials and users: each answers with a truth value and a reason."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from manifolds.arrays import Array, frobenius_norm, inner, machine_epsilon
from manifolds.base import WeightManifold
from manifolds.charts import Chart
from manifolds.errors import ManifoldError
from manifolds.pullback import PullbackManifold

MOST_ROUNDING = 100.0
"""Rounding may be so many times larger than that of the quantities themselves."""

SLOPE_TOLERANCE = 0.2


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check: true if it passed, and the reason either way."""

    name: str
    passed: bool
    reason: str

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.reason}"


@dataclass(frozen=True)
class CheckReport:
    """Outcome of all checks of a manifold: true if every one passed; prints a line a check."""

    subject: str
    results: tuple[CheckResult, ...]

    def __bool__(self) -> bool:
        return all(self.results)

    def __iter__(self) -> Iterator[CheckResult]:
        return iter(self.results)

    def __getitem__(self, name: str) -> CheckResult:
        return next(result for result in self.results if result.name == name)

    def __str__(self) -> str:
        return "\n".join([f"{self.subject}: {'passed' if self else 'FAILED'}", *(f"  {result}" for result in self.results)])


def check_slope(name: str, error: Callable[[float], float], expected: float, scale: float, epsilon: float) -> CheckResult:
    """Check that error(t) vanishes like t to the power `expected`.

    The slope of log error against log t is fitted over the smallest decade of t on which the error stands clear of rounding,
    so the range is found rather than fixed and the same check serves float32 and float64.

    Parameters
    ----------
    name
        Name of the result.
    error
        The error as a function of the step t; it is taken at t and −t and the larger counts, lest two orders cancel at some t.
    expected
        The power wanted, 2 for first-order and 3 for second-order agreement. A steeper slope passes too.
    scale
        Size of the quantities whose difference the error is; rounding is `epsilon` times this.
    epsilon
        Machine epsilon of the dtype that the error was computed in.
    """
    steps = np.logspace(-8, 0, 41)
    errors = np.array([np.maximum(error(float(step)), error(-float(step))) for step in steps])
    if not np.all(np.isfinite(errors)):
        return CheckResult(name, False, f"the error is not finite at t = {steps[~np.isfinite(errors)][0]:.1e}")
    below = np.flatnonzero(errors <= 30 * epsilon * scale)
    first = int(below[-1]) + 1 if below.size else 0
    if first > len(steps) - 3:
        return CheckResult(name, True, f"the error stays at rounding, {errors.max():.1e} at most")
    window = slice(first, min(first + 6, len(steps)))
    slope = float(np.polyfit(np.log(steps[window]), np.log(errors[window]), 1)[0])
    reason = f"slope {slope:.2f}, expected {expected:g}, for t from {steps[first]:.1e} to {steps[window][-1]:.1e}"
    return CheckResult(name, slope > expected - SLOPE_TOLERANCE, reason)


def check_equal(name: str, actual: Array, expected: Array, tolerance: float) -> CheckResult:
    """Check that two arrays agree to `tolerance` relative to the norm of the expected one (absolutely, where that is zero)."""
    size = frobenius_norm(expected)
    error = frobenius_norm(actual - expected) / (size if size > 0 else 1.0)
    return CheckResult(name, error <= tolerance, f"relative error {error:.1e}, allowed {tolerance:.1e}")


def check_numbers(name: str, actual: float, expected: float, tolerance: float, scale: float = 0.0) -> CheckResult:
    """Check that two numbers agree to `tolerance` relative to the larger of |expected| and `scale`."""
    error = abs(actual - expected) / max(abs(expected), scale, sys.float_info.min)
    return CheckResult(name, error <= tolerance, f"{actual:.10g} against {expected:.10g}, relative error {error:.1e}")


def check_gradient(
    manifold: WeightManifold, cost: Callable[[Array], float], gradient: Callable[[Array], Array], point: Array, vector: Array
) -> CheckResult:
    """Check J(exp(t V)) − J(W) − t ⟨grad, V⟩ = O(t²) for |t| ≤ 1, with grad made from the Euclidean gradient ∇J.

    Source: Boumal, *An Introduction to Optimization on Smooth Manifolds* (2023), section 4.8.
    """
    euclidean = gradient(point)
    riemannian = manifold.euclidean_to_riemannian_gradient(point, euclidean)
    start, slope = cost(point), manifold.inner_product(point, riemannian, vector)

    def error(step: float) -> float:
        return float(abs(cost(manifold.exp(point, step * vector)) - start - step * slope))

    scale = abs(start) + abs(slope) + _rounding_of_cost(euclidean, point)
    return check_slope("gradient slope", error, 2, scale, machine_epsilon(point))


def check_hessian(
    manifold: WeightManifold,
    cost: Callable[[Array], float],
    gradient: Callable[[Array], Array],
    hessian: Callable[[Array, Array], Array],
    point: Array,
    vector: Array,
) -> CheckResult:
    """Check J(exp(t V)) − J(W) − t ⟨grad, V⟩ − ½ t² ⟨Hess V, V⟩ = O(t³) along the geodesic, for |t| ≤ 1.

    Source: Boumal (2023), section 6.8.
    """
    euclidean = gradient(point)
    slope = manifold.inner_product(point, manifold.euclidean_to_riemannian_gradient(point, euclidean), vector)
    second = manifold.euclidean_to_riemannian_hessian(point, euclidean, hessian(point, vector), vector)
    start, curvature = cost(point), manifold.inner_product(point, second, vector)

    def error(step: float) -> float:
        return float(abs(cost(manifold.exp(point, step * vector)) - start - step * slope - step**2 / 2 * curvature))

    scale = abs(start) + abs(slope) + abs(curvature) + _rounding_of_cost(euclidean, point)
    return check_slope("Hessian slope", error, 3, scale, machine_epsilon(point))


def _rounding_of_cost(gradient: Array, point: Array) -> float:
    """Return how much J changes, in machine epsilons, when the entries of the point are rounded."""
    return frobenius_norm(gradient) * (frobenius_norm(point) + 1)


def check_retraction(manifold: WeightManifold, point: Array, vector: Array) -> CheckResult:
    """Check that the retraction agrees with the exponential map to first order, ‖R(t V) − exp(t V)‖ = O(t²)."""

    def error(step: float) -> float:
        return frobenius_norm(manifold.retraction(point, step * vector) - manifold.exp(point, step * vector))

    return check_slope("retraction slope", error, 2, frobenius_norm(point) + 1, machine_epsilon(point))


def check_manifold(manifold: WeightManifold, point: Array | None = None) -> CheckReport:
    """Check every formula of a manifold against the others and against finite steps, at a random point or a given one.

    Parameters
    ----------
    manifold
        The manifold.
    point
        Where to check. Default: a random point.

    Returns
    -------
    CheckReport
        True if every check passed; prints what failed and why. An error raised by a formula is a failed check.
    """
    W = manifold.random_point() if point is None else point
    results: list[CheckResult] = []
    for group in (_chart_checks, _metric_checks, _cost_checks, _geodesic_checks, _transport_checks):
        try:
            results += group(manifold, W)
        except (ManifoldError, ArithmeticError, np.linalg.LinAlgError, NotImplementedError, ValueError) as error:
            results.append(CheckResult(group.__name__.strip("_").replace("_", " "), False, f"{type(error).__name__}: {error}"))
    return CheckReport(str(manifold), tuple(results))


def _tolerance(point: Array) -> float:
    return 1e4 * machine_epsilon(point)


def _short_vector(manifold: WeightManifold, point: Array) -> Array:
    """Return a random tangent vector whose geodesic stays well inside the manifold."""
    vector = manifold.random_tangent_vector(point)
    return vector * min(1.0, 0.3 * manifold.edge_distance(point), 0.3 * manifold.exit_time(point, vector))


def _metric_checks(manifold: WeightManifold, W: Array) -> list[CheckResult]:
    tolerance = _tolerance(W)
    U, V = manifold.random_tangent_vector(W), manifold.random_tangent_vector(W)
    gradient = manifold.normal(W)
    product = manifold.inner_product(W, U, V)
    riemannian = manifold.euclidean_to_riemannian_gradient(W, gradient)
    scale = frobenius_norm(gradient) * frobenius_norm(V)
    return [
        check_numbers("metric symmetry", manifold.inner_product(W, V, U), product, tolerance, 1.0),
        check_numbers("metric linearity", manifold.inner_product(W, U + 2 * V, V), product + 2, tolerance, 1.0),
        CheckResult("metric positivity", manifold.inner_product(W, gradient, gradient) > 0, "⟨V, V⟩ > 0 for a random V"),
        check_numbers("gradient duality", manifold.inner_product(W, riemannian, V), inner(gradient, V), tolerance, scale),
    ]


def check_chart(chart: Chart, point: Array, vector: Array, coordinates: Array) -> list[CheckResult]:
    """Check a chart: its inverse, its differential by the slope of φ, the adjoint identity, and the inverses of both.

    Parameters
    ----------
    chart
        The chart φ.
    point
        Where to check.
    vector
        A tangent vector along which the point may move by a whole step.
    coordinates
        A change of coordinates; any matrix.
    """
    tolerance = _tolerance(point)
    value, image = chart.value(point), chart.differential(point, vector)
    pulled = chart.adjoint(point, coordinates)
    scale = frobenius_norm(coordinates) * frobenius_norm(image)

    def error(step: float) -> float:
        return frobenius_norm(chart.value(point + step * vector) - value - step * image)

    return [
        check_equal("chart inverse", chart.inverse(value), point, tolerance),
        check_slope("chart differential", error, 2, frobenius_norm(value) + 1, machine_epsilon(point)),
        check_numbers("chart adjoint", inner(pulled, vector), inner(coordinates, image), tolerance, scale),
        check_equal("chart inverse differential", chart.inverse_differential(point, image), vector, tolerance),
        check_equal("chart inverse adjoint", chart.inverse_adjoint(point, pulled), coordinates, tolerance),
    ]


def _chart_checks(manifold: WeightManifold, W: Array) -> list[CheckResult]:
    if not isinstance(manifold, PullbackManifold):
        return []
    V = _short_vector(manifold, W)
    V = V * min(1.0, 0.3 * manifold.chart.exit_time(W, V, "additive"))
    return check_chart(manifold.chart, W, V, manifold.normal(W))


def _cost_checks(manifold: WeightManifold, W: Array) -> list[CheckResult]:
    xp, tolerance = array_namespace(W), _tolerance(W)
    coefficients, shift = manifold.normal(W), manifold.normal(W)

    def cost(point: Array) -> float:
        return inner(coefficients, xp.sin(point + shift))

    def gradient(point: Array) -> Array:
        return coefficients * xp.cos(point + shift)

    def hessian(point: Array, vector: Array) -> Array:
        return -coefficients * xp.sin(point + shift) * vector

    def second(vector: Array) -> Array:
        return manifold.euclidean_to_riemannian_hessian(W, gradient(W), hessian(W, vector), vector)

    U, V = _short_vector(manifold, W), _short_vector(manifold, W)
    left, right = manifold.inner_product(W, second(U), V), manifold.inner_product(W, U, second(V))
    scale = manifold.norm(W, second(U)) * manifold.norm(W, V)
    return [
        check_gradient(manifold, cost, gradient, W, V),
        check_hessian(manifold, cost, gradient, hessian, W, V),
        check_numbers("Hessian symmetry", left, right, tolerance, scale),
        check_retraction(manifold, W, V),
    ]


def _geodesic_checks(manifold: WeightManifold, W: Array) -> list[CheckResult]:
    tolerance = _tolerance(W)
    V = _short_vector(manifold, W)
    length, other = manifold.norm(W, V), manifold.exp(W, V)
    middle = manifold.pair_mean(W, other)
    zero = manifold.zero_vector(W)
    return [
        check_equal("exp of zero", manifold.exp(W, zero), W, tolerance),
        check_equal("retraction of zero", manifold.retraction(W, zero), W, tolerance),
        check_equal("log inverts exp", manifold.log(W, other), V, tolerance),
        check_equal("exp inverts log", manifold.exp(other, manifold.log(other, W)), W, tolerance),
        check_numbers("distance is length", manifold.dist(W, other), length, tolerance),
        check_numbers("distance symmetry", manifold.dist(other, W), length, tolerance),
        check_numbers("middle is half way", manifold.dist(middle, other), length / 2, tolerance),
        _speed_check(manifold, W, V),
    ]


def _speed_check(manifold: WeightManifold, W: Array, V: Array) -> CheckResult:
    """Check that the velocity of the exponential map at t = 0 is V: exp(t V) − W − t V = O(t²)."""

    def error(step: float) -> float:
        return frobenius_norm(manifold.exp(W, step * V) - W - step * V)

    return check_slope("velocity of exp", error, 2, frobenius_norm(W) + 1, machine_epsilon(W))


def _transport_checks(manifold: WeightManifold, W: Array) -> list[CheckResult]:
    """Check the transport between points, and parallel transport along a geodesic, which may be another one."""
    tolerance = _tolerance(W)
    U, V = manifold.random_tangent_vector(W), _short_vector(manifold, W)
    other = manifold.exp(W, V)
    moved, velocity = manifold.parallel_transport(W, V, U), manifold.parallel_transport(W, V, V)
    there_and_back = manifold.transport(other, W, manifold.transport(W, other, U))
    return [
        check_equal("transport to itself", manifold.transport(W, W, U), U, tolerance),
        check_equal("transport there and back", there_and_back, U, tolerance),
        check_numbers("parallel transport isometry", manifold.norm(other, moved), manifold.norm(W, U), tolerance),
        check_equal("parallel transport of the velocity", velocity, -manifold.log(other, W), tolerance),
        check_equal("parallel transport back", manifold.parallel_transport(other, -velocity, moved), U, tolerance),
        _connection_check(manifold, W, V),
    ]


def _connection_check(manifold: WeightManifold, W: Array, V: Array) -> CheckResult:
    """Check that parallel transport and Hessian have one connection: grad J(exp(t V)) = P(grad J + t Hess[V]) + O(t²).

    Source: Boumal (2023), section 10.3.
    """
    xp, shift = array_namespace(W), manifold.normal(W)
    gradient, change = xp.cos(W + shift), -xp.sin(W + shift) * V
    start = manifold.euclidean_to_riemannian_gradient(W, gradient)
    hessian = manifold.euclidean_to_riemannian_hessian(W, gradient, change, V)

    def error(step: float) -> float:
        point = manifold.exp(W, step * V)
        carried = manifold.parallel_transport(W, step * V, start + step * hessian)
        return frobenius_norm(manifold.euclidean_to_riemannian_gradient(point, xp.cos(point + shift)) - carried)

    size = frobenius_norm(start) + frobenius_norm(W)
    # Where the chart is ill-conditioned more is lost to rounding; a step too short to matter shows how much, within reason.
    rounding = min(error(machine_epsilon(W)) / machine_epsilon(W), MOST_ROUNDING * size)
    return check_slope("parallel transport slope", error, 2, size + rounding, machine_epsilon(W))
