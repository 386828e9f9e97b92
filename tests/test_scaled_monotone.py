"""Monotone weights with scaled rows: stability beyond the monotone set, and derivatives through the map to W."""

import array_api_strict as strict
import numpy as np
import pymanopt
import pytest
from pymanopt.optimizers import ConjugateGradient, SteepestDescent, TrustRegions

from manifolds import scaled_gradient, scaled_hessian, scaled_monotone, scaled_velocity, scaled_weights
from manifolds.checks import check_slope


@pytest.mark.parametrize("n", [1, 2, 5, 20, 50])
def test_every_point_is_stable_for_all_gains(n, generator):
    manifold = scaled_monotone(n, seed=n)
    start = manifold.random_point()
    for length in (0.0, 1.0, 5.0):
        W = scaled_weights(manifold.exp(start, length * manifold.random_tangent_vector(start)))
        for gain in (generator.uniform(0, 1, n), generator.integers(0, 2, n), np.ones(n)):
            assert np.linalg.eigvals(-np.eye(n) + gain[:, None] * W).real.max() < 0


def test_it_amplifies_more_than_monotone_weights_can():
    """A chain of two units: the monotone set ends at W₂₁ = 2."""
    scales = np.log([[0.01], [1.0]])
    W = np.array([[0.0, 0.0], [10.0, 0.0]])
    M = np.eye(2) - (np.eye(2) - W) / np.exp(scales)
    assert np.linalg.eigvalsh(2 * np.eye(2) - W - W.T)[0] < 0
    assert np.linalg.eigvalsh(2 * np.eye(2) - M - M.T)[0] > 0
    np.testing.assert_allclose(scaled_weights([M, scales]), W, atol=1e-12)


def quadratic(target):
    """Return cost, gradient and Hessian of ½‖W − target‖² + ¼ Σ W⁴ as functions of W."""
    return (
        lambda W: float(np.sum((W - target) ** 2) / 2 + np.sum(W**4) / 4),
        lambda W: W - target + W**3,
        lambda W, V: (1 + 3 * W**2) * V,
    )


def test_derivatives_through_the_map(generator):
    manifold = scaled_monotone(4, seed=0)
    M, scales = manifold.random_point()
    V, v = generator.standard_normal((4, 4)), generator.standard_normal((4, 1))
    cost, gradient, hessian = quadratic(generator.standard_normal((4, 4)))
    W, velocity = scaled_weights([M, scales]), scaled_velocity([M, scales], [V, v])
    first = scaled_gradient([M, scales], gradient(W))
    second = scaled_hessian([M, scales], gradient(W), hessian(W, velocity), [V, v])
    slope = np.sum(first[0] * V) + np.sum(first[1] * v)

    def moved(step):
        return [M + step * V, scales + step * v]

    def of_the_weights(step):
        return np.linalg.norm(scaled_weights(moved(step)) - W - step * velocity)

    def of_the_cost(step):
        return abs(cost(scaled_weights(moved(step))) - cost(W) - step * slope)

    def of_the_gradient(step):
        now = scaled_gradient(moved(step), gradient(scaled_weights(moved(step))))
        return sum(np.linalg.norm(a - b - step * c) for a, b, c in zip(now, first, second, strict=True))

    for name, error in {"weights": of_the_weights, "cost": of_the_cost, "gradient": of_the_gradient}.items():
        result = check_slope(name, error, 2, 100.0, np.finfo(float).eps)
        assert result, str(result)
        assert "rounding" not in str(result)


@pytest.mark.parametrize("optimizer", [SteepestDescent, ConjugateGradient, TrustRegions])
def test_pymanopt_solvers_run(optimizer):
    manifold = scaled_monotone(3, seed=0)
    target = scaled_weights(manifold.random_point())
    decorate = pymanopt.function.numpy(manifold)
    problem = pymanopt.Problem(
        manifold,
        decorate(lambda *point: float(np.sum((scaled_weights(point) - target) ** 2)) / 2),
        euclidean_gradient=decorate(lambda *point: scaled_gradient(point, scaled_weights(point) - target)),
        euclidean_hessian=decorate(
            lambda *arrays: scaled_hessian(
                arrays[:2], scaled_weights(arrays[:2]) - target, scaled_velocity(arrays[:2], arrays[2:]), arrays[2:]
            )
        ),
    )
    start = manifold.random_point()
    result = optimizer(verbosity=0, max_iterations=100, min_gradient_norm=1e-5).run(problem, initial_point=start)
    assert 0 <= result.cost < 1e-6 * problem.cost(start)


def test_kinds_of_arrays(generator):
    single = scaled_monotone(3, seed=0, like=np.empty(0, np.float32)).random_point()
    assert scaled_weights(single).dtype == np.float32
    M, scales = scaled_monotone(3, seed=0).random_point()
    G = generator.standard_normal((3, 3))
    there = [strict.asarray(M), strict.asarray(scales)]
    np.testing.assert_allclose(np.asarray(scaled_weights(there)), scaled_weights([M, scales]))
    for a, b in zip(scaled_gradient(there, strict.asarray(G)), scaled_gradient([M, scales], G), strict=True):
        np.testing.assert_allclose(np.asarray(a), b)
