"""Stacks of layers: their derivatives, their training, and their errors."""

import copy
import pickle
from functools import partial

import array_api_strict as strict
import numpy as np
import pytest
from pymanopt.optimizers import ConjugateGradient, TrustRegions

from manifolds import MonotoneManifold, ProductManifold, Weighted, check_manifold
from manifolds.points import arrays_of, map_arrays
from riemannrnn import CrossEntropy, FixedPointCost, Layer, LowRank, RateNetwork, SquaredError, Stack, train
from riemannrnn.data import load_digits
from riemannrnn.network import ACTIVATIONS
from riemannrnn.training import StabilityGuard
from riemannrnn.training.by_name import product_of
from riemannrnn.training.checkpoints import CheckpointError

STACKS = {
    "one layer": [Layer(5)],
    "two layers": [5, 4],
    "three layers and a skip": [Layer(5), Layer(4, "softplus"), Layer(3, skips=(0,))],
    "four layers and two skips": [Layer(6), Layer(1), Layer(4, skips=(0,)), Layer(3, skips=(0, 1))],
}
SMOOTH = sorted(name for name in ACTIVATIONS if name != "relu")


def stack_of(layers, **options):
    return Stack(layers, **{"n_inputs": 7, "n_outputs": 3, "seed": 1, **options})


def problem(stack, stimuli=6, **options):
    """Return a cost, parameters after a step of training from the start, and a direction."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((stimuli, 7)).astype(stack.dtype)
    labels = generator.integers(0, stack.n_outputs, stimuli)
    parameters = train(stack, stack.initial_parameters(0.6), x, labels, epochs=1, seed=0).parameters
    direction = map_arrays(lambda a: generator.standard_normal(a.shape).astype(a.dtype), stack.flat(parameters))
    return FixedPointCost(stack, x, CrossEntropy(labels), **options), parameters, direction


def moved(point, direction, step):
    return map_arrays(lambda a, b: a + step * b, point, direction)


def paired(a, b):
    return sum(float(np.sum(x * y)) for x, y in zip(arrays_of(a), arrays_of(b), strict=True))


def close(found, expected, tolerance):
    scale = max(float(abs(each).max()) for each in arrays_of(expected))
    for a, b in zip(arrays_of(found), arrays_of(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_gradient_and_hessian_agree_with_finite_differences_after_a_step_of_training(layers):
    stack = stack_of(layers)
    cost, parameters, direction = problem(stack, tolerance=1e-13)
    point, step = stack.flat(parameters), 1e-4
    ahead, behind = moved(point, direction, step), moved(point, direction, -step)
    far_ahead, far_behind = moved(point, direction, 2 * step), moved(point, direction, -2 * step)
    slope = (8 * (cost(ahead) - cost(behind)) - (cost(far_ahead) - cost(far_behind))) / (12 * step)
    assert paired(cost.gradient(point), direction) == pytest.approx(slope, rel=1e-7, abs=1e-9)
    near = map_arrays(lambda a, b: a - b, cost.gradient(ahead), cost.gradient(behind))
    far = map_arrays(lambda a, b: a - b, cost.gradient(far_ahead), cost.gradient(far_behind))
    close(cost.hessian(point, direction), map_arrays(lambda a, b: (8 * a - b) / (12 * step), near, far), 1e-8)


@pytest.mark.parametrize("activation", SMOOTH)
def test_every_activation_in_a_stack_with_a_skip(activation):
    stack = stack_of([Layer(4), 3, Layer(3, skips=(0,))], activation=activation)
    parameters = stack.flat(stack.initial_parameters(0.3))
    generator = np.random.default_rng(0)
    cost = FixedPointCost(stack, 0.3 * generator.random((5, 7)), SquaredError(np.ones((5, 3))), tolerance=1e-13)
    direction = map_arrays(lambda a: generator.standard_normal(a.shape), parameters)
    ahead, behind = moved(parameters, direction, 1e-5), moved(parameters, direction, -1e-5)
    assert paired(cost.gradient(parameters), direction) == pytest.approx((cost(ahead) - cost(behind)) / 2e-5, rel=1e-6)
    change = map_arrays(lambda a, b: (a - b) / 2e-5, cost.gradient(ahead), cost.gradient(behind))
    close(cost.hessian(parameters, direction), change, 1e-6)


def test_a_stack_is_one_network_with_block_triangular_weights():
    stack = stack_of([5, 4], trained=("recurrent", "input"))
    cost, P, _ = problem(stack, tolerance=1e-13)
    W = np.block([[P["layers.0.recurrent"], np.zeros((5, 4))], [P["layers.1.input"], P["layers.1.recurrent"]]])
    joint = RateNetwork(9, 7, 3)
    joint.input_weights = np.vstack([P["layers.0.input"], np.zeros((4, 7))])
    joint.readout = np.hstack([np.zeros((3, 5)), stack.fixed["readout"]])
    x = np.random.default_rng(0).standard_normal((6, 7))
    whole = FixedPointCost(joint, x, cost.loss, tolerance=1e-13)
    assert whole(W) == pytest.approx(cost(P), abs=1e-11)
    gradient, expected = cost.gradient(P), whole.gradient(W)
    for name, block in (
        ("layers.0.recurrent", expected[:5, :5]),
        ("layers.1.input", expected[5:, :5]),
        ("layers.1.recurrent", expected[5:, 5:]),
    ):
        np.testing.assert_allclose(gradient[name], block, atol=1e-9)
    V = np.random.default_rng(1).standard_normal(W.shape)
    V[:5, 5:] = 0
    zero = np.zeros_like(P["layers.0.input"])
    along = {
        "layers.0.recurrent": V[:5, :5],
        "layers.0.input": zero,
        "layers.1.recurrent": V[5:, 5:],
        "layers.1.input": V[5:, :5],
    }
    found, product = cost.hessian(P, along), whole.hessian(W, V)
    np.testing.assert_allclose(found["layers.0.recurrent"], product[:5, :5], atol=1e-8)
    np.testing.assert_allclose(found["layers.1.input"], product[5:, :5], atol=1e-8)


def test_the_setting_of_the_paper_equals_a_rate_network():
    network = RateNetwork(6, 7, 3, seed=0)
    fixed = {"layers.0.input": network.input_weights, "readout": network.readout}
    stack = Stack([6], 7, 3, trained=("recurrent",), parameters=fixed)
    x, labels = np.random.default_rng(0).standard_normal((8, 7)), np.arange(8) % 3
    W = network.initial_weights()
    here, there = (FixedPointCost(each, x, CrossEntropy(labels)) for each in (network, stack))
    assert there(W) == here(W)
    np.testing.assert_array_equal(there.gradient(W), here.gradient(W))
    for rule in ("dW3", "adam"):
        run = partial(train, stimuli=x, labels=labels, rule=rule, learning_rate=0.01, batch_size=4, epochs=2, seed=0)
        np.testing.assert_array_equal(run(stack, {"layers.0.recurrent": W}).weights, run(network, W).weights)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_keeps_the_dtype_and_the_promise_after_steps_of_any_length(dtype):
    stack = stack_of([8, 6], dtype=dtype)
    x = np.random.default_rng(0).standard_normal((60, 7)).astype(dtype)
    labels = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    history = train(stack, stack.initial_parameters(), x, labels, batch_size=20, epochs=20, seed=0)
    assert history.loss[-1] < 0.5 * history.loss[0], history.stopped
    assert {str(value.dtype) for value in history.parameters.values()} == {dtype}
    far = train(stack, history, x, labels, rule="adam", manifold="monotone", learning_rate=3.0, longest_step=4.0, epochs=2)
    assert not far.failed, far.stopped
    for name in stack.recurrent:
        W = far.parameters[name].astype(float)
        assert np.linalg.eigvalsh(np.eye(len(W)) - (W + W.T) / 2).min() > 0


FRAMED = ("euclidean", "resolvent", "left-invariant", "monotone", "scaled-monotone", "dale")
RULES = [(rule, manifold) for rule in ("descent", "momentum") for manifold in (*FRAMED, "sparse")]


@pytest.mark.parametrize(("rule", "manifold"), RULES + [("adam", manifold) for manifold in FRAMED])
def test_rules_and_manifolds_learn(rule, manifold):
    stack = stack_of([8, 6])
    x = np.random.default_rng(0).standard_normal((40, 7))
    labels = (x[:, 0] > 0).astype(int)
    history = train(
        stack, stack.initial_parameters(), x, labels, rule=rule, manifold=manifold, batch_size=20, epochs=10, seed=0
    )
    assert history.loss[-1] < 0.9 * history.loss[0], history.stopped


def test_rules_of_a_single_layer_are_refused_by_name():
    stack = stack_of([4, 3])
    for rule in ("dW1", "dW2", "dW3", "dW4", "kfac"):
        with pytest.raises(ValueError, match=f"{rule}.*single dense layer.*descent, momentum, adam"):
            train(stack, stack.initial_parameters(), np.ones((2, 7)), np.zeros(2, int), rule=rule)


def test_a_guarded_run_on_a_manifold_without_promise():
    stack = stack_of([8, 6])
    x = np.random.default_rng(0).standard_normal((40, 7))
    labels = (x[:, 0] > 0).astype(int)
    start = stack.initial_parameters(0.8)
    history = train(
        stack, start, x, labels, "descent", 3.0, manifold="euclidean", guard=StabilityGuard(0.05), epochs=10, seed=0
    )
    assert history.guard_actions > 0
    cost = FixedPointCost(stack, x, CrossEntropy(labels), stable=0.04)
    assert np.isfinite(cost(history.parameters))


@pytest.mark.parametrize("optimizer", [ConjugateGradient, TrustRegions])
def test_optimisers_of_pymanopt_train_a_stack_on_the_digits(optimizer):
    digits = load_digits(np.float64)
    x, labels = digits.stimuli[:100], digits.labels[:100]
    stack = Stack([15, 10], 64, 10, seed=0)
    cost = FixedPointCost(stack, x, CrossEntropy(labels))
    manifold, start = product_of(stack, stack.flat(stack.initial_parameters()), "monotone")
    result = optimizer(verbosity=0, max_iterations=12).run(cost.problem(manifold), initial_point=start)
    assert result.cost < 0.7 * cost(start)
    assert cost(result.point) == pytest.approx(result.cost)


def test_products_pass_the_checks_of_their_factors():
    manifold = ProductManifold({"a": MonotoneManifold(4, seed=0), "b": Weighted(MonotoneManifold(3, seed=1), 2.0)})
    assert check_manifold(manifold)
    point = manifold.random_point()
    U, V = (manifold.random_tangent_vector(point) for _ in range(2))
    end = manifold.exp(point, V)
    assert manifold.dist(point, end) == pytest.approx(manifold.norm(point, V))
    close(manifold.log(point, end), V, 1e-9)
    moved_vector = manifold.parallel_transport(point, V, U)
    assert manifold.norm(end, moved_vector) == pytest.approx(manifold.norm(point, U))
    coordinates = manifold.to_frame(point, V)
    assert paired(coordinates, coordinates) == pytest.approx(manifold.norm(point, V) ** 2)
    gradient = manifold.euclidean_to_riemannian_gradient(point, U)
    assert manifold.inner_product(point, gradient, V) == pytest.approx(paired(U, V))
    close(manifold.from_frame(point, manifold.frame_gradient(point, U)), gradient, 1e-9)


def test_adam_limits_the_step_of_each_factor():
    stack = stack_of([8, 6])
    x, labels = np.random.default_rng(0).standard_normal((20, 7)), np.arange(20) % 3
    manifold, start = product_of(stack, stack.flat(stack.initial_parameters()), "monotone")
    history = train(stack, start, x, labels, "adam", 1.0, manifold=manifold, longest_step=0.1, epochs=1, seed=0)
    lengths = manifold.norms(start, manifold.log(start, history.point))
    np.testing.assert_allclose(lengths, 0.1, rtol=1e-6)


def test_kill_and_resume_give_the_same_bits(tmp_path):
    stack = stack_of([8, 6])
    x, labels = np.random.default_rng(0).standard_normal((40, 7)), np.arange(40) % 3

    class Killed(BaseException):
        pass

    def kill(step, history):
        if step == 7:
            raise Killed

    for rule in ("adam", "momentum"):
        options = {"rule": rule, "manifold": "monotone", "learning_rate": 0.02, "batch_size": 10, "epochs": 4, "seed": 0}
        run, start = partial(train, stack, stimuli=x, labels=labels, **options), stack.initial_parameters()
        whole, folder = run(start), tmp_path / rule
        folder.mkdir()
        with pytest.raises(Killed):
            run(start, checkpoints=folder, checkpoint_every=3, callback=kill)
        resumed = run(start, checkpoints=folder, checkpoint_every=3, resume=True)
        for a, b in zip(resumed.weights, whole.weights, strict=True):
            np.testing.assert_array_equal(a, b)
        assert resumed.loss == whole.loss
        other = {name: 1.1 * value for name, value in stack.initial_parameters().items()}
        with pytest.raises(CheckpointError, match="another run: weights"):
            run(other, checkpoints=folder, checkpoint_every=3, resume=True)


def test_low_rank_layers_have_derivatives():
    stack = stack_of([Layer(6, connectivity=LowRank(2)), 4])
    parameters = stack.initial_parameters()
    assert [np.shape(each) for each in parameters["layers.0.recurrent"]] == [(6, 2), (2,), (2, 6)]
    generator = np.random.default_rng(0)
    cost = FixedPointCost(stack, generator.standard_normal((5, 7)), SquaredError(np.ones((5, 3))), tolerance=1e-13)
    point = stack.flat(parameters)
    direction = map_arrays(lambda a: generator.standard_normal(a.shape), point)
    slope = (cost(moved(point, direction, 1e-5)) - cost(moved(point, direction, -1e-5))) / 2e-5
    assert paired(cost.gradient(point), direction) == pytest.approx(slope, rel=1e-7)
    with pytest.raises(ValueError, match=r"layers\.0\.recurrent.*3 arrays; pass a ProductManifold"):
        train(stack, parameters, np.ones((2, 7)), np.zeros(2, int))


def test_arrays_of_another_library():
    here, there = stack_of([5, 4]), stack_of([5, 4], backend=strict)
    x, targets = np.random.default_rng(0).standard_normal((6, 7)), np.ones((6, 3))
    abroad = FixedPointCost(there, strict.asarray(x), SquaredError(strict.asarray(targets)))
    home = FixedPointCost(here, x, SquaredError(targets))
    P, Q = here.initial_parameters(), there.initial_parameters()
    assert abroad(Q) == pytest.approx(home(P), rel=1e-9)
    for name, value in home.gradient(P).items():
        np.testing.assert_allclose(np.asarray(abroad.gradient(Q)[name]), value, atol=1e-9)
    history = train(there, Q, strict.asarray(x), SquaredError(strict.asarray(targets)), batch_size=3, epochs=2, seed=0)
    assert history.loss[-1] < history.loss[0]


def test_copies_and_names():
    stack = stack_of([5, 4])
    P = stack.initial_parameters()
    for twin in (copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):
        for name, value in twin.initial_parameters().items():
            np.testing.assert_array_equal(value, P[name])
    assert list(P) == [
        "layers.0.recurrent",
        "layers.0.input",
        "layers.0.bias",
        "layers.1.recurrent",
        "layers.1.input",
        "layers.1.bias",
        "readout",
        "readout_bias",
    ]
    assert "5 → 4" in repr(stack)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stack([]), "at least one layer"),
        (lambda: Layer(0), "n_units = 0 is below 1"),
        (lambda: Stack([3], n_inputs=0), "n_inputs = 0 is below 1"),
        (lambda: Stack([3], dtype="int32"), "choose float32 or float64"),
        (lambda: Stack([3], trained=("weights",)), "some of recurrent, input, bias, readout"),
        (lambda: Stack([3], trained=()), "some of recurrent"),
        (lambda: Stack([3, Layer(2, skips=(0,))]), "skip"),
        (lambda: Stack([3], parameters={"layers.1.bias": np.zeros(3)}), "the parameter 'layers.1.bias' is unknown"),
        (lambda: Stack([3], parameters={"layers.0.bias": np.zeros(2)}), r"shape \(2,\), but \(3,\) was expected"),
        (lambda: stack_of([3]).initial_parameters(-1), "not a spectral radius"),
        (lambda: stack_of([3]).flat({}), "are missing"),
        (lambda: stack_of([3]).flat({"layers.0.recurrent": 1, "readuot": 2}), "did you mean 'readout'"),
    ],
)
def test_invalid_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_failures_name_the_layer():
    stack = stack_of([5, 4], activation="relu")
    P = stack.initial_parameters()
    P["layers.1.recurrent"] = 5 * np.eye(4)
    P["layers.1.bias"] = np.ones(4)
    cost = FixedPointCost(stack, np.ones((3, 7)), SquaredError(np.ones((3, 3))), on_failure="raise")
    with pytest.raises(ArithmeticError, match="in layer 1, "):
        cost(P)
