"""A cost that requires stability: it is infinite if a stimulus has no fixed point that is stable by the margin."""

from math import inf

import array_api_strict as strict
import numpy as np
import pytest
from pymanopt.optimizers import SteepestDescent

from manifolds import Identity, PullbackManifold
from manifolds.points import arrays_of
from riemannrnn import CrossEntropy, FixedPointCost, FixedPointError, RateNetwork, SquaredError
from riemannrnn.equilibrium import certificate
from riemannrnn.equilibrium.certificate import not_stable
from riemannrnn.network import Dense, LowRank

ONE = np.ones((1, 1))


def linear(on_failure="inf", stable=0.1, drives=(1.0,)):
    """Return a cost of one unit that is stable by 1 − w, with a different number of time constants for each weight."""
    x = np.asarray(drives)[:, None]
    network = RateNetwork(1, activation="relu")
    return FixedPointCost(network, x, SquaredError(np.zeros_like(x)), on_failure=on_failure, stable=stable)


@pytest.mark.parametrize("stable", [0.0, 0.1, 0.5])
def test_the_margin_is_where_the_cost_becomes_infinite(stable):
    cost, edge = linear(stable=stable), 1 - stable
    assert cost(0.99 * edge * ONE) < inf
    assert cost(edge * ONE if stable else 1.01 * ONE) == inf
    if stable:  # between the margin and the edge the fixed point exists, and only the required margin excludes it
        between = (1 - stable / 2) * ONE
        assert cost(between) == inf
        assert linear(stable=None)(between) < inf


def test_policies_treat_unstable_stimuli_as_missing_ones():
    """A unit with slope 0 below zero: a negative drive is stable for every weight, a positive drive is not."""
    W, drives = 0.95 * ONE, (1.0, -1.0)
    message = r"1 of 2 stimuli have no fixed point that is stable by 0\.1 and J is infinite"
    assert linear(drives=drives)(W) == inf
    with pytest.raises(FixedPointError, match=message):
        linear(drives=drives).gradient(W)
    with pytest.raises(FixedPointError, match=message) as caught:
        linear("raise", drives=drives)(W)
    assert caught.value.fixed_points.converged.all()
    masked, alone = linear("mask", drives=drives), linear("raise", drives=(-1.0,))
    assert masked(W) == alone(W) == 0
    np.testing.assert_array_equal(masked.at(W).found, [False, True])
    assert linear("mask", drives=(1.0, 2.0))(W) == inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("connectivity", "factor"), [(Dense(), 6.0), (LowRank(2), 40.0)], ids=["dense", "low rank"])
def test_stable_stimuli_change_nothing(connectivity, factor, dtype):
    network = RateNetwork(9, 4, 3, seed=0, connectivity=connectivity, dtype=dtype)
    stimuli, loss = np.eye(4, dtype=dtype), CrossEntropy(np.array([0, 1, 2, 0]))
    W = network.initial_weights(0.5)
    plain, asked = FixedPointCost(network, stimuli, loss), FixedPointCost(network, stimuli, loss, stable=0.05)
    assert asked(W) == plain(W)
    for one, other in zip(*(arrays_of(cost.gradient(W)) for cost in (asked, plain)), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == dtype
    assert asked.evaluations.stability_seconds > 0
    assert plain.evaluations.stability_seconds == 0
    assert asked.take(np.array([1, 2]))(W) < inf
    wild = connectivity.scaled(W, factor)
    kept = FixedPointCost(network, 0 * stimuli, loss, stable=0.05, on_failure="mask").at(wild)
    assert not kept.found.any()
    assert kept.cost == inf


@pytest.mark.parametrize("n", [20, 90])
@pytest.mark.parametrize("radius", [0.3, 0.9, 1.5])
def test_the_verdicts_agree_with_the_eigenvalues(n, radius):
    """With n = 90 the stimuli are screened first."""
    generator = np.random.default_rng(n)
    W, gains = radius * generator.standard_normal((n, n)) / n**0.5, generator.uniform(0, 1, (12, n)) ** 0.5
    abscissae = np.linalg.eigvals(gains[:, :, None] * W).real.max(axis=1) - 1
    margin = max(float(-np.median(abscissae)), 0.01)
    worst, rows = not_stable(Dense().bind(W), gains, margin)
    np.testing.assert_array_equal(rows, np.flatnonzero(abscissae >= -margin))
    assert worst >= abscissae.max() - 0.02


def test_eigenvalues_are_computed_only_if_the_bound_does_not_decide(monkeypatch):
    asked = []
    monkeypatch.setattr(certificate, "unstable_stimuli", lambda *arguments: asked.append(1) or (0.0, np.arange(0)))
    gains = np.full((3, 2), 0.5)
    not_stable(Dense().bind(np.eye(2)), gains, 0.1)
    assert asked == []
    not_stable(Dense().bind(np.array([[0.0, 9.0], [0.0, 0.0]])), gains, 0.1)
    assert asked == [1]


def test_on_another_library():
    """Weights 2 I + 5 J, J a rotation by 90 degrees, oscillate: their only fixed points, near zero, are not stable."""
    W, oscillating = np.array([[0.0, 0.5], [0.5, 0.0]]), np.array([[2.0, -5.0], [5.0, 2.0]])
    network = RateNetwork(2, backend=strict)
    cost = FixedPointCost(network, strict.asarray(0.1 * np.eye(2)), SquaredError(strict.zeros((2, 2))), stable=0.1)
    assert 0 < cost(strict.asarray(W)) < inf
    assert cost(strict.asarray(oscillating)) == inf


def test_line_searches_stay_where_fixed_points_are_stable():
    """The target needs W = 1.5, where the drive 0 has lost its stability."""
    cost = FixedPointCost(RateNetwork(1), np.array([[0.5], [0.0]]), SquaredError(np.array([[0.95], [0.0]])), stable=0.05)
    problem = cost.problem(PullbackManifold(Identity(), 1))
    result = SteepestDescent(verbosity=0, max_iterations=30).run(problem, initial_point=np.array([[0.1]]))
    assert 0.85 < float(result.point[0, 0]) < 0.95
    assert cost.at(result.point).fixed_points.stability().max() < -0.05


@pytest.mark.parametrize("stable", [-0.1, 1.0, np.nan])
def test_margins_that_no_network_can_have(stable):
    with pytest.raises(ValueError, match=r"stable = .* is outside \[0, 1\)"):
        linear(stable=stable)
