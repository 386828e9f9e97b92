"""Allowed starts of a guarded run, and the search for a stable start."""

import numpy as np
import pytest
from runs import DIGITS, NETWORK, N, run
from test_guard import abscissa

from manifolds import FixedRank, MonotoneManifold, OutsideManifoldError, ScaledMonotoneManifold
from riemannrnn import LowRank, RateNetwork, SquaredError, train
from riemannrnn.rules import Descent
from riemannrnn.training import UnstableStartError, stable_start

REMEDY = r"Start from `riemannrnn\.training\.stable_start\(network, weights, stimuli\)`, or pass guard=False"


def test_a_start_without_fixed_points_is_refused():
    """A unit r = (w r + x)² has no fixed point if w x > 1/4."""
    network, weights, stimuli = RateNetwork(1, activation="power-law"), np.array([[1.0]]), np.array([[0.2], [0.3], [0.4]])
    arguments = stimuli, SquaredError(0 * stimuli), "dW1", 1e-3
    with pytest.raises(UnstableStartError, match="at the weights to start from, 2 of 3 stimuli have no fixed.* " + REMEDY):
        train(network, weights, *arguments)
    assert train(network, weights, *arguments, guard=False).stopped.startswith("Stopped at step 1: 2 of 3 stimuli")
    assert train(network, stable_start(network, weights, stimuli), *arguments).stopped == "All 1 epochs done."


def test_a_start_with_unstable_fixed_points_is_refused():
    """A tanh unit without drive rests at 0, which is unstable for w > 1."""
    network, weights, stimuli = RateNetwork(1), np.array([[2.0]]), np.zeros((3, 1))
    arguments = stimuli, SquaredError(stimuli), "dW1"
    with pytest.raises(UnstableStartError, match=r"3 of 3 stimuli .* the largest abscissa is \+1\. " + REMEDY):
        train(network, weights, *arguments)
    assert len(train(network, weights, *arguments, guard=False).loss) == 1
    assert len(train(network, stable_start(network, weights, stimuli), *arguments).loss) == 1


def test_a_start_outside_the_manifold_is_refused():
    weights = NETWORK.initial_weights(3.0)
    for manifold in (MonotoneManifold(N), ScaledMonotoneManifold(N)):
        for guard in (True, False):
            with pytest.raises(OutsideManifoldError, match=r"smallest eigenvalue of sym\(I − W\) = -"):
                run(weights=weights, rule=Descent(manifold), guard=guard)
    with pytest.raises(OutsideManifoldError, match="not monotone"):
        run(weights=weights, rule=None)
    assert len(run(weights=MonotoneManifold(N).nearest(weights), rule=None, learning_rate=None).loss) == 8


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.5])
def test_the_stable_start_is_the_largest(margin):
    """A tanh unit without drive is stable for w < 1."""
    network = RateNetwork(1, seed=0)
    scale = float(stable_start(network, np.array([[2.0]]), np.zeros((1, 1)), margin)[0, 0]) / 2
    assert (1 - margin) / 2 - 1 / 128 <= scale < (1 - margin) / 2
    weights = NETWORK.initial_weights(8.0)
    start = stable_start(NETWORK, weights, DIGITS.stimuli, margin)
    scale = start[0, 0] / weights[0, 0]
    np.testing.assert_allclose(start, scale * weights)

    def good(scale):
        fixed_points = NETWORK.fixed_points(scale * weights, DIGITS.stimuli, on_failure="mask")
        return fixed_points.converged.all() and abscissa(scale * weights, fixed_points.gains) < -margin

    assert good(scale)
    assert not good(scale + 1 / 128)


def test_a_stable_start_is_kept():
    weights = NETWORK.initial_weights(0.3)
    assert stable_start(NETWORK, weights, DIGITS.stimuli) is weights
    network = RateNetwork(N, 64, 10, seed=0, dtype=np.float32)
    start = stable_start(network, network.initial_weights(3.0), DIGITS.stimuli.astype(np.float32))
    assert start.dtype == np.float32
    assert np.any(start != 0)


@pytest.mark.parametrize("size", [4.0, 200.0, 1e6])
def test_huge_weights_have_a_stable_start(size):
    """A linear unit is stable by the margin for w < 0.95; for weights of any size a nonzero fraction is found."""
    start = float(stable_start(RateNetwork(1, activation="identity"), np.array([[size]]), np.ones((1, 1)))[0, 0])
    assert 0.95 * (1 - 1 / 100) < start < 0.95


def test_no_stable_start_exists_for_infinite_stimuli_or_extreme_weights():
    network = RateNetwork(1, activation="identity")
    with pytest.raises(ValueError, match="row 1 of the stimuli holds NaN"):
        stable_start(network, np.array([[2.0]]), np.array([[1.0], [np.nan]]))
    with pytest.raises(UnstableStartError, match=r"not even weights 9\.3e-10 times as large are stable"):
        stable_start(network, np.array([[1e20]]), np.ones((1, 1)))


def test_factors_have_a_stable_start():
    """Tanh units without drive rest at 0, which is stable if the only nonzero eigenvalue of W is below 1."""
    network, direction = RateNetwork(4, connectivity=LowRank(1)), np.full((4, 1), 0.5)
    factors, stimuli = (direction, np.array([2.0]), direction.T), np.zeros((3, 4))
    arguments = stimuli, SquaredError(stimuli), Descent(FixedRank(4, 4, 1)), 0.01
    with pytest.raises(UnstableStartError, match=REMEDY):
        train(network, factors, *arguments)
    u, s, vt = start = stable_start(network, factors, stimuli)
    assert u is factors[0]
    assert vt is factors[2]
    assert 0.95 - 1 / 64 <= s[0] < 0.95
    assert train(network, start, *arguments).stopped == "All 1 epochs done."
