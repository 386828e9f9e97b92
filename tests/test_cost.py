"""The fixed-point cost: its values, its counts, its starts, and its treatment of stimuli without a fixed point."""

from math import inf

import numpy as np
import pytest
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import Identity, PullbackManifold, Resolvent
from riemannrnn import AutogradLoss, CrossEntropy, FixedPointCost, FixedPointError, RateNetwork, SquaredError
from riemannrnn.rules.paper import DeltaW3, DeltaW4

N = 6


@pytest.fixture
def network():
    return RateNetwork(N, 4, 3, seed=0)


@pytest.fixture
def stimuli(generator):
    return generator.standard_normal((5, 4))


@pytest.fixture
def cost(network, stimuli):
    return FixedPointCost(network, stimuli, CrossEntropy(np.array([0, 1, 2, 0, 1])))


def counts(cost):
    evaluations = cost.evaluations
    assert evaluations.total == evaluations.cost + evaluations.gradient + evaluations.hessian
    return evaluations.cost, evaluations.gradient, evaluations.hessian


def supralinear(on_failure, drive=(0.1, 5.0), solver="auto"):
    """Return a cost over two stimuli of one supralinear unit; the second has no fixed point at W = 0.5, both have at 0."""
    network = RateNetwork(1, activation="power-law", dtype=np.float64)
    x = np.array(drive)[:, None]
    loss = SquaredError(np.zeros((len(x), 1)))
    return FixedPointCost(network, x, loss, solver=solver, on_failure=on_failure, max_iterations=100)


def test_the_value_is_the_mean_loss(network, stimuli, cost):
    W = network.initial_weights()
    outputs = network.outputs(network.fixed_points(W, stimuli).rates)
    assert cost(W) == pytest.approx(np.mean(cost.loss.value(outputs)), rel=1e-12)
    assert type(cost(W)) is float


def test_a_gradient_is_the_callers(network, cost):
    W = network.initial_weights()
    gradient = cost.gradient(W)
    expected = gradient.copy()
    gradient /= 100
    np.testing.assert_array_equal(cost.gradient(W), expected)


def test_cached_results_are_not_counted_again(network, cost):
    W = network.initial_weights()
    assert counts(cost) == (0, 0, 0)
    first = cost(W)
    iterations = cost.evaluations.iterations
    assert iterations > 0
    assert (cost(W.copy()), counts(cost)) == (first, (1, 0, 0))
    gradient = cost.gradient(W)
    np.testing.assert_array_equal(cost.gradient(W), gradient)
    assert counts(cost) == (1, 1, 0)
    cost.hessian(W, gradient)
    cost.hessian(W, gradient)
    assert counts(cost) == (1, 1, 2)
    assert cost.evaluations.iterations == iterations
    cost.gradient(W + 0.01)
    assert counts(cost) == (2, 2, 2)


def test_the_observer_sees_every_evaluation_with_its_value(network, stimuli):
    seen = []
    cost = FixedPointCost(
        network,
        stimuli,
        CrossEntropy(np.array([0, 1, 2, 0, 1])),
        observer=lambda kind, weights, value: seen.append((kind, weights.copy(), value)),
    )
    W = network.initial_weights()
    cost.gradient(W)
    cost.hessian(W, W)
    cost(W)
    cost(2 * W)
    assert [kind for kind, _, _ in seen] == ["cost", "gradient", "hessian", "cost"]
    for _, weights, value in seen:
        assert cost(weights) == value


def test_weights_changed_in_place_are_new_weights(network, cost):
    W = network.initial_weights()
    before, value = W.copy(), cost(W)
    W += 0.1
    assert cost(W) != value
    assert cost(before) == value
    gradient = cost.gradient(before)
    fresh = FixedPointCost(network, np.eye(4), cost.loss)
    fresh.batch = cost.batch
    np.testing.assert_allclose(gradient, fresh.gradient(before), rtol=1e-12)


def test_the_cost_is_a_function_of_the_weights():
    """At radius 2.5 a warm start often leads to another fixed point."""
    generator, changed = np.random.default_rng(0), 0
    for seed in range(20):
        network = RateNetwork(20, n_outputs=3, seed=seed)
        A, B = (2.5 * np.tril(M) + 2.5 * np.tril(M, -1).T for M in generator.standard_normal((2, 20, 20)) / 20**0.5)
        stimuli, loss = generator.standard_normal((6, 20)), SquaredError(np.zeros((6, 3)))
        cost = FixedPointCost(network, stimuli, loss, on_failure="mask")
        first = cost(A)
        for other in (B, -A, 0.1 * B, 0.5 * A):  # more than the cache holds
            cost.gradient(other)
        assert cost(A) == first
        warm = FixedPointCost(network, stimuli, loss, on_failure="mask", initial_rates=cost.at(B).rates)
        changed += warm(A) != pytest.approx(first)
    assert changed > 5


def test_a_warm_start_saves_iterations_and_loses_no_stimulus(network, cost):
    W = network.initial_weights(0.9)
    rows = np.arange(5)
    cold = int(cost.at(W).fixed_points.iterations.max())
    near = cost.take(rows, cost.at(W).rates).at(W * (1 + 1e-9)).fixed_points
    assert int(near.iterations.max()) < cold / 2
    lost = cost.take(rows, np.full((5, N), np.nan)).at(W).fixed_points
    np.testing.assert_allclose(lost.rates, cost.at(W).rates, atol=1e-9)
    assert lost.converged.all()


@pytest.mark.parametrize("bad", [np.nan, 5.0])
def test_a_failed_stimulus_makes_the_cost_infinite(bad):
    cost = supralinear("inf", (0.1, bad))
    W = np.array([[0.5]])
    assert cost(W) == inf
    with pytest.raises(FixedPointError, match="1 of 2 stimuli have no fixed point and J is infinite"):
        cost.gradient(W)
    with pytest.raises(FixedPointError):
        cost.hessian(W, W)


@pytest.mark.parametrize("value", [1e200, inf, np.nan])
def test_a_loss_that_is_not_a_number_is_infinite(network, stimuli, value):
    own = AutogradLoss(lambda outputs, targets: np.nan * outputs[:, 0], np.ones(5))
    loss = own if np.isnan(value) else SquaredError(np.full((5, 3), value))
    with np.errstate(over="ignore", invalid="ignore"):
        assert FixedPointCost(network, stimuli, loss)(network.initial_weights()) == inf


def test_raise():
    with pytest.raises(FixedPointError, match="stimulus 1"):
        supralinear("raise")(np.array([[0.5]]))


def test_mask_leaves_the_failed_stimulus_out():
    W = np.array([[0.5]])
    masked, alone = supralinear("mask"), supralinear("raise", (0.1,))
    assert masked(W) == pytest.approx(alone(W), rel=1e-9)
    np.testing.assert_allclose(masked.gradient(W), alone.gradient(W), rtol=1e-7)
    np.testing.assert_allclose(masked.hessian(W, W), alone.hessian(W, W), rtol=1e-7)
    assert supralinear("mask", (5.0, 6.0))(W) == inf


@pytest.mark.parametrize("bad", [np.nan, 5.0])
@pytest.mark.parametrize("rule", [DeltaW3(), DeltaW4()])
def test_rules_leave_the_failed_stimulus_out(rule, bad):
    W = np.array([[0.5]])
    masked, _ = rule.step(W, supralinear("mask", (0.1, bad)).at(W), 0.1)
    alone, _ = rule.step(W, supralinear("raise", (0.1,)).at(W), 0.1)
    np.testing.assert_allclose(masked, alone, rtol=1e-9)


def test_a_failed_stimulus_may_recover():
    """Its rates have diverged, and cannot be a start for the next weights."""
    cost = supralinear("mask", solver="picard")
    cost.gradient(np.array([[0.5]]))
    assert cost.at(np.array([[0.5]])).fixed_points.rates.max() > 1e50
    assert cost.at(np.array([[0.01]])).fixed_points.converged.all()


def test_take_is_the_cost_of_the_selected_stimuli(network, stimuli, cost):
    W, rows = network.initial_weights(), np.array([3, 0])
    part = cost.take(rows)
    expected = FixedPointCost(network, stimuli[rows], CrossEntropy(np.array([0, 0])))
    assert part(W) == pytest.approx(expected(W), rel=1e-12)
    np.testing.assert_allclose(part.gradient(W), expected.gradient(W), rtol=1e-9)
    assert counts(cost) == (1, 1, 0)
    assert cost.at(W).rates.shape == (5, N)
    started = cost.take(rows, part.at(W).rates)
    assert int(started.at(W).fixed_points.iterations.max()) == 0


@pytest.mark.parametrize("optimizer", [SteepestDescent, ConjugateGradient, TrustRegions])
@pytest.mark.parametrize("chart", [Identity(), Resolvent()], ids=["Euclidean", "resolvent"])
@pytest.mark.parametrize("retraction", ["geodesic", "additive"])
def test_pymanopt_decreases_the_cost(network, cost, optimizer, chart, retraction):
    W = network.initial_weights()
    start = cost(W)
    problem = cost.problem(PullbackManifold(chart, N, retraction))
    result = optimizer(verbosity=0, max_iterations=8).run(problem, initial_point=W)
    assert result.cost < 0.8 * start
    assert result.cost == cost(result.point)
    evaluations = counts(cost)
    assert min(evaluations[:2]) > 1
    assert (evaluations[2] > 0) is (optimizer is TrustRegions)


def test_line_searches_back_away_from_infinity():
    """The minimum of a supralinear unit is at W = 0.493; its fixed point vanishes in a fold at W = 0.5."""
    network = RateNetwork(1, activation="power-law")
    cost = FixedPointCost(network, np.array([[0.5]]), SquaredError(np.array([[0.8]])), max_iterations=100)
    seen = []
    cost.observer = lambda kind, weights, value: seen.append(value)
    problem = cost.problem(PullbackManifold(Identity(), 1))
    result = SteepestDescent(verbosity=0, max_iterations=20).run(problem, initial_point=np.array([[0.1]]))
    assert result.cost < 1e-3
    assert inf in seen
    assert not np.any(np.isnan(seen))
