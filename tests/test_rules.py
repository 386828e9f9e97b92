"""The rules of the paper against formulas for one stimulus at a time, with explicit inverses."""

import numpy as np
import pytest
from cases import KERNELS, N, short_vector

from manifolds import FixedRank, Identity, PullbackManifold, Resolvent, left_invariant, right_invariant
from manifolds.checks import check_slope
from riemannrnn import FixedPointCost, LowRank, RateNetwork, SquaredError
from riemannrnn.network import Convolution
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.descent_check import descent_cosine
from riemannrnn.rules.momentum import Momentum
from riemannrnn.rules.named import make_rule
from riemannrnn.rules.paper import DeltaW3, DeltaW4, delta_w1, delta_w3, delta_w4

ACTIVATIONS = ["identity", "tanh", "softplus", "relu"]
BATCH, RATE = 7, 0.05


def make_cost(activation, seed=0, connectivity=None):
    """Return a cost and weights to evaluate it at."""
    generator = np.random.default_rng(seed)
    units = N if connectivity is None else connectivity.n_units
    network = RateNetwork(units, 3, 2, activation, connectivity=connectivity, seed=seed)
    stimuli, targets = generator.standard_normal((BATCH, 3)), generator.standard_normal((BATCH, 2))
    return FixedPointCost(network, stimuli, SquaredError(targets), tolerance=1e-13), network.initial_weights(0.5)


def cost_for(weights):
    """Return a cost of a network with such weights: a matrix, or the global kernels of a convolution."""
    connectivity = None if weights.ndim == 2 else Convolution(KERNELS[0], KERNELS[2:], KERNELS[2:])
    return make_cost("tanh", connectivity=connectivity)[0]


def per_stimulus(evaluation):
    """Yield r, G and ℓ of each stimulus, ℓ with the factor 1/m, and the errors computed here from the outputs."""
    network, targets = evaluation._cost.model, evaluation._cost.loss.targets
    for r, g, target in zip(evaluation.fixed_points.rates, evaluation.fixed_points.gains, targets, strict=True):
        yield r, np.diag(g), network.readout.T @ (network.readout @ r - target) / BATCH


def paper_rules(evaluation):
    """Return ΔW1, ΔW3 and ΔW4 for η = 1, summed over stimuli in a loop."""
    W, eye = evaluation.weights, np.eye(N)
    dW1, dW3, dW4 = np.zeros((3, N, N))
    for r, G, error in per_stimulus(evaluation):
        dW1 -= np.outer(np.linalg.inv(eye - G @ W.T) @ G @ error, r)
        dW3 -= np.outer((eye - W @ G) @ G @ error, (eye - G @ W).T @ (eye - G @ W) @ r)
        dW4 -= np.outer((eye - W @ G) @ error, (eye - W @ G).T @ (eye - W @ G) @ r)
    return dW1, dW3, dW4


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_rules_of_the_paper(activation):
    cost, W = make_cost(activation)
    evaluation = cost.at(W)
    dW1, dW3, dW4 = paper_rules(evaluation)
    eye, A = np.eye(N), np.linalg.inv(np.eye(N) - W)
    # ΔW2: the step of ΔW1 in the coordinates A, where the gradient is A⁻ᵀ ∇J A⁻ᵀ.
    stepped = A + RATE * (eye - W).T @ dW1 @ (eye - W).T
    expected = {
        "dW1": W + RATE * dW1,
        "dW2": eye - np.linalg.inv(stepped),
        "dW3": W + RATE * dW3,
        "dW4": W + RATE * dW4,
    }
    for name, weights in expected.items():
        found, _ = make_rule(name, N).step(W, evaluation, RATE)
        np.testing.assert_allclose(found, weights, atol=1e-11, err_msg=name)
    np.testing.assert_allclose(delta_w1(evaluation.rates, evaluation.adjoint), dW1, atol=1e-11)


@pytest.mark.parametrize("seed", range(3))
def test_in_a_linear_network_the_rules_are_steps_under_the_resolvent_metric(seed):
    cost, W = make_cost("identity", seed)
    evaluation, manifold = cost.at(W), PullbackManifold(Resolvent(), N)
    gradient = manifold.euclidean_to_riemannian_gradient(W, evaluation.gradient)

    def step(name, rate):
        return make_rule(name, N).step(W, evaluation, rate)[0]

    np.testing.assert_allclose(step("dW2", RATE), manifold.exp(W, -RATE * gradient), atol=1e-12, rtol=0)
    np.testing.assert_allclose(step("dW3", RATE), W - RATE * gradient, atol=1e-12, rtol=0)
    np.testing.assert_allclose(step("dW4", RATE), step("dW3", RATE), atol=1e-12, rtol=0)
    direction = manifold.norm(W, gradient)
    result = check_slope(
        "ΔW2 − ΔW3",
        lambda t: np.linalg.norm(step("dW2", 0.1 * t / direction) - step("dW3", 0.1 * t / direction)),
        2,
        np.linalg.norm(W),
        np.finfo(float).eps,
    )
    assert result, str(result)
    assert "slope 2.0" in result.reason or "slope 1.9" in result.reason


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_delta_w3_sums_natural_gradients_of_the_gain_metrics(activation):
    """L Lᵀ ∇ Rᵀ R of each stimulus' own gradient, which PullbackManifold(Resolvent(gain)) also computes."""
    cost, W = make_cost(activation)
    evaluation = cost.at(W)
    by_hand, by_manifold = np.zeros((2, N, N))
    for r, G, error in per_stimulus(evaluation):
        L, R = np.eye(N) - W @ G, np.eye(N) - G @ W
        gradient = np.outer(np.linalg.inv(np.eye(N) - G @ W.T) @ G @ error, r)
        by_hand -= L @ L.T @ gradient @ R.T @ R
        by_manifold -= PullbackManifold(Resolvent(np.diag(G).copy()), N).euclidean_to_riemannian_gradient(W, gradient)
    found = delta_w3(W, evaluation.rates, evaluation.gains, evaluation.errors)
    np.testing.assert_allclose(found, by_hand, atol=1e-11)
    np.testing.assert_allclose(found, by_manifold, atol=1e-11)


def test_a_known_recurrent_drive_changes_nothing(generator):
    W, (rates, gains, errors) = generator.standard_normal((N, N)), generator.standard_normal((3, BATCH, N))
    recurrent = rates @ W.T
    np.testing.assert_array_equal(delta_w3(W, rates, gains, errors, recurrent), delta_w3(W, rates, gains, errors))


def test_delta_w3_and_w4_differ_in_a_nonlinear_network(generator):
    W, (rates, gains, errors) = generator.standard_normal((N, N)), generator.standard_normal((3, BATCH, N))
    assert np.abs(delta_w3(W, rates, gains, errors) - delta_w4(W, rates, gains, errors)).max() > 0.1


def test_geodesic_flow_on_every_manifold(geometry):
    euclidean = isinstance(geometry, PullbackManifold) and isinstance(geometry.chart, Identity)
    W = 0.3 * geometry.random_point() if euclidean else geometry.random_point()
    cost = cost_for(W)
    evaluation = cost.at(W)
    gradient = geometry.euclidean_to_riemannian_gradient(W, evaluation.gradient)
    found, memory = make_rule("descent", N, geometry).step(W, evaluation, 1e-3)
    np.testing.assert_array_equal(found, geometry.exp(W, -1e-3 * gradient))
    assert memory is None
    assert cost(found) < cost(W)


@pytest.mark.parametrize("make", [left_invariant, right_invariant, lambda n, kind: PullbackManifold(Resolvent(), n, kind)])
def test_straight_steps_depend_on_the_manifold(make):
    cost, W = make_cost("tanh")
    manifold, evaluation = make(N, "additive"), cost.at(W)
    found, _ = Descent(manifold).step(W, evaluation, 1e-3)
    gradient = manifold.euclidean_to_riemannian_gradient(W, evaluation.gradient)
    np.testing.assert_array_equal(found, W - 1e-3 * gradient)
    assert cost(found) < cost(W)


def test_parallel_transport_is_momentum_in_coordinates(flat_geometry):
    """Compares with a heavy ball in the coordinates φ(W): v ← β v − η ∇_Z J, Z ← Z + v, written without a manifold."""
    cost, _ = make_cost("tanh")
    chart, beta, rate = flat_geometry.chart, 0.8, 1e-3
    W = flat_geometry.random_point()
    rule, memory = Momentum(flat_geometry, momentum=beta), None
    coordinates, velocity, point = chart.value(W), np.zeros((N, N)), W
    for _ in range(5):
        velocity = beta * velocity - rate * chart.inverse_adjoint(point, cost.gradient(point))
        coordinates = coordinates + velocity
        point = chart.inverse(coordinates)
        W, memory = rule.step(W, cost.at(W), rate, memory)
        np.testing.assert_allclose(W, point, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(chart.differential(W, memory), velocity, rtol=1e-7, atol=1e-10)


def test_without_momentum_parallel_transport_is_geodesic_flow(geometry):
    W = geometry.random_point()
    cost = cost_for(W)
    evaluation = cost.at(W)
    first, memory = Momentum(geometry, momentum=0.0).step(W, evaluation, 1e-3)
    second, _ = Momentum(geometry, momentum=0.0).step(first, cost.at(first), 1e-3, memory)
    np.testing.assert_array_equal(first, Descent(geometry).step(W, evaluation, 1e-3)[0])
    np.testing.assert_allclose(second, Descent(geometry).step(first, cost.at(first), 1e-3)[0], rtol=1e-14)


def test_momentum_keeps_the_velocity():
    """If the gradient vanishes, the velocity is β times the previous velocity, carried to the new point."""
    manifold = PullbackManifold(Resolvent(), N, seed=0)
    cost, _ = make_cost("tanh")
    W = manifold.random_point()
    V = short_vector(manifold, W)
    other = manifold.exp(W, V)
    rule = Momentum(manifold, momentum=0.5)
    found, _ = rule.step(other, cost.at(other), 0.0, rule.carry(W, V, None))
    np.testing.assert_allclose(found, manifold.exp(W, 1.5 * V), rtol=1e-9)


def test_momentum_of_straight_steps_is_transported_to_their_end(generator):
    manifold = PullbackManifold(Resolvent(), N, "additive")
    point, velocity = 0.3 * generator.standard_normal((2, N, N)) / N**0.5
    rule = Momentum(manifold)
    carried, end = rule.carry(point, velocity, None), rule.move(point, velocity)
    np.testing.assert_array_equal(end, point + velocity)
    np.testing.assert_allclose(carried, manifold.transport(point, end, velocity), atol=1e-12)
    assert manifold.norm(end, carried) == pytest.approx(manifold.norm(point, velocity))


def test_momentum_on_a_manifold_of_pymanopt(generator):
    """It has a vector transport, but no parallel transport."""
    manifold = FixedRank(N, N, 2, seed=0)
    network = RateNetwork(N, 3, 2, seed=0, connectivity=LowRank(2))
    loss = SquaredError(generator.standard_normal((BATCH, 2)))
    cost, point = FixedPointCost(network, generator.standard_normal((BATCH, 3)), loss), network.initial_weights(0.5)
    rule = Momentum(manifold)
    evaluation = cost.at(point)
    after, memory = rule.step(point, evaluation, RATE)
    velocity, _ = rule.velocity(point, evaluation, RATE)
    assert all(map(np.array_equal, memory, manifold.transport(point, after, velocity)))
    assert cost(rule.step(after, cost.at(after), RATE, memory)[0]) < cost(after) < cost(point)


def test_the_zero_vector_of_factors_has_their_dtype():
    point = tuple(factor.astype(np.float32) for factor in FixedRank(N, N, 2, seed=0).random_point())
    assert {part.dtype for part in FixedRank(N, N, 2).zero_vector(point)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["dW1", "dW2", "dW3", "dW4", "descent", "momentum"])
def test_every_rule_descends_in_a_linear_network(name):
    cost, W = make_cost("identity")
    weights, _ = make_rule(name, N).step(W, cost.at(W), 1e-3)
    assert cost(weights) < cost(W)
    assert descent_cosine(weights - W, cost.gradient(W)) > 0


def test_the_cosine_of_descent(generator):
    gradient = generator.standard_normal((N, N))
    assert descent_cosine(-2 * gradient, gradient) == pytest.approx(1)
    assert descent_cosine(gradient, gradient) == pytest.approx(-1)


def test_rules_by_name():
    assert isinstance(make_rule("dW3", N), DeltaW3)
    rule = DeltaW4()
    assert make_rule(rule, N) is rule
    euclidean = PullbackManifold(Identity(), N)
    assert make_rule("descent", N, euclidean).manifold is euclidean
    assert make_rule("momentum", N, euclidean).manifold is euclidean
