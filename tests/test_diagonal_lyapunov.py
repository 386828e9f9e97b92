"""Certificates by Cholesky factors: never wrong, and made for the weights that they are meant for."""

import numpy as np
import pytest

from manifolds import MonotoneManifold, ScaledMonotoneManifold
from riemannrnn import RateNetwork
from riemannrnn.equilibrium import diagonal_lyapunov as lyapunov
from riemannrnn.equilibrium.certificate import not_stable, rows_not_stable
from riemannrnn.network import Dense, LowRank

N = 30


def scaled_weights(seed, growth=3.0):
    """Return scaled monotone weights whose rows differ in size by a factor of ten and more."""
    generator = np.random.default_rng(seed)
    free = MonotoneManifold(N, seed=seed).random_point()
    return ScaledMonotoneManifold(N, growth).weights([free, 1.5 * generator.standard_normal((N, 1)) / growth])


def some_gains(seed, count=40):
    return np.random.default_rng(seed).uniform(0, 1, (count, N))


def abscissae(weights, gains, times=1.0):
    matrices = (gains[:, :, None] * weights - np.eye(N)) / np.broadcast_to(times, (N,))[:, None]
    return np.linalg.eigvals(matrices).real.max(axis=1)


@pytest.mark.parametrize("times", [None, np.linspace(0.5, 3, N)])
@pytest.mark.parametrize("radius", [0.4, 0.8, 1.2, 3.0])
def test_what_is_certain_is_so(radius, times):
    """The eigenvalues decide the same, for weights from far inside to far outside, and at a margin that some just miss."""
    weights, gains = RateNetwork(N, seed=1).initial_weights(radius), some_gains(2)
    exact = abscissae(weights, gains, 1.0 if times is None else times)
    for margin in (0.0, 0.05, min(0.3, -float(np.median(exact))) if np.median(exact) < 0 else 0.1):
        certain = lyapunov.stable_by_rows(Dense().bind(weights), gains, margin, times)
        assert np.all(exact[certain] < -margin)
        rows = rows_not_stable(Dense().bind(weights), gains, margin, times)
        assert set(rows.tolist()) == set(not_stable(Dense().bind(weights), gains, margin, times)[1].tolist())
        assert set(rows.tolist()) == set(np.flatnonzero(exact >= -margin).tolist())


@pytest.mark.parametrize("edge", [0.98, 1.001, 1.02])
@pytest.mark.parametrize("seed", range(5))
def test_symmetric_weights_are_unique_below_one_only(edge, seed):
    """If an eigenvalue of W exceeds 1, I − W has a negative one, and sym(D⁻¹ (I − W)) is positive definite for no D."""
    sample = np.random.default_rng(seed).standard_normal((N, N))
    weights = sample + sample.T
    weights *= edge / np.linalg.eigvalsh(weights)[-1]
    for dtype in (np.float32, np.float64):
        assert lyapunov.unique_by_rows(Dense().bind(weights.astype(dtype))) == (edge < 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_scaled_monotone_weights_are_decided_without_eigenvalues(seed, dtype, monkeypatch):
    def forbidden(*arguments):
        raise AssertionError("eigenvalues were computed")

    monkeypatch.setattr("riemannrnn.equilibrium.certificate.unstable_stimuli", forbidden)
    weights = scaled_weights(seed).astype(dtype)
    symmetric = np.linalg.eigvalsh((weights + weights.T) / 2)[-1]
    assert symmetric > 1, "the plain certificate does not hold"
    operator, gains = Dense().bind(weights), 0.9 * some_gains(seed).astype(dtype)
    assert lyapunov.stable_by_rows(operator, gains, 0.01).all()
    assert rows_not_stable(operator, gains, 0.01).shape == (0,)
    assert lyapunov.unique_by_rows(operator)


def test_weights_with_several_fixed_points_are_never_called_unique():
    for seed in range(20):
        weights = RateNetwork(N, seed=seed).initial_weights(1.0)
        several = weights + 1.05 * np.eye(N) - np.diag(np.diag(weights))  # each unit alone has three fixed points
        assert not lyapunov.unique_by_rows(Dense().bind(several))
    assert lyapunov.unique_by_rows(Dense().bind(np.zeros((N, N))))


def test_the_edge_is_not_certain():
    """An eigenvalue of exactly −margin is not below it, and rounding does not hide that."""
    gains = np.ones((3, N))
    for margin in (0.0, 0.1):
        operator = Dense().bind((1 - margin) * np.eye(N))
        assert not lyapunov.stable_by_rows(operator, gains, margin).any()
        assert lyapunov.stable_by_rows(operator, gains, margin - 1e-9).all()


def test_nothing_is_said_where_the_proof_does_not_hold():
    gains = some_gains(0)
    low_rank = LowRank(2)
    assert not lyapunov.stable_by_rows(low_rank.bind(low_rank.initial(N, 0.1, np.random.default_rng(0))), gains, 0.0).any()
    assert not lyapunov.stable_by_rows(Dense().bind(np.zeros((N, N))), -gains, 0.0).any()
    assert lyapunov.stable_by_rows(Dense().bind(np.zeros((N, N))), 0 * gains, 0.5).all()
    many = Dense().bind(np.zeros((lyapunov.MOST_UNITS + 1,) * 2))
    assert not lyapunov.unique_by_rows(many)


def test_unique_weights_are_solved_without_the_dynamics():
    """The rates agree with the dynamics, and the solver says how it found them."""
    network = RateNetwork(N, n_inputs=4, seed=0)
    stimuli = np.random.default_rng(0).standard_normal((300, 4))
    found = network.fixed_points(scaled_weights(0), stimuli, tolerance=1e-9)
    followed = network.fixed_points(scaled_weights(0), stimuli, tolerance=1e-9, solver="flow")
    assert "dynamics" not in found.solver
    np.testing.assert_allclose(found.rates, followed.rates, atol=1e-7)
