"""Monotone convolutions: every point is stable with unique fixed points, and the formulas of the map to kernels hold."""

import array_api_strict as strict
import numpy as np
import pytest
from convolutions import dense
from pymanopt.manifolds.manifold import Manifold
from pymanopt.optimizers import ConjugateGradient

from manifolds import ConvolutionalMonotone, OutsideManifoldError, check_manifold
from manifolds.kernels import (
    centred,
    identity_kernel,
    kernel_gradient,
    padded,
    reflected,
    spectrum,
    transposed_product,
    transposed_product_gradient,
)
from riemannrnn import CrossEntropy, FixedPointCost, PeacemanRachford, RateNetwork, solve_fixed_points
from riemannrnn.network import Convolution
from riemannrnn.rules.adam import Adam
from riemannrnn.rules.descent import Descent

GRIDS = [(5, 4), (4, 7), (1, 3), (2, 2)]


def acting(manifold, shape):
    """Return the connectivity with the weights of a manifold as its parameters."""
    return Convolution(manifold.channels, shape, 2 * manifold.support[0] - 1)


def far_point(manifold, length, seed=0):
    """Return a point at a distance from the origin, with different scales."""
    point = manifold.random_point()
    step = length * manifold.random_tangent_vector(point)
    return manifold.exp(point, step)


def condition(weights, scales):
    """Return the smallest eigenvalue of the symmetric part of E⁻¹ (I − W)."""
    scaled = (np.eye(len(weights)) - weights) / scales[:, None]
    return np.linalg.eigvalsh((scaled + scaled.T) / 2)[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("support", [1, 3])
def test_check_manifold_passes(channels, support):
    report = check_manifold(ConvolutionalMonotone(channels, support, seed=0))
    assert report, str(report)
    assert sum(result.name.endswith("W") for result in report) == 3


@pytest.mark.parametrize("formula", ["velocity", "pull_back", "pull_back_hessian"])
def test_check_manifold_finds_a_wrong_formula(formula):
    manifold = ConvolutionalMonotone(2, seed=0)
    right = getattr(manifold, formula)
    wrong = {"velocity": lambda *a: 1.1 * right(*a)}.get(formula, lambda *a: [1.1 * part for part in right(*a)])
    setattr(manifold, formula, wrong)
    assert not check_manifold(manifold)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_certificate_is_that_of_the_dense_weights(channels, shape, dtype):
    manifold = ConvolutionalMonotone(channels, seed=1, like=np.empty(0, dtype))
    for length in (0.0, 3.0, 100.0):
        point = far_point(manifold, length)
        weights = dense(acting(manifold, shape), manifold.weights(point).astype(float))
        scales = np.tile(manifold.scales(point).astype(float)[:, 0], shape[0] * shape[1])
        certificate = manifold.certificate(point, shape)
        rounding = np.finfo(dtype).eps * np.abs(weights).max() * 100
        assert certificate == pytest.approx(condition(weights, scales), abs=1e-12 + 1e-10 * np.abs(weights).max())
        assert certificate >= manifold.margin - rounding / scales.min()


def test_thousands_of_points_are_stable_and_unique():
    """They are checked by the certificate, and by the eigenvalues of −I + G W for random gains from 0 to 1."""
    generator, worst = np.random.default_rng(0), []
    for channels, shape in ((1, (1, 3)), (2, (2, 2)), (3, (1, 2))):
        manifold = ConvolutionalMonotone(channels, margin=0.05, seed=channels)
        connectivity = acting(manifold, shape)
        n = connectivity.n_units
        waves = np.stack(
            [connectivity.bind(each).matrix for each in np.eye(channels**2 * 25).reshape(-1, channels, channels, 5, 5)]
        )
        kernels, scales = [], []
        for index in range(1700):
            size = 10 ** generator.uniform(-2, 1.5)  # smaller scales would be lost in the rounding of W
            point = [
                *(size * generator.standard_normal((2, channels, 9 * channels))),
                1.5 * generator.standard_normal((channels, 1)),
            ]
            kernels.append(manifold.weights(point).ravel())
            scales.append(np.tile(manifold.scales(point)[:, 0], n // channels))
            if index % 100 == 0:
                assert manifold.certificate(point, shape) >= 0.05 - 1e-9
        W, E = np.tensordot(np.stack(kernels), waves, 1), np.stack(scales)[:, :, None]
        S = (np.eye(n) - W) / E
        smallest = np.linalg.eigvalsh((S + np.swapaxes(S, 1, 2)) / 2)[:, 0]
        assert np.all(smallest >= 0.05 - 1e-12 * np.abs(S).max(axis=(1, 2)) / E.min(axis=(1, 2)))
        gains = np.where(generator.random((1700, n)) < 0.3, 1.0, generator.random((1700, n)))
        worst.append(np.linalg.eigvals(gains[:, :, None] * W - np.eye(n)).real.max())
        assert np.all(np.linalg.det(np.eye(n) - gains[:, :, None] * W) > 0)  # it is never 0, so its sign is constant
    assert max(worst) < 0


def test_each_stimulus_has_one_fixed_point_that_a_stated_number_of_iterations_reaches(generator):
    manifold = ConvolutionalMonotone(3, seed=0)
    point = far_point(manifold, 6.0)
    connectivity, weights = acting(manifold, (6, 5)), manifold.weights(point)
    scales = np.tile(manifold.scales(point)[:, 0], 30)
    drive = generator.standard_normal((4, 90))
    options = {"connectivity": connectivity, "activation": "relu", "tolerance": 1e-10}
    found = [
        solve_fixed_points(weights, drive, solver=PeacemanRachford(scales), initial_rates=start, **options)
        for start in (None, 10 * generator.random((4, 90)))
    ]
    assert all(each.converged.all() for each in found)
    np.testing.assert_allclose(found[0].rates, found[1].rates, atol=1e-8)
    assert np.all(found[0].stability() < 0)


def network(shape=(3, 4), channels=2, seed=0):
    """Return a manifold and a cost on stimuli of two classes."""
    generator = np.random.default_rng(seed)
    manifold = ConvolutionalMonotone(channels, seed=seed)
    connectivity = acting(manifold, shape)
    net = RateNetwork(connectivity.n_units, 5, 2, "tanh", seed=seed, connectivity=connectivity)
    labels = np.arange(10) % 2
    stimuli = generator.standard_normal((10, 5)) + labels[:, None]
    return manifold, FixedPointCost(net, stimuli, CrossEntropy(labels), tolerance=1e-13)


def test_derivatives_in_the_point_are_those_of_finite_differences():
    manifold, cost = network()
    point = far_point(manifold, 2.0)
    direction, h = manifold.random_tangent_vector(point), 1e-5

    def gradient(at):
        return manifold.pull_back(at, cost.gradient(manifold.weights(at)))

    ahead, behind = (manifold.exp(point, step * direction) for step in (h, -h))
    slope = sum(np.vdot(a, b) for a, b in zip(gradient(point), direction, strict=True))
    assert slope == pytest.approx((cost(manifold.weights(ahead)) - cost(manifold.weights(behind))) / (2 * h), abs=4e-9)
    weights, velocity = manifold.weights(point), manifold.velocity(point, direction)
    hessian = manifold.pull_back_hessian(point, cost.gradient(weights), cost.hessian(weights, velocity), direction)
    for found, plus, minus in zip(hessian, gradient(ahead), gradient(behind), strict=True):
        np.testing.assert_allclose(found, (plus - minus) / (2 * h), atol=4e-8)


@pytest.mark.parametrize(("rule", "rate"), [(Descent, 0.2), (Adam, 0.05)])
def test_rules_learn_on_the_point(rule, rate):
    manifold, cost = network()
    learner, memory, point, losses = rule(manifold), None, manifold.random_point(), []
    for _ in range(8):
        evaluation = cost.at(manifold.weights(point))
        losses.append(evaluation.cost)
        point, memory = learner.step(point, evaluation, rate, memory)
    assert losses == sorted(losses, reverse=True)
    assert manifold.certificate(point, (3, 4)) >= manifold.margin - 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_all_that_pymanopt_asks_for(dtype):
    manifold = ConvolutionalMonotone(2, seed=0, like=np.empty(0, dtype))
    point = manifold.random_point()
    vector = 0.1 * manifold.random_tangent_vector(point)
    other = manifold.exp(point, vector)
    before = [part.copy() for each in (point, vector, other) for part in each]
    calls = {
        "dim": (),
        "point_layout": (),
        "num_values": (),
        "typical_dist": (),
        "inner_product": (point, vector, vector),
        "norm": (point, vector),
        "dist": (point, other),
        "projection": (point, vector),
        "to_tangent_space": (point, vector),
        "embedding": (point, vector),
        "zero_vector": (point,),
        "random_point": (),
        "random_tangent_vector": (point,),
        "euclidean_to_riemannian_gradient": (point, vector),
        "euclidean_to_riemannian_hessian": (point, vector, vector, vector),
        "retraction": (point, vector),
        "exp": (point, vector),
        "log": (point, other),
        "transport": (point, other, vector),
        "pair_mean": (point, other),
    }
    assert set(calls) == {name for name in vars(Manifold) if not name.startswith("_")}
    for name, arguments in calls.items():
        result = getattr(manifold, name)
        result = result(*arguments) if callable(result) else result
        if name in ("typical_dist", "inner_product", "norm", "dist"):
            assert type(result) is float, name
            assert result > 0, name
        elif arguments or name == "random_point":
            assert [(part.shape, part.dtype) for part in result] == [(part.shape, part.dtype) for part in point], name
    assert manifold.dim == 2 * 4 * 9 + 2
    np.testing.assert_allclose(manifold.log(point, other)[0], vector[0], atol=1e-6)
    for part, copy in zip([part for each in (point, vector, other) for part in each], before, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_pymanopt_runs_on_it():
    manifold, cost = network()
    start = manifold.random_point()
    result = ConjugateGradient(verbosity=0, max_iterations=8).run(cost.problem(manifold), initial_point=start)
    assert result.cost < 0.9 * cost(manifold.weights(start))


def test_the_frame_is_a_channel_th_of_the_metric():
    manifold = ConvolutionalMonotone(4, seed=0)
    point = manifold.random_point()
    vector = manifold.random_tangent_vector(point)
    frame = manifold.to_frame(point, vector)
    assert manifold.norm(point, vector) == pytest.approx(np.sqrt(sum(np.sum(part**2) for part in frame)))
    for found, part, coordinates in zip(manifold.from_frame(point, frame), vector, frame, strict=True):
        np.testing.assert_allclose(found, part)
        np.testing.assert_allclose(coordinates, 4 * part)
    for found, part in zip(manifold.frame_gradient(point, vector), vector, strict=True):
        np.testing.assert_allclose(found, part / 4)
    wider = ConvolutionalMonotone(4, scale=1.0)
    assert wider.norm(point, vector) == pytest.approx(manifold.norm(point, vector) / 4)


def test_where_it_starts(generator):
    manifold = ConvolutionalMonotone(2, margin=0.2)
    skew = generator.standard_normal((2, 2, 3, 3))
    skew = padded(skew - reflected(skew), (5, 5))
    local = 0.1 * generator.standard_normal((2, 2, 1, 1))
    for weights in (np.zeros((2, 2, 5, 5)), skew, skew + padded(local + reflected(local), (5, 5))):
        point = manifold.point_at(weights)
        np.testing.assert_allclose(manifold.weights(point), weights, atol=1e-14)
        assert [part.shape for part in point] == [(2, 18), (2, 18), (2, 1)]
    coupled = padded(0.1 * np.ones((2, 2, 3, 3)), (5, 5))
    with pytest.raises(OutsideManifoldError, match=r"couples positions by 0\.1"):
        manifold.point_at(coupled)
    with pytest.raises(OutsideManifoldError, match="smallest eigenvalue"):
        manifold.point_at(0.9 * identity_kernel(2, (5, 5), coupled))
    for options in ({"support": 0}, {"channels": 0}, {"margin": 0.0}, {"margin": 1.0}, {"scale": -1.0}):
        with pytest.raises(ValueError, match="pass"):
            ConvolutionalMonotone(**{"channels": 2} | options)


def test_kinds_of_arrays(generator):
    manifold = ConvolutionalMonotone(3, seed=0)
    single = ConvolutionalMonotone(3, seed=0, like=np.empty(0, np.float32))
    point, gradient = single.random_point(), generator.standard_normal((3, 3, 5, 5)).astype(np.float32)
    assert {part.dtype for part in (*point, single.weights(point), *single.pull_back(point, gradient))} == {np.dtype("float32")}
    assert single.certificate(point, (6, 5)) == pytest.approx(manifold.certificate(manifold.random_point(), (6, 5)), abs=1e-6)
    there = [strict.asarray(part) for part in point]
    np.testing.assert_allclose(np.asarray(manifold.weights(there)), manifold.weights(point), atol=1e-6)
    for a, b in zip(manifold.pull_back(there, strict.asarray(gradient)), manifold.pull_back(point, gradient), strict=True):
        np.testing.assert_allclose(np.asarray(a), b, atol=1e-5)
    assert manifold.certificate(there, (3, 4)) == pytest.approx(manifold.certificate(point, (3, 4)))


@pytest.mark.parametrize("shape", GRIDS)
def test_the_spectrum_is_the_fourier_transform_and_its_adjoint(shape, generator):
    kernels = generator.standard_normal((3, 2, 3, 2))
    wrapped = np.zeros((3, 2, *shape))
    for a, b in np.ndindex(3, 2):
        wrapped[:, :, (a - 1) % shape[0], (b - 1) % shape[1]] += kernels[:, :, a, b]
    expected = np.moveaxis(np.fft.rfft2(wrapped), (0, 1), (2, 3))
    values = spectrum(kernels, shape)
    np.testing.assert_allclose(values, expected, atol=1e-12)
    left, right = generator.standard_normal((2, *shape)), generator.standard_normal((2, *shape))
    covector = np.einsum("oxy,ixy->xyoi", np.fft.rfft2(generator.standard_normal((3, *shape))), np.fft.rfft2(left).conj())
    other = generator.standard_normal(kernels.shape)
    full = np.concatenate([covector, covector[:, 1 : -1 if shape[1] % 2 == 0 else None]], axis=1)  # ω and −ω
    along = spectrum(other, shape)
    doubled = np.concatenate([along, along[:, 1 : -1 if shape[1] % 2 == 0 else None]], axis=1)
    found = np.vdot(kernel_gradient(covector, kernels, shape), other)
    assert found == pytest.approx(np.vdot(full, doubled).real / (shape[0] * shape[1]))
    assert right.shape == left.shape


def test_products_of_kernels_are_products_of_maps(generator):
    first, second = generator.standard_normal((4, 2, 3, 3)), generator.standard_normal((4, 3, 3, 3))
    product = transposed_product(first, second)
    shape = (5, 6)
    expected = np.swapaxes(spectrum(first, shape).conj(), 2, 3) @ spectrum(second, shape)
    np.testing.assert_allclose(spectrum(product, shape), expected, atol=1e-12)
    np.testing.assert_allclose(spectrum(reflected(product), shape), np.swapaxes(expected.conj(), 2, 3), atol=1e-12)
    covector, change = generator.standard_normal(product.shape), generator.standard_normal(first.shape)
    found = np.vdot(transposed_product_gradient(covector, second), change)
    assert found == pytest.approx(np.vdot(covector, transposed_product(change, second)))
    np.testing.assert_array_equal(centred(padded(first, (5, 7)), (3, 3)), first)


@pytest.mark.parametrize("support", [1, 2, 3, 4])
def test_supports_of_any_size(support, generator):
    manifold = ConvolutionalMonotone(2, support, margin=0.05, seed=0)
    point = [3 * part for part in manifold.random_point()]
    weights, width = manifold.weights(point), 2 * support - 1
    assert weights.shape == (2, 2, width, width)
    assert manifold.certificate(point, (5, 6)) >= 0.05 - 1e-12
    direction, gradient, h = manifold.random_tangent_vector(point), generator.standard_normal(weights.shape), 1e-6
    ahead, behind = (manifold.weights(manifold.exp(point, step * direction)) for step in (h, -h))
    slope = np.vdot(gradient, ahead - behind) / (2 * h)
    assert sum(np.vdot(*pair) for pair in zip(manifold.pull_back(point, gradient), direction, strict=True)) == pytest.approx(
        slope
    )
    start = manifold.representable(0.1 * generator.standard_normal(weights.shape))
    np.testing.assert_allclose(manifold.weights(manifold.point_at(start)), start, atol=1e-14)
    np.testing.assert_allclose(manifold.representable(start), start, atol=1e-15)
    local, width = padded(centred(generator.standard_normal(weights.shape), (1, 1)), weights.shape[2:]), manifold.skew_support
    turn = centred(generator.standard_normal((2, 2, 7, 7)), width)
    turn = padded(turn - reflected(turn), weights.shape[2:])
    np.testing.assert_allclose(manifold.representable(local + turn), local + turn, atol=1e-14)
