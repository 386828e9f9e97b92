"""Steps of all lengths in the symmetric space of monotone weights are accurate and end inside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monotone import drawn, rotated, smallest, sym

from manifolds import MonotoneManifold, OutsideManifoldError


@pytest.mark.parametrize("angle", [1.5, 0.3, 1e-3, 3.0])
@pytest.mark.parametrize("size", [0.1, 2.0, 20.0])
def test_long_steps_in_the_half_plane(size, angle):
    """From 1 in the direction of an angle a geodesic reaches (1 + i sinh(σ) sin(angle)) / (cosh σ − sinh σ cos angle)."""
    manifold = MonotoneManifold(2)
    V = -size * (np.eye(2) - rotated(np.cos(angle), np.sin(angle)))
    below = np.exp(-size) * (1 + np.cos(angle)) / 2 + np.exp(size) * np.sin(angle / 2) ** 2
    end = manifold.exp(np.zeros((2, 2)), V)
    expected = rotated(1 / below, np.sinh(size) * np.sin(angle) / below)
    tolerance = 1e-14 * np.exp(max(0, np.log(1 / below)) / 2) / min(angle, 1)
    np.testing.assert_allclose(np.eye(2) - end, np.eye(2) - expected, rtol=0, atol=tolerance * np.abs(1 - expected).max())
    np.testing.assert_allclose(manifold.geodesic(np.zeros((2, 2)), 2 * V)(0.5), end, rtol=1e-12, atol=tolerance)


@pytest.mark.parametrize("length", [1e-9, 1e-3, 1.0, 8.0, 20.0])
@pytest.mark.parametrize("n", [1, 4, 20])
def test_the_logarithm_inverts_the_exponential(n, length):
    manifold, W, V = drawn(n, length, n)
    end = manifold.exp(W, V)
    # W stores a short step only to its last digit, and S has eigenvalues of size exp(−length) beside some of size 1.
    tolerance = 1e-13 + 3e-15 / length + 1e-16 * n * np.exp(length)
    assert manifold.norm(W, manifold.log(W, end) - V) <= tolerance * length
    assert manifold.dist(end, W) == pytest.approx(length, rel=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("power", [-0.5, 0.5, 2.0])
def test_nearly_singular_and_huge_points_lose_nothing(power, dtype, generator):
    """I − W = c (I + K), K skew: a congruence moves it to c = 1. W keeps the digits of c down to the machine epsilon."""
    n, epsilon = 6, float(np.finfo(dtype).eps)
    scale = dtype(epsilon**-power)
    manifold = MonotoneManifold(n, like=np.empty(0, dtype))
    K = generator.standard_normal((n, n))
    W = np.eye(n, dtype=dtype) - scale * (np.eye(n) + K - K.T).astype(dtype)
    V = generator.standard_normal((n, n)).astype(dtype)
    V = V / dtype(manifold.norm(W, V))
    for length in (0.1, 1.0, 5.0):
        step, tolerance = dtype(length) * V, 10 * n * epsilon * max(1, 1 / scale) * np.exp(length)
        end = manifold.exp(W, step)
        assert manifold.dist(W, end) == pytest.approx(length, rel=tolerance / length)
        assert manifold.norm(W, manifold.log(W, end) - step) <= tolerance


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_short_steps_next_to_the_edge(dtype):
    """A short step multiplies the smallest eigenvalue of S, where S is singular up to a few rounding errors."""
    n, epsilon = 5, float(np.finfo(dtype).eps)
    manifold = MonotoneManifold(n, like=np.empty(0, dtype))
    edge = dtype(1e4 * epsilon)
    W = np.diag(np.array([1 - edge, 0, 0.5, 0, 0], dtype))
    end = manifold.exp(W, dtype(-0.5) * (np.eye(n, dtype=dtype) - W))
    np.testing.assert_allclose(1 - np.diag(end), np.exp(0.5) * (1 - np.diag(W)), rtol=1e-4)
    assert manifold.dist(W, end) == pytest.approx(0.5 * n**0.5, rel=1e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("length", [10.0, 30.0, 100.0])
@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_growing_steps_of_any_length_have_that_length(n, length, dtype):
    """All eigenvalues of S grow equally, so rounding hides nothing of S′, and the distance is the length of the step."""
    manifold = MonotoneManifold(n, seed=n, like=np.empty(0, dtype))
    W = sym(manifold.random_point())
    V = W - np.eye(n, dtype=dtype)  # −S
    V = dtype(min(length, 50 * n**0.5) / manifold.norm(W, V)) * V
    end = manifold.exp(W, V)
    epsilon = float(np.finfo(dtype).eps)
    assert manifold.dist(W, end) == pytest.approx(manifold.norm(W, V), rel=100 * n * epsilon)
    assert manifold.norm(W, manifold.log(W, end) - V) <= 1000 * n * epsilon * length


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_no_step_is_longer_than_stated(n, dtype):
    manifold = MonotoneManifold(n, seed=n, like=np.empty(0, dtype))
    for length in (3.0, 10.0, 40.0, 100.0):
        W = manifold.random_point()
        V = dtype(length) * manifold.random_tangent_vector(W)
        if n == 1:
            V = abs(V)  # towards the edge; the other direction ends beyond the range of float32
        end = manifold.exp(W, V)
        # Of the small eigenvalues of S′ beside the large ones rounding may leave nothing, and the way back is shorter.
        assert length * 1.02 > manifold.dist(W, end) > min(length, 15) / 3
        assert manifold.dist(end, W) < length * 1.02


@settings(deadline=None)  # the time depends on the load of the machine
@given(
    n=st.integers(1, 60),
    double=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.floats(-3, 2), min_size=1, max_size=4),
    shape=st.sampled_from(["random", "symmetric", "skew", "rank one"]),
)
def test_steps_of_all_lengths_stay_inside(n, double, seed, lengths, shape):
    dtype = np.float64 if double else np.float32
    manifold = MonotoneManifold(n, seed=seed, like=np.empty(0, dtype))
    W = manifold.random_point()
    for logarithm in lengths:
        V = manifold.random_tangent_vector(W)
        V = {"random": V, "symmetric": sym(V), "skew": V - V.T, "rank one": np.outer(V[0], V[:, 0])}[shape]
        norm = manifold.norm(W, V)
        try:
            end = manifold.exp(W, dtype(10**logarithm / norm if norm > 0 else 1) * V)
        except OutsideManifoldError as error:
            if "no floating-point number is so large" not in str(error):
                raise
            continue
        assert end.dtype == dtype
        assert np.all(np.isfinite(end))
        assert np.isfinite(manifold.norm(end, V))  # includes the check of points
        W = end


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_steps_along_the_matrix_of_ones_are_exponentials(n, dtype):
    """From B = I along c 1 1ᵀ / n a step ends at I + (exp(c) − 1) 1 1ᵀ / n, by the series and by singular values."""
    manifold, ones = MonotoneManifold(n, like=np.empty(0, dtype)), np.ones((n, n), dtype) / dtype(n)
    for step in np.linspace(-2, 2, 41):
        end = manifold.exp(np.zeros((n, n), dtype), dtype(-step) * ones)
        np.testing.assert_allclose(end, -np.expm1(step) * ones, rtol=0, atol=5 * np.finfo(dtype).eps * np.exp(abs(step)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("length", [0.9, 5.0])
def test_walks_to_the_edge_end_inside(length, dtype):
    """The direction is the eigenvector of the smallest eigenvalue of S; by the series and by eigenvectors."""
    for seed in range(10):
        manifold = MonotoneManifold(4, seed=seed, like=np.empty(0, dtype))
        W = manifold.random_point()
        for _ in range(60):
            values, basis = np.linalg.eigh(np.eye(4) - sym(W.astype(float)))
            W = manifold.exp(W, (length * values[0] * np.outer(basis[:, 0], basis[:, 0])).astype(dtype))
            assert smallest(W) > 0
        assert smallest(W) < 100 * np.finfo(dtype).eps


@pytest.mark.parametrize("huge", [1e18, 1e30])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_huge_steps_to_the_edge_end_inside(huge, dtype):
    manifold = MonotoneManifold(3, like=np.empty(0, dtype))
    assert smallest(manifold.exp(np.zeros((3, 3), dtype), dtype(huge) * np.eye(3, dtype=dtype))) > 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_symmetric_matrices_stay_symmetric_at_a_distant_point(dtype, generator):
    """If S is large, symmetric vectors have symmetric images, to the last bit."""
    n = 20
    manifold = MonotoneManifold(n, seed=0, like=np.empty(0, dtype))
    root = generator.standard_normal((n, n))
    W = (np.eye(n) - 1e6 * sym(root @ root.T + np.eye(n))).astype(dtype)
    V, U = (sym(generator.standard_normal((n, n)).astype(dtype)) for _ in range(2))
    long = dtype(5 / manifold.norm(W, 1e6 * V)) * dtype(1e6) * V
    images = {
        "gradient": manifold.euclidean_to_riemannian_gradient(W, V),
        "Hessian": manifold.euclidean_to_riemannian_hessian(W, V, U, V),
        "frame": manifold.to_frame(W, V),
        "frame of the gradient": manifold.frame_gradient(W, V),
        "vector": manifold.from_frame(W, V),
        "short step": manifold.exp(W, V),
        "long step": manifold.exp(W, long),
        "transport": manifold.parallel_transport(W, long, V),
        "short transport": manifold.parallel_transport(W, V, U),
        "transport between points": manifold.transport(W, manifold.exp(W, long), U),
        "logarithm": manifold.log(W, manifold.exp(W, long)),
        "nearest": manifold.nearest(-W),
    }
    for name, image in images.items():
        np.testing.assert_array_equal(image, image.T, err_msg=name)
