"""Stacks with layers of images: their derivatives, and the same layers with dense weights of tied entries."""

import pickle

import array_api_strict as strict
import numpy as np
import pytest
from convolutions import dense

from manifolds import Weighted
from manifolds.points import arrays_of, map_arrays
from riemannrnn import CrossEntropy, FixedPointCost, Layer, RateNetwork, Stack, train
from riemannrnn.data import load_digits
from riemannrnn.equilibrium import SolverOptions
from riemannrnn.models import chunks, response
from riemannrnn.models.architecture import described, network_of
from riemannrnn.network import Convolution, ConvolutionalReadIn, MeanPooling
from riemannrnn.training.by_name import product_of
from riemannrnn.training.held_out import HeldOut, accuracy

N_OUTPUTS = 3


def stack_of(name, **options):
    """Return a stack of images, with the shape of an image."""
    layers, image = STACKS[name]()
    return Stack(layers, int(np.prod(image)), N_OUTPUTS, **{"seed": 1, **options})


def several_resolutions():
    first = Layer.convolution((7, 6, 1), 2, 3, pool=(7, 3))
    return [first, Layer.convolution((1, 2, 2), 3, 1, read_in=1), Layer(4, skips=(0,))], (7, 6, 1)


STACKS = {
    "even, one channel": lambda: ([Layer.convolution((4, 6, 1), 1, 3, pool=2)], (4, 6, 1)),
    "odd, three channels": lambda: ([Layer.convolution((5, 3, 3), 3, 5)], (5, 3, 3)),
    "stride and padding": lambda: ([Layer.convolution((7, 5, 2), 2, 3, stride=2, padding=0, pool=(3, 1))], (7, 5, 2)),
    "two of images": lambda: (
        [first := Layer.convolution((4, 4, 1), 2, pool=2), Layer.convolution(first.image, 3, 1, activation="softplus")],
        (4, 4, 1),
    ),
    "several resolutions": several_resolutions,
    "a skip to a layer of images": lambda: (
        [Layer.convolution((2, 3, 1), 2, 1), Layer(3), Layer.convolution((1, 3, 1), 2, 1, read_in=1, skips=(0,))],
        (2, 3, 1),
    ),
}


def problem(name, stimuli=4, dtype=np.float64, **options):
    """Return a cost, parameters with biases that are not zero, and a direction."""
    generator, stack = np.random.default_rng(0), stack_of(name, dtype=dtype)

    def normal(like):
        return generator.standard_normal(like.shape).astype(dtype)

    parameters = stack.initial_parameters(0.5)
    parameters = {key: value + 0.1 * normal(value) for key, value in parameters.items()}
    direction = map_arrays(normal, stack.flat(parameters))
    images = generator.standard_normal((stimuli, int(np.prod(STACKS[name]()[1])))).astype(dtype)
    cost = FixedPointCost(stack, images, CrossEntropy(np.arange(stimuli) % N_OUTPUTS), **options)
    return cost, stack.flat(parameters), direction


def moved(point, direction, step):
    return map_arrays(lambda a, b: a + step * b, point, direction)


def paired(a, b):
    return sum(float(np.sum(x * y)) for x, y in zip(arrays_of(a), arrays_of(b), strict=True))


@pytest.mark.parametrize("name", STACKS)
def test_gradient_and_hessian_agree_with_finite_differences(name):
    cost, point, direction = problem(name, tolerance=1e-13)
    h = 1e-4
    (ahead, behind), (far, back) = ([moved(point, direction, sign * k * h) for sign in (1, -1)] for k in (1, 2))
    slope = (8 * (cost(ahead) - cost(behind)) - (cost(far) - cost(back))) / (12 * h)
    assert paired(cost.gradient(point), direction) == pytest.approx(slope, rel=4e-8, abs=4e-10)
    gradients = [arrays_of(cost.gradient(each)) for each in (ahead, behind, far, back)]
    for found, a, b, c, d in zip(arrays_of(cost.hessian(point, direction)), *gradients, strict=True):
        np.testing.assert_allclose(found, (8 * (a - b) - (c - d)) / (12 * h), rtol=0, atol=4e-8)


def dense_map(read, kernels):
    """Return a linear map as a matrix, a column for each source."""
    n_inputs = int(np.prod(read.image))
    return read.apply(kernels, np.eye(n_inputs, dtype=kernels.dtype)).T


def dense_twin(stack, parameters):
    """Return a stack of dense layers with the weights of a stack of one layer of images, and its parameters."""
    (layer,), P = stack.layers, stack.named(parameters)
    pooled = layer.pooling.apply(np.eye(layer.n_units, dtype=stack.dtype))
    twin = {
        "layers.0.recurrent": dense(layer.connectivity, P["layers.0.recurrent"]),
        "layers.0.input": dense_map(layer.read_in, P["layers.0.input"]),
        "layers.0.bias": np.tile(P["layers.0.bias"], layer.n_units // len(P["layers.0.bias"])),
        "readout": P["readout"] @ pooled.T,
        "readout_bias": P["readout_bias"],
    }
    return Stack([layer.n_units], int(np.prod(layer.read_in.image)), N_OUTPUTS, dtype=stack.dtype), twin


ONE_LAYER = [name for name in STACKS if len(STACKS[name]()[0]) == 1]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 2e-4)])
@pytest.mark.parametrize("name", ONE_LAYER)
def test_it_is_the_layer_of_dense_weights_with_tied_entries(name, dtype, tolerance):
    solving = {"tolerance": 1e-12 if dtype == np.float64 else 1e-6}
    cost, point, direction = problem(name, dtype=dtype, **solving)
    stack = cost.model
    other, twin = dense_twin(stack, point)
    there = FixedPointCost(other, cost.batch, cost.loss, **solving)
    assert cost(point) == pytest.approx(there(twin), abs=tolerance)
    _, ahead = dense_twin(stack, moved(point, direction, 1.0))
    _, behind = dense_twin(stack, moved(point, direction, -1.0))
    along = {key: (ahead[key] - behind[key]) / 2 for key in twin}  # every entry is linear in the parameters
    gradient, expected = cost.gradient(point), other.flat(there.gradient(twin))
    assert {array.dtype for array in arrays_of(gradient)} == {np.dtype(dtype)}
    assert paired(gradient, direction) == pytest.approx(paired(expected, other.flat(along)), abs=tolerance)
    product, expected = cost.hessian(point, direction), other.flat(there.hessian(twin, along))
    assert paired(product, direction) == pytest.approx(paired(expected, other.flat(along)), abs=20 * tolerance)
    tangent, expected = cost.at(point).tangents(direction), there.at(twin).tangents(other.flat(along))
    np.testing.assert_allclose(tangent[0], expected[0], atol=20 * tolerance)


@pytest.mark.parametrize("name", ["two of images", "several resolutions"])
def test_on_strict_arrays(name):
    cost, point, direction = problem(name, tolerance=1e-11)
    there = stack_of(name, backend=strict)
    images = strict.asarray(cost.batch)
    other = FixedPointCost(there, images, CrossEntropy(strict.asarray(np.arange(4) % N_OUTPUTS)), tolerance=1e-11)
    at, along = map_arrays(strict.asarray, point), map_arrays(strict.asarray, direction)
    assert other(at) == pytest.approx(cost(point))
    for found, expected in zip(arrays_of(other.hessian(at, along)), arrays_of(cost.hessian(point, direction)), strict=True):
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-8)


def test_bounds_of_the_error_hold_above_a_layer_of_images():
    cost, point, _ = problem("two of images")
    stack = cost.model
    exact = stack.respond(point, cost.batch)
    rough = stack.respond(point, cost.batch, SolverOptions("picard", tolerance=1e-2))
    for bound, near, far in zip(rough.error_bounds(), exact.layers, rough.layers, strict=True):
        error = np.linalg.norm(near.rates - far.rates, axis=1)
        assert np.all(error <= bound + 1e-8)
        assert np.all(bound < 2)


@pytest.mark.parametrize("name", STACKS)
def test_it_pickles_and_is_described_by_plain_values(name):
    cost, point, _ = problem(name)
    for stack in (pickle.loads(pickle.dumps(cost.model)), network_of(described(cost.model))):
        assert FixedPointCost(stack, cost.batch, cost.loss)(point) == cost(point)
        assert list(stack.schema) == list(cost.model.schema)


def test_a_fixed_read_in_of_images_is_applied_once():
    options = {"trained": ("recurrent", "readout")}
    stack = stack_of("two of images", **options)
    images = np.random.default_rng(0).standard_normal((3, 16))
    assert stack.prepare(images).shape == (3, 32)
    assert stack.fixed["layers.0.input"].shape == (2, 1, 3, 3)
    whole = stack_of("two of images")
    P = whole.initial_parameters()
    fixed = {name: value for name, value in P.items() if name in stack.schema}
    outputs = [net.respond(at, net.prepare(images)).outputs for net, at in ((stack, fixed), (whole, P))]
    np.testing.assert_array_equal(*outputs)


def test_what_does_not_fit_is_refused():
    layer = Layer.convolution((4, 4, 1), 2, pool=2)
    with pytest.raises(ValueError, match=r"layer 0: the read-in takes images of \(4, 4, 1\), 16 numbers.* source has 17"):
        Stack([layer], 17, 2)
    with pytest.raises(ValueError, match=r"layer 1: .* source has 8 and its layer 32"):
        Stack([layer, Layer.convolution((4, 4, 2), 2)], 16, 2)
    with pytest.raises(ValueError, match="no readout reads the means"):
        Stack([layer], 16)
    assert Stack([Layer.convolution((4, 4, 1), 2)], 16).n_outputs == 32
    with pytest.raises(ValueError, match="the network has 31 units"):
        Stack([Layer(31, connectivity=Convolution(2, (4, 4)))], 16, 2)
    with pytest.raises(ValueError, match="pools 8 rates, and the layer has 32 units"):
        Stack([Layer(32, pooling=MeanPooling((2, 2, 2), 2))], 16, 2)
    with pytest.raises(ValueError, match="windows of 3 × 3 do not divide"):
        Layer.convolution((4, 4, 1), 2, pool=3)
    assert ConvolutionalReadIn((4, 4, 1), 2).n_biases(32) == 2


def test_held_out_images_are_measured_in_chunks_of_bytes(monkeypatch):
    digits, stack = load_digits(), Stack([Layer.convolution((8, 8, 1), 2, 3, pool=4)], 64, 10, seed=0)
    stimuli, labels = digits.stimuli[:50], digits.labels[:50]
    whole = FixedPointCost(stack, stimuli, CrossEntropy(labels), tolerance=1e-12)
    at = stack.flat(stack.initial_parameters())
    expected = HeldOut(whole).measure(at)
    assert expected == (whole(at), accuracy(whole.at(at), whole.loss))
    rows, solve = [], response.solve_fixed_points

    def counted(weights, drive, *rest, **options):
        rows.append(len(drive))
        return solve(weights, drive, *rest, **options)

    monkeypatch.setattr(response, "solve_fixed_points", counted)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 20 * 128 * 8)
    found = HeldOut(FixedPointCost(stack, stimuli, CrossEntropy(labels), tolerance=1e-12)).measure(at)
    assert rows == [20, 20, 10]
    assert found == (pytest.approx(expected[0]), expected[1])


def test_parameters_that_read_many_inputs_learn_more_slowly():
    stack = stack_of("several resolutions")
    manifold, _ = product_of(stack, stack.flat(stack.initial_parameters()), "monotone")
    factors = manifold.factors
    found = {name: each.scale for name, each in factors.items() if isinstance(each, Weighted)}
    third, half = 1 / 3, 0.5
    assert found == {
        "layers.0.input": third,
        "layers.0.bias": third,
        "layers.1.input": pytest.approx(half**0.5),
        "layers.1.bias": third,
        "layers.2.input": pytest.approx(6**-0.5),
        "layers.2.from.0": half,
        "layers.2.bias": third,
        "readout": half,
        "readout_bias": third,
    }
    assert [type(factors[name]).__name__ for name in stack.recurrent] == [*["ConvolutionalMonotone"] * 2, "MonotoneManifold"]
    dense = Stack([4, 3], 5, 2)
    manifold, _ = product_of(dense, dense.flat(dense.initial_parameters()), "monotone")
    assert not any(isinstance(each, Weighted) for each in manifold.factors.values())


def test_a_manifold_of_kernels_is_no_manifold_of_a_matrix():
    network = RateNetwork(5, 4, 2, seed=0)
    with pytest.raises(ValueError, match="'spectral-monotone' is one of the parameters of Convolution"):
        train(network, network.initial_weights(), np.eye(4), np.arange(4) % 2, manifold="spectral-monotone")


@pytest.mark.parametrize("trained", [("recurrent",), ("recurrent", "readout")])
def test_kernels_with_a_dense_read_in_learn_by_default(trained):
    stack = Stack([Layer(18, connectivity=Convolution(2, (3, 3)))], 5, 2, seed=0, trained=trained)
    x, labels = np.random.default_rng(0).standard_normal((20, 5)), np.arange(20) % 2
    history = train(stack, stack.initial_parameters(), x, labels, epochs=6, seed=0)
    assert history.loss[-1] < history.loss[0], history.stopped
    assert "ConvolutionalMonotone" in history.rule
