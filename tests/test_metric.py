"""User-defined metrics: numerical geometry against closed forms, textbook surfaces and invariants."""

from math import inf

import array_api_strict as strict
import autograd.numpy as anp
import numpy as np
import pytest
from cases import SHARPS, complement, plastic_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from manifolds import (
    ConvergenceError,
    InvalidArrayError,
    MetricManifold,
    OutsideManifoldError,
    PullbackManifold,
    Resolvent,
    SingularPointError,
    geodesics,
    left_invariant,
    right_invariant,
)
from manifolds.cometric import conjugate_gradient

N = 4
CLOSED = {
    "left-invariant": left_invariant,
    "right-invariant": right_invariant,
    "resolvent": lambda n, **options: PullbackManifold(Resolvent(), n, **options),
}


def half_plane(**options):
    """Return the upper half-plane, points (x, y) with y > 0, metric (dx² + dy²) / y²: hyperbolic, with curvature −1."""
    return MetricManifold(lambda W, P: W[0, 1] ** 2 * P, (1, 2), **options)


def sphere():
    """Return the unit sphere in stereographic coordinates, metric 4 (dx² + dy²) / (1 + x² + y²)²: curvature 1."""
    return MetricManifold(lambda W, P: (1 + anp.sum(W**2)) ** 2 / 4 * P, (1, 2))


@pytest.fixture(params=CLOSED)
def pair(request):
    """Return a manifold in closed form, the same metric by its sharp, a point, and a vector of length 0.5."""
    closed = CLOSED[request.param](N, seed=0)
    W = closed.random_point()
    return closed, MetricManifold(SHARPS[request.param], N), W, 0.5 * closed.random_tangent_vector(W)


def test_geodesics_agree_with_closed_forms(pair):
    closed, twin, W, V = pair
    U, G, H = closed.normal(), closed.normal(), closed.normal()
    other = closed.exp(W, V)
    same = {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(twin.exp(W, V), other, **same)
    np.testing.assert_allclose(twin.log(W, other), V, **same)
    np.testing.assert_allclose(twin.parallel_transport(W, V, U), closed.parallel_transport(W, V, U), **same)
    np.testing.assert_allclose(
        twin.euclidean_to_riemannian_hessian(W, G, H, V), closed.euclidean_to_riemannian_hessian(W, G, H, V), **same
    )
    assert twin.inner_product(W, U, V) == pytest.approx(closed.inner_product(W, U, V), rel=1e-11)
    assert twin.dist(W, other) == pytest.approx(0.5, rel=1e-11)


def test_geodesics_have_constant_speed(pair):
    _, twin, W, V = pair
    speeds = [twin.norm(twin.exp(W, t * V), twin.parallel_transport(W, t * V, V)) for t in (0.3, 1.0, 1.7)]
    np.testing.assert_allclose(speeds, twin.norm(W, V), rtol=1e-11)
    step = 1e-4  # and the transported velocity is the velocity
    ahead, behind = twin.exp(W, (1 + step) * V), twin.exp(W, (1 - step) * V)
    np.testing.assert_allclose((ahead - behind) / (2 * step), twin.parallel_transport(W, V, V), rtol=1e-6, atol=1e-7)


def test_curvature():
    closed = left_invariant(N, seed=0)
    W, U, V = closed.random_point(), closed.normal(), closed.normal()
    flat = MetricManifold(SHARPS["resolvent"], N)
    assert abs(flat.sectional_curvature(W, U, V)) < 1e-12
    for side in ("left-invariant", "right-invariant"):
        twin = MetricManifold(SHARPS[side], N)
        assert twin.sectional_curvature(W, U, V) == pytest.approx(CLOSED[side](N).sectional_curvature(W, U, V), rel=1e-10)
    point, a, b = np.array([[0.3, 0.7]]), np.array([[1.0, 0.2]]), np.array([[-0.4, 2.0]])
    assert half_plane().sectional_curvature(point, a, b) == pytest.approx(-1, rel=1e-12)
    assert sphere().sectional_curvature(point, a, b) == pytest.approx(1, rel=1e-12)


def test_curvature_is_the_turn_of_transport_around_a_small_square():
    """P(square) V − V = −s² R(X, Y) V + O(s³), along geodesic sides: independent of the formula for the curvature."""
    manifold = MetricManifold(plastic_rows, 2, seed=3)
    W, s = manifold.random_point(), 3e-3
    X, Y = manifold.random_tangent_vector(W), manifold.random_tangent_vector(W)
    Y = Y - manifold.inner_product(W, X, Y) * X
    Y = Y / manifold.norm(W, Y)
    turns = []
    for sign in (1, -1):  # the mean of two opposite squares is accurate to O(s⁴)
        point, first, second, carried = W, sign * s * X, sign * s * Y, Y
        for side in (1, 1, -1, -1):
            velocity = side * first
            point, first, second, carried = (
                manifold.exp(point, velocity),
                manifold.parallel_transport(point, velocity, second),
                manifold.parallel_transport(point, velocity, first),
                manifold.parallel_transport(point, velocity, carried),
            )
        # such a square closes only to O(s³), which adds a turn of O(s³)
        turns.append(manifold.inner_product(W, carried - Y, X) / s**2)
    assert abs(np.mean(turns)) == pytest.approx(abs(manifold.sectional_curvature(W, X, Y)), rel=0.05)


@settings(max_examples=10, deadline=None)
@given(
    x=st.floats(-2, 2),
    y=st.floats(0.2, 3),
    length=st.floats(1e-6, 2),
    angle=st.floats(0, 6.3),
)
def test_the_half_plane(x, y, length, angle):
    """Distance by arcosh, and log inverts exp, over lengths at which geodesics are strongly curved."""
    manifold = half_plane()
    W, V = np.array([[x, y]]), length * y * np.array([[np.cos(angle), np.sin(angle)]])
    other = manifold.exp(W, V)
    chord = np.sum((other - W) ** 2) / (4 * y * other[0, 1])
    assert 2 * np.arcsinh(np.sqrt(chord)) == pytest.approx(length, rel=1e-9)
    np.testing.assert_allclose(manifold.log(W, other), V, rtol=1e-7, atol=1e-9 * length * y)


def left_flat(W, V):
    return np.linalg.solve(complement(W).T, np.linalg.solve(complement(W), V))


def left_derivative(W, P, V):
    return -V @ (complement(W).T @ P) - complement(W) @ (V.T @ P)


def test_custom_formulas_replace_autograd_and_conjugate_gradients():
    given_all = MetricManifold(SHARPS["left-invariant"], N, flat=left_flat, sharp_derivative=left_derivative, seed=0)
    derived = MetricManifold(SHARPS["left-invariant"], N)
    W = given_all.random_point()
    U, V, G, H = (given_all.random_tangent_vector(W) for _ in range(4))
    calls = {
        "inner product": lambda m: m.inner_product(W, U, V),
        "Hessian": lambda m: m.euclidean_to_riemannian_hessian(W, G, H, V),
        "exp": lambda m: m.exp(W, V),
        "parallel transport": lambda m: m.parallel_transport(W, V, U),
        "curvature": lambda m: m.sectional_curvature(W, U, V),
    }
    for name, call in calls.items():
        np.testing.assert_allclose(call(given_all), call(derived), rtol=1e-10, atol=1e-11, err_msg=name)


def test_a_wrong_derivative_is_found():
    wrong = MetricManifold(
        SHARPS["left-invariant"], N, sharp_derivative=lambda W, P, V: 1.01 * left_derivative(W, P, V), seed=0
    )
    W = wrong.random_point()
    V = wrong.random_tangent_vector(W)
    assert abs(wrong.norm(wrong.exp(W, V), wrong.parallel_transport(W, V, V)) - 1) > 1e-5
    assert np.abs(wrong.exp(W, V) - left_invariant(N).exp(W, V)).max() > 1e-4


def test_single_precision_is_kept():
    manifold = MetricManifold(plastic_rows, N, seed=0, like=np.empty(0, np.float32))
    W = manifold.random_point()
    V = manifold.random_tangent_vector(W)
    double = MetricManifold(plastic_rows, N)
    other = manifold.exp(W, V)
    carried = manifold.parallel_transport(W, V, V)
    assert {array.dtype for array in (W, V, other, carried, manifold.log(W, other))} == {np.dtype(np.float32)}
    np.testing.assert_allclose(other, double.exp(W.astype(float), V.astype(float)), rtol=1e-5, atol=1e-6)


def test_arrays_of_other_libraries_have_a_metric_but_no_geodesics():
    manifold = MetricManifold(lambda W, P: (1 + W**2) * P, N, "additive", seed=0, like=strict.empty(0))
    W = manifold.random_point()
    V = manifold.random_tangent_vector(W)
    assert manifold.norm(W, V) == pytest.approx(1)
    assert isinstance(manifold.retraction(W, V), type(W))
    for call in (manifold.exp, manifold.log, lambda W, V: manifold.parallel_transport(W, V, V)):
        with pytest.raises(InvalidArrayError, match=r"type Array: autograd differentiates .* Convert it to NumPy"):
            call(W, V)


def test_no_edge_is_known():
    manifold = half_plane()
    point, vector = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    assert manifold.exit_time(point, vector) == manifold.edge_distance(point) == inf


def half_line():
    """Return y > 0 with metric dy²: at 0, which is at a finite distance, sharp is not finite."""
    return MetricManifold(lambda W, P: P * anp.exp(0 * anp.log(W)), 1)


def test_a_geodesic_that_ends_is_refused():
    manifold = half_line()
    np.testing.assert_allclose(manifold.exp(np.eye(1), -0.9 * np.eye(1)), 0.1, rtol=1e-12)
    with pytest.raises(OutsideManifoldError, match=r"the geodesic ends at t = 0\.5: it meets .*Shorten"):
        manifold.exp(np.eye(1), -2 * np.eye(1))
    with pytest.raises(OutsideManifoldError, match="NaN or infinity"):
        manifold.exp(np.eye(1), np.array([[np.nan]]))


def test_a_geodesic_that_runs_to_infinity_is_refused():
    """In the resolvent metric of one unit, B(t) = 1/(1 − t) for V = −1 at W = 0."""
    manifold = MetricManifold(SHARPS["resolvent"], 1)
    with pytest.raises(OutsideManifoldError, match=r"ends at t = (1|0\.9)"):
        manifold.exp(np.zeros((1, 1)), -1.1 * np.eye(1))


def test_a_geodesic_that_takes_too_many_evaluations_is_refused():
    manifold = MetricManifold(lambda W, P: (1.1 + anp.sin(1e4 * anp.sum(W))) * P, 2)
    with pytest.raises(ConvergenceError, match=r"10000 evaluations of Hamilton's equations reached t = 0\.\d+: .*Shorten"):
        manifold.exp(np.zeros((2, 2)), np.eye(2))


def test_points_that_no_geodesic_joins(monkeypatch):
    monkeypatch.setattr(geodesics, "MAX_HALVINGS", 3)  # for speed
    with pytest.raises(ConvergenceError, match=r"relative miss .*: no geodesic .*Take a point between them"):
        half_line().log(np.eye(1), -np.eye(1))


def test_a_metric_that_is_not_positive():
    manifold = MetricManifold(lambda W, P: W * P, 2)
    with pytest.raises(SingularPointError, match=r"⟨P, ♯P⟩ = .*: the metric is not positive definite .*correct sharp"):
        manifold.norm(-np.eye(2), np.eye(2))


def test_a_metric_that_conjugate_gradients_cannot_invert():
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    manifold = MetricManifold(lambda W, P: P + 3 * turn @ P, 2)  # positive, but not symmetric
    with pytest.raises(ConvergenceError, match=r"relative residual .* after 1000 iterations: .*Pass flat, or correct sharp"):
        manifold.norm(np.zeros((2, 2)), np.array([[1.0, 2.0], [0.5, -1.0]]))


def left_gradient(W, P, Q):
    return -(P @ Q.T + Q @ P.T) @ complement(W)


def test_a_custom_gradient_needs_no_autograd():
    """Uses functions that autograd cannot differentiate, because they copy."""

    def opaque(function):
        return lambda W, *arrays: np.array(function(np.asarray(W, float), *(np.asarray(each, float) for each in arrays)))

    twin = MetricManifold(
        opaque(SHARPS["left-invariant"]),
        N,
        flat=opaque(left_flat),
        sharp_derivative=opaque(left_derivative),
        sharp_gradient=opaque(left_gradient),
    )
    closed = left_invariant(N, seed=0)
    W = closed.random_point()
    U, V, G, H = (0.5 * closed.random_tangent_vector(W) for _ in range(4))
    same = {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(twin.exp(W, V), closed.exp(W, V), **same)
    np.testing.assert_allclose(twin.parallel_transport(W, V, U), closed.parallel_transport(W, V, U), **same)
    hessians = (manifold.euclidean_to_riemannian_hessian(W, G, H, V) for manifold in (twin, closed))
    np.testing.assert_allclose(*hessians, **same)
    with pytest.raises(NotImplementedError, match="second derivatives of ♯ by autograd"):
        twin.sectional_curvature(W, U, V)


def test_geodesics_are_no_more_accurate_than_the_metric():
    """Otherwise geodesics of a metric with noise of 1e-9 would be refined for ever."""
    calls, noise = [], np.random.default_rng(0)

    def noisy(W, P):
        calls.append(1)
        return (1 + W**2) * P * (1 + 1e-9 * noise.standard_normal(P.shape))

    exact = MetricManifold(lambda W, P: (1 + W**2) * P, 2, flat=lambda W, V: V / (1 + W**2), seed=0)
    W = exact.random_point()
    V = exact.random_tangent_vector(W)
    rough = MetricManifold(
        noisy,
        2,
        flat=lambda W, V: V / (1 + W**2),
        sharp_gradient=lambda W, P, Q: 2 * W * P * Q,
        accuracy=1e-8,
    )
    np.testing.assert_allclose(rough.exp(W, V), exact.exp(W, V), rtol=1e-6)
    assert len(calls) < 200


def test_a_preconditioner_saves_iterations(generator):
    scales = np.logspace(0, 4, 25).reshape(5, 5)
    right, calls = generator.standard_normal((5, 5)), []

    def operator(P):
        calls.append(1)
        return scales * P

    plain = conjugate_gradient(operator, right)
    without = len(calls)
    np.testing.assert_allclose(conjugate_gradient(operator, right, lambda V: V / scales), plain, rtol=1e-10)
    assert len(calls) - without <= 2 < without
    calls.clear()
    rough = conjugate_gradient(operator, right, lambda V: V / np.sqrt(scales), tolerance=1e-3)
    assert 1e-14 < np.linalg.norm(scales * rough - right) / np.linalg.norm(right) <= 1e-3
    with pytest.raises(SingularPointError, match=r"⟨P, ♭P⟩ = -"):
        conjugate_gradient(lambda P: -P, right, symbol="♭")


def test_what_is_enough_is_taken_where_the_iterations_end():
    """Three eigenvalues take three iterations; two iterations leave a residual."""
    values, right = np.array([[1.0, 2.0, 4.0]]), np.ones((1, 3))

    def after_two(**options):
        return conjugate_gradient(lambda V: values * V, right, most=2, **options)

    with pytest.raises(ConvergenceError, match=r"relative residual .* after 2 iterations"):
        after_two()
    solution = after_two(enough=0.5)
    assert 0 < np.linalg.norm(values * solution - right) <= 0.5 * np.linalg.norm(right)
    with pytest.raises(ConvergenceError):
        after_two(enough=1e-3)
