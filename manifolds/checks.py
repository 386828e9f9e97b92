"""Numerical checks of a manifold, for tests, tutorials and users; each returns a truth value and a reason."""

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from manifolds.arrays import Array, frobenius_norm, inner, machine_epsilon
from manifolds.base import WeightManifold
from manifolds.charts import Chart
from manifolds.errors import ManifoldError, OutsideManifoldError
from manifolds.parameterization import Parameterization
from manifolds.points import Point, all_finite
from manifolds.product import ProductManifold
from manifolds.pullback import PullbackManifold
from manifolds.reach import check_reach, submanifold_checks
from manifolds.slopes import CheckReport, CheckResult, check_equal, check_numbers, check_slope
from manifolds.weighted import Weighted

MOST_ROUNDING = 100.0
"""Factor by which rounding errors may exceed the rounding of the quantities themselves."""

MOST_HALVINGS = 20
"""Most halvings of a vector that crosses an edge that the chart does not know."""


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


def check_parameterization(manifold: Parameterization, point: Point, vector: Point) -> list[CheckResult]:
    """Check the velocity of W, the gradient and its change, by the slopes of the errors of what they predict.

    Parameters
    ----------
    manifold
        A manifold whose points are lists of arrays.
    point, vector
        A point and a tangent vector. The point may move along the whole vector in a straight line.
    """
    W, velocity = manifold.weights(point), manifold.velocity(point, vector)
    xp, epsilon = array_namespace(W), machine_epsilon(W)
    first = manifold.pull_back(point, xp.sin(W))
    second = manifold.pull_back_hessian(point, xp.sin(W), xp.cos(W) * velocity, vector)
    slope = sum(inner(a, b) for a, b in zip(first, vector, strict=True))

    def moved(step: float) -> list[Array]:
        return [a + step * b for a, b in zip(point, vector, strict=True)]

    def of_weights(step: float) -> float:
        return frobenius_norm(manifold.weights(moved(step)) - W - step * velocity)

    def of_cost(step: float) -> float:
        return abs(float(xp.sum(xp.cos(W) - xp.cos(manifold.weights(moved(step))))) - step * slope)

    def of_gradient(step: float) -> float:
        now = manifold.pull_back(moved(step), xp.sin(manifold.weights(moved(step))))
        return sum(frobenius_norm(a - b - step * c) for a, b, c in zip(now, first, second, strict=True))

    scale = MOST_ROUNDING * (frobenius_norm(W) + sum(frobenius_norm(a) for a in (*first, *second)))
    errors = {"velocity of W": of_weights, "gradient through W": of_cost, "Hessian through W": of_gradient}
    return [check_slope(name, error, 2, scale, epsilon) for name, error in errors.items()]


def check_manifold(manifold: WeightManifold | ProductManifold, point: Point | None = None) -> CheckReport:
    """Check the formulas of a manifold against each other and against finite differences, at a random point or a given one.

    Parameters
    ----------
    manifold
        The manifold. For a product, every factor and the map from points to weights are checked.
    point
        Where to check. Default: a random point.

    Returns
    -------
    CheckReport
        True if every check passed; prints which checks failed and why. An error raised by a formula is a failed check.

    Raises
    ------
    TypeError
        For a manifold whose points are not matrices of weights, such as `FixedRank`.
    """
    if not isinstance(manifold, WeightManifold | ProductManifold):
        raise TypeError(
            f"{manifold} is neither a WeightManifold nor a product of them, so its points are not weights to check; "
            "pass one of the two"
        )
    W = manifold.random_point() if point is None else point
    if isinstance(manifold, ProductManifold):
        return _check_product(manifold, W)
    results: list[CheckResult] = []
    for group in _groups(manifold, W):
        try:
            results += group(manifold, W)
        except (ManifoldError, ArithmeticError, np.linalg.LinAlgError, NotImplementedError, ValueError) as error:
            results.append(CheckResult(group.__name__.strip("_").replace("_", " "), False, f"{type(error).__name__}: {error}"))
    return CheckReport(str(manifold), tuple(results))


def _groups(manifold: WeightManifold, W: Array) -> tuple[Callable[..., list[CheckResult]], ...]:
    """Return the groups of checks that apply at a point."""
    try:
        geodesic = manifold.has_geodesics(W)
    except ManifoldError:  # not a point of the manifold; the checks report it
        geodesic = True
    if geodesic:
        return _chart_checks, _metric_checks, _cost_checks, _geodesic_checks, _transport_checks
    return _metric_checks, submanifold_checks


def _check_product(manifold: ProductManifold, point: Point) -> CheckReport:
    factors = zip(manifold.factors.items(), manifold.schema.parts(point), strict=True)
    reports = {name: _check_factor(factor, part) for (name, factor), part in factors}
    results = [CheckResult(f"{name}, {each.name}", each.passed, each.reason) for name, r in reports.items() for each in r]
    if manifold.weights_layout == 1:
        results += check_parameterization(manifold, point, manifold.random_tangent_vector(point))
    return CheckReport(str(manifold), tuple(results))


def _check_factor(factor: Any, part: Point) -> CheckReport:
    """Check a factor. The weight of a `Weighted` factor is ignored: it changes none of the formulas that are checked."""
    return check_manifold(factor.manifold if isinstance(factor, Weighted) else factor, part)


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
        A tangent vector. The point may move along the whole vector.
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
    for _ in range(MOST_HALVINGS):  # the chart may have an edge that it does not know
        if _has_coordinates(manifold.chart, W + V) and _has_coordinates(manifold.chart, W - V):
            break
        V = V / 2
    return [*check_chart(manifold.chart, W, V, manifold.normal(W)), *check_reach(manifold, W, V)]


def _has_coordinates(chart: Chart, point: Array) -> bool:
    try:
        return all_finite(chart.value(point))
    except OutsideManifoldError:
        return False


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
    """Check the transport between points, and the parallel transport along a geodesic, which may be a different map."""
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
    """Check that parallel transport and Hessian use one connection: grad J(exp(t V)) = P(grad J + t Hess[V]) + O(t²).

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
    # An ill-conditioned chart has a larger rounding error. A step that is too short to matter measures it, up to a limit.
    rounding = min(error(machine_epsilon(W)) / machine_epsilon(W), MOST_ROUNDING * size)
    return check_slope("parallel transport slope", error, 2, size + rounding, machine_epsilon(W))
