"""Weights, missing targets and time constants in costs, rules and training, against the equivalent problems."""

import numpy as np
import pytest

from riemannrnn import CrossEntropy, FixedPointCost, Layer, RateNetwork, SquaredError, Stack, train
from riemannrnn.metrics.aggregated import AggregatedMetric
from riemannrnn.metrics.response import ResponseMetric
from riemannrnn.rules.kfac import KFAC
from riemannrnn.rules.paper import DeltaW3, DeltaW4
from riemannrnn.training import StabilityGuard

N, GENERATOR = 6, np.random.default_rng(0)
X, TARGETS = GENERATOR.standard_normal((5, 4)), GENERATOR.standard_normal((5, 3))
WEIGHTS = np.array([1.0, 3.0, 0.0, 2.0, 1.0])
REPEATED = np.repeat(np.arange(5), WEIGHTS.astype(int))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def same_problem(one, other, W):
    """Compare value, gradient, Hessian, rules and metrics of two costs."""
    V = np.random.default_rng(1).standard_normal(W.shape)
    here, there = one.at(W), other.at(W)
    assert here.cost == pytest.approx(there.cost, rel=1e-10)
    close(one.gradient(W), other.gradient(W))
    close(one.hessian(W, V), other.hessian(W, V))
    for rule in (DeltaW3(), DeltaW4(), KFAC()):
        close(rule.velocity(W, here, 0.1)[0], rule.velocity(W, there, 0.1)[0])
    close(AggregatedMetric(here).sharp(V), AggregatedMetric(there).sharp(V))
    close(ResponseMetric(here, 0.1).flat(V), ResponseMetric(there, 0.1).flat(V))


@pytest.fixture
def network():
    return RateNetwork(N, 4, 3, seed=0)


def test_weights_are_repeated_rows(network):
    weighted = FixedPointCost(network, X, SquaredError(TARGETS, weights=WEIGHTS), tolerance=1e-13)
    repeated = FixedPointCost(network, X[REPEATED], SquaredError(TARGETS[REPEATED]), tolerance=1e-13)
    same_problem(weighted, repeated, network.initial_weights())


def test_missing_targets_are_a_problem_without_them(network):
    targets = TARGETS.copy()
    targets[2] = np.nan
    whole = FixedPointCost(network, X, SquaredError(targets), tolerance=1e-13)
    rows = [0, 1, 3, 4]
    same_problem(
        whole, FixedPointCost(network, X[rows], SquaredError(TARGETS[rows]), tolerance=1e-13), network.initial_weights()
    )


def test_missing_labels_do_not_count_in_the_accuracy(network):
    labels = np.array([0, 1, -1, 2, 1])
    history = train(network, network.initial_weights(), X, CrossEntropy(labels), epochs=2, seed=0)
    rows = [0, 1, 3, 4]
    alone = train(network, network.initial_weights(), X[rows], labels[rows], epochs=2, seed=0)
    assert history.accuracy == alone.accuracy
    close(history.loss, alone.loss)


def test_a_stimulus_without_weight_may_lose_its_fixed_point(network):
    W = 0.1 * network.initial_weights()
    x = X.copy()
    x[2] = np.inf
    cost = FixedPointCost(network, np.where(np.isfinite(x), x, 1e300), SquaredError(TARGETS, weights=WEIGHTS))
    assert np.isfinite(cost(W))
    assert np.isfinite(cost.gradient(W)).all()


def test_stacks_take_weights():
    stack = Stack([5, 4], 4, 3, seed=0)
    P = stack.initial_parameters()
    weighted = FixedPointCost(stack, X, SquaredError(TARGETS, weights=WEIGHTS), tolerance=1e-13)
    repeated = FixedPointCost(stack, X[REPEATED], SquaredError(TARGETS[REPEATED]), tolerance=1e-13)
    for name, value in weighted.gradient(P).items():
        close(value, repeated.gradient(P)[name])


def test_time_constants_change_stability_and_not_fixed_points():
    W = np.array([[0.9, -1.6], [1.6, 0.2]])
    slow = RateNetwork(2, time_constants=[1.0, 20.0])
    plain, x = RateNetwork(2), np.zeros((1, 2))
    found, expected = slow.fixed_points(W, x), plain.fixed_points(W, x)
    np.testing.assert_array_equal(found.rates, expected.rates)
    eigenvalues = np.linalg.eigvals(np.diag([1, 1 / 20]) @ (W - np.eye(2)))
    assert found.stability()[0] == pytest.approx(eigenvalues.real.max())
    other = np.array([[1.5, -3.0], [3.0, 0.0]])  # stable for equal units, unstable if inhibition is slow
    costs = [FixedPointCost(each, x, SquaredError(np.zeros((1, 2))), stable=0.0) for each in (plain, slow)]
    assert np.isfinite(costs[0](other))
    assert np.isinf(costs[1](other))
    guard = StabilityGuard(0.01)
    assert guard.unstable((plain.fixed_points(other, x),))[1].shape[0] == 0
    assert guard.unstable((slow.fixed_points(other, x),))[1].shape[0] == 1
    stack = Stack([Layer(2, time_constants=[1.0, 20.0])], trained=("recurrent",))
    response = stack.respond({"layers.0.recurrent": other}, stack.prepare(x))
    assert response.layers[0].stability()[0] > 0


@pytest.mark.parametrize("bad", [[1.0], [1.0, -1.0], [1.0, np.nan]])
def test_time_constants_that_are_refused(bad):
    with pytest.raises(ValueError, match="time constant"):
        RateNetwork(2, time_constants=bad)
    with pytest.raises(ValueError, match="time constant"):
        Stack([Layer(2, time_constants=bad)])
