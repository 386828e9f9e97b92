"""The logarithm of the invariant metrics: it inverts the exponential map in few evaluations, with the exact differential."""

import numpy as np
import pytest
import scipy.linalg

from manifolds import ConvergenceError, invariant, left_invariant, right_invariant
from manifolds.invariant_logarithm import newton_step


@pytest.mark.parametrize("make", [left_invariant, right_invariant])
@pytest.mark.parametrize(("n", "length"), [(3, 1.0), (10, 2.5), (30, 4.0), (60, 4.0)])
def test_the_logarithm_inverts_the_exponential_map(make, n, length):
    manifold = make(n, seed=n)
    W = manifold.random_point()
    V = length * manifold.random_tangent_vector(W)
    found = manifold.log(W, manifold.exp(W, V))
    assert manifold.norm(W, found - V) < 1e-10 * length


def test_points_far_apart_take_few_evaluations(monkeypatch):
    displacement, evaluations = invariant._displacement, []

    def counted(velocity):
        evaluations.append(velocity)
        return displacement(velocity)

    monkeypatch.setattr(invariant, "_displacement", counted)
    manifold = left_invariant(60, seed=0)
    a, b = manifold.random_point(), manifold.random_point()
    velocity = manifold.log(a, b)
    assert len(evaluations) < 15  # differences of the exponential map for the Jacobian took 473
    np.testing.assert_allclose(manifold.exp(a, velocity), b, atol=1e-11)


@pytest.mark.parametrize("length", [0.0, 1e-3, 1.0, 6.0])
def test_a_newton_step_solves_with_the_differential(length):
    X, H = np.random.default_rng(0).standard_normal((2, 20, 20)) / 20
    X *= length
    stretch, stretched = scipy.linalg.expm_frechet(X.T, H.T)
    turn, turned = scipy.linalg.expm_frechet(X - X.T, H - H.T)
    step = newton_step(X, stretched @ turn + stretch @ turned, 0.0)
    np.testing.assert_allclose(step, H, atol=1e-3 * np.abs(H).max())


def test_the_error_of_a_logarithm_that_is_not_found():
    manifold = left_invariant(5, seed=0)
    W = np.zeros((5, 5))
    V = 12 * manifold.random_tangent_vector(W)
    with pytest.raises(ConvergenceError, match="Take a point between"):
        manifold.log(W, manifold.exp(W, V))
