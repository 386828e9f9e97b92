"""The resolvent chart of convolutions against the chart of dense weights."""

import array_api_strict as strict
import numpy as np
import pytest
from convolutions import dense, tied

from manifolds import PullbackManifold, Resolvent, SingularPointError, SpectralResolvent, check_chart
from riemannrnn.network import Convolution

SIZES = [(1, (3, 4)), (2, (2, 3)), (3, (1, 2)), (2, (4, 1))]


@pytest.fixture(params=SIZES, ids=str)
def connectivity(request):
    channels, grid = request.param
    return Convolution(channels, grid, grid)


def drawn(connectivity, count, size=1.0):
    """Return kernels of weights of radius about 0.5, and vectors."""
    generator = np.random.default_rng(0)
    shape = connectivity.kernel_shape
    point = connectivity.initial(connectivity.n_units, 0.5, generator)
    return point, *(size * generator.standard_normal((count, *shape)) / np.prod(shape) ** 0.5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_check_chart_passes(connectivity, dtype):
    point, vector, coordinates = (each.astype(dtype) for each in drawn(connectivity, 2, 0.1))
    results = check_chart(SpectralResolvent(connectivity.shape), point, vector, coordinates)
    assert all(results), "\n".join(map(str, results))


def test_all_results_agree_with_the_dense_weights(connectivity):
    chart, around = SpectralResolvent(connectivity.shape), PullbackManifold(Resolvent(), connectivity.n_units)
    W, U, V = drawn(connectivity, 2, 0.2)
    positions = np.prod(connectivity.shape)
    there = [dense(connectivity, each) for each in (W, U, V)]
    np.testing.assert_allclose(dense(connectivity, chart.value(W)) / positions**0.5, around.chart.value(there[0]), atol=1e-12)
    np.testing.assert_allclose(dense(connectivity, chart.exponential(W, V)), around.exp(there[0], there[2]), atol=1e-12)
    product = np.vdot(chart.differential(W, U), chart.differential(W, V))
    assert product == pytest.approx(around.inner_product(*there))
    assert np.linalg.norm(chart.difference(W, W + V)) == pytest.approx(around.dist(there[0], there[0] + there[2]))
    G = np.random.default_rng(1).standard_normal(there[0].shape)
    gradient = tied(connectivity, G)
    found = chart.inverse_differential(W, chart.inverse_adjoint(W, gradient))
    np.testing.assert_allclose(found, tied(connectivity, around.euclidean_to_riemannian_gradient(there[0], G)) / positions)


def test_the_derivative_that_the_hessian_needs(connectivity):
    chart = SpectralResolvent(connectivity.shape)
    W, V, U = drawn(connectivity, 2)
    h = 1e-6
    change = (chart.inverse_adjoint(W + h * V, U) - chart.inverse_adjoint(W - h * V, U)) / (2 * h)
    np.testing.assert_allclose(chart.inverse_adjoint_derivative(W, V, U), change, atol=1e-8)


@pytest.mark.parametrize("retraction", ["geodesic", "additive"])
def test_the_edge_agrees_with_the_dense_weights(connectivity, retraction):
    chart, dense_chart = SpectralResolvent(connectivity.shape), Resolvent()
    W, V, U = drawn(connectivity, 2)
    edges = []
    for vector in (V, -V, U, -U):
        there = dense(connectivity, W), dense(connectivity, vector)
        edges.append(chart.exit_time(W, vector, retraction))
        assert edges[-1] == pytest.approx(dense_chart.exit_time(*there, retraction))
        assert chart.exit_time_bound(W, vector, retraction) <= edges[-1]
    assert min(edges) < np.inf


def test_the_distance_to_the_edge_is_reached(connectivity):
    """The change makes the coordinates singular at the frequency of the smallest singular value."""
    chart = SpectralResolvent(connectivity.shape)
    W, _ = drawn(connectivity, 1)
    coordinates = chart.value(W)
    distance = chart.edge_distance(W)
    assert distance >= Resolvent().edge_distance(dense(connectivity, W)) - 1e-12  # the latter may leave the convolutions
    values = np.fft.fftn(np.fft.ifftshift(coordinates, axes=(2, 3)), axes=(2, 3))
    matrices = np.moveaxis(values, (2, 3), (0, 1))
    best = np.inf
    for index in np.ndindex(*connectivity.shape):
        left, sizes, right = np.linalg.svd(matrices[index])
        change = np.zeros_like(matrices)
        change[index] -= sizes[-1] * np.outer(left[:, -1], right[-1])
        mirror = tuple(-position % size for position, size in zip(index, connectivity.shape))
        if mirror != index:
            change[mirror] = change[index].conj()
        kernels = np.fft.ifftn(np.moveaxis(change, (0, 1), (2, 3)), axes=(2, 3))
        best = min(best, np.linalg.norm(kernels))
    assert distance == pytest.approx(best)


def test_singular_points_are_refused():
    chart = SpectralResolvent((3, 4))
    W = np.zeros((2, 2, 3, 4))
    W[0, 0, 1, 2] = 1.0
    with pytest.raises(SingularPointError, match="singular to working precision at some frequency"):
        chart.value(W)


def test_on_strict_arrays(connectivity):
    chart, (W, V) = SpectralResolvent(connectivity.shape), drawn(connectivity, 1, 0.1)
    there = strict.asarray(W), strict.asarray(V)
    for call in (
        lambda W, V: chart.value(W),
        chart.exponential,
        chart.differential,
        chart.inverse_adjoint,
        lambda W, V: chart.inverse(chart.value(W) + V),
    ):
        np.testing.assert_allclose(np.asarray(call(*there)), call(W, V), atol=1e-12)
    for call in (lambda W, V: chart.exit_time(W, V, "geodesic"), lambda W, V: chart.edge_distance(W)):
        assert call(*there) == pytest.approx(call(W, V))
