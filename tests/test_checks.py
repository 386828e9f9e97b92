"""The checks find every formula that is broken on purpose, and name it."""

import autograd.numpy as anp
import numpy as np
import pytest

from manifolds import (
    AutogradChart,
    InvalidArrayError,
    MonotoneManifold,
    OutsideManifoldError,
    PullbackManifold,
    Resolvent,
    SubspaceManifold,
    check_manifold,
    left_invariant,
    mask,
    toeplitz,
    zero_diagonal,
)
from manifolds.checks import check_equal, check_gradient, check_hessian, check_numbers, check_slope

Q = np.array([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
"""A rotation."""

BREAKS = {
    "gradient too long": (
        "euclidean_to_riemannian_gradient",
        lambda m, f: lambda W, G: 1.01 * f(W, G),
        {"gradient duality", "gradient slope"},
    ),
    "gradient turned": (
        "euclidean_to_riemannian_gradient",
        lambda m, f: lambda W, G: f(W, G).T,
        {"gradient duality", "gradient slope"},
    ),
    "Euclidean gradient": (
        "euclidean_to_riemannian_gradient",
        lambda m, f: lambda W, G: G,
        {"gradient duality", "gradient slope"},
    ),
    "exp too fast": (
        "exp",
        lambda m, f: lambda W, V: f(W, 1.01 * V),
        {"velocity of exp", "log inverts exp", "distance is length"},
    ),
    "exp not geodesic": (
        "exp",
        lambda m, f: lambda W, V: W + V,
        {"Hessian slope", "log inverts exp", "distance is length"},
    ),
    "exp shifted": ("exp", lambda m, f: lambda W, V: f(W, V) + 1e-3, {"exp of zero", "velocity of exp"}),
    "log too long": ("log", lambda m, f: lambda W, X: 1.01 * f(W, X), {"log inverts exp", "exp inverts log"}),
    "distance too long": ("dist", lambda m, f: lambda W, X: 1.01 * f(W, X), {"distance is length"}),
    "distance not symmetric": (
        "dist",
        lambda m, f: lambda W, X: f(W, X) * (1 + 0.01 * float(np.sum(X - W))),
        {"distance is length"},
    ),
    "middle off": ("pair_mean", lambda m, f: lambda W, X: m.exp(W, 0.45 * m.log(W, X)), {"middle is half way"}),
    "transport not parallel": (
        "transport",
        lambda m, f: lambda W, X, V: V,
        {"parallel transport isometry", "parallel transport of the velocity"},
    ),
    "transport turns": (
        "transport",
        lambda m, f: lambda W, X, V: m.chart.inverse_differential(X, m.chart.differential(W, V) @ Q),
        {"transport to itself", "parallel transport of the velocity", "parallel transport slope"},
    ),
    "transport one-way": (
        "transport",
        lambda m, f: lambda W, X, V: f(W, X, V) * (1 if np.array_equal(W, X) else 1.01),
        {"parallel transport isometry", "transport there and back"},
    ),
    "Hessian without connection": (
        "euclidean_to_riemannian_hessian",
        lambda m, f: lambda W, G, H, V: m.euclidean_to_riemannian_gradient(W, H),
        {"Hessian slope"},
    ),
    "Hessian too long": (
        "euclidean_to_riemannian_hessian",
        lambda m, f: lambda W, G, H, V: 1.01 * f(W, G, H, V),
        {"Hessian slope"},
    ),
    "Hessian not symmetric": (
        "euclidean_to_riemannian_hessian",
        lambda m, f: lambda W, G, H, V: f(W, G, H, V) + 0.1 * V @ Q,
        {"Hessian symmetry"},
    ),
    "retraction too fast": ("retraction", lambda m, f: lambda W, V: f(W, 1.01 * V), {"retraction slope"}),
    "retraction shifted": ("retraction", lambda m, f: lambda W, V: f(W, V) + 1e-3, {"retraction of zero"}),
    "metric not symmetric": (
        "inner_product",
        lambda m, f: lambda W, U, V: f(W, U, V) + 0.01 * float(U[0, 1] * V[1, 0]),
        {"metric symmetry"},
    ),
    "metric not linear": ("inner_product", lambda m, f: lambda W, U, V: f(W, U, V) ** 3, {"metric linearity"}),
    "metric negative": (
        "inner_product",
        lambda m, f: lambda W, U, V: -f(W, U, V),
        {"metric positivity"},
    ),
    "another metric": (
        "inner_product",
        lambda m, f: lambda W, U, V: float(np.sum(U * V)),
        {"gradient duality", "distance is length", "parallel transport isometry"},
    ),
    "norm off": ("norm", lambda m, f: lambda W, V: 1.01 * f(W, V), {"metric linearity", "distance is length"}),
    "zero vector not zero": ("zero_vector", lambda m, f: lambda W: f(W) + 1e-2, {"exp of zero", "retraction of zero"}),
}
"""The broken method, its replacement, and the checks that must fail."""


GROSS = ("gradient turned", "exp not geodesic", "transport not parallel", "Hessian without connection")
"""Faults that show in single precision too."""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a broken metric may give a vector with norm zero
@pytest.mark.parametrize(("what", "dtype"), [*((what, np.float64) for what in BREAKS), *((what, np.float32) for what in GROSS)])
def test_a_broken_formula_is_found_and_named(what, dtype, monkeypatch):
    method, broken, culprits = BREAKS[what]
    manifold = PullbackManifold(Resolvent(), 3, seed=1, like=np.empty(0, dtype))
    assert check_manifold(manifold)
    monkeypatch.setattr(manifold, method, broken(manifold, getattr(manifold, method)))
    report = check_manifold(manifold)
    assert not report
    assert culprits <= {result.name for result in report if not result}, str(report)
    for culprit in culprits:
        assert f"FAIL  {culprit}: {report[culprit].reason}" in str(report)


@pytest.mark.parametrize(
    "method",
    ["differential", "inverse_differential", "inverse_adjoint", "inverse_adjoint_derivative", "exponential", "difference"],
)
def test_a_broken_chart_is_found(method, monkeypatch):
    chart = Resolvent()
    formula = getattr(chart, method)
    monkeypatch.setattr(chart, method, lambda *arguments: 1.01 * formula(*arguments))
    assert not check_manifold(PullbackManifold(chart, 3, seed=1))


@pytest.mark.parametrize("error", [NotImplementedError("no such thing"), ValueError("bad"), ZeroDivisionError("zero")])
def test_a_formula_that_raises_is_a_failed_check(error, monkeypatch):
    manifold = PullbackManifold(Resolvent(), 3, seed=1)

    def raise_error(*arguments):
        raise error

    monkeypatch.setattr(manifold, "transport", raise_error)
    report = check_manifold(manifold)
    assert not report
    failed = [result for result in report if not result]
    assert [result.name for result in failed] == ["transport checks"]
    assert failed[0].reason == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    ("error", "expected", "passed", "reason"),
    [
        (lambda t: 3 * t**2, 2, True, "slope 2.00, expected 2"),
        (lambda t: 3 * abs(t) ** 2.1, 2, True, "slope 2.1"),
        (lambda t: 1e-3 * abs(t) + 3 * t**2, 2, False, "slope 1.0"),
        (lambda t: 3 * t**2, 3, False, "slope 2.00, expected 3"),
        (lambda t: abs(t**3 + t**4), 3, True, "slope 3"),
        (lambda t: 0.0, 2, True, "the error stays at rounding"),
        (lambda t: np.nan if t < -0.1 else t**2, 2, False, "not finite at t = 1.6e-01"),
    ],
)
def test_slopes_are_found(error, expected, passed, reason):
    result = check_slope("name", error, expected, 1.0, np.finfo(float).eps)
    assert bool(result) is passed
    assert reason in result.reason


@pytest.mark.parametrize("epsilon", [np.finfo(np.float32).eps, np.finfo(float).eps])
def test_the_range_of_steps_is_found(epsilon):
    """Rounding dominates the small steps; the slope is computed from the others."""
    noise = np.random.default_rng(0)
    result = check_slope("name", lambda t: t**2 + 10 * epsilon * abs(noise.standard_normal()), 2, 1.0, epsilon)
    assert result, str(result)


def test_numbers_and_arrays():
    assert check_numbers("name", 1.0, 1.0 + 1e-12, 1e-11)
    assert not check_numbers("name", 1.0, 1.1, 1e-2)
    assert check_numbers("name", 0.0, 0.0, 1e-12)
    assert not check_numbers("name", np.nan, 0.0, 1.0)
    assert check_equal("name", np.ones(2), np.ones(2), 0.0)
    assert not check_equal("name", np.full(2, np.nan), np.ones(2), 1.0)
    assert check_equal("name", np.full(2, 1e-13), np.zeros(2), 1e-12)


@pytest.mark.parametrize("broken", ["nothing", "gradient", "hessian"])
def test_the_derivatives_of_a_users_cost(broken, generator):
    manifold = PullbackManifold(Resolvent(), 3, seed=1)
    W = manifold.random_point()
    V = 0.1 * manifold.random_tangent_vector(W)
    target = generator.standard_normal((3, 3))
    longer = {name: 1.01 if name == broken else 1.0 for name in ("gradient", "hessian")}

    def cost(W):
        return float(np.sum((W - target) ** 4))

    def gradient(W):
        return longer["gradient"] * 4 * (W - target) ** 3

    def hessian(W, V):
        return longer["hessian"] * 12 * (W - target) ** 2 * V

    assert bool(check_gradient(manifold, cost, gradient, W, V)) is (broken != "gradient")
    assert bool(check_hessian(manifold, cost, gradient, hessian, W, V)) is (broken == "nothing")


def test_a_given_point_is_checked():
    manifold = PullbackManifold(Resolvent(), 3, seed=1)
    assert check_manifold(manifold, 0.5 * np.eye(3))
    report = check_manifold(manifold, np.eye(3))
    assert not report
    assert "σ_min" in str(report)


@pytest.mark.parametrize("formula", ["inverse", "differential", "adjoint", "inverse_differential", "inverse_adjoint"])
def test_a_broken_chart_is_named(formula: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manifold = PullbackManifold(Resolvent(), 5, seed=0)
    right = getattr(manifold.chart, formula)
    monkeypatch.setattr(manifold.chart, formula, lambda *arguments: 1.001 * right(*arguments))
    report = check_manifold(manifold)
    assert not report
    assert not report[f"chart {formula.replace('_', ' ')}"]


def bounded(bound: float = 0.5) -> AutogradChart:
    """Synapses between −bound and bound: an edge that the chart does not know."""
    return AutogradChart(lambda W: bound * anp.arctanh(W / bound), lambda Z: bound * anp.tanh(Z / bound))


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_a_chart_with_an_edge_that_it_does_not_know_passes(n):
    for seed in range(5):
        report = check_manifold(PullbackManifold(bounded(), n, seed=seed))
        assert report, str(report)


def test_a_point_outside_an_autograd_chart_is_refused():
    manifold, outside = PullbackManifold(bounded(), 2), np.array([[0.1, 0.2], [0.3, 0.7]])
    zero = np.zeros((2, 2))
    for call in (manifold.point_at, lambda W: manifold.dist(W, zero), lambda W: manifold.exp(W, zero)):
        with pytest.raises(OutsideManifoldError, match="is finite"):
            call(outside)
    report = check_manifold(manifold, outside)
    assert not report
    assert "φ(W) holds NaN or infinity" in str(report)


def test_an_inverse_with_another_scale_is_found():
    chart = AutogradChart(lambda W: 0.5 * anp.arctanh(2 * W), lambda Z: 0.5 * anp.tanh(Z))
    report = check_manifold(PullbackManifold(chart, 4, seed=0))
    assert not report["chart inverse"]
    assert report["chart differential"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize(
    ("forward", "inverse"), [(anp.tanh, anp.arctanh), (anp.exp, anp.log), (anp.arctan, anp.tan)], ids=["tanh", "exp", "arctan"]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_chart_that_is_not_onto_is_found(forward, inverse, n, dtype):
    """Its geodesics leave the image at a time that the chart does not know: NaN beyond tanh, another branch beyond arctan."""
    origin = 1.0 if forward is anp.exp else 0.0
    manifold = PullbackManifold(AutogradChart(forward, inverse, origin), n, seed=0, like=np.empty(0, dtype))
    report = check_manifold(manifold)
    assert not report["geodesics until the exit time"], str(report)


CURVED = {
    "zero diagonal in resolvent": (zero_diagonal(4), lambda like: PullbackManifold(Resolvent(), 4, seed=0, like=like)),
    "mask in left-invariant": (mask(np.tri(4, dtype=bool).T), lambda like: left_invariant(4, seed=0, like=like)),
    "toeplitz in monotone": (toeplitz(4), lambda like: MonotoneManifold(4, seed=0, like=like)),
    "zero diagonal in monotone": (zero_diagonal(4), lambda like: MonotoneManifold(4, seed=0, like=like)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CURVED)
def test_subspaces_without_geodesics_pass(name, dtype):
    subspace, around = CURVED[name]
    report = check_manifold(SubspaceManifold(around(np.empty(0, dtype)), subspace))
    assert report, str(report)
    assert "not totally geodesic" in report["no geodesics"].reason


@pytest.mark.parametrize("formula", ["euclidean_to_riemannian_hessian", "euclidean_to_riemannian_gradient", "retraction"])
def test_a_broken_subspace_without_geodesics_is_found(formula, monkeypatch):
    subspace, around = CURVED["zero diagonal in resolvent"]
    manifold = SubspaceManifold(around(np.empty(0)), subspace)
    right = getattr(manifold, formula)
    monkeypatch.setattr(manifold, formula, lambda *arguments: 1.01 * right(*arguments))
    assert not check_manifold(manifold)


def test_a_subspace_of_dimension_0_is_refused():
    for subspace in (zero_diagonal(1), mask(np.zeros((1, 1), bool))):
        with pytest.raises(InvalidArrayError, match=r"dimension 0: the subspace is a single point.*at least one weight"):
            SubspaceManifold(MonotoneManifold(1), subspace)
