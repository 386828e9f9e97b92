"""The resolvent chart against its formulas, written here independently with explicit inverses."""

import gc
import weakref
from math import inf

import numpy as np
import pytest
from cases import gains, resolvent_twin, short_vector
from hypothesis import given, settings
from hypothesis import strategies as st

from manifolds import InvalidArrayError, OutsideManifoldError, PullbackManifold, Resolvent, SingularPointError
from manifolds.linear_algebra import inverse_by_blocks

N = 5


@pytest.fixture
def manifold():
    return PullbackManifold(Resolvent(), N, seed=0)


@pytest.fixture(name="W")
def point(manifold):
    return manifold.random_point()


@pytest.fixture(name="V")
def vector(manifold, W):
    return short_vector(manifold, W)


def resolvent(W):
    return np.linalg.inv(np.eye(len(W)) - W)


def test_metric(manifold, W, V):
    A, U = resolvent(W), manifold.normal(W)
    assert manifold.inner_product(W, U, V) == pytest.approx(np.trace((A @ U @ A).T @ (A @ V @ A)))


def test_gradient_takes_no_inverse(manifold, W):
    B, G = np.eye(N) - W, manifold.normal(W)
    np.testing.assert_allclose(manifold.euclidean_to_riemannian_gradient(W, G), B @ B.T @ G @ B.T @ B, rtol=1e-12)


def test_exp_log_and_distance(manifold, W, V):
    A, B = resolvent(W), np.eye(N) - W
    other = manifold.exp(W, V)
    np.testing.assert_allclose(other, np.eye(N) - np.linalg.inv(np.eye(N) + V @ A) @ B, rtol=1e-12)
    np.testing.assert_allclose(resolvent(other), A + A @ V @ A, rtol=1e-12)
    np.testing.assert_allclose(manifold.log(W, other), B @ resolvent(other) @ B - B, rtol=1e-9, atol=1e-12)
    assert manifold.dist(W, other) == pytest.approx(np.linalg.norm(resolvent(other) - A))


def test_transport(manifold, W, V):
    other, U = manifold.exp(W, V), manifold.normal(W)
    A, B = resolvent(W), np.eye(N) - other
    np.testing.assert_allclose(manifold.transport(W, other, U), B @ A @ U @ A @ B, rtol=1e-9, atol=1e-12)


def test_hessian(manifold, W, V):
    A, B = resolvent(W), np.eye(N) - W
    G, H = manifold.normal(W), manifold.normal(W)
    dA = A @ V @ A
    in_coordinates = -B.T @ dA.T @ B.T @ G @ B.T + B.T @ H @ B.T - B.T @ G @ B.T @ dA.T @ B.T
    expected = B @ in_coordinates @ B
    np.testing.assert_allclose(manifold.euclidean_to_riemannian_hessian(W, G, H, V), expected, rtol=1e-9, atol=1e-12)


def test_gains_make_the_resolvent_of_the_gained_weights():
    g = gains(n=N)
    manifold = PullbackManifold(Resolvent(g), N, seed=0)
    W, G = manifold.random_point(), np.diag(g)
    L, R = np.eye(N) - W @ G, np.eye(N) - G @ W
    gradient, V = manifold.normal(W), manifold.normal(W)
    np.testing.assert_allclose(manifold.chart.value(W), np.linalg.inv(G - G @ W @ G), rtol=1e-10)
    np.testing.assert_allclose(manifold.euclidean_to_riemannian_gradient(W, gradient), L @ L.T @ gradient @ R.T @ R, rtol=1e-10)
    assert manifold.norm(W, V) == pytest.approx(np.linalg.norm(np.linalg.inv(L) @ V @ np.linalg.inv(R)))
    assert manifold.edge_distance(W) == pytest.approx(np.linalg.svd(manifold.chart.value(W))[1].min())


@pytest.mark.parametrize(
    "call",
    [
        lambda m, W, W2, V: m.inner_product(W, V, W),
        lambda m, W, W2, V: m.euclidean_to_riemannian_gradient(W, V),
        lambda m, W, W2, V: m.euclidean_to_riemannian_hessian(W, V, W2, V),
        lambda m, W, W2, V: m.exp(W, V),
        lambda m, W, W2, V: m.retraction(W, V),
        lambda m, W, W2, V: m.log(W, W2),
        lambda m, W, W2, V: m.dist(W, W2),
        lambda m, W, W2, V: m.transport(W, W2, V),
        lambda m, W, W2, V: m.pair_mean(W, W2),
    ],
)
@pytest.mark.parametrize("retraction", ["geodesic", "additive"])
def test_autograd_twin_agrees(call, retraction):
    twin = PullbackManifold(resolvent_twin(n=N), N, retraction, seed=1)
    closed = PullbackManifold(Resolvent(), N, retraction, seed=1)
    W, W2 = twin.random_point(), twin.random_point()
    np.testing.assert_array_equal(W, closed.random_point())
    V = short_vector(closed, W)
    np.testing.assert_allclose(call(closed, W, W2, V), call(twin, W, W2, V), rtol=1e-8, atol=1e-11)


def test_exit_time_is_where_the_coordinates_become_singular(manifold, W):
    A, V = resolvent(W), manifold.normal(W)
    t = manifold.exit_time(W, V)
    rates = np.linalg.eigvals(V @ A)
    assert t == pytest.approx(min(-1 / rates.real[(rates.imag == 0) & (rates.real < 0)]))
    assert np.linalg.svd(A + t * A @ V @ A)[1].min() < 1e-10
    signs = [np.sign(np.linalg.det(np.eye(N) + s * V @ A)) for s in np.linspace(0, t * (1 - 1e-9), 50)]
    assert set(signs) == {1.0}
    np.testing.assert_allclose(resolvent(manifold.exp(W, 0.99 * t * V)), A + 0.99 * t * A @ V @ A, rtol=1e-6)


@pytest.mark.parametrize("retraction", ["geodesic", "additive"])
@pytest.mark.parametrize("gained", [False, True])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-3, 3))
def test_the_bound_of_the_exit_time_is_one(retraction, gained, seed, exponent):
    generator = np.random.default_rng(seed)
    g = generator.uniform(0.2, 5.0, N) * generator.choice([-1, 1], N) if gained else np.ones(N)
    chart = Resolvent(g if gained else None)
    W, V = generator.standard_normal((2, N, N)) / N**0.5
    V *= 10**exponent
    assert chart.exit_time_bound(W, V, retraction) <= chart.exit_time(W, V, retraction) * (1 + 1e-9)
    V *= 0.1 * np.linalg.svd(np.eye(N) - W * g)[1].min() / np.linalg.norm(V * g)
    assert chart.exit_time_bound(W, V, retraction) > 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("entry", [0.015, 512, 1.25 * 2**15, 1.25 * 2**28, 1.25 * 2**29, 2**30, 2**31])
def test_a_step_far_over_the_edge_is_refused_though_rounding_hides_the_edge(entry, dtype):
    """V dominates B + V there: S has an eigenvalue just above 1, or no correct digit."""
    n = 100
    manifold = PullbackManifold(Resolvent(), n)
    W, V = np.zeros((n, n), dtype), np.full((n, n), -entry, dtype)
    assert manifold.chart.exit_time_bound(W, V, "geodesic") == 0
    with pytest.raises(OutsideManifoldError, match=r"exit time"):
        manifold.exp(W, V)
    assert np.abs(manifold.retraction(W, V)).max() < 10


def test_a_step_that_ends_on_the_edge_is_refused():
    chart, W = Resolvent(), 0.5 * np.eye(2)
    V = W - np.eye(2)  # B + V = 0
    assert chart.exit_time_bound(W, V, "geodesic") == 0
    assert chart.exit_time(W, V, "geodesic") == pytest.approx(1)
    with pytest.raises(OutsideManifoldError, match="ends on the edge"):
        chart.exponential(W, V)


@pytest.mark.parametrize("gained", [False, True])
def test_a_step_down_the_gradient_takes_one_inverse(gained, generator, monkeypatch):
    n = 100
    chart = Resolvent(generator.uniform(0.2, 1.0, n) if gained else None)
    manifold = PullbackManifold(chart, n)
    W, covector = generator.standard_normal((2, n, n)) / n
    sizes = []
    monkeypatch.setattr(
        "manifolds.linear_algebra.inverse_by_blocks", lambda *args: sizes.append(len(args[0])) or inverse_by_blocks(*args)
    )
    arrival = manifold.exp(W, -0.1 * manifold.euclidean_to_riemannian_gradient(W, covector))
    assert sizes.count(n) == 1
    straight = chart.value(W) - 0.1 * chart.inverse_adjoint(W, covector)
    np.testing.assert_allclose(chart.value(arrival), straight, rtol=0, atol=1e-11)


def test_a_chart_leaves_memory_with_its_last_reference():
    """It holds large matrices, which must not wait for the garbage collector."""
    chart, W = Resolvent(), 0.5 * np.eye(2)
    chart.exponential(W, 0.1 * W)
    alive = weakref.ref(chart)
    gc.disable()
    try:
        del chart
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("length", [1e-3, 0.1, 1.0])
def test_float32_steps_near_the_singular_set_are_exact_to_rounding(length, generator):
    n = 100
    left, values, right = np.linalg.svd(np.eye(n) - 0.9 * generator.standard_normal((n, n)) / n**0.5)
    values[-1] = 1e-4
    W = (np.eye(n) - left * values @ right).astype(np.float32)
    manifold = PullbackManifold(Resolvent(), n)
    covector = (generator.standard_normal((n, n)) / n).astype(np.float32)
    V = -length * manifold.euclidean_to_riemannian_gradient(W, covector)
    V *= min(1, 0.5 * manifold.exit_time(W, V))
    exact = manifold.exp(W.astype(np.float64), V.astype(np.float64))
    np.testing.assert_allclose(manifold.exp(W, V), exact, rtol=0, atol=10 * np.finfo(np.float32).eps * np.abs(exact).max())


@pytest.mark.parametrize("size", [1e10, 1e20, 1e37])
@pytest.mark.parametrize("n", [N, 100])
def test_huge_float32_steps_stop_short_without_overflow(n, size, generator):
    manifold = PullbackManifold(Resolvent(), n, seed=0)
    W, V = manifold.random_point().astype(np.float32), (size * generator.standard_normal((n, n)) / n).astype(np.float32)
    with pytest.raises(OutsideManifoldError, match="exit time"):
        manifold.exp(W, V)
    assert np.abs(manifold.retraction(W, V)).max() < 100


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [N, 100])
def test_steps_at_and_beyond_the_end_of_the_range_are_refused(n, dtype, generator):
    manifold = PullbackManifold(Resolvent(), n, seed=0)
    W, V = manifold.random_point().astype(dtype), (generator.standard_normal((n, n)) / n).astype(dtype)
    for entry, error in [(np.finfo(dtype).max, OutsideManifoldError), (np.inf, InvalidArrayError), (np.nan, InvalidArrayError)]:
        V[1, 2] = entry
        with pytest.raises(error):
            manifold.exp(W, V)


@pytest.mark.parametrize("direction", [np.eye(2), np.array([[0.0, 1.0], [-1.0, 0.0]]), np.zeros((2, 2))])
def test_some_geodesics_never_leave(direction):
    manifold = PullbackManifold(Resolvent(), 2)
    W = 0.5 * np.eye(2)
    assert manifold.exit_time(W, direction) == inf
    assert np.all(np.isfinite(manifold.exp(W, 100 * direction)))


def test_exp_refuses_to_cross_the_edge_and_retraction_stops_short(manifold, W):
    V = manifold.normal(W)
    V *= 2 * manifold.exit_time(W, V)
    assert manifold.exit_time(W, V) == pytest.approx(0.5)
    with pytest.raises(OutsideManifoldError, match=r"t\* = 0\.5"):
        manifold.exp(W, V)
    np.testing.assert_allclose(manifold.retraction(W, V), manifold.exp(W, 0.45 * V), rtol=1e-9)


def test_additive_steps_stop_short_of_the_singular_set(W):
    manifold = PullbackManifold(Resolvent(), N, "additive")
    V = np.eye(N)  # crosses det(I − W) = 0, at the first eigenvalue of I − W
    rates = np.linalg.eigvals(np.eye(N) - W)
    t = min(rates.real[np.abs(rates.imag) < 1e-9])
    np.testing.assert_allclose(manifold.retraction(W, 10 * V), W + 0.9 * t * V, rtol=1e-9)
    np.testing.assert_allclose(manifold.retraction(W, 0.01 * V), W + 0.01 * V, rtol=1e-14)


def test_edge_distance_is_reached_and_not_undercut(manifold, W):
    """At distance σ_min(A) = 1/‖I − W‖₂ there is a singular A, in the direction of its last singular vectors."""
    distance = manifold.edge_distance(W)
    assert distance == pytest.approx(1 / np.linalg.norm(np.eye(N) - W, 2))
    u, _, v = np.linalg.svd(resolvent(W))
    towards = manifold.chart.inverse_differential(W, -np.outer(u[:, -1], v[-1]))
    assert manifold.norm(W, towards) == pytest.approx(1)
    assert manifold.exit_time(W, towards) == pytest.approx(distance)
    for _ in range(20):
        assert manifold.exit_time(W, manifold.random_tangent_vector(W)) >= distance


def test_the_singular_set_is_infinitely_far_away(manifold):
    Q = np.linalg.qr(manifold.normal())[0]
    distances = [manifold.dist(0.5 * Q @ Q.T, Q @ np.diag([*np.full(N - 1, 0.5), 1 - gap]) @ Q.T) for gap in (1e-2, 1e-4, 1e-6)]
    np.testing.assert_allclose(distances, [1e2, 1e4, 1e6], rtol=0.05)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 6),
    dtype=st.sampled_from([np.float64, np.float32]),
    exponent=st.integers(0, 20),
    seed=st.integers(0, 2**31),
)
def test_near_singular_points_are_exact_or_refused(n, dtype, exponent, seed):
    """At σ_min(I − W) = 10^-exponent the result is accurate to the conditioning, or the point raises an error."""
    generator = np.random.default_rng(seed)
    left, right = (np.linalg.qr(generator.standard_normal((n, n)))[0] for _ in range(2))
    smallest = 10.0**-exponent
    values = np.ones(n)
    values[-1] = smallest
    W = (np.eye(n) - left @ np.diag(values) @ right).astype(dtype)
    epsilon = np.finfo(dtype).eps
    manifold = PullbackManifold(Resolvent(), n)
    if smallest < epsilon / (100 * n):
        with pytest.raises(SingularPointError, match="σ_min"):
            manifold.norm(W, np.eye(n, dtype=dtype))
    elif smallest > 1e4 * n * epsilon:
        A = right.T @ np.diag(1 / values) @ left.T
        expected = pytest.approx(np.linalg.norm(A @ A), rel=float(1e3 * n * epsilon / smallest))
        assert manifold.norm(W, np.eye(n, dtype=dtype)) == expected


def test_changes_by_a_caller_do_not_reach_the_arrays_of_the_chart():
    g, W = gains(n=N), 0.1 * np.arange(N * N).reshape(N, N) / N**2
    manifold, chart = PullbackManifold(Resolvent(g), N), Resolvent()
    before, coordinates = manifold.norm(W, W), chart.value(W)
    g *= 2
    coordinates *= 2
    assert manifold.norm(W, W) == before == manifold.norm(W + 0.0, W)
    np.testing.assert_allclose(chart.value(W), np.linalg.inv(np.eye(N) - W), atol=1e-12)
