"""Around a path: singular values, loss landscapes, and comparisons between the ends of several runs."""

import numpy as np
import pytest

from manifolds import Identity, Resolvent
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.analysis import DEFAULT_METRICS, LearningPath, make_metric
from riemannrnn.analysis.end_points import barriers, between_ends, geodesic_mean
from riemannrnn.analysis.landscape import Plane, landscape, surroundings
from riemannrnn.analysis.singularity import SmallestSingularValue, singular_value_estimates
from riemannrnn.data import load_digits


def test_between_the_ends_of_runs(trained):
    points, cost = trained
    paths = [LearningPath(points[:4], cost=cost, name="a"), LearningPath(points, cost=cost, name="b")]
    data = between_ends(paths, paths[0].metrics())
    for metric in DEFAULT_METRICS:
        manifold, chosen = make_metric(metric, 50), data.sel(metric=metric)
        assert float(chosen["distance"][0, 1]) == pytest.approx(manifold.dist(points[3], points[-1]))
        assert float(chosen["distance"][1, 0]) == float(chosen["distance"][0, 1])
        middle = manifold.pair_mean(points[3], points[-1])
        assert float(chosen["mean_loss"]) == pytest.approx(cost(middle))
        assert float(chosen["mean_distance"]) == pytest.approx(float(chosen["distance"][0, 1]) / 2)
        assert float(chosen["barrier"][0, 1]) < 0.02 * cost(points[0])
        np.testing.assert_allclose(chosen["loss_between"][1, 0], chosen["loss_between"][0, 1][::-1])
    assert barriers(np.array([1.0, 3.0, 2.0])) == pytest.approx(1.5)
    with pytest.raises(ValueError, match="two runs or more, of networks of one size"):
        between_ends(paths[:1], {})


@pytest.mark.parametrize("name", ["resolvent", "monotone", "left-invariant"])
def test_the_mean_is_where_logarithms_cancel(name):
    manifold = make_metric(name, 3)
    points = [0.2 * np.random.default_rng(seed).standard_normal((3, 3)) for seed in range(3)]
    mean = geodesic_mean(manifold, points)
    assert manifold.norm(mean, sum(manifold.log(mean, point) for point in points)) < 1e-8


def test_the_landscape_is_the_cost_on_the_plane(trained):
    points, cost = trained
    plane = Plane.through(Resolvent(), [points[0], points[6], points[-1]])
    assert plane.project(points[0]) == pytest.approx((0, 0), abs=1e-9)
    assert plane.project(points[6])[1] == pytest.approx(0, abs=1e-9)
    for point in (points[0], points[6], points[-1]):
        np.testing.assert_allclose(plane.weights(*plane.project(point)), point, atol=1e-10)
    u, v = plane.project(points[-1])
    data = landscape(cost, plane, np.array([0.0, u]), np.array([0.0, v]))
    assert float(data["plane_cost"][0, 0]) == pytest.approx(cost(points[0]))
    assert float(data["plane_cost"][1, 1]) == pytest.approx(cost(points[-1]))
    abscissa = cost.at(points[-1]).fixed_points.stability()[:32].max()
    assert float(data["abscissa"][1, 1]) == pytest.approx(abscissa, abs=0.02)
    assert np.all(data["sign"] == 1)
    with pytest.raises(ValueError, match="lie on a line"):
        Plane.through(Identity(), [np.zeros((2, 2)), np.eye(2), 2 * np.eye(2)])


@pytest.mark.parametrize(
    ("scale", "policy", "solved"), [(0.1, "inf", {32, 40}), (-50.0, "inf", {32}), (-50.0, "mask", {32, 40})]
)
def test_a_lost_stimulus_among_the_first_decides_a_point(scale, policy, solved, monkeypatch):
    network, data, sizes = RateNetwork(20, 64, 10, "relu", seed=0), load_digits().split(40, seed=0)[0], set()
    cost = FixedPointCost(network, data.stimuli, CrossEntropy(data.labels), max_iterations=50, on_failure=policy)
    respond = RateNetwork.respond

    def counted(self, weights, stimuli, *others):
        sizes.add(len(stimuli))
        return respond(self, weights, stimuli, *others)

    monkeypatch.setattr(RateNetwork, "respond", counted)
    plane = Plane(Identity(), np.zeros((20, 20)), np.random.default_rng(0).standard_normal((20, 20)), np.eye(20))
    value = float(landscape(cost, plane, np.array([scale]), np.zeros(1))["plane_cost"][0, 0])
    assert sizes == solved
    assert value == pytest.approx(cost(plane.weights(scale, 0.0)), rel=1e-4)
    assert np.isinf(value) == (scale < 0)


def test_what_is_singular_and_unstable_is_marked(trained):
    _, cost = trained
    plane = Plane(Identity(), np.zeros((50, 50)), np.diag(np.arange(50) == 0) * 1.0, np.diag(np.arange(50) == 1) * 1.0)
    data = landscape(cost, plane, np.array([0.0, 3.0]), np.array([0.0]))
    np.testing.assert_array_equal(data["sign"][:, 0], [1, -1])
    assert float(data["abscissa"][0, 0]) < 0
    singular = landscape(
        cost, Plane(Resolvent(), np.zeros((50, 50)), plane.first, plane.second), np.array([1.0]), np.array([0.0])
    )
    assert np.isnan(singular["plane_cost"]).all()


def test_principal_components_hold_a_path_of_a_plane():
    generator = np.random.default_rng(0)
    axes = generator.standard_normal((2, 4, 4)) / 10
    points = [np.cos(t) * axes[0] + np.sin(t) * axes[1] for t in np.linspace(0, 2, 9)]
    plane = Plane.of_path(Identity(), points)
    assert plane.explained == pytest.approx(1, abs=1e-5)
    for point in points:
        np.testing.assert_allclose(plane.weights(*plane.project(point)), point, atol=1e-6)
    assert plane.project(points[-1]) == pytest.approx((0, 0), abs=1e-9)
    projected = np.array([plane.project(point) for point in points])
    u, v = surroundings(projected, 5)
    assert u[0] < projected[:, 0].min() < projected[:, 0].max() < u[-1]
    assert v[0] < projected[:, 1].min() < projected[:, 1].max() < v[-1]


def singular_values(weights, gains):
    return np.array([np.linalg.svd(np.eye(len(weights)) - row[:, None] * weights, compute_uv=False)[-1] for row in gains])


def test_the_plane_of_a_path_without_extent():
    W = np.diag([0.1, 0.2])
    for points, share in (([W, W], np.nan), ([np.eye(2), W], np.nan), ([W, 2 * W], 1.0)):  # I has no coordinates
        plane = Plane.of_path(Resolvent(), points)
        np.testing.assert_allclose(plane.project(W if share != 1 else 2 * W), 0, atol=1e-12)
        np.testing.assert_equal(round(plane.explained, 6), share)
    plane = Plane.of_path(Identity(), [np.zeros((1, 1)), np.full((1, 1), 0.25)])  # a single weight
    assert abs(plane.project(np.zeros((1, 1)))[0]) == pytest.approx(0.25)
    np.testing.assert_allclose(plane.weights(plane.project(np.zeros((1, 1)))[0], 7.0), 0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_smallest_singular_value_of_few_units_and_of_no_units(n, scale):
    weights, gains = scale * np.eye(n)[::-1], np.linspace(0, 1, 3 * n).reshape(3, n)
    expected = np.linalg.svd(np.eye(n) - gains[:, :, None] * weights, compute_uv=False)[:, -1].min()
    assert SmallestSingularValue()(weights, gains) == pytest.approx(expected, abs=1e-8)


def test_an_analysis_adds_nothing_to_the_record_of_a_run(trained):
    points, trained_on = trained
    seen = []
    cost = trained_on.take(np.arange(len(trained_on.batch)))
    cost.observer, before = lambda *what: seen.append(what), cost.evaluations.total
    path = LearningPath(points[:2], cost=cost)
    path.measure(path.metrics(("euclidean",)))
    path.losses_between({})
    landscape(cost, Plane.of_path(Identity(), points[:2]), np.zeros(1), np.zeros(1))
    assert (seen, cost.evaluations.total) == ([], before)


def test_smallest_singular_value_of_many_units():
    generator = np.random.default_rng(0)
    weights, gains = 0.9 * generator.standard_normal((80, 80)) / 80**0.5, generator.uniform(0.2, 1, (150, 80))
    exact = singular_values(weights, gains)
    assert SmallestSingularValue()(weights, gains) == pytest.approx(exact.min(), rel=1e-6)
    preconditioner = np.linalg.inv(np.eye(80) - 0.6 * weights)
    start, shared = generator.standard_normal((150, 80)), generator.standard_normal((2, 80))
    estimates, vectors = singular_value_estimates(weights, gains, preconditioner, start, shared, 20)
    assert np.all(estimates >= exact * (1 - 1e-9))
    assert np.median(estimates / exact) < 1.01
    images = vectors - gains * (vectors @ weights.T)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), estimates * np.linalg.norm(vectors, axis=1), rtol=1e-9)
    gains[0] = np.nan
    assert SmallestSingularValue()(weights, gains) == pytest.approx(exact[1:].min(), rel=1e-6)
    assert np.isnan(SmallestSingularValue()(weights, gains[:1]))


def test_smallest_singular_value_is_followed_along_a_path_with_large_weights():
    """If gains differ much, their mean is a poor preconditioner, and few iterations from its vectors miss the smallest."""
    generator = np.random.default_rng(0)
    first, last = 2 * generator.standard_normal((2, 80, 80)) / 80**0.5
    drives = generator.standard_normal((60, 80))
    smallest = SmallestSingularValue()
    for share in np.linspace(0, 0.2, 41):
        weights = (1 - share) * first + share * last
        gains = 1 - np.tanh(drives @ weights.T) ** 2
        gains[int(20 * share)] = np.nan  # first this stimulus has no fixed point, then another
        found = smallest(weights, gains)
    assert found == pytest.approx(np.nanmin(singular_values(weights, np.delete(gains, 4, axis=0))), rel=1e-6)
