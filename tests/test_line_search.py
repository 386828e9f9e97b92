"""The first trial of a line search is bounded by the exit time and by the length of the last accepted step."""

from itertools import pairwise

import numpy as np
import pytest
from pymanopt.manifolds import Euclidean
from pymanopt.optimizers import ConjugateGradient, SteepestDescent
from pymanopt.optimizers.line_search import AdaptiveLineSearcher

from manifolds import Identity, PullbackManifold, Resolvent, SubspaceManifold, left_invariant, symmetric
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.comparison.contenders import OPTIMISERS
from riemannrnn.comparison.line_search import BoundedLineSearcher


class Watched:
    """Records the tangent vectors that a manifold retracts, and the exit times along them."""

    def __init__(self, manifold, monkeypatch):
        self.lengths, self.exit_times = [], []
        retraction = manifold.retraction

        def watched(point, vector):
            self.lengths.append(float(manifold.norm(point, vector)))
            if hasattr(manifold, "retraction_exit_time"):
                self.exit_times.append(manifold.retraction_exit_time(point, vector))
            return retraction(point, vector)

        monkeypatch.setattr(manifold, "retraction", watched)


def problem_on(manifold, gain=3.0):
    """Return a problem of random stimuli in three classes, and weights at the start."""
    generator = np.random.default_rng(0)
    network = RateNetwork(6, 4, 3, "tanh", 0)
    cost = FixedPointCost(network, generator.standard_normal((12, 4)), CrossEntropy(np.arange(12) % 3))
    return cost.problem(manifold), gain * network.initial_weights(0.2)


MANIFOLDS = {
    "resolvent geodesic": lambda: PullbackManifold(Resolvent(), 6),
    "resolvent additive": lambda: PullbackManifold(Resolvent(), 6, "additive"),
    "left-invariant additive": lambda: left_invariant(6, "additive"),
    "symmetric": lambda: SubspaceManifold(PullbackManifold(Resolvent(), 6, "additive"), symmetric(6)),
}


@pytest.mark.parametrize("optimiser", ["steepest-descent", "conjugate-gradient"])
@pytest.mark.parametrize("name", MANIFOLDS)
def test_no_trial_is_beyond_the_exit_time(monkeypatch, optimiser, name):
    """The retraction may shorten a trial, but then it is not the step in Armijo's rule."""
    manifold = MANIFOLDS[name]()
    problem, start = problem_on(manifold)
    start = (start + start.T) / 2 if name == "symmetric" else start
    seen = Watched(manifold, monkeypatch)
    OPTIMISERS[optimiser](verbosity=0, max_iterations=12).run(problem, initial_point=start)
    assert len(seen.exit_times) >= 12
    assert np.isfinite(seen.exit_times).any()
    assert min(seen.exit_times) > 1.9


def test_a_sudden_growth_of_the_direction_limits_the_first_trial_step(monkeypatch):
    manifold = PullbackManifold(Identity(), 2)
    seen, searcher = Watched(manifold, monkeypatch), BoundedLineSearcher()
    x, down, accepted = np.zeros((2, 2)), -np.ones((2, 2)), []
    for factor in (1.0, 1e10, 1e10, 1.0, 1e-10, 1e10):
        first = len(seen.lengths)
        d = factor * down
        step, end = searcher.search(lambda at: float(at.sum()), manifold, x, d, float(x.sum()), float(d.sum()))
        accepted.append(step)
        assert step == pytest.approx(np.linalg.norm(end - x))
        assert step > 0
        if first:
            assert seen.lengths[first] <= 10 * accepted[-2] * (1 + 1e-12)
        x = end
    assert accepted[1] == pytest.approx(10 * accepted[0])


def quadratic(manifold, scale=1.0):
    curvature = np.linspace(1, 4, 9).reshape(3, 3)

    def descend(x):
        return scale * float((curvature * x**2).sum()) / 2, scale * curvature * x

    return descend


@pytest.mark.parametrize("manifold", [Euclidean(3, 3), PullbackManifold(Identity(), 3)], ids=["pymanopt", "ours"])
def test_steps_with_an_inactive_bound_agree_with_pymanopt(manifold):
    descend, steps = quadratic(manifold), []
    for searcher in (BoundedLineSearcher(), AdaptiveLineSearcher()):
        x, lengths = np.ones((3, 3)), []
        for _ in range(20):
            value, gradient = descend(x)
            slope = -float((gradient**2).sum())
            length, x = searcher.search(lambda at: descend(at)[0], manifold, x, -gradient, value, slope)
            lengths.append(length)
        steps.append(lengths)
    np.testing.assert_allclose(*steps)
    assert all(length > 0 for length in steps[0])


def test_a_search_in_an_ascent_direction_takes_no_step():
    manifold, x = PullbackManifold(Identity(), 2), np.ones((2, 2))
    d, searcher = np.ones((2, 2)), BoundedLineSearcher(most_trials=3)
    trials = []

    def uphill(at):
        trials.append(1)
        return float(at.sum()) if len(trials) != 2 else np.nan

    assert searcher.search(uphill, manifold, x, d, 4.0, -4.0) == (0.0, x)
    assert len(trials) == 3
    assert searcher.search(uphill, manifold, x, 0 * d, 4.0, 0.0) == (0.0, x)
    assert len(trials) == 3


@pytest.mark.parametrize("optimizer", [SteepestDescent, ConjugateGradient])
def test_float32_stays_float32(optimizer):
    manifold = PullbackManifold(Resolvent(), 6, "additive", like=np.empty(0, np.float32))
    network = RateNetwork(6, 4, 3, "tanh", 0, np.float32)
    cost = FixedPointCost(network, np.eye(4, dtype=np.float32), CrossEntropy(np.array([0, 1, 2, 0])))
    optimiser = optimizer(verbosity=0, max_iterations=5, line_searcher=BoundedLineSearcher())
    result = optimiser.run(cost.problem(manifold), initial_point=network.initial_weights(0.5))
    assert result.point.dtype == np.float32


def test_accepted_losses_fall(monkeypatch):
    problem, start = problem_on(PullbackManifold(Resolvent(), 6, "additive"))
    optimiser = OPTIMISERS["steepest-descent"](verbosity=0, max_iterations=10, log_verbosity=1)
    losses = optimiser.run(problem, initial_point=start).log["iterations"]["cost"]
    assert all(after < before for before, after in pairwise(losses))
