"""The conformance suite of manifolds, over the table in cases.py."""

from itertools import pairwise
from math import inf, prod

import numpy as np
import pytest
from cases import CATALOGUE, CHARTS, N, arcsinh_chart, short_vector
from pymanopt.manifolds.manifold import Manifold

from manifolds import Composition, Identity, OutsideManifoldError, PointCache, PullbackManifold, SignedLog, check_manifold
from manifolds.arrays import inner
from manifolds.checks import check_equal, check_numbers, check_slope

CALLS = {
    "dim": lambda m, W, W2, V: m.dim,
    "point_layout": lambda m, W, W2, V: m.point_layout,
    "num_values": lambda m, W, W2, V: m.num_values,
    "typical_dist": lambda m, W, W2, V: m.typical_dist,
    "inner_product": lambda m, W, W2, V: m.inner_product(W, V, V),
    "norm": lambda m, W, W2, V: m.norm(W, V),
    "dist": lambda m, W, W2, V: m.dist(W, W2),
    "projection": lambda m, W, W2, V: m.projection(W, V),
    "to_tangent_space": lambda m, W, W2, V: m.to_tangent_space(W, V),
    "embedding": lambda m, W, W2, V: m.embedding(W, V),
    "zero_vector": lambda m, W, W2, V: m.zero_vector(W),
    "random_point": lambda m, W, W2, V: m.random_point(),
    "random_tangent_vector": lambda m, W, W2, V: m.random_tangent_vector(W),
    "euclidean_to_riemannian_gradient": lambda m, W, W2, V: m.euclidean_to_riemannian_gradient(W, V),
    "euclidean_to_riemannian_hessian": lambda m, W, W2, V: m.euclidean_to_riemannian_hessian(W, V, V, V),
    "retraction": lambda m, W, W2, V: m.retraction(W, V),
    "exp": lambda m, W, W2, V: m.exp(W, V),
    "log": lambda m, W, W2, V: m.log(W, W2),
    "transport": lambda m, W, W2, V: m.transport(W, W2, V),
    "pair_mean": lambda m, W, W2, V: m.pair_mean(W, W2),
}
"""A call of every method that pymanopt requires of a manifold."""

NUMBERS = {"typical_dist", "inner_product", "norm", "dist"}
COUNTS = {"point_layout": 1, "num_values": 1}


def test_the_calls_are_the_whole_contract():
    assert set(CALLS) == {name for name in vars(Manifold) if not name.startswith("_")}


def test_check_manifold_passes(manifold):
    report = check_manifold(manifold)
    assert report, str(report)


def test_contract(case, manifold):
    W = manifold.random_point()
    V = short_vector(manifold, W)
    W2 = manifold.exp(W, V)
    before = [array.copy() for array in (W, W2, V)]
    for name, call in CALLS.items():
        result = call(manifold, W, W2, V)
        if name == "dim":
            tangent = np.stack([manifold.random_tangent_vector(W).reshape(-1) for _ in range(prod(case.shape) + 1)])
            assert result == np.linalg.matrix_rank(tangent)
        elif name in COUNTS:
            assert result == COUNTS[name], name
        elif name in NUMBERS:
            assert type(result) is float, name
            assert 0 < result < inf, name
        else:
            assert (result.shape, result.dtype) == (case.shape, case.dtype), name
            assert np.all(np.isfinite(result)), name
        np.testing.assert_array_equal([W, W2, V], before, err_msg=f"{name} changed an argument")


def test_random_tangent_vectors_have_unit_norm(geometry):
    W = geometry.random_point()
    assert geometry.norm(W, geometry.random_tangent_vector(W)) == pytest.approx(1)
    assert 1 < geometry.typical_dist < 4
    if geometry.shape == (N, N):
        assert geometry.typical_dist == pytest.approx(N**0.5)


def test_random_numbers_come_from_the_seed_alone(case):
    def draw(seed):
        manifold = case.manifold(seed)
        W = manifold.random_point()
        return np.stack([W, manifold.random_tangent_vector(W)])

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.any((draw(1) == draw(2)) & (draw(1) != 0))  # a mask has zeros


def test_the_middle_is_half_way_from_both_ends(geometry):
    W = geometry.random_point()
    other = geometry.exp(W, short_vector(geometry, W))
    np.testing.assert_allclose(geometry.pair_mean(W, other), geometry.pair_mean(other, W), rtol=1e-9, atol=1e-12)
    assert geometry.dist(W, geometry.pair_mean(W, other)) == pytest.approx(geometry.dist(W, other) / 2)


@pytest.mark.parametrize("chart", CHARTS)
def test_chart_identities(chart, generator):
    """Checks the parts of a chart that the manifold does not use: every operation against φ and against its adjoint."""
    phi = CHARTS[chart](np.float64)
    W = phi.inverse(phi.origin(np.empty((N, N))) + 0.2 * generator.standard_normal((N, N)))
    V, U, Z = generator.standard_normal((3, N, N))
    step = 1e-6

    def change(function):
        return (function(W + step * V) - function(W - step * V)) / (2 * step)

    along = phi.differential(W, V)
    results = [
        check_equal("inverse", phi.inverse(phi.value(W)), W, 1e-11),
        check_equal("differential", along, change(phi.value), 1e-7),
        check_numbers("adjoint", inner(phi.adjoint(W, Z), V), inner(Z, along), 1e-11, 1.0),
        check_equal("inverse differential", phi.inverse_differential(W, along), V, 1e-11),
        check_equal("inverse adjoint", phi.inverse_adjoint(W, phi.adjoint(W, Z)), Z, 1e-11),
        check_equal(
            "derivative of the inverse adjoint",
            phi.inverse_adjoint_derivative(W, V, U),
            change(lambda point: phi.inverse_adjoint(point, U)),
            1e-6 if chart != "identity" else 1e-9,
        ),
        check_equal("difference", phi.difference(W, W + 0.01 * V), phi.value(W + 0.01 * V) - phi.value(W), 1e-10),
        check_equal("exponential", phi.value(phi.exponential(W, 0.01 * V)), phi.value(W) + 0.01 * along, 1e-10),
    ]
    assert all(results), "\n".join(map(str, results))


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.metric)
def test_geodesics_are_shortest_and_of_constant_speed(case):
    manifold = case.manifold()
    W = manifold.random_point()
    V = short_vector(manifold, W)
    end = manifold.exp(W, V)
    points = [manifold.exp(W, t * V) for t in np.linspace(0, 1, 5)]
    pieces = [manifold.dist(a, b) for a, b in pairwise(points)]
    np.testing.assert_allclose(pieces, manifold.norm(W, V) / 4, rtol=1e-8)
    detour = manifold.exp(W, 0.5 * V + 0.1 * short_vector(manifold, W))
    assert manifold.dist(W, detour) + manifold.dist(detour, end) > manifold.dist(W, end)


def test_the_distance_is_the_length_of_a_path_by_the_metric(geometry):
    """Compares the chart's distance with the metric alone: the summed speeds along the straight line in W."""
    W = geometry.random_point()
    V = geometry.log(W, geometry.exp(W, 0.01 * short_vector(geometry, W)))

    def excess(step):
        return abs(geometry.dist(W, W + step * V) - geometry.norm(W + 0.5 * step * V, step * V))

    result = check_slope("distance by the metric", excess, 3, geometry.norm(W, V), np.finfo(float).eps * 1e3)
    assert result, str(result)


def test_point_cache_does_the_work_once_per_point():
    calls = []
    cache = PointCache(lambda point: calls.append(1) or 2 * point)
    a, b = np.zeros(3), np.ones(3)
    for point in (a, b, a.copy(), b, a):
        np.testing.assert_array_equal(cache(point), 2 * point)
    assert len(calls) == 2
    cache(np.full(3, 2.0))
    cache(a)
    assert len(calls) == 3
    cache(b)
    assert len(calls) == 4


def test_point_cache_takes_over_work_done_elsewhere():
    cache = PointCache(lambda point: 2 * point)
    point = np.zeros(3)
    cache.remember(point, "known")
    point += 1  # the cache took a private copy
    assert cache(np.zeros(3)) == "known"
    np.testing.assert_array_equal(cache(point), 2)


def test_point_cache_replaces_its_entries_so_that_threads_may_share_it():
    cache = PointCache(lambda point: 2 * point)
    a, b = np.zeros(3), np.ones(3)
    cache(a), cache(b)
    entries = cache._entries  # as another thread holds them
    before = list(map(id, entries))
    cache(a), cache(np.full(3, 2.0))
    assert list(map(id, entries)) == before


def test_point_cache_notices_changes_in_place():
    cache = PointCache(lambda point: point)  # the work is a view of the point
    point = np.zeros(3)
    cache(point)
    point += 1
    np.testing.assert_array_equal(cache(point), 1)
    point += 1
    np.testing.assert_array_equal(cache(np.ones(3)), 1)


def test_point_cache_tells_dtypes_and_shapes_apart():
    cache = PointCache(lambda point: point.dtype)
    assert cache(np.zeros(2)) == np.float64
    assert cache(np.zeros(2, np.float32)) == np.float32


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.metric)
def test_a_changed_point_gets_fresh_geometry(case):
    used, fresh = case.manifold(), case.manifold()
    W = used.random_point()
    V = short_vector(used, W)
    used.norm(W, V)
    W *= 0.5
    assert used.norm(W, V) == fresh.norm(W.copy(), V)


def test_a_straight_line_stops_before_the_edge_of_an_inner_chart():
    inside, out = np.full((2, 2), 0.5), np.full((2, 2), -1.0)
    for chart in (SignedLog(np.ones(2)), Composition(Identity(), SignedLog(np.ones(2)))):
        manifold = PullbackManifold(chart, 2, "additive")
        assert manifold.chart.exit_time(inside, out, "additive") == pytest.approx(0.5)
        assert manifold.retraction(inside, out).min() > 0


def test_signed_logarithms_of_points_far_apart():
    """The quotient of the entries overflows float32, but their distance does not."""
    manifold = PullbackManifold(SignedLog(np.ones(1, np.float32)), 1)
    near, far = np.full((1, 1), 1e-38, np.float32), np.full((1, 1), 1e30, np.float32)
    for a, b in ((near, far), (far, near)):
        assert manifold.dist(a, b) == pytest.approx(68 * np.log(10), rel=1e-3)


def test_a_chart_by_autograd_that_overflows_is_refused_in_words():
    manifold = PullbackManifold(arcsinh_chart(), 3)
    with pytest.raises(OutsideManifoldError, match="NaN or infinity"):
        manifold.exp(np.zeros((3, 3)), np.full((3, 3), 1e3))
