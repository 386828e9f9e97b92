"""The invariant metrics of the general linear group and the gain metric, against formulas written here."""

from math import inf

import array_api_strict as strict
import numpy as np
import pytest
from cases import complement, gains
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from manifolds import (
    InvariantManifold,
    MetricManifold,
    OutsideManifoldError,
    SingularPointError,
    check_manifold,
    gain,
    left_invariant,
    right_invariant,
)
from manifolds.linear_algebra import cholesky, exponential_minus_identity, exponential_series, triangular_inverse

N = 4
SIDES = ("left", "right")


@pytest.fixture(params=SIDES)
def manifold(request):
    return InvariantManifold(request.param, N, seed=0)


@pytest.fixture(name="W")
def point(manifold):
    return manifold.random_point()


def test_the_named_metrics_are_the_two_sides():
    assert (left_invariant(N).side, right_invariant(N, "additive").side) == SIDES
    assert right_invariant(N, "additive").retraction_kind == "additive"


def test_formulas():
    left, right = left_invariant(N, seed=0), right_invariant(N)
    W, U, V, G = left.random_point(), left.normal(), left.normal(), left.normal()
    B = np.eye(N) - W
    A = np.linalg.inv(B)
    assert left.inner_product(W, U, V) == pytest.approx(np.trace((A @ U).T @ (A @ V)))
    assert right.inner_product(W, U, V) == pytest.approx(np.trace((U @ A).T @ (V @ A)))
    np.testing.assert_allclose(left.euclidean_to_riemannian_gradient(W, G), B @ B.T @ G)
    np.testing.assert_allclose(right.euclidean_to_riemannian_gradient(W, G), G @ B.T @ B)
    X, Z = -A @ V, -V @ A
    np.testing.assert_allclose(left.exp(W, V), np.eye(N) - B @ expm(X.T) @ expm(X - X.T), rtol=1e-11)
    np.testing.assert_allclose(right.exp(W, V), np.eye(N) - expm(Z - Z.T) @ expm(Z.T) @ B, rtol=1e-11)
    np.testing.assert_allclose(left.transport(W, left.exp(W, V), U), (np.eye(N) - left.exp(W, V)) @ A @ U)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.sampled_from(SIDES), length=st.floats(1e-3, 2))
def test_everything_is_invariant(seed, side, length):
    """B ↦ C B, or B C, is an isometry: it maps geodesics, distances and transports to those at the image points."""
    manifold = InvariantManifold(side, 3, seed=seed)
    W = manifold.random_point()
    C = np.eye(3) + 0.2 * manifold.normal()
    V, U = length * manifold.random_tangent_vector(W), manifold.normal()

    def move(vector):
        return C @ vector if side == "left" else vector @ C

    moved = np.eye(3) - move(complement(W))
    other = manifold.exp(W, V)
    size = (1 + np.linalg.norm(other)) * np.linalg.norm(C)
    np.testing.assert_allclose(complement(manifold.exp(moved, move(V))), move(complement(other)), rtol=1e-7, atol=1e-9 * size)
    assert manifold.norm(moved, move(V)) == pytest.approx(length, rel=1e-8)
    np.testing.assert_allclose(
        manifold.parallel_transport(moved, move(V), move(U)),
        move(manifold.parallel_transport(W, V, U)),
        rtol=1e-6,
        atol=1e-7 * size,
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 5), length=st.floats(1e-6, 1.5))
def test_log_inverts_exp_and_transport_is_an_isometry(seed, n, length):
    manifold = left_invariant(n, seed=seed)
    W = manifold.random_point()
    V, U = length * manifold.random_tangent_vector(W), manifold.normal()
    other = manifold.exp(W, V)
    condition = np.linalg.cond(complement(W)) * np.linalg.cond(complement(other))
    np.testing.assert_allclose(manifold.log(W, other), V, rtol=0, atol=1e-12 * condition)
    carried = manifold.parallel_transport(W, V, U)
    assert manifold.norm(other, carried) == pytest.approx(manifold.norm(W, U), rel=1e-13 * condition + 1e-12)


def test_the_right_metric_is_the_left_one_of_the_transpose():
    left, right = left_invariant(N, seed=0), right_invariant(N)
    W, V, U = left.random_point(), 0.3 * left.normal(), left.normal()
    np.testing.assert_allclose(right.exp(W.T, V.T), left.exp(W, V).T)
    np.testing.assert_allclose(right.parallel_transport(W.T, V.T, U.T), left.parallel_transport(W, V, U).T)
    assert right.sectional_curvature(W.T, V.T, U.T) == pytest.approx(left.sectional_curvature(W, V, U))


def test_velocities_obey_eulers_equation(manifold, W):
    """The velocity ξ = B⁻¹Ḃ satisfies ξ̇ = ξᵀξ − ξξᵀ (Arnold 1966); for the right metric the transpose does."""
    V = 0.7 * manifold.random_tangent_vector(W)

    def velocity(t, step=1e-4):
        change = (manifold.exp(W, (t + step) * V) - manifold.exp(W, (t - step) * V)) / (2 * step)
        here = complement(manifold.exp(W, t * V))
        return -np.linalg.solve(here, change) if manifold.side == "left" else -np.linalg.solve(here.T, change.T)

    xi, step = velocity(0.5), 1e-3
    np.testing.assert_allclose((velocity(0.5 + step) - velocity(0.5 - step)) / (2 * step), xi.T @ xi - xi @ xi.T, atol=1e-5)


def milnor_curvature(X, Y):
    """Return the curvature by structure constants α_ijk = ⟨[e_i, e_j], e_k⟩ of an orthonormal basis that begins with X, Y.

    Milnor, Advances in Mathematics 21, 1976, lemma 1.1.
    """
    n = len(X)
    basis, triangle = np.linalg.qr(np.column_stack([X.reshape(-1), Y.reshape(-1), np.eye(n * n)]))
    e = (basis * np.sign(np.diag(triangle[:, : n * n]))).T.reshape(-1, n, n)

    def alpha(i, j):
        return np.array([np.sum((e[i] @ e[j] - e[j] @ e[i]) * each) for each in e])

    a12 = alpha(0, 1)
    a2k1, ak12 = (np.array([alpha(1, k)[0] for k in range(n * n)]), np.array([alpha(k, 0)[1] for k in range(n * n)]))
    ak11, ak22 = (np.array([alpha(k, i)[i] for k in range(n * n)]) for i in (0, 1))
    return np.sum(a12 * (-a12 + a2k1 + ak12) / 2 - (a12 - a2k1 + ak12) * (a12 + a2k1 - ak12) / 4 - ak11 * ak22)


@pytest.mark.parametrize("seed", range(3))
def test_curvature_is_milnors(seed):
    manifold = left_invariant(3, seed=seed)
    W, U, V = manifold.random_point(), manifold.normal(), manifold.normal()
    A = np.linalg.inv(complement(W))
    expected = milnor_curvature(A @ U, A @ V)
    assert abs(expected) > 1e-3
    assert manifold.sectional_curvature(W, U, V) == pytest.approx(expected, rel=1e-10)
    twin = MetricManifold(lambda W, P: complement(W) @ (complement(W).T @ P), 3)
    assert twin.sectional_curvature(W, U, V) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [10, 20, 50])
@pytest.mark.parametrize("side", SIDES)
def test_a_step_of_length_fifty_stays_inside(side, n):
    """The determinant at the end is det(B) exp(tr X), with unchanged sign, and the point is regular."""
    manifold = InvariantManifold(side, n, seed=0)
    W = manifold.random_point()
    A = np.linalg.inv(complement(W))
    for _ in range(3):
        V = 50 * manifold.random_tangent_vector(W)
        assert manifold.norm(W, V) == pytest.approx(50)
        sign, logarithm = np.linalg.slogdet(complement(manifold.retraction(W, V)))
        start_sign, start = np.linalg.slogdet(complement(W))
        assert sign == start_sign
        assert logarithm == pytest.approx(start - np.trace(A @ V), abs=1e-3)
        assert np.isfinite(manifold.norm(manifold.exp(W, V), V))
    assert manifold.exit_time(W, V) == manifold.edge_distance(W) == inf


def test_both_edges_are_infinitely_far_away(manifold):
    """Along a diagonal B the distance is the distance between the logarithms."""
    for scale in (1e-4, 1e-2, 1e2, 1e4):
        W = np.diag([1 - scale, 0, 0, 0])
        assert manifold.dist(np.zeros((N, N)), W) == pytest.approx(abs(np.log(scale)), rel=1e-9)


def test_points_that_rounding_moves_over_the_edge_are_refused(manifold, W):
    direction = np.diag([1.0, -1.0, 0.0, 0.0])  # B = diag(eˢ, e⁻ˢ, 1, 1) is regular, I − W in floating point is not
    with pytest.raises(OutsideManifoldError, match=r"a step of length 70\.7: .*no correct digit of det.*Shorten"):
        manifold.exp(np.zeros((N, N)), 50 * direction)
    with pytest.raises(OutsideManifoldError, match="NaN or infinity"):
        manifold.exp(W, -1e4 * np.eye(N) @ complement(W))
    with pytest.raises(OutsideManifoldError, match="NaN or infinity"):
        manifold.parallel_transport(W, np.full((N, N), np.nan), direction)


def test_a_retraction_halves_a_step_with_an_end_that_rounding_hides(manifold):
    """A line search can then backtrack instead of ending with an error."""
    direction = np.diag([1.0, -1.0, 0.0, 0.0])
    W = np.zeros((N, N))
    np.testing.assert_array_equal(manifold.retraction(W, 50 * direction), manifold.exp(W, 25 * direction))
    np.testing.assert_array_equal(manifold.retraction(W, direction), manifold.exp(W, direction))
    with pytest.raises(OutsideManifoldError, match="NaN or infinity"):
        manifold.retraction(W, np.full((N, N), np.nan))


def test_no_path_leads_across_the_singular_set(manifold):
    other = np.diag([2.0, 0.0, 0.0, 0.0])
    with pytest.raises(OutsideManifoldError, match=r"det\(I − W\) has opposite signs .*Compare points on one side"):
        manifold.log(np.zeros((N, N)), other)
    with pytest.raises(OutsideManifoldError, match="NaN or infinity"):
        manifold.log(np.zeros((N, N)), np.full((N, N), np.inf))
    with pytest.raises(SingularPointError, match="σ_min"):
        manifold.norm(np.eye(N), other)


def test_additive_steps_stop_short_of_the_singular_set(manifold):
    additive = InvariantManifold(manifold.side, N, "additive")
    W, V = np.zeros((N, N)), np.eye(N)
    np.testing.assert_allclose(additive.retraction(W, 3 * V), 0.9 * V)
    np.testing.assert_allclose(additive.retraction(W, 0.5 * V), 0.5 * V)


def test_an_unknown_side():
    with pytest.raises(ValueError, match=r"side = 'both' is unknown; choose one of .*left.*right"):
        InvariantManifold("both", N)


@pytest.mark.parametrize(("side", "dtype"), [("left", "float64"), ("right", "float32")])
def test_check_manifold_on_strict_arrays(side, dtype):
    report = check_manifold(InvariantManifold(side, 3, seed=0, like=strict.empty(0, dtype=getattr(strict, dtype))))
    assert report, str(report)


def test_the_gain_metric():
    g = gains(n=N)
    manifold, G = gain(g, seed=0), np.diag(g)
    W, V, covector = manifold.random_point(), manifold.normal(), manifold.normal()
    L, R = np.eye(N) - W @ G, np.eye(N) - G @ W
    np.testing.assert_allclose(
        manifold.euclidean_to_riemannian_gradient(W, covector), L @ L.T @ covector @ R.T @ R, rtol=1e-10, atol=1e-12
    )

    def sharp(W, P):
        left, right = np.eye(N) - W * g, np.eye(N) - g[:, None] * W
        return left @ (left.T @ P @ right.T) @ right

    twin, V = MetricManifold(sharp, N), 0.3 * V / manifold.norm(W, V)
    np.testing.assert_allclose(twin.exp(W, V), manifold.exp(W, V), rtol=1e-11, atol=1e-12)
    assert abs(twin.sectional_curvature(W, V, covector)) < 1e-12


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 6), exponent=st.floats(-12, 1.5), seed=st.integers(0, 2**31))
def test_the_matrix_exponential(n, exponent, seed):
    M = 10.0**exponent * np.random.default_rng(seed).standard_normal((n, n)) / n**0.5
    found, expected = exponential_minus_identity(M), expm(M)
    # exp(M) − I is accurate relative to its size; after adding I the rounding of I limits the accuracy.
    rounding = (1e-12 * np.linalg.norm(expected) + 1e-15) * (1 + np.linalg.norm(M))
    np.testing.assert_allclose(found + np.eye(n), expected, rtol=0, atol=rounding)
    if np.linalg.norm(M) < 1e-4:
        series = M + M @ M / 2 + M @ M @ M / 6 + M @ M @ M @ M / 24
        np.testing.assert_allclose(found, series, rtol=0, atol=1e-14 * np.linalg.norm(M))


def test_the_exponential_of_zero():
    for exponential in (exponential_minus_identity, exponential_series):
        np.testing.assert_array_equal(exponential(np.zeros((3, 3))), 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1e-6, 0.01, 0.3, 1.0])
def test_the_power_series_of_the_exponential(size, dtype, generator):
    M = generator.standard_normal((7, 7))
    M *= size / np.linalg.norm(M)
    found = exponential_series(M.astype(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, exponential_minus_identity(M), rtol=0, atol=8 * np.finfo(dtype).eps * size)


@pytest.mark.parametrize("n", [1, 64, 65, 150])
def test_cholesky_factors_and_their_inverses(n, generator):
    root = generator.standard_normal((n, n)) / n**0.5
    matrix = root @ root.T + np.eye(n)
    factor = cholesky(matrix)
    np.testing.assert_allclose(factor @ factor.T, matrix, atol=1e-12)
    np.testing.assert_allclose(triangular_inverse(factor) @ factor, np.eye(n), atol=1e-11)
    assert not np.triu(triangular_inverse(factor), 1).any()
    matrix[0, 0] = -1e-9
    assert cholesky(matrix) is None
