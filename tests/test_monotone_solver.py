"""Peaceman–Rachford splitting for monotone weights: a fixed point from any start, within the stated iterations."""

import array_api_strict as strict
import autograd.numpy as anp
import numpy as np
import pytest

from manifolds import MonotoneManifold, ScaledMonotoneManifold
from riemannrnn import FixedPointCost, PeacemanRachford, RateNetwork, SquaredError, solve_fixed_points
from riemannrnn.equilibrium.equation import FixedPointEquation
from riemannrnn.equilibrium.solver import Problem
from riemannrnn.network import ACTIVATIONS, Activation, Dense
from riemannrnn.network.activations import check_slopes

POINTS = 100
"""Number of random points of each kind in the tests; the count is an argument of `worst_of`."""


def equation_of(W, x, activation="tanh", transposed=False):
    """Return the equation as solvers get it."""
    f = ACTIVATIONS[activation] if isinstance(activation, str) else activation
    return FixedPointEquation(Dense().bind(W).directed(transposed), x, f)


def random_weights(kind, generator):
    """Return weights and scales at a random point of a monotone manifold, with any size and radius."""
    n, seed = int(generator.integers(1, 51)), int(generator.integers(2**31))
    length = generator.uniform(0, 0.6) * n**0.5 + generator.uniform(0, 3)
    manifold = MonotoneManifold(n, seed=seed) if kind == "monotone" else ScaledMonotoneManifold(n, seed=seed)
    point = manifold.random_point()
    point = manifold.exp(point, length * manifold.random_tangent_vector(point))
    return (point, None) if kind == "monotone" else (manifold.weights(point), manifold.scales(point))


def worst_of(kind, count, seed):
    """Return the largest abscissa, radius, and used share of the stated iterations, over random points."""
    generator = np.random.default_rng(seed)
    abscissa, radius, share = -np.inf, 0.0, 0.0
    for index in range(count):
        W, scales = random_weights(kind, generator)
        n = len(W)
        gains = generator.uniform(0, 1, n) if index % 2 else generator.integers(0, 2, n)
        abscissa = max(abscissa, np.linalg.eigvals(-np.eye(n) + gains[:, None] * W).real.max())
        radius = max(radius, np.abs(np.linalg.eigvals(W)).max())
        x, start = generator.standard_normal((3, n)), 10 ** generator.uniform(0, 3) * generator.standard_normal((3, n))
        activation = ("tanh", "relu", "softplus")[index % 3]
        solver = PeacemanRachford(scales)
        stated = solver.prepare(Problem(equation_of(W, x, activation), start, 1e-8, 10**7)).iterations
        found = solve_fixed_points(W, x, activation, solver=solver, initial_rates=start, tolerance=1e-8, max_iterations=10**7)
        share = max(share, int(found.iterations.max()) / stated)
        assert f"at most {stated} iterations" in found.solver
    return abscissa, radius, share


@pytest.mark.parametrize("kind", ["monotone", "scaled"])
def test_every_point_is_stable_and_solved_within_the_iterations_stated(kind):
    abscissa, radius, share = worst_of(kind, POINTS, seed=0)
    assert abscissa < 0
    assert radius > 3
    assert share <= 1


def test_the_contraction_agrees_with_the_map(generator):
    """Every step of the map, between any two inputs, is shortened by the stated factor; some pair nearly attains it."""
    manifold = ScaledMonotoneManifold(5, seed=1)
    point = manifold.random_point()
    W, scales = manifold.weights(point), manifold.scales(point)[:, 0]
    for transposed in (False, True):
        norm = scales**0.5 if transposed else scales**-0.5
        x = np.zeros((4000, 5))
        plan = PeacemanRachford(scales).prepare(Problem(equation_of(W, x, "identity", transposed), x, 1e-8, 100))
        u, v = generator.standard_normal((2, 4000, 5))
        T = W.T if transposed else W
        # By the definition: with f the identity, w = u, and the image is 2 (2I − T)⁻¹ (u + x) − u.
        image = [2 * np.linalg.solve(2 * np.eye(5) - T, inputs.T).T - inputs for inputs in (u, v)]
        ratio = np.linalg.norm((image[0] - image[1]) * norm, axis=1) / np.linalg.norm((u - v) * norm, axis=1)
        assert ratio.max() <= plan.contraction < 1
        assert ratio.max() > 0.9 * plan.contraction


def test_without_acceleration_the_stated_number_suffices(monkeypatch, generator):
    monkeypatch.setattr("riemannrnn.equilibrium.monotone.ACCELERATED_ITERATIONS", 0)
    manifold = MonotoneManifold(8, seed=0)
    W = manifold.exp(np.zeros((8, 8)), 6 * manifold.random_tangent_vector(np.zeros((8, 8))))
    x = generator.standard_normal((5, 8))
    found = solve_fixed_points(W, x, solver=PeacemanRachford(), tolerance=1e-9, max_iterations=10**6)
    stated = PeacemanRachford().prepare(Problem(equation_of(W, x), np.tanh(x), 1e-9, 100)).iterations
    assert 20 < found.iterations.max() <= stated
    np.testing.assert_allclose(found.rates, solve_fixed_points(W, x, solver="newton").rates, atol=1e-7)


def test_derivatives_by_the_same_solver(generator):
    manifold = ScaledMonotoneManifold(6, seed=0)
    point = manifold.random_point()
    W, solver = manifold.weights(point), PeacemanRachford(manifold.scales(point))
    network, x = RateNetwork(6), generator.standard_normal((4, 6))
    V = generator.standard_normal((6, 6))
    costs = [FixedPointCost(network, x, SquaredError(0 * x), solver=each, tolerance=1e-12) for each in (solver, "newton")]
    np.testing.assert_allclose(costs[0].gradient(W), costs[1].gradient(W), atol=1e-10)
    np.testing.assert_allclose(costs[0].hessian(W, V), costs[1].hessian(W, V), atol=1e-9)


def test_weights_that_are_not_monotone_are_refused(generator):
    x = generator.standard_normal((2, 3))
    with pytest.raises(ValueError, match=r"contracts by .* = 3, which is not below 1.*solver='auto'"):
        solve_fixed_points(1.5 * np.eye(3), x, solver="peaceman-rachford")
    scaled = np.array([[0.0, 0.0], [10.0, 0.0]])
    with pytest.raises(ValueError, match="not below 1"):
        solve_fixed_points(scaled, x[:, :2], solver="peaceman-rachford")
    right = solve_fixed_points(scaled, x[:, :2], solver=PeacemanRachford(np.array([0.01, 1.0])))
    assert right.converged.all()


@pytest.mark.parametrize("weights", [2 * np.eye(3), np.diag([2.0, 0, 0]) + 5 * np.eye(3, k=1)])
def test_weights_with_the_eigenvalue_two_are_refused(weights):
    with pytest.raises(ValueError, match=r"contracts by .* = inf, which is not below 1"):
        solve_fixed_points(weights, np.ones((2, 3)), solver="peaceman-rachford")


@pytest.mark.parametrize("scales", [[1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 0.0, 1.0], [1.0, np.inf, 1.0], [1.0, np.nan, 1.0]])
def test_scales_are_positive_numbers(scales):
    with pytest.raises(ValueError, match="are not 3 positive numbers; pass one a unit"):
        solve_fixed_points(np.zeros((3, 3)), np.ones((2, 3)), solver=PeacemanRachford(np.array(scales)))


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"power-law"}))
def test_activations_with_slopes_from_zero_to_one(name):
    check_slopes(ACTIVATIONS[name])


def test_other_activations_are_refused():
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"'power-law' has slope 2000 at input 1000: .* monotone"):
        solve_fixed_points(np.zeros((3, 3)), x, "power-law", solver="peaceman-rachford")
    with pytest.raises(ValueError, match=r"slope -0\.1"):
        solve_fixed_points(np.zeros((3, 3)), x, lambda z: -0.1 * z, solver="peaceman-rachford")


def test_slopes_that_overflow_do_not_hide_the_others():
    """exp(−z) is infinite at −1000, where the slope is not finite; it must still be found to be negative elsewhere."""
    with pytest.raises(ValueError, match=r"has slope -0\.09984 at input"):
        check_slopes(Activation.from_function(lambda z: z / (1 + anp.exp(-z)), "swish"))


def test_budgets_starts_and_no_stimuli(generator):
    manifold = MonotoneManifold(4, seed=0)
    W, x = 0.9 * manifold.random_point(), generator.standard_normal((3, 4))
    short = solve_fixed_points(W, x, solver="peaceman-rachford", max_iterations=2, on_failure="mask")
    assert not short.converged.any()
    assert "Not converged in 2 iterations" in short.status[0]
    exact = solve_fixed_points(W, x, solver="peaceman-rachford")
    again = solve_fixed_points(W, x, solver="peaceman-rachford", initial_rates=exact.rates)
    assert again.iterations.max() <= 1
    assert solve_fixed_points(W, x[:0], solver="peaceman-rachford").rates.shape == (0, 4)


def test_kinds_of_arrays(generator):
    W, x = MonotoneManifold(4, seed=0).random_point(), generator.standard_normal((3, 4))
    single = solve_fixed_points(W.astype(np.float32), x.astype(np.float32), solver="peaceman-rachford")
    assert single.rates.dtype == np.float32
    there = solve_fixed_points(strict.asarray(W), strict.asarray(x), solver="peaceman-rachford")
    np.testing.assert_allclose(np.asarray(there.rates), solve_fixed_points(W, x).rates, atol=1e-9)
