"""The symmetric space of monotone convolutions against the larger space of dense weights."""

import array_api_strict as strict
import numpy as np
import pytest
from cases import CALLS
from convolutions import dense, tied
from pymanopt.optimizers import ConjugateGradient, TrustRegions

from manifolds import InvalidArrayError, MonotoneManifold, OutsideManifoldError, SpectralMonotone, check_manifold
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.network import Convolution

SIZES = [(1, (3, 4)), (2, (2, 3)), (3, (1, 2)), (2, (1, 1))]


@pytest.fixture(params=SIZES, ids=str)
def both(request):
    """Return the manifold, the surrounding manifold of dense weights, and the map from one to the other."""
    channels, grid = request.param
    connectivity = Convolution(channels, grid, grid)
    inside, around = SpectralMonotone(channels, grid, seed=1), MonotoneManifold(connectivity.n_units)
    return inside, around, connectivity


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_check_manifold_passes(both, dtype):
    manifold = SpectralMonotone(both[2].channels, both[2].shape, seed=0, like=np.empty(0, dtype))
    report = check_manifold(manifold)
    assert report, str(report)


@pytest.mark.parametrize("length", [0.1, 3.0, 10.0])
def test_all_results_agree_with_the_surrounding_manifold(both, length):
    inside, around, connectivity = both
    W = inside.random_point()
    V, Y = length * inside.random_tangent_vector(W), inside.random_tangent_vector(W)
    other = inside.exp(W, V)
    there = {name: dense(connectivity, each) for name, each in {"W": W, "V": V, "Y": Y, "other": other}.items()}
    scale = np.exp(length) * 1e-12
    np.testing.assert_allclose(there["other"], around.exp(there["W"], there["V"]), atol=scale)
    assert inside.inner_product(W, V, Y) == pytest.approx(around.inner_product(there["W"], there["V"], there["Y"]))
    assert inside.dist(W, other) == pytest.approx(around.dist(there["W"], there["other"]), rel=1e-7)
    moved = dense(connectivity, inside.parallel_transport(W, V, Y))
    np.testing.assert_allclose(moved, around.parallel_transport(there["W"], there["V"], there["Y"]), atol=scale)
    back = dense(connectivity, inside.log(W, other))
    np.testing.assert_allclose(back, around.log(there["W"], there["other"]), atol=10 * scale)
    certificate = np.linalg.eigvalsh(np.eye(len(there["W"])) - (there["W"] + there["W"].T) / 2)[0]
    assert inside.certificate(W) == pytest.approx(certificate)


def test_gradients_and_hessians_are_projected(both, generator):
    inside, around, connectivity = both
    W, V = inside.random_point(), inside.random_tangent_vector(inside.random_point())
    n, positions = connectivity.n_units, np.prod(connectivity.shape)
    G, H = generator.standard_normal((2, n, n))
    W_there, V_there = dense(connectivity, W), dense(connectivity, V)
    gradient, hessian = tied(connectivity, G), tied(connectivity, H)  # of the function of the kernels
    found = inside.euclidean_to_riemannian_gradient(W, gradient)
    np.testing.assert_allclose(found, tied(connectivity, around.euclidean_to_riemannian_gradient(W_there, G)) / positions)
    found = inside.euclidean_to_riemannian_hessian(W, gradient, hessian, V)
    expected = around.euclidean_to_riemannian_hessian(W_there, G, H, V_there)
    np.testing.assert_allclose(found, tied(connectivity, expected) / positions, atol=1e-12)


def test_the_frame_is_orthonormal_and_moves_along(both, generator):
    manifold, _, _ = both
    W = manifold.random_point()
    U, V = manifold.random_tangent_vector(W), manifold.random_tangent_vector(W)
    frames = manifold.to_frame(W, U), manifold.to_frame(W, V)
    assert np.vdot(*frames) == pytest.approx(manifold.inner_product(W, U, V))
    np.testing.assert_allclose(manifold.from_frame(W, frames[0]), U, atol=1e-13)
    gradient = generator.standard_normal(W.shape)
    expected = manifold.to_frame(W, manifold.euclidean_to_riemannian_gradient(W, gradient))
    np.testing.assert_allclose(manifold.frame_gradient(W, gradient), expected, atol=1e-13)


@pytest.mark.parametrize("xp", [np, strict], ids=["numpy", "strict"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_calls_keep_kind_dtype_and_arguments(xp, dtype):
    manifold = SpectralMonotone(2, (3, 4), seed=0, like=xp.empty(0, dtype=getattr(xp, dtype)))
    W = manifold.random_point()
    V = 0.1 * manifold.random_tangent_vector(W)
    W2 = manifold.exp(W, V)
    before = [np.array(each) for each in (W, W2, V)]
    for name, call in CALLS.items():
        result = call(manifold, W, W2, V)
        if isinstance(result, float):
            assert result > 0 or name == "inner product", name
        else:
            assert type(result) is type(W), name
            assert (result.dtype, tuple(result.shape)) == (W.dtype, (2, 2, 3, 4)), name
            assert np.all(np.isfinite(np.asarray(result))), name
        for array, copy in zip((W, W2, V), before, strict=True):
            np.testing.assert_array_equal(np.asarray(array), copy, err_msg=name)


@pytest.mark.parametrize(("dtype", "length"), [(np.float32, 40.0), (np.float32, 75.0), (np.float64, 80.0), (np.float64, 300.0)])
def test_no_step_leaves(dtype, length):
    manifold = SpectralMonotone(3, (4, 5), seed=0, like=np.empty(0, dtype))
    for _ in range(5):
        point = manifold.random_point()
        for _ in range(2):
            vector = dtype(length) * manifold.random_tangent_vector(point)
            point = manifold.exp(point, vector / max(1.0, manifold.norm(point, vector) / length))
            assert manifold.certificate(point) > 0
            length = 1.0


def test_long_steps_of_one_channel_are_exact():
    """1 − tanh(Σ/2) is 0 in float64: the weights of one unit have B′ = B exp(x)."""
    manifold = SpectralMonotone(1, (1, 1))
    W, V = np.zeros((1, 1, 1, 1)), -np.ones((1, 1, 1, 1))
    for length in (20.0, 50.0, 500.0):
        assert 1 - manifold.exp(W, length * V)[0, 0, 0, 0] == pytest.approx(np.exp(length))
        assert manifold.parallel_transport(W, length * V, V)[0, 0, 0, 0] == pytest.approx(-np.exp(length))


def test_invalid_arguments_are_refused():
    manifold = SpectralMonotone(2, (3, 4))
    with pytest.raises(InvalidArrayError, match="NaN or infinity"):
        manifold.exp(np.zeros((2, 2, 3, 4)), np.full((2, 2, 3, 4), np.nan))
    outside = np.zeros((2, 2, 3, 4))
    outside[:, :, 1, 2] = 1.5 * np.eye(2)
    for call in (lambda: manifold.exp(outside, outside), lambda: manifold.dist(np.zeros_like(outside), outside)):
        with pytest.raises(OutsideManifoldError, match=r"smallest eigenvalue.* is -0\.5"):
            call()


@pytest.mark.parametrize("optimizer", [ConjugateGradient, TrustRegions])
def test_pymanopt_trains_the_kernels_of_a_convolution(optimizer):
    generator, grid = np.random.default_rng(0), (2, 3)
    manifold, connectivity = SpectralMonotone(2, grid, seed=0), Convolution(2, grid, grid)
    network = RateNetwork(12, 5, 2, "tanh", seed=0, connectivity=connectivity)
    labels = np.arange(10) % 2
    stimuli = generator.standard_normal((10, 5)) + labels[:, None]
    cost = FixedPointCost(network, stimuli, CrossEntropy(labels), tolerance=1e-12)
    start = manifold.random_point()
    result = optimizer(verbosity=0, max_iterations=8).run(cost.problem(manifold), initial_point=start)
    assert result.cost < 0.8 * cost(start)
    assert manifold.certificate(result.point) > 0
