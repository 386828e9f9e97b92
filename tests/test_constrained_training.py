"""Dale's law and masks hold to the bit after training, by learning rules and by the optimisers of pymanopt."""

import numpy as np
import pytest
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import (
    Identity,
    MonotoneManifold,
    OutsideManifoldError,
    PullbackManifold,
    Resolvent,
    SignedLog,
    SubspaceManifold,
    left_invariant,
    mask,
    toeplitz,
)
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, rules, train

N, SAMPLES = 16, 60
SIGNS = np.where(np.arange(N) < 12, 1.0, -1.0)
"""Three in four units excite; the others inhibit."""

RUNS = [
    (SteepestDescent, np.float64),
    (SteepestDescent, np.float32),
    (ConjugateGradient, np.float64),
    (ConjugateGradient, np.float32),
    (TrustRegions, np.float64),  # pymanopt's own arithmetic is not in float32
]

METRICS = {
    "Euclidean": lambda dtype: PullbackManifold(Identity(), N, like=np.empty(0, dtype)),
    "resolvent": lambda dtype: PullbackManifold(Resolvent(), N, "additive", like=np.empty(0, dtype)),
    "left-invariant": lambda dtype: left_invariant(N, like=np.empty(0, dtype)),
    "monotone": lambda dtype: MonotoneManifold(N, like=np.empty(0, dtype)),
}


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture
def network(dtype):
    return RateNetwork(N, n_inputs=4, n_outputs=3, seed=0, dtype=dtype)


@pytest.fixture
def task(dtype):
    """Return stimuli and labels that the network can distinguish."""
    stimuli = np.random.default_rng(1).standard_normal((SAMPLES, 4)).astype(dtype)
    return stimuli, (stimuli[:, 0] > 0).astype(int) + (stimuli[:, 1] > 0)


@pytest.fixture
def subspace():
    return mask(np.random.default_rng(2).random((N, N)) < 0.4)


def dale(dtype, retraction="geodesic"):
    return PullbackManifold(SignedLog(SIGNS.astype(dtype)), N, retraction, like=np.empty(0, dtype))


def obeying_dale(network):
    """Return a start for a network: its weights with the signs of their units."""
    return abs(network.initial_weights()) * SIGNS.astype(network.dtype)


def trained(network, weights, task, manifold, learning_rate=0.3, epochs=10, guard=None):
    rule = rules.Descent(manifold)
    history = train(network, weights, *task, rule, learning_rate, batch_size=20, epochs=epochs, seed=0, guard=guard)
    assert history.weights.dtype == weights.dtype
    return history


def optimised(optimizer, network, weights, task, manifold):
    cost = FixedPointCost(network, task[0], CrossEntropy(task[1]))
    result = optimizer(verbosity=0, max_iterations=5).run(cost.problem(manifold), initial_point=weights)
    assert result.cost < 0.99 * cost(weights)
    assert result.point.dtype == weights.dtype
    assert (result.point != weights).any()
    return result.point


def test_dales_law_after_exponentiated_gradient_steps(network, task, dtype):
    start = obeying_dale(network)
    history = trained(network, start, task, dale(dtype), learning_rate=1.0)
    assert history.stopped == "All 10 epochs done."
    assert np.mean(history.loss[-3:]) < np.mean(history.loss[:3])
    assert (history.weights != start).all()
    np.testing.assert_array_equal(np.sign(history.weights), np.broadcast_to(SIGNS, (N, N)))


@pytest.mark.parametrize("learning_rate", [1e2])
def test_dales_law_at_any_learning_rate(network, task, dtype, learning_rate):
    """The fixed points may be lost, and the run then reports it; the signs never change."""
    history = trained(network, obeying_dale(network), task, dale(dtype), learning_rate=learning_rate)
    assert history.stopped
    np.testing.assert_array_equal(np.sign(history.weights), np.broadcast_to(SIGNS, (N, N)))


def test_dales_law_where_weights_would_underflow(network, dtype):
    start, manifold = obeying_dale(network), dale(dtype)
    for step in (manifold.exp(start, -2000 * start), manifold.retraction(start, -2000 * start)):
        np.testing.assert_array_equal(np.sign(step), np.broadcast_to(SIGNS, (N, N)))
        assert step.dtype == dtype


@pytest.mark.parametrize("retraction", ["geodesic", "additive"])
@pytest.mark.parametrize(("optimizer", "dtype"), RUNS)
def test_dales_law_after_optimisers(network, task, dtype, optimizer, retraction):
    point = optimised(optimizer, network, obeying_dale(network), task, dale(dtype, retraction))
    np.testing.assert_array_equal(np.sign(point), np.broadcast_to(SIGNS, (N, N)))


def test_a_start_against_dales_law(network, task, dtype):
    start, manifold = network.initial_weights(), dale(dtype)
    message = (
        r"smallest signed weight = -0\.\d+: a weight is zero or has the wrong sign\. Start from weights that obey Dale's law"
    )
    with pytest.raises(OutsideManifoldError, match=message):
        optimised(SteepestDescent, network, start, task, manifold)
    with pytest.raises(OutsideManifoldError, match=message):
        trained(network, start, task, manifold)


@pytest.mark.parametrize("metric", METRICS)
def test_masks_after_learning_rules(network, task, subspace, dtype, metric):
    manifold = SubspaceManifold(METRICS[metric](dtype), subspace)
    start = subspace.project(network.initial_weights())
    history = trained(network, start, task, manifold)
    assert history.stopped == "All 10 epochs done."
    assert np.mean(history.loss[-3:]) < 0.95 * np.mean(history.loss[:3])
    assert_masked(history.weights, start, subspace)


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric != "monotone"])  # a long step leaves the latter
@pytest.mark.parametrize(("optimizer", "dtype"), RUNS)
def test_masks_after_optimisers(network, task, subspace, dtype, metric, optimizer):
    start = subspace.project(network.initial_weights())
    point = optimised(optimizer, network, start, task, SubspaceManifold(METRICS[metric](dtype), subspace))
    assert_masked(point, start, subspace)


def assert_masked(weights, start, subspace):
    absent = subspace.project(np.ones((N, N))) == 0
    assert (weights[absent] == 0).all()
    assert (weights[~absent] != start[~absent]).all()
    np.testing.assert_array_equal(subspace.project(weights), weights)


def test_tied_weights_stay_equal(network, task, dtype):
    subspace = toeplitz(N)
    start = subspace.project(network.initial_weights())
    history = trained(network, start, task, SubspaceManifold(METRICS["resolvent"](dtype), subspace))
    np.testing.assert_array_equal(history.weights[1:, 1:], history.weights[:-1, :-1])
    assert (history.weights != start).all()


def test_a_start_outside_the_mask(network, task, subspace, dtype):
    start, manifold = network.initial_weights(), SubspaceManifold(METRICS["resolvent"](dtype), subspace)
    message = r"distance \d\S* from the mask of \d+ weights: the point lies outside the subspace\. Project it first, with sub"
    with pytest.raises(OutsideManifoldError, match=message):
        optimised(ConjugateGradient, network, start, task, manifold)
    with pytest.raises(OutsideManifoldError, match=message):
        trained(network, start, task, manifold)


def test_geodesic_steps_that_would_leave_the_mask_are_projected(network, task, subspace, dtype):
    start = subspace.project(network.initial_weights())
    curved = PullbackManifold(Resolvent(), N, "geodesic", like=np.empty(0, dtype))
    history = trained(network, start, task, SubspaceManifold(curved, subspace))
    assert history.stopped == "All 10 epochs done."
    assert np.mean(history.loss[-3:]) < 0.95 * np.mean(history.loss[:3])
    assert_masked(history.weights, start, subspace)
