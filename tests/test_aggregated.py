"""The metric that aggregates the metrics of ΔW3, against a loop over stimuli, and the check of descent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import OutsideManifoldError, PullbackManifold, Resolvent
from riemannrnn import FixedPointCost, RateNetwork, SquaredError
from riemannrnn.metrics import AggregatedMetric, aggregated_metric
from riemannrnn.metrics.aggregated import aggregated_sharp, gain_moments
from riemannrnn.rules import Descent, check_descent
from riemannrnn.rules.paper import delta_w3, delta_w4

N, BATCH = 4, 7


def make_cost(activation="tanh", seed=0, radius=0.7, scale=1.0, n=N, batch=BATCH, dtype=np.float64, **options):
    """Return a cost and weights to evaluate it at."""
    generator = np.random.default_rng(seed)
    network = RateNetwork(n, None, 2, activation, seed=seed, dtype=dtype)
    stimuli = scale * generator.standard_normal((batch, n))
    loss = SquaredError(generator.standard_normal((batch, 2)).astype(dtype))
    cost = FixedPointCost(network, stimuli.astype(dtype), loss, **({"tolerance": 1e-13} | options))
    return cost, network.initial_weights(radius)


def looped(W, gains, included, P):
    """Return the mean of L Lᵀ P Rᵀ R, one stimulus at a time."""
    total, eye = np.zeros_like(P), np.eye(len(W))
    for g, share in zip(gains, included, strict=True):
        L, R = eye - W * g, eye - g[:, None] * W
        total += share * L @ L.T @ P @ R.T @ R
    return total


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 6), batch=st.integers(1, 9), seed=st.integers(0, 999), left_out=st.booleans())
def test_sharp_is_the_mean_over_the_stimuli(n, batch, seed, left_out):
    generator = np.random.default_rng(seed)
    W, P, Q = generator.standard_normal((3, n, n))
    gains, included = generator.random((batch, n)), generator.random((batch, 1))
    if left_out:
        included[0] = 0
    moments = gain_moments(gains, included)
    found, scale = aggregated_sharp(W, moments, P), 1 + np.abs(W).sum() ** 4
    np.testing.assert_allclose(found, looped(W, gains, included, P), atol=1e-13 * scale)
    assert np.vdot(Q, found) == pytest.approx(np.vdot(P, aggregated_sharp(W, moments, Q)), abs=1e-12 * scale)
    assert np.vdot(P, found) >= -1e-13 * scale


def test_it_is_positive_definite():
    cost, W = make_cost()
    metric = AggregatedMetric(cost.at(W))
    matrix = np.stack([metric.sharp(unit.reshape(N, N)).reshape(-1) for unit in np.eye(N * N)])
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix)[0] > 1e-3


def test_one_product_for_each_way_whatever_the_batch(monkeypatch):
    """♯ takes six products of n × n matrices, none of them with the batch."""
    shapes = []

    class Spy(np.ndarray):
        def __matmul__(self, other):
            shapes.append((*self.shape, other.shape[-1]))
            return super().__matmul__(other)

    cost, W = make_cost(batch=50)
    moments = AggregatedMetric(cost.at(W)).moments
    aggregated_sharp(W.view(Spy), moments, W.view(Spy))
    assert shapes == [(N, N, N)] * 6


def test_flat_inverts_sharp(generator):
    cost, W = make_cost("softplus")
    metric, V = AggregatedMetric(cost.at(W)), generator.standard_normal((N, N))
    np.testing.assert_allclose(metric.sharp(metric.flat(V)), V, atol=1e-12)
    linear, W = make_cost("identity")
    calls = []
    metric, sharp = AggregatedMetric(linear.at(W)), aggregated_sharp
    metric.sharp = lambda covector: calls.append(1) or sharp(W, metric.moments, covector)
    metric.flat(V)
    assert len(calls) <= 3, "at equal gains the preconditioner is the inverse, but for rounding"


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_one_stimulus_makes_delta_w3(activation):
    cost, W = make_cost(activation, batch=1)
    evaluation = cost.at(W)
    step = -AggregatedMetric(evaluation).sharp(evaluation.gradient)
    expected = delta_w3(W, evaluation.rates, evaluation.gains, evaluation.errors)
    np.testing.assert_allclose(step, expected, rtol=1e-9, atol=1e-12)


def test_in_a_linear_network_it_is_the_resolvent_metric():
    cost, W = make_cost("identity")
    evaluation = cost.at(W)
    gradient = PullbackManifold(Resolvent(), N).euclidean_to_riemannian_gradient(W, evaluation.gradient)
    found, _ = Descent(aggregated_metric(cost)).step(W, evaluation, 0.1)
    np.testing.assert_allclose(found, W - 0.1 * gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ["identity", "tanh", "softplus"])
def test_derivatives_agree_with_differences(activation, generator):
    cost, W = make_cost(activation)
    P, Q, V = generator.standard_normal((3, N, N))
    step = 1e-5
    ahead, behind = (AggregatedMetric(cost.at(W + t * V)).sharp(P) for t in (step, -step))
    difference, metric = (ahead - behind) / (2 * step), AggregatedMetric(cost.at(W))
    np.testing.assert_allclose(metric.sharp_derivative(P, V), difference, rtol=1e-6, atol=1e-6)
    assert np.vdot(metric.sharp_gradient(Q, P), V) == pytest.approx(np.vdot(Q, difference), rel=1e-6)


def test_a_geodesic():
    cost, W = make_cost(n=3, batch=4, tolerance=1e-11, solver="newton")
    manifold = aggregated_metric(cost, "geodesic", seed=0)
    V = 0.1 * manifold.random_tangent_vector(W)
    ahead = manifold.retraction(W, V)
    assert manifold.norm(ahead, manifold.parallel_transport(W, V, V)) == pytest.approx(0.1, rel=1e-9)
    np.testing.assert_allclose(manifold.log(W, ahead), V, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("optimizer", [SteepestDescent, ConjugateGradient, TrustRegions])
def test_pymanopt_decreases_the_cost(optimizer):
    cost, W = make_cost()
    start = cost(W)
    result = optimizer(verbosity=0, max_iterations=8).run(cost.problem(aggregated_metric(cost)), initial_point=W)
    assert result.cost < 0.8 * start


def test_single_precision_is_kept(generator):
    cost, W = make_cost(dtype=np.float32, tolerance=None)
    metric, V = AggregatedMetric(cost.at(W)), generator.standard_normal((N, N)).astype(np.float32)
    results = metric.sharp(V), metric.flat(V), metric.sharp_derivative(V, V), metric.sharp_gradient(V, V)
    assert {result.dtype for result in results} == {np.dtype(np.float32)}
    np.testing.assert_allclose(metric.sharp(results[1]), V, atol=1e-4)


def test_a_point_without_fixed_points_lies_outside():
    network = RateNetwork(1, activation="power-law")
    cost = FixedPointCost(network, np.array([[5.0]]), SquaredError(np.zeros((1, 1))), max_iterations=100)
    with pytest.raises(OutsideManifoldError, match="not defined here"):
        aggregated_metric(cost).norm(np.array([[0.5]]), np.array([[1.0]]))


UPHILL = {
    "dW3": {"activation": "softplus", "seed": 2, "radius": 1.3, "scale": 10.0},
    "dW4": {"activation": "sigmoid", "seed": 13, "radius": 0.9, "scale": 3.0, "batch": 2},
}
"""Random networks in which a rule of the paper steps uphill."""


@pytest.mark.parametrize(("rule", "delta"), [("dW3", delta_w3), ("dW4", delta_w4)])
def test_a_rule_that_does_not_descend_is_detected(rule, delta):
    cost, W = make_cost(**UPHILL[rule])
    evaluation = cost.at(W)
    found = check_descent(evaluation, rule)
    assert not found
    assert f"Δ{rule[1:]} is not a descent direction of the batch loss here: its cosine with −∇J is -0." in str(found)
    assert "AggregatedMetric gives a direction that does." in str(found)
    step = delta(W, evaluation.rates, evaluation.gains, evaluation.errors)
    short = 1e-6 / np.linalg.norm(step)
    assert cost(W + short * step) > cost(W), "and the loss says so"
    aggregated = -AggregatedMetric(evaluation).sharp(evaluation.gradient)
    assert cost(W + 1e-6 / np.linalg.norm(aggregated) * aggregated) < cost(W)


def test_a_rule_that_descends():
    cost, W = make_cost("identity")
    found = check_descent(cost.at(W))
    assert found
    assert str(found) == f"ΔW3 is a descent direction of the batch loss here: its cosine with −∇J is {found.cosine:.3g}."
    with pytest.raises(ValueError, match=r"rule = 'dW1' has no metric for each stimulus; choose one of \('dW3', 'dW4'\)"):
        check_descent(cost.at(W), "dW1")
