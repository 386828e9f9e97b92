"""Checks of long steps, which show edges that a chart does not report, and checks of subspaces without geodesics."""

from array_api_compat import array_namespace

from manifolds.arrays import Array, frobenius_norm, machine_epsilon
from manifolds.base import WeightManifold
from manifolds.errors import ManifoldError, NoGeodesicError
from manifolds.points import all_finite
from manifolds.pullback import PullbackManifold
from manifolds.slopes import CheckResult, check_equal, check_slope

LONG = (1.0, 2.0, 4.0)
"""Average changes of a coordinate over the steps of the check; all steps are within the exit time of the chart."""

WITHIN = 0.9
"""Largest fraction of the exit time for a step."""

VISIBLE = 0.01
"""Coordinates are informative while rounding of the point changes them by less than this, relative to their norm."""


def check_reach(manifold: PullbackManifold, point: Array, direction: Array) -> list[CheckResult]:
    """Check that long geodesics exist until the exit time, and that φ(exp_W(t V)) = φ(W) + t Dφ[V] at their ends.

    A chart that does not reach all coordinates has an edge. If it gives no exit time there, its geodesics leave the manifold.
    """
    vector = direction / manifold.norm(point, direction)
    limit = WITHIN * manifold.exit_time(point, vector)
    for sign in (1.0, -1.0):
        for length in LONG:
            time = length * frobenius_norm(array_namespace(point).ones_like(point))
            step = sign * time * vector
            if time >= limit or (sign < 0 and time >= WITHIN * manifold.exit_time(point, -vector)):
                continue
            if reason := _broken_promise(manifold, point, step):
                return [CheckResult("geodesics until the exit time", False, f"a step of length {time:.3g}: {reason}")]
    return [CheckResult("geodesics until the exit time", True, "long steps end where their coordinates say")]


def _broken_promise(manifold: PullbackManifold, point: Array, step: Array) -> str:
    """Return a description of the fault at the end of a geodesic, or an empty string."""
    chart = manifold.chart
    try:
        end = manifold.exp(point, step)
    except ManifoldError as error:
        return f"exp raises {type(error).__name__}, but the chart gives no such exit time ({error})"
    expected = chart.value(point) + chart.differential(point, step)
    try:
        found, nearby = chart.value(end), chart.value(end * (1 - 4 * machine_epsilon(point)))
    except ManifoldError:  # rounding has moved the end onto the edge, where coordinates do not exist
        return ""
    size = frobenius_norm(expected)
    rounding = 100 * frobenius_norm(nearby - found) + 1e4 * machine_epsilon(point) * size
    if not all_finite(found) or not rounding < VISIBLE * size or frobenius_norm(found - expected) <= rounding:
        return ""
    return (
        f"the coordinates of its end are wrong by {frobenius_norm(found - expected):.3g}; the chart is not one to one, or it "
        "reaches only some coordinates and needs a method exit_time"
    )


def submanifold_checks(manifold: WeightManifold, point: Array) -> list[CheckResult]:
    """Check a manifold without closed-form geodesics: retraction, transport and the connection of its Hessian.

    The Levi-Civita connection is the only connection with symmetric Hessians that agrees with the metric, which means

        d/dt ⟨grad J₁, grad J₂⟩ = ⟨Hess J₁[V], grad J₂⟩ + ⟨grad J₁, Hess J₂[V]⟩.

    Source: Boumal, *An Introduction to Optimization on Smooth Manifolds* (2023), section 5.6.
    """
    xp, epsilon, tolerance = array_namespace(point), machine_epsilon(point), 1e4 * machine_epsilon(point)
    direction = manifold.random_tangent_vector(point)
    V = direction * min(0.1, 0.3 * manifold.edge_distance(point), 0.3 * manifold.exit_time(point, direction))
    U = manifold.random_tangent_vector(point)
    shifts = [manifold.normal(point), manifold.normal(point)]

    def gradients(at: Array) -> list[Array]:
        return [manifold.euclidean_to_riemannian_gradient(at, xp.cos(at + shift)) for shift in shifts]

    def hessians(along: Array) -> list[Array]:
        return [
            manifold.euclidean_to_riemannian_hessian(point, xp.cos(point + shift), -xp.sin(point + shift) * along, along)
            for shift in shifts
        ]

    (first, second), (first_change, second_change) = gradients(point), hessians(V)
    start = manifold.inner_product(point, first, second)
    slope = manifold.inner_product(point, first_change, second) + manifold.inner_product(point, first, second_change)

    def of_products(step: float) -> float:
        at = manifold.retraction(point, step * V)
        return float(abs(manifold.inner_product(at, *gradients(at)) - start - step * slope))

    def of_retraction(step: float) -> float:
        return frobenius_norm(manifold.retraction(point, step * V) - point - step * V)

    left = manifold.inner_product(point, hessians(U)[0], V)
    right = manifold.inner_product(point, U, first_change)
    size = manifold.norm(point, first) * manifold.norm(point, second)
    scale = max(manifold.norm(point, first_change), abs(left), abs(right), epsilon)
    symmetric = abs(left - right) <= 100 * tolerance * scale
    return [
        check_slope("retraction velocity", of_retraction, 2, frobenius_norm(point) + 1, epsilon),
        check_equal("retraction of zero", manifold.retraction(point, manifold.zero_vector(point)), point, tolerance),
        CheckResult("Hessian symmetry", symmetric, f"{left:.10g} against {right:.10g}"),
        check_slope("Hessian agrees with the metric", of_products, 2, 1e3 * (size + abs(slope)), epsilon),
        check_equal("transport to itself", manifold.transport(point, point, U), U, tolerance),
        _refuses_geodesics(manifold, point, V),
    ]


def _refuses_geodesics(manifold: WeightManifold, point: Array, vector: Array) -> CheckResult:
    try:
        manifold.exp(point, vector)
    except NoGeodesicError:
        return CheckResult("no geodesics", True, "the subspace is not totally geodesic, and exp raises an error")
    return CheckResult("no geodesics", False, "exp returns a point, but the subspace is not totally geodesic")
