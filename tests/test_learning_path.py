"""The geometry of paths: theoretical lengths, triangle inequality, geodesics, thinning, angles, singular points, memory."""

import tracemalloc
from math import asinh, sqrt

import numpy as np
import pytest
from cases import plastic_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from manifolds import MetricManifold, MonotoneManifold, PullbackManifold, Resolvent, left_invariant
from riemannrnn import FixedPointCost, RateNetwork, SquaredError
from riemannrnn.analysis import DEFAULT_METRICS, LearningPath, make_metric
from riemannrnn.analysis.path_geometry import Geodesic, Tangents

CLOSED_OR_SHOT = ("euclidean", "left-invariant", "monotone", "resolvent", "right-invariant")
"""Metrics that need only the number of units, with logarithms in closed form or found by shooting."""


def linear_flow(covariance, times, n=4, seed=0):
    """Return W along the resolvent metric's gradient flow of a linear network, A(t) = A* + (A₀ − A*) exp(−C t), and A₀ − A*."""
    generator = np.random.default_rng(seed)
    best, start = (np.eye(n) + 0.2 * generator.standard_normal((n, n)) for _ in range(2))
    flow = [best + (start - best) @ expm(-covariance * time) for time in times]
    return [np.eye(n) - np.linalg.inv(A) for A in flow], start - best, best


def measured(points, *names, cost=None, steps=None):
    path = LearningPath(points, steps, cost)
    return path.measure(path.metrics(names))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_white_stimuli_make_the_gradient_flow_a_geodesic(scale):
    """C = c I: Ȧ = −c (A − A*), a straight line in A with length ‖A₀ − A*‖ (1 − exp(−c T))."""
    points, difference, _ = linear_flow(scale * np.eye(4), np.linspace(0, 1.5, 12))
    data = measured(points, "resolvent", "euclidean")
    resolvent = data.sel(metric="resolvent")
    theory = np.linalg.norm(difference) * (1 - np.exp(-1.5 * scale))
    assert float(resolvent["length"]) == pytest.approx(theory, rel=1e-10)
    assert float(resolvent["efficiency"]) == pytest.approx(1, rel=1e-10)
    assert float(resolvent["deviation"].max()) < 1e-10
    assert float(resolvent["turning"].max()) < 1e-4
    path = LearningPath(points)
    geodesic = path.geodesic(make_metric("resolvent", 4))
    for time, point in zip(np.linspace(0, 1.5, 12), points, strict=True):
        share = (1 - np.exp(-scale * time)) / (1 - np.exp(-scale * 1.5))
        np.testing.assert_allclose(geodesic.point(share), point, atol=1e-6)
    assert float(data["efficiency"].sel(metric="euclidean")) < 0.999


def test_coloured_stimuli_bend_it_as_theory_says():
    """C with eigenvalues 1 and 2: length = ∫ √(a² + 4 b² u²) du from exp(−T) to 1, u = exp(−t)."""
    covariance = np.diag([1.0, 1.0, 2.0, 2.0])
    points, difference, _ = linear_flow(covariance, np.linspace(0, 1, 1501))
    slow, fast = np.linalg.norm(difference[:, :2]), 2 * np.linalg.norm(difference[:, 2:])

    def antiderivative(u):
        return (u * sqrt(slow**2 + fast**2 * u**2) + slow**2 / fast * asinh(fast * u / slow)) / 2

    data = measured(points, "resolvent").squeeze()
    assert float(data["length"]) == pytest.approx(antiderivative(1.0) - antiderivative(np.exp(-1.0)), rel=1e-6)
    squared = (slow * (1 - np.exp(-1.0))) ** 2 + (fast / 2 * (1 - np.exp(-2.0))) ** 2
    assert float(data["distance"]) == pytest.approx(sqrt(squared), rel=1e-10)
    assert float(data["efficiency"]) < 1 - 1e-4


def test_the_flow_is_the_natural_gradient():
    """The flow of the theory is minus the Riemannian gradient of the package's cost."""
    generator = np.random.default_rng(1)
    stimuli = generator.standard_normal((40, 4))
    covariance = stimuli.T @ stimuli / 40
    points, _, best = linear_flow(covariance, [0.0, 0.3 - 1e-5, 0.3, 0.3 + 1e-5])
    network = RateNetwork(4, activation="identity")
    cost = FixedPointCost(network, stimuli, SquaredError(stimuli @ best.T), solver="newton")
    manifold = PullbackManifold(Resolvent(), 4)
    velocity = (points[3] - points[1]) / 2e-5
    gradient = manifold.euclidean_to_riemannian_gradient(points[2], cost.gradient(points[2]))
    np.testing.assert_allclose(-gradient, velocity, rtol=1e-5, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.sampled_from(CLOSED_OR_SHOT))
def test_length_is_at_least_the_distance(seed, count, name):
    points = 0.1 * np.cumsum(np.random.default_rng(seed).standard_normal((count, 3, 3)) / 2, axis=0)
    data = measured(list(points), name).squeeze()
    assert float(data["length"]) >= float(data["distance"]) * (1 - 1e-9)
    assert 0 <= float(data["efficiency"]) <= 1 + 1e-9
    assert data.attrs["notes"] == ""


@pytest.mark.parametrize("name", CLOSED_OR_SHOT)
def test_a_run_that_follows_a_geodesic(name):
    manifold = make_metric(name, 4)
    generator = np.random.default_rng(2)
    start, vector = 0.2 * generator.standard_normal((4, 4)), 0.15 * generator.standard_normal((4, 4))
    points = [manifold.exp(start, time * vector) for time in np.linspace(0, 1, 9)]
    data = measured(points, name).squeeze()
    assert float(data["length"]) == pytest.approx(manifold.norm(start, vector), rel=1e-8)
    assert float(data["efficiency"]) == pytest.approx(1, abs=1e-8)
    assert float(data["deviation"].max()) < 1e-7
    assert float(data["turning"].max()) < 1e-3
    np.testing.assert_allclose(data["progress"], np.linspace(0, 1, 9), atol=1e-8)
    np.testing.assert_allclose(data["from_start"], np.linspace(0, 1, 9) * float(data["length"]), atol=1e-8)
    np.testing.assert_allclose(data["speed"][:-1], float(data["length"]) / 8, rtol=1e-8)


def test_thinning_changes_no_figure():
    """A smooth path, thinned tenfold: every quantity agrees within 1 % of its largest value."""

    def smooth(time):
        base = np.random.default_rng(3).standard_normal((3, 4, 4))
        return 0.15 * (base[0] + np.sin(2 * time) * base[1] + np.cos(3 * time) * base[2])

    times = np.linspace(0, 1, 1001)
    names = ("euclidean", "resolvent", "monotone")
    points = [smooth(time) for time in times]
    fine, coarse = measured(points, *names), measured(points[::10], *names, steps=np.arange(1001)[::10])
    for scalar in ("length", "distance", "efficiency", "total_turning"):
        np.testing.assert_allclose(coarse[scalar], fine[scalar], rtol=0.01, err_msg=scalar)
    same = fine.isel(point=slice(0, None, 10))
    for name in ("from_start", "deviation", "progress", "edge_distance", "speed", "curvature"):
        for metric in names:
            a, b = coarse[name].sel(metric=metric).values, same[name].sel(metric=metric).values
            there = np.isfinite(a) & np.isfinite(b)
            if name != "speed" and there.any():
                np.testing.assert_allclose(a[there], b[there], atol=0.01 * np.abs(b[there]).max(), err_msg=name)
            elif there.any():  # a mean over ten steps, compared with the first of them
                np.testing.assert_allclose(a[there].mean(), fine[name].sel(metric=metric).mean(), rtol=0.01)


def test_right_angles_and_directions_of_rules(trained):
    """For a full batch of ΔW3 the actual step equals the step of ΔW3, and ΔW1 is the negative gradient."""
    points, cost = trained
    data = measured(points, *DEFAULT_METRICS, cost=cost)
    assert data["angle"].shape == (2, 4, 13)
    assert float(data["angle"].sel(rule="dW3", metric="euclidean").max()) < 1e-4
    assert float(data["angle"].sel(rule="dW3", metric="resolvent").max()) < 1  # a geodesic to the same point starts differently
    for place in (0, 5):
        step, gradient = points[place + 1] - points[place], cost.gradient(points[place])
        cosine = -np.sum(step * gradient) / np.linalg.norm(step) / np.linalg.norm(gradient)
        found = float(data["angle"].sel(rule="dW1", metric="euclidean")[place])
        assert found == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-6)
    np.testing.assert_allclose(data["loss"], [cost(point) for point in points], rtol=1e-7)
    for place, point in enumerate(points[:3]):
        gains = cost.at(point).gains
        exact = min(np.linalg.svd(np.eye(50) - row[:, None] * point, compute_uv=False)[-1] for row in gains)
        assert float(data["singular_value"][place]) == pytest.approx(exact, rel=1e-6)
        nearest = 1 / np.linalg.norm(np.eye(50) - point, 2)
        assert float(data["edge_distance"].sel(metric="resolvent")[place]) == pytest.approx(nearest)
    assert np.all(np.isinf(data["edge_distance"].sel(metric="euclidean")))


def test_losses_between_the_ends(trained):
    points, cost = trained
    path = LearningPath(points, cost=cost)
    geodesic = path.geodesic(make_metric("resolvent", 50))
    data = path.losses_between({"resolvent": geodesic})
    for line in data["line"].values:
        ends = data["loss_between"].sel(line=line).values[[0, -1]]
        np.testing.assert_allclose(ends, [cost(points[0]), cost(points[-1])])
    middle = float(data["loss_between"].sel(line="straight line in W", time=0.5))
    assert middle == pytest.approx(cost((points[0] + points[-1]) / 2))
    middle = float(data["loss_between"].sel(line="resolvent", time=0.5))
    assert middle == pytest.approx(cost(make_metric("resolvent", 50).pair_mean(points[0], points[-1])))


def test_a_singular_point_is_named_and_the_others_continue():
    points = [0.5 * np.eye(3) + 0.1 * k * np.diag([1.0, 0, 0]) for k in range(4)] + [
        np.eye(3),
        0.6 * np.eye(3),
        0.4 * np.eye(3),
    ]
    data = measured(points, "resolvent", "euclidean", steps=[0, 10, 20, 30, 40, 50, 60])
    (note,) = data.attrs["notes"].splitlines()
    assert note.startswith("Step 40 under the resolvent metric: σ_min(I − G W) = 0: the point lies on the singular set")
    resolvent = data.sel(metric="resolvent")
    assert np.isnan(resolvent["step_length"][4])
    assert np.isfinite(resolvent["step_length"][[0, 1, 2, 3, 5]]).all()
    expected = PullbackManifold(Resolvent(), 3).dist(points[3], points[5])
    assert float(resolvent["step_length"][3]) == pytest.approx(expected)
    assert float(resolvent["efficiency"]) > 0
    assert np.isfinite(data["step_length"].sel(metric="euclidean")[:-1]).all()


def test_the_speed_around_a_singular_point_uses_all_its_steps():
    identity = np.eye(3)
    points = [0 * identity, 0.1 * identity, 2 * identity, 0.2 * identity, 0.3 * identity]  # the third is not monotone
    data = measured(points, "monotone", steps=[0, 1, 2, 3, 7]).sel(metric="monotone")
    lengths, speed = data["step_length"].values, data["speed"].values
    np.testing.assert_allclose(speed[[0, 1, 3]], lengths[[0, 1, 3]] / [1, 2, 4])
    assert np.isnan(speed[[2, 4]]).all()


def test_singular_ends_and_paths_that_are_singular_altogether():
    points = [np.eye(2), np.zeros((2, 2)), 0.5 * np.ones((2, 2)) / 2, np.eye(2)]
    data = measured(points, "resolvent").squeeze()
    assert float(data["efficiency"]) == pytest.approx(1)
    assert "Steps 0 to 3 under the resolvent metric (2 points); at step 0" in data.attrs["notes"]
    nowhere = measured([np.eye(2), np.eye(2)], "resolvent").squeeze()
    assert np.isnan(nowhere["distance"])
    assert np.isnan(nowhere["efficiency"])


def test_points_without_a_joining_path_have_no_efficiency():
    points = [np.zeros((2, 2)), 0.1 * np.eye(2), np.diag([1.5, 0.1]), np.diag([1.6, 0.1])]
    data = measured(points, "left-invariant").squeeze()
    assert np.isnan(data["efficiency"])
    assert np.isfinite(data["step_length"][[0, 2]]).all()
    assert "det(I − W) has opposite signs at the two points" in data.attrs["notes"]


def test_curvature_is_zero_in_a_flat_metric_and_agrees_with_the_manifold():
    points = [0.05 * np.random.default_rng(seed).standard_normal((3, 3)) for seed in range(3)]
    flat = MetricManifold(lambda W, P: (np.eye(3) - W) @ (np.eye(3) - W).T @ P @ (np.eye(3) - W).T @ (np.eye(3) - W), 3)
    path = LearningPath(points)
    data = path.measure({"flat": flat, "plastic": MetricManifold(plastic_rows, 3), "left": left_invariant(3), **path.metrics()})
    assert float(abs(data["curvature"].sel(metric="flat")).max()) < 1e-8
    assert float(abs(data["curvature"].sel(metric=list(DEFAULT_METRICS))).max()) == 0
    manifold = left_invariant(3)
    plane = manifold.log(points[1], points[2]), manifold.log(points[1], points[0])
    expected = manifold.sectional_curvature(points[1], *plane)
    assert float(data["curvature"].sel(metric="left")[1]) == pytest.approx(expected, rel=1e-6)
    assert float(abs(data["curvature"].sel(metric="plastic")).max()) > 1e-3


def test_curvature_of_the_monotone_manifold_agrees_with_its_metric():
    """Compares with the curvature that `MetricManifold` derives from ♯ alone."""
    import autograd.numpy as anp

    def sharp(W, P):
        S = anp.eye(3) - (W + W.T) / 2
        return S @ P @ S

    monotone, derived = MonotoneManifold(3, seed=0), MetricManifold(sharp, 3)
    W = monotone.random_point()
    U, V = monotone.random_tangent_vector(W), monotone.random_tangent_vector(W)
    assert monotone.sectional_curvature(W, U, V) == pytest.approx(derived.sectional_curvature(W, U, V), rel=1e-6)
    assert monotone.sectional_curvature(W, U, V) < -1e-3


def test_a_missing_geodesic_says_why():
    geodesic = Geodesic.between(make_metric("resolvent", 2), np.zeros((2, 2)), np.eye(2))
    assert "σ_min" in geodesic.reason
    assert geodesic.point(0.5) is None
    edge = Geodesic.between(make_metric("resolvent", 2), np.zeros((2, 2)), 3 * np.eye(2))
    assert edge.point(0.25) is not None
    assert edge.point(0.9) is None


def test_arguments_without_a_path_are_refused():
    with pytest.raises(ValueError, match="1 points do not make a path; pass at least two"):
        LearningPath([np.eye(2)])
    with pytest.raises(ValueError, match="the steps do not increase"):
        LearningPath([np.eye(2), np.eye(2)], [1, 1])
    with pytest.raises(ValueError, match="metric 'hyperbolic' is unknown; choose one of euclidean, resolvent"):
        make_metric("hyperbolic", 3)


def test_the_path_is_never_completely_in_memory():
    n, count = 60, 300

    class Lazy(list):
        def __len__(self):
            return count

        def __getitem__(self, place):
            return 0.3 * np.random.default_rng(place % count).standard_normal((n, n)) / n**0.5

    path = LearningPath(Lazy())
    tracemalloc.start()
    path.measure(path.metrics())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < count * 8 * n * n / 2


@pytest.mark.parametrize("name", CLOSED_OR_SHOT)
def test_the_logarithm_from_the_other_end_is_the_reversed_geodesic(name):
    tangents = Tangents(make_metric(name, 5))
    generator = np.random.default_rng(1)
    here, there = 0.3 * generator.standard_normal((2, 5, 5)) / 5**0.5
    ahead, behind = tangents.logs(here, there)
    np.testing.assert_array_equal(ahead, tangents.log(here, there))
    np.testing.assert_allclose(behind(), tangents.log(there, here), atol=1e-9)
