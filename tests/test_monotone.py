"""The symmetric space of monotone weights: formulas against their equations, second derivations, or exact special cases."""

import array_api_strict as strict
import autograd.numpy as anp
import numpy as np
import pytest
from cases import CALLS, short_vector
from monotone import drawn, rotated, smallest, sym
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from manifolds import InvalidArrayError, MetricManifold, MonotoneManifold, OutsideManifoldError, check_manifold
from riemannrnn import Activation, solve_fixed_points

LENGTHS = [1e-3, 0.9, 3.0]
"""Lengths of steps that use products, and of steps that use singular values."""


@pytest.mark.parametrize("n", [1, 2, 5, 20, 50])
def test_every_point_is_stable_for_all_gains(n, generator):
    manifold = MonotoneManifold(n, seed=n)
    for length in (0.0, 1.0, 5.0):
        W = manifold.random_point()
        W = manifold.exp(W, length * manifold.random_tangent_vector(W))
        gains = [generator.uniform(0, 1, n), generator.integers(0, 2, n), np.ones(n)]
        for gain in gains:
            assert np.linalg.eigvals(-np.eye(n) + gain[:, None] * W).real.max() < 0


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("n", [1, 3, 6])
def test_geodesics_and_transport_solve_their_equations(n, length):
    """B̈ = Ḃ S⁻¹ Ḃ, and U̇ = ½ (U S⁻¹ Ḃ + Ḃ S⁻¹ U) for a parallel field U along it."""
    manifold, W, V = drawn(n, length, n)
    U = manifold.random_tangent_vector(W)

    def field(time, state):
        B, velocity, carried = state.reshape(3, n, n)
        turn = np.linalg.solve(sym(B), velocity)
        other = np.linalg.solve(sym(B), carried)
        return np.stack([velocity, velocity @ turn, (carried @ turn + velocity @ other) / 2]).reshape(-1)

    start = np.stack([np.eye(n) - W, -V, U]).reshape(-1)
    solution = solve_ivp(field, (0, 1), start, method="DOP853", rtol=1e-12, atol=1e-12)
    B, velocity, carried = solution.y[:, -1].reshape(3, n, n)
    end = manifold.exp(W, V)
    np.testing.assert_allclose(end, np.eye(n) - B, rtol=1e-9, atol=1e-9 * np.abs(B).max())
    np.testing.assert_allclose(manifold.parallel_transport(W, V, U), carried, atol=1e-9 * np.abs(carried).max())
    np.testing.assert_allclose(manifold.transport(W, end, U), carried, atol=1e-9 * np.abs(carried).max())
    np.testing.assert_allclose(manifold.parallel_transport(W, V, V), -velocity, atol=1e-9 * np.abs(velocity).max())


def test_the_metric_determines_the_geometry(generator):
    """`MetricManifold` derives geodesics, transport, Hessian and curvature by autograd from ♯P = S P S alone."""
    n = 3

    def sharp(W, P):
        S = np.eye(n) - (W + W.T) / 2
        return S @ P @ S

    manifold, W, V = drawn(n, 0.8)
    twin, U = MetricManifold(sharp, n), manifold.random_tangent_vector(W)
    G, H = generator.standard_normal((2, n, n))
    same = {"rtol": 1e-8, "atol": 1e-9}
    assert manifold.inner_product(W, U, V) == pytest.approx(twin.inner_product(W, U, V), rel=1e-9)
    np.testing.assert_allclose(manifold.exp(W, V), twin.exp(W, V), **same)
    np.testing.assert_allclose(manifold.parallel_transport(W, V, U), twin.parallel_transport(W, V, U), **same)
    np.testing.assert_allclose(
        manifold.euclidean_to_riemannian_hessian(W, G, H, V), twin.euclidean_to_riemannian_hessian(W, G, H, V), **same
    )
    assert manifold.sectional_curvature(W, U, V) == pytest.approx(twin.sectional_curvature(W, U, V), rel=1e-6)
    assert -0.5 < manifold.sectional_curvature(W, U, V) < -1e-3


@pytest.mark.parametrize("length", LENGTHS)
def test_steps_agree_with_the_group(length):
    """The exponential in O(n, n) of the symmetric matrix with blocks X/2 and Xᵀ/2 moves the contraction 0 to T = b d⁻¹."""
    n = 4
    manifold, W, V = drawn(n, length)
    L = np.linalg.cholesky(np.eye(n) - sym(W))
    X = -np.linalg.solve(L, np.linalg.solve(L, V).T).T
    element = expm(np.block([[np.zeros((n, n)), X], [X.T, np.zeros((n, n))]]) / 2)
    T = element[:n, n:] @ np.linalg.inv(element[n:, n:])
    Z = (np.eye(n) + T) @ np.linalg.inv(np.eye(n) - T)
    expected = np.eye(n) - L @ Z @ L.T - (sym(W) - W)
    np.testing.assert_allclose(manifold.exp(W, V), expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("length", LENGTHS)
def test_distances_are_twice_the_distances_of_siegel(n, length):
    """For the contractions T = (B − I)(B + I)⁻¹, with the cross ratio (Y − X)(I − XᵀY)⁻¹(Yᵀ − Xᵀ)(I − X Yᵀ)⁻¹."""
    manifold, W, V = drawn(n, length)
    other, identity = manifold.exp(W, V), np.eye(n)
    X, Y = ((-weights) @ np.linalg.inv(2 * identity - weights) for weights in (W, other))
    ratio = (Y - X) @ np.linalg.inv(identity - X.T @ Y) @ (Y - X).T @ np.linalg.inv(identity - X @ Y.T)
    siegel = np.linalg.norm(np.arctanh(np.sqrt(np.linalg.eigvals(ratio).real)))
    assert manifold.dist(W, other) == pytest.approx(2 * siegel, rel=1e-8)
    assert manifold.dist(W, other) == pytest.approx(length, rel=1e-10)


@pytest.mark.parametrize(("x", "y"), [(3.0, 0.2), (0.01, 5.0), (1e6, 1e6), (1.0, 1e-9)])
def test_circulant_weights_of_two_units_are_the_hyperbolic_half_plane(x, y):
    """The metric is 2 (dx² + dy²) / x², with curvature −½."""
    manifold = MonotoneManifold(2)
    start = rotated(2.0, -1.0)
    expected = 2**0.5 * 2 * np.arcsinh(np.hypot(x - 2, y + 1) / (2 * np.sqrt(2 * x)))
    assert manifold.dist(start, rotated(x, y)) == pytest.approx(expected, rel=1e-12)
    assert manifold.sectional_curvature(start, np.eye(2), rotated(1.0, 3.0)) == pytest.approx(-0.5, rel=1e-12)


@pytest.mark.parametrize("length", [1e-3, 1.0, 8.0])
def test_both_logarithms_from_one_decomposition(length):
    manifold, W, V = drawn(6, length)
    other = manifold.exp(W, V)
    there, back = manifold.frame_logs(W, other)
    np.testing.assert_allclose(there, manifold.to_frame(W, manifold.log(W, other)), atol=1e-12 * np.exp(length))
    np.testing.assert_allclose(back, manifold.to_frame(other, manifold.log(other, W)), atol=1e-12 * np.exp(length))


@pytest.mark.parametrize("length", LENGTHS)
def test_the_frame_makes_the_metric_euclidean(length, generator):
    manifold, W, V = drawn(5, length)
    U, end = generator.standard_normal((5, 5)), manifold.exp(W, V)
    assert manifold.norm(W, U) == pytest.approx(np.linalg.norm(manifold.to_frame(W, U)))
    np.testing.assert_allclose(manifold.from_frame(W, manifold.to_frame(W, U)), U, atol=1e-12)
    gradient = manifold.euclidean_to_riemannian_gradient(W, U)
    np.testing.assert_allclose(manifold.frame_gradient(W, U), manifold.to_frame(W, gradient), atol=1e-12)
    left, right = manifold.sharp_factors(W)
    np.testing.assert_allclose(left @ U @ right, gradient, atol=1e-12)
    carried = manifold.from_frame(end, manifold.to_frame(W, U))
    assert manifold.norm(end, carried) == pytest.approx(manifold.norm(W, U))


def test_a_geodesic_is_the_exponential_at_every_time():
    manifold, W, V = drawn(6, 3.0)
    start = W.copy()
    geodesic = manifold.geodesic(start, V)
    start += 1  # the geodesic has its own copy
    for time in (-1.0, -0.01, 0.0, 1e-6, 0.1, 0.5, 1.0):
        np.testing.assert_allclose(geodesic(time), manifold.exp(W, time * V), rtol=1e-12, atol=1e-13)
    growing = manifold.geodesic(np.zeros((6, 6)), -np.eye(6))
    assert smallest(growing(-1e4)) > 0
    with pytest.raises(OutsideManifoldError, match="no floating-point number"):
        growing(1e4)


def test_steps_and_transport_between_close_points_take_only_products(monkeypatch):
    manifold, W, V = drawn(30, 1.0)
    U, other = manifold.random_tangent_vector(W), manifold.exp(W, V)
    for name in ("svd", "svdvals", "eigh"):
        monkeypatch.setattr(np.linalg, name, lambda *arguments, **options: pytest.fail("a decomposition"))
    manifold.exp(W, V)
    manifold.transport(W, other, U)
    manifold.parallel_transport(W, V, U)


def test_curvature_is_between_minus_a_half_and_zero(generator):
    manifold = MonotoneManifold(4)
    for rank in (1, 2, 4):
        for _ in range(20):
            X, Y = (generator.standard_normal((4, rank)) @ generator.standard_normal((rank, 4)) for _ in range(2))
            assert -0.5 - 1e-12 <= manifold.frame_curvature(X, Y) < 0
    assert manifold.frame_curvature(np.diag([1.0, 0, 0, 0]), np.diag([0, 1.0, 0, 0])) == 0
    with pytest.raises(InvalidArrayError, match="parallel vectors"):
        MonotoneManifold(1).sectional_curvature(np.zeros((1, 1)), np.ones((1, 1)), np.ones((1, 1)))


@pytest.mark.parametrize("length", [0.1, 5.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_on_strict_arrays(dtype, length):
    empty = np.empty(0, dtype)
    here = MonotoneManifold(4, seed=0, like=empty, validate=True)
    abroad = MonotoneManifold(4, seed=0, like=strict.asarray(empty), validate=True)
    W = here.random_point()
    V = W.dtype.type(10 * length) * short_vector(here, W)
    W2 = here.exp(W, V)
    arrays = [strict.asarray(array) for array in (W, W2, V)]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for name in CALLS.keys() - {"random point", "random vector", "retraction"}:
        found, expected = CALLS[name](abroad, *arrays), CALLS[name](here, W, W2, V)
        np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=20 * tolerance, err_msg=name)
    report = check_manifold(MonotoneManifold(3, seed=0, like=strict.asarray(empty)))
    assert report, str(report)


def test_points_and_steps_outside_are_refused():
    manifold = MonotoneManifold(3, seed=0)
    inside, outside = np.zeros((3, 3)), 2 * np.eye(3)
    with pytest.raises(OutsideManifoldError, match=r"= -1: the point is not monotone.*nearest"):
        manifold.exp(outside, inside)
    with pytest.raises(OutsideManifoldError, match="not monotone"):
        manifold.log(inside, outside)
    with pytest.raises(InvalidArrayError, match="the point holds NaN"):
        manifold.norm(np.full((3, 3), np.nan), inside)
    for call in (manifold.exp, manifold.geodesic, lambda W, V: manifold.parallel_transport(W, V, W)):
        with pytest.raises(InvalidArrayError, match="tangent vector holds NaN"):
            call(inside, np.full((3, 3), np.nan))
    for call in (manifold.exp, lambda W, V: manifold.parallel_transport(W, V, np.eye(3))):
        with pytest.raises(OutsideManifoldError, match="no floating-point number"):
            call(inside, -1000 * np.eye(3))
    assert smallest(manifold.exp(inside, 1e6 * np.eye(3))) > 0
    assert manifold.exit_time(inside, np.eye(3)) == manifold.edge_distance(inside) == np.inf
    np.testing.assert_allclose(manifold.nearest(outside), 0.95 * np.eye(3), atol=1e-15)


def test_weights_that_are_not_finite_have_no_nearest_point():
    with pytest.raises(InvalidArrayError, match="the weights holds NaN or infinity: no point is nearest"):
        MonotoneManifold(3).nearest(np.full((3, 3), np.nan))


def test_scaled_rates_have_slopes_at_most_one_and_the_same_metric(generator):
    """With slopes in [0, D], S is the symmetric part of D⁻¹ − W; s = D^−½ r has weights D^½ W D^½ and slopes in [0, 1]."""
    slopes = np.array([0.3, 1.0, 4.0])
    root = np.sqrt(slopes)
    manifold, x = MonotoneManifold(3, seed=0), generator.standard_normal((5, 3))
    scaled = manifold.random_point()
    W = scaled / np.outer(root, root)
    steep = solve_fixed_points(W, x, Activation.from_function(lambda z: slopes * anp.tanh(z)), tolerance=1e-12)
    gentle = Activation.from_function(lambda z: slopes * anp.tanh(z / root) / root)
    np.testing.assert_allclose(
        steep.rates, root * solve_fixed_points(scaled, root * x, gentle, tolerance=1e-12).rates, atol=1e-10
    )
    inverse, V = np.linalg.inv(sym(np.diag(1 / slopes) - W)), generator.standard_normal((3, 3))
    expected = np.trace(inverse @ V @ inverse @ V.T)
    assert manifold.norm(scaled, V * np.outer(root, root)) ** 2 == pytest.approx(expected, rel=1e-12)
