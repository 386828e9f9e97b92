"""The monotone manifold: stability at every point, and geodesics against the equation that they solve."""

import array_api_strict as strict
import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from cases import CALLS, short_vector
from scipy.integrate import solve_ivp

from manifolds import InvalidArrayError, MonotoneManifold, OutsideManifoldError, check_manifold


def sym(matrix):
    return (matrix + matrix.T) / 2


def smallest(W):
    """Return the smallest eigenvalue of the symmetric part of I − W."""
    return np.linalg.eigvalsh(np.eye(len(W)) - sym(W))[0]


@pytest.mark.parametrize("n", [1, 2, 5, 20, 50])
def test_every_point_is_stable_for_all_gains(n, generator):
    manifold = MonotoneManifold(n, seed=n)
    for length in (0.0, 1.0, 5.0):
        W = manifold.random_point()
        W = manifold.exp(W, length * manifold.random_tangent_vector(W))
        gains = [generator.uniform(0, 1, n), generator.integers(0, 2, n), np.ones(n)]
        for gain in gains:
            assert np.linalg.eigvals(-np.eye(n) + gain[:, None] * W).real.max() < 0


def hamiltonian(W, P):
    """Return ½⟨P, ♯P⟩, all that the geodesics know of the metric: ♯P = S P_s S + P_k."""
    S = anp.eye(len(W)) - (W + W.T) / 2
    symmetric, skew = (P + P.T) / 2, (P - P.T) / 2
    return (anp.sum((symmetric @ S) * (S @ symmetric)) + anp.sum(skew**2)) / 2


def integrated_geodesic(manifold, W, V):
    """Return the end of the geodesic by Hamilton's equations, whose right side autograd takes from the metric."""
    shape, by_point, by_momentum = (2, *W.shape), grad(hamiltonian, 0), grad(hamiltonian, 1)
    units = np.eye(W.size).reshape(-1, *W.shape)
    momentum = np.array([manifold.inner_product(W, V, unit) for unit in units]).reshape(W.shape)

    def field(time, state):
        point, covector = state.reshape(shape)
        return np.stack([by_momentum(point, covector), -by_point(point, covector)]).reshape(-1)

    start = np.stack([W, momentum]).reshape(-1)
    solution = solve_ivp(field, (0, 1), start, method="DOP853", rtol=1e-12, atol=1e-12)
    return solution.y[:, -1].reshape(shape)[0]


@pytest.mark.parametrize("n", [1, 3, 6])
@pytest.mark.parametrize("length", [0.5, 2.0])
def test_geodesics_solve_their_equation(n, length):
    manifold = MonotoneManifold(n, seed=n)
    W = manifold.random_point()
    V = length * manifold.random_tangent_vector(W)
    end = manifold.exp(W, V)
    np.testing.assert_allclose(integrated_geodesic(manifold, W, V), end, rtol=1e-8, atol=1e-8 * np.abs(end).max())


@pytest.mark.parametrize("length", [1e-9, 1e-3, 1.0, 8.0])
@pytest.mark.parametrize("n", [1, 4, 20])
def test_the_logarithm_inverts_the_exponential(n, length):
    manifold = MonotoneManifold(n, seed=n)
    W = manifold.random_point()
    V = manifold.random_tangent_vector(W)
    end = manifold.exp(W, length * V)
    # The coordinates of a very near neighbour know the step no better than the last digit of W; of a far one, its largest.
    tolerance = 1e-10 + 3e-15 / length + 1e-15 * np.exp(2 * length)
    np.testing.assert_allclose(manifold.log(W, end) / length, V, atol=tolerance)
    assert manifold.dist(end, W) == pytest.approx(length, rel=tolerance)


@pytest.mark.parametrize("length", [1e-3, 1.0, 8.0])
def test_both_logarithms_from_one_eigenproblem(length):
    manifold = MonotoneManifold(6, seed=0)
    W = manifold.random_point()
    other = manifold.exp(W, length * manifold.random_tangent_vector(W))
    there, back = manifold.frame_logs(W, other)
    np.testing.assert_allclose(there, manifold.to_frame(W, manifold.log(W, other)), atol=1e-10)
    np.testing.assert_allclose(back, manifold.to_frame(other, manifold.log(other, W)), atol=1e-9 * np.exp(length))


def test_a_geodesic_is_the_exponential_at_every_time():
    manifold = MonotoneManifold(6, seed=0)
    W = manifold.random_point()
    V = 3 * manifold.random_tangent_vector(W)
    start = W.copy()
    geodesic = manifold.geodesic(start, V)
    start += 1  # the geodesic keeps its own
    for time in (-1.0, 0.0, 0.1, 0.5, 1.0):
        np.testing.assert_allclose(geodesic(time), manifold.exp(W, time * V), rtol=1e-12, atol=1e-13)
    with pytest.raises(OutsideManifoldError, match="no floating-point number"):
        geodesic(1e4)


def test_the_logarithm_of_a_near_neighbour_keeps_all_digits(generator):
    manifold, origin = MonotoneManifold(4), np.zeros((4, 4))
    V = 1e-9 * generator.standard_normal((4, 4))
    np.testing.assert_allclose(manifold.log(origin, manifold.exp(origin, V)), V, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 10, 50])
def test_steps_of_length_50_stay_inside(n, dtype, generator):
    manifold = MonotoneManifold(n, seed=n, like=np.empty(0, dtype))
    for kind in ("random", "shrinking", "growing", "one direction"):
        W = manifold.random_point()
        V = {
            "random": manifold.random_tangent_vector(W),
            "shrinking": np.eye(n, dtype=dtype),
            "growing": -np.eye(n, dtype=dtype),
            "one direction": np.diag(np.arange(n) == 0).astype(dtype),
        }[kind]
        end = manifold.exp(W, 50 / dtype(manifold.norm(W, V)) * V)
        assert end.dtype == dtype
        assert smallest(end.astype(np.float64)) > 0, kind
        assert np.isfinite(manifold.dist(W, end))


def test_a_walk_of_long_steps_never_leaves():
    manifold = MonotoneManifold(8, seed=0)
    W = manifold.random_point()
    for _ in range(50):
        V = manifold.random_tangent_vector(W)
        W = manifold.exp(W, 50 * V if np.trace(V) > 0 else 5 * V)
        assert smallest(W) > 0


def test_parallel_transport_turns_like_the_connection(generator):
    """Along a geodesic, U̇ = −Γ(Ẇ, U), with the Christoffel symbols from differences of the metric alone."""
    n = 2
    manifold = MonotoneManifold(n, seed=1)
    W = manifold.random_point()
    V, U = generator.standard_normal((2, n, n))
    units = np.eye(n * n).reshape(-1, n, n)

    def metric(point):
        return np.array([[manifold.inner_product(point, a, b) for a in units] for b in units])

    h = 1e-5
    slopes = np.stack([(metric(W + h * e) - metric(W - h * e)) / (2 * h) for e in units])  # ∂_k g_ij
    lowered = (np.einsum("kij->ijk", slopes) + np.einsum("jik->ijk", slopes) - np.einsum("ijk->ijk", slopes)) / 2
    turn = -np.linalg.solve(metric(W), np.einsum("ijk,j,k->i", lowered, V.reshape(-1), U.reshape(-1))).reshape(n, n)
    found = (manifold.parallel_transport(W, h * V, U) - manifold.parallel_transport(W, -h * V, U)) / (2 * h)
    np.testing.assert_allclose(found, turn, atol=1e-7)


def test_transport_is_parallel_and_the_frame_is_orthonormal(generator):
    manifold = MonotoneManifold(5, seed=0)
    W = manifold.random_point()
    V = manifold.random_tangent_vector(W)
    U = generator.standard_normal((5, 5))
    end = manifold.exp(W, V)
    np.testing.assert_allclose(manifold.transport(W, end, U), manifold.parallel_transport(W, V, U), atol=1e-12)
    assert manifold.norm(W, U) == pytest.approx(np.linalg.norm(manifold.to_frame(W, U)))
    np.testing.assert_allclose(manifold.from_frame(W, manifold.to_frame(W, U)), U, atol=1e-12)
    carried = manifold.from_frame(end, manifold.to_frame(W, U))
    assert manifold.norm(end, carried) == pytest.approx(manifold.norm(W, U))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_on_strict_arrays(dtype):
    empty = np.empty(0, dtype)
    here = MonotoneManifold(4, seed=0, like=empty, validate=True)
    abroad = MonotoneManifold(4, seed=0, like=strict.asarray(empty), validate=True)
    W = here.random_point()
    V = short_vector(here, W)
    W2 = here.exp(W, V)
    arrays = [strict.asarray(array) for array in (W, W2, V)]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for name in CALLS.keys() - {"random point", "random vector"}:
        found, expected = CALLS[name](abroad, *arrays), CALLS[name](here, W, W2, V)
        np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=20 * tolerance, err_msg=name)
    report = check_manifold(MonotoneManifold(3, seed=0, like=strict.asarray(empty)))
    assert report, str(report)


def test_points_outside_are_refused():
    manifold = MonotoneManifold(3, seed=0)
    inside, outside = np.zeros((3, 3)), 2 * np.eye(3)
    with pytest.raises(OutsideManifoldError, match=r"= -1: the point is not monotone.*nearest"):
        manifold.exp(outside, inside)
    with pytest.raises(OutsideManifoldError, match="not monotone"):
        manifold.log(inside, outside)
    with pytest.raises(InvalidArrayError, match="the point holds NaN"):
        manifold.norm(np.full((3, 3), np.nan), inside)
    with pytest.raises(InvalidArrayError, match="tangent vector holds NaN"):
        manifold.exp(inside, np.full((3, 3), np.nan))
    with pytest.raises(OutsideManifoldError, match="no floating-point number"):
        manifold.exp(inside, -1000 * np.eye(3))
    assert smallest(manifold.exp(inside, 1e6 * np.eye(3))) > 0


def test_nothing_is_nearest_to_weights_that_are_not_finite():
    with pytest.raises(InvalidArrayError, match="the weights holds NaN or infinity: no point is nearest"):
        MonotoneManifold(3).nearest(np.full((3, 3), np.nan))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("length", [10.0, 30.0, 100.0])
@pytest.mark.parametrize("n", [2, 5, 20])
def test_growing_steps_of_any_length_have_that_length(n, length, dtype):
    """All eigenvalues of S grow alike, so that rounding hides nothing of S′, and the distance is the length of the step."""
    manifold = MonotoneManifold(n, seed=n, like=np.empty(0, dtype))
    W = sym(manifold.random_point())
    V = W - np.eye(n, dtype=dtype)  # −S
    V = dtype(min(length, 50 * n**0.5) / manifold.norm(W, V)) * V
    end = manifold.exp(W, V)
    epsilon = float(np.finfo(dtype).eps)
    assert manifold.dist(W, end) == pytest.approx(manifold.norm(W, V), rel=100 * n * epsilon)
    assert manifold.norm(W, manifold.log(W, end) - V) <= 1000 * n * epsilon * length


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [2, 5, 20])
def test_no_step_is_longer_than_it_says(n, dtype):
    """A skew rounding error of S′ = 1e20 would count in full: the metric on K is Euclidean."""
    manifold = MonotoneManifold(n, seed=n, like=np.empty(0, dtype))
    for length in (3.0, 10.0, 40.0, 100.0):
        W = manifold.random_point()
        V = dtype(length) * manifold.random_tangent_vector(W)
        end = manifold.exp(W, V)
        # Of the small eigenvalues of S′ beside the large ones rounding may leave nothing, and the way back is shorter.
        assert manifold.norm(W, V) * 1.02 > manifold.dist(W, end) > min(length, 20) / 3
        assert manifold.dist(end, W) < manifold.norm(W, V) * 1.02


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_symmetric_stays_so_at_a_far_point(dtype, generator):
    """Where S is large, symmetric vectors have symmetric images, to the last bit."""
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
        "logarithm": manifold.log(W, manifold.exp(W, long)),
        "nearest": manifold.nearest(-W),
    }
    for name, image in images.items():
        np.testing.assert_array_equal(image, image.T, err_msg=name)
