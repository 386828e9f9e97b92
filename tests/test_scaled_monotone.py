"""Monotone weights with scaled rows: stability beyond the monotone set, and costs through the map to W."""

import array_api_strict as strict
import numpy as np
import pytest
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import OutsideManifoldError, ScaledMonotoneManifold, check_manifold
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.momentum import Momentum


@pytest.mark.parametrize("n", [1, 2, 5, 20, 50])
def test_every_point_is_stable_for_all_gains(n, generator):
    manifold = ScaledMonotoneManifold(n, seed=n)
    start = manifold.random_point()
    for length in (0.0, 1.0, 5.0):
        W = manifold.weights(manifold.exp(start, length * manifold.random_tangent_vector(start)))
        for gain in (generator.uniform(0, 1, n), generator.integers(0, 2, n), np.ones(n)):
            assert np.linalg.eigvals(-np.eye(n) + gain[:, None] * W).real.max() < 0


def test_the_network_amplifies_more_than_monotone_weights_can():
    """For a chain of two units the monotone set ends at W₂₁ = 2."""
    scales = np.log([[0.01], [1.0]])
    W = np.array([[0.0, 0.0], [10.0, 0.0]])
    M = np.eye(2) - (np.eye(2) - W) / np.exp(scales)
    assert np.linalg.eigvalsh(2 * np.eye(2) - W - W.T)[0] < 0
    assert np.linalg.eigvalsh(2 * np.eye(2) - M - M.T)[0] > 0
    for growth in (1.0, 3.0):
        np.testing.assert_allclose(ScaledMonotoneManifold(2, growth).weights([M, scales / growth]), W, atol=1e-12)


@pytest.mark.parametrize("growth", [1.0, 3.0])
def test_check_manifold_passes(growth):
    report = check_manifold(ScaledMonotoneManifold(4, growth, seed=0))
    assert report, str(report)
    through = [result for result in report if result.name.endswith("W")]
    assert len(through) == 3
    assert not any("rounding" in result.reason for result in through)


@pytest.mark.parametrize("formula", ["velocity", "pull_back", "pull_back_hessian"])
def test_check_manifold_finds_a_wrong_formula(formula):
    manifold = ScaledMonotoneManifold(4, 2.0, seed=0)
    right = getattr(manifold, formula)
    wrong = {"velocity": lambda *a: 1.1 * right(*a)}.get(formula, lambda *a: [1.1 * part for part in right(*a)])
    setattr(manifold, formula, wrong)
    assert not check_manifold(manifold)


def test_momentum_is_carried_along_the_geodesic():
    manifold = ScaledMonotoneManifold(4, 2.0, seed=0)
    point = manifold.random_point()
    step, vector = manifold.random_tangent_vector(point), manifold.random_tangent_vector(point)
    moved, carried = manifold.moved(point, step), manifold.carried(point, step, vector)
    for ours, theirs in zip(moved, manifold.exp(point, step), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(carried, manifold.parallel_transport(point, step, vector), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert manifold.norm(moved, carried) == pytest.approx(manifold.norm(point, vector))
    assert np.abs(carried[0] - vector[0]).max() > 1e-3


def digits_like(seed=0):
    """Return a network, and its cost on stimuli of two classes."""
    generator = np.random.default_rng(seed)
    network = RateNetwork(6, 4, 2, "tanh", seed=seed)
    labels = np.arange(8) % 2
    stimuli = generator.standard_normal((8, 4)) + labels[:, None]
    return network, FixedPointCost(network, stimuli, CrossEntropy(labels), tolerance=1e-12)


@pytest.mark.parametrize("optimizer", [SteepestDescent, ConjugateGradient, TrustRegions])
def test_costs_and_pymanopt_see_the_point_and_solvers_see_the_weights(optimizer):
    network, cost = digits_like()
    manifold = ScaledMonotoneManifold(6, 2.0, seed=0)
    start = manifold.point_at(network.initial_weights())
    result = optimizer(verbosity=0, max_iterations=10).run(cost.problem(manifold), initial_point=start)
    assert [part.shape for part in result.point] == [(6, 6), (6, 1)]
    assert cost(manifold.weights(result.point)) == result.cost < 0.7 * cost(network.initial_weights())


@pytest.mark.parametrize("make", [Descent, Momentum])
def test_rules_step_on_the_point(make):
    network, cost = digits_like()
    manifold = ScaledMonotoneManifold(6, 2.0, seed=0)
    rule, memory = make(manifold), None
    point = manifold.point_at(network.initial_weights())
    losses = []
    for _ in range(5):
        evaluation = cost.at(manifold.weights(point))
        losses.append(evaluation.cost)
        point, memory = rule.step(point, evaluation, 0.1, memory)
    assert losses == sorted(losses, reverse=True)
    assert np.abs(point[1]).max() > 1e-3


def test_an_activation_that_breaks_the_promise_is_refused():
    generator = np.random.default_rng(0)
    for activation, found in (("power-law", "slope 2000 at input 1000"), (lambda z: -0.5 * z, "slope -0.5")):
        cost = FixedPointCost(RateNetwork(3, None, 2, activation), generator.random((2, 3)), CrossEntropy(np.array([0, 1])))
        with pytest.raises(ValueError, match=found):
            cost.problem(ScaledMonotoneManifold(3))


def test_invalid_starting_points_are_refused():
    manifold = ScaledMonotoneManifold(2)
    with pytest.raises(OutsideManifoldError, match="smallest eigenvalue"):
        manifold.point_at(3 * np.eye(2))
    with pytest.raises(ValueError, match="growth = 0"):
        ScaledMonotoneManifold(2, 0)


def test_kinds_of_arrays(generator):
    manifold = ScaledMonotoneManifold(3, seed=0)
    single = ScaledMonotoneManifold(3, seed=0, like=np.empty(0, np.float32))
    assert single.weights(single.random_point()).dtype == np.float32
    M, scales = manifold.random_point()
    G = generator.standard_normal((3, 3))
    there = [strict.asarray(M), strict.asarray(scales)]
    np.testing.assert_allclose(np.asarray(manifold.weights(there)), manifold.weights([M, scales]))
    for a, b in zip(manifold.pull_back(there, strict.asarray(G)), manifold.pull_back([M, scales], G), strict=True):
        np.testing.assert_allclose(np.asarray(a), b)
