"""The stability guard: valid bounds, steps within stability, errors for unstable starts, and no jumps."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import DIGITS, NETWORK, N, check_same, fold, run

from manifolds import (
    Identity,
    PullbackManifold,
)
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, SquaredError, train
from riemannrnn.equilibrium.certificate import abscissa_bound
from riemannrnn.network import Dense
from riemannrnn.rules import Adam, Descent
from riemannrnn.training import StabilityGuard
from riemannrnn.training.guard import _LostError as LostError

EUCLIDEAN = Descent(PullbackManifold(Identity(), N))
UNIT = Descent(PullbackManifold(Identity(), 1))


def abscissa(weights, gains):
    """Return the largest abscissa over the batch, from all eigenvalues."""
    return max(np.linalg.eigvals(g[:, None] * weights).real.max() for g in gains) - 1


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 8), batch=st.integers(1, 5), scale=st.floats(0.01, 10), seed=st.integers(0, 2**32 - 1))
def test_no_stimulus_exceeds_the_bound(n, batch, scale, seed):
    generator = np.random.default_rng(seed)
    weights = scale * generator.standard_normal((n, n))
    gains = generator.random((batch, n)) * generator.integers(0, 2, (batch, n)) * 3  # some units are silent
    assert abscissa_bound(Dense().bind(weights), gains) >= abscissa(weights, gains) - 1e-9 * (1 + scale)


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 8), gain=st.floats(0.1, 3), seed=st.integers(0, 2**32 - 1))
def test_the_bound_is_tight_for_normal_weights(n, gain, seed):
    """If gains are equal, and the same for all stimuli, normal weights have the abscissa of their symmetric part."""
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(generator.standard_normal((n, n)))[0]
    block = np.diag(generator.standard_normal(n))
    if n > 1:
        block[:2, :2] = [[0.7, -1.3], [1.3, 0.7]]  # a pair of complex eigenvalues
    weights, gains = basis @ block @ basis.T, np.full((3, n), gain)
    assert abscissa_bound(Dense().bind(weights), gains) == pytest.approx(max(abscissa(weights, gains), -1.0), abs=1e-9)


def test_negative_gains_have_no_bound():
    assert np.isnan(abscissa_bound(Dense().bind(np.eye(2)), np.array([[1.0, -1.0]])))


@pytest.mark.parametrize(("margin", "halvings"), [(-0.1, 10), (1.0, 10), (np.nan, 10), (0.1, 0)])
def test_invalid_settings_of_a_guard(margin, halvings):
    with pytest.raises(ValueError, match="choose a margin in"):
        StabilityGuard(margin, halvings)


@pytest.fixture
def cost():
    return FixedPointCost(NETWORK, DIGITS.stimuli[:30], CrossEntropy(DIGITS.labels[:30]), on_failure="raise")


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.3])
def test_a_step_that_loses_stability_is_halved_until_it_does_not(cost, margin):
    weights = NETWORK.initial_weights(0.3)
    evaluation, velocity = cost.at(weights), -3 * NETWORK.initial_weights(1.0)
    step = StabilityGuard(margin).accept(EUCLIDEAN, cost, evaluation, weights, velocity)
    assert 0 < step.share < 1
    np.testing.assert_array_equal(step.point, weights + step.velocity)
    np.testing.assert_array_equal(step.velocity, step.share * velocity)

    def worst(share):
        fixed_points = NETWORK.fixed_points(weights + share * velocity, DIGITS.stimuli[:30], on_failure="mask")
        return abscissa(fixed_points.weights, fixed_points.gains) if fixed_points.converged.all() else np.inf

    assert worst(step.share) <= step.abscissa + 1e-9
    assert step.abscissa < -margin
    assert worst(2 * step.share) >= -margin
    assert "would not be stable by" in step.reason or "have no fixed point" in step.reason


def test_a_step_without_any_improvement_is_not_taken(cost):
    weights, velocity = NETWORK.initial_weights(0.3), 1e6 * NETWORK.initial_weights(1.0)
    step = StabilityGuard(halvings=2).accept(EUCLIDEAN, cost, cost.at(weights), weights, velocity)
    assert step.share == 0
    np.testing.assert_array_equal(step.point, weights)
    np.testing.assert_array_equal(step.velocity, 0 * weights)
    assert step.reason


@pytest.mark.parametrize(("change", "share"), [(-0.01, 1.0), (0.005, 0.0), (-0.05, 1.0), (0.05, 0.0)])
def test_a_stimulus_inside_the_margin_may_not_come_closer(change, share):
    """A tanh unit without drive has the abscissa w − 1; here it starts at −0.03."""
    weights = np.array([[0.97]])
    cost = FixedPointCost(RateNetwork(1), np.array([[0.0], [2.0]]), SquaredError(np.zeros((2, 1))))
    step = StabilityGuard(0.05).accept(UNIT, cost, cost.at(weights), weights, np.array([[change]]))
    assert step.share == share
    if share:
        assert step.abscissa == pytest.approx(change - 0.03)
    else:
        assert step.reason == f"1 of 2 stimuli would not be stable by 0.05, the worst with {change - 0.03:+.3g}"


def test_shorter_steps_are_tried_for_the_lost_stimuli(cost, monkeypatch):
    looked, arrive = [], StabilityGuard._arrive

    def spy(guard, cost, evaluation, weights, rows):
        looked.append([len(rows), 0])
        try:
            return arrive(guard, cost, evaluation, weights, rows)
        except LostError as error:
            looked[-1][1] = len(error.rows)
            raise

    monkeypatch.setattr(StabilityGuard, "_arrive", spy)
    weights = NETWORK.initial_weights(0.3)
    step = StabilityGuard().accept(EUCLIDEAN, cost, cost.at(weights), weights, -3 * NETWORK.initial_weights(1.0))
    assert 0 < step.share < 1
    assert looked[0][0] == looked[-1][0] == 30
    assert looked[-1][1] == 0
    assert all(after[0] == before[1] for before, after in pairwise(looked) if before[1])


def test_fixed_points_that_take_too_many_iterations_count_as_lost(cost):
    weights, velocity = NETWORK.initial_weights(0.3), 0.1 * NETWORK.initial_weights(1.0)
    steps = [
        StabilityGuard(iterations=count).accept(EUCLIDEAN, cost, cost.at(weights), weights, velocity) for count in (2, 200)
    ]
    assert [step.share for step in steps] == [0, 1]
    assert "have no fixed point" in steps[0].reason


@pytest.mark.parametrize("rule", ["dW1", "dW3", "momentum", "adam"])
def test_valid_steps_are_unchanged(rule):
    guarded, free = (run(rule=rule, learning_rate=0.003, guard=guard) for guard in (True, False))
    np.testing.assert_array_equal(guarded.weights, free.weights)
    assert (guarded.loss, guarded.step_length, guarded.test_loss) == (free.loss, free.step_length, free.test_loss)
    assert guarded.shortened == free.shortened == [1.0] * 8
    assert guarded.guard_reasons == []
    assert guarded.guard_actions == 0
    assert np.all(np.array(guarded.abscissa) < -0.05)
    assert np.all(np.isnan(free.abscissa))
    assert guarded.jumps == [0] * 8
    assert np.all(np.isnan(free.jumps))


@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_the_edge_of_a_manifold_shortens_the_step():
    rule = {"rule": "dW2", "learning_rate": 300.0}
    assert "exit time" in run(**rule, guard=False).stopped
    history = run(**rule)
    assert len(history.loss) == 8
    assert history.guard_reasons[0].startswith("Step 1: exit time t* = ")
    assert 0 < history.shortened[0] < 1
    assert history.guard_actions == len(history.guard_reasons)


@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_a_step_that_meets_the_edge_at_every_length_is_not_taken():
    history = run(rule="dW2", learning_rate=300.0, guard=StabilityGuard(halvings=1))
    assert history.stopped.startswith("All 2 epochs done.")
    assert not history.failed
    assert history.shortened[0] == history.step_length[0] == 0
    assert history.guard_reasons[0].startswith("Step 1: exit time t* = ")


def test_euclidean_adam_keeps_its_fixed_points_under_a_guard():
    options = {"rule": Adam(PullbackManifold(Identity(), N)), "learning_rate": 0.3, "epochs": 5, "batch_size": 100}

    def stable(history):
        fixed_points = NETWORK.fixed_points(history.weights, DIGITS.stimuli, on_failure="mask")
        return int(np.count_nonzero(fixed_points.stability() < 0))

    guarded, free = run(**options), run(**options, guard=False)
    assert (len(guarded.loss), stable(guarded)) == (5, 100)
    assert stable(free) < 100
    assert guarded.guard_actions > 0
    assert guarded.loss[-1] < guarded.loss[0]
    assert all(guarded.shortened[int(reason.split(":")[0][5:]) - 1] < 1 for reason in guarded.guard_reasons)


@pytest.mark.parametrize(("change", "share", "jumps"), [(1.5, 0.5, 2), (0.2, 1, 0), (-0.2, 1, 0), (-1.0, 1, 0)])
def test_a_step_is_halved_until_no_fixed_point_jumps(change, share, jumps):
    """For a sigmoid unit with drive −3.31 the lower of two stable states vanishes at w = 11.1; for the others none does."""
    network, drives, weights = RateNetwork(1, activation="sigmoid"), np.array([[-3.31, -5.0, 0.0, -3.3]]).T, np.array([[10.0]])
    cost = FixedPointCost(network, drives, SquaredError(0 * drives))
    evaluation = cost.at(weights)
    assert [rate < 0.1 for rate in evaluation.rates.ravel()] == [True, True, False, True]
    step = StabilityGuard().accept(UNIT, cost, evaluation, weights, np.array([[change]]))
    assert (step.share, step.jumps) == (share, jumps)
    assert step.reason == (f"{jumps} of 4 stimuli would jump to another fixed point" if jumps else "")
    assert np.all(np.abs(cost.at(step.point).rates - evaluation.rates) < 0.1)


def test_the_guard_starts_like_the_next_evaluation():
    """It must not check a state that is only found from the start of the step."""
    network, drives, weights = RateNetwork(1), np.array([[-0.5]]), np.array([[2.0]])
    cost = FixedPointCost(network, drives, SquaredError(0 * drives)).take(np.array([0]), np.array([[0.8]]))
    evaluation, change = cost.at(weights), np.array([[0.01]])
    assert evaluation.rates[0, 0] > 0.7
    step = StabilityGuard().accept(UNIT, cost, evaluation, weights, change)
    assert network.fixed_points(weights + change, drives).rates[0, 0] < -0.9
    assert (step.share, step.jumps) == (0, 1), "the next evaluation does not reach this state"


def test_the_history_says_how_many_jumped(monkeypatch):
    accept = StabilityGuard.accept
    monkeypatch.setattr(StabilityGuard, "accept", lambda *arguments: replace(accept(*arguments), jumps=7))
    assert run().jumps == [7] * 8


@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_a_batch_without_fixed_points_shortens_the_step_before():
    class Path(list):
        def record(self, step, weights, loss=np.nan):
            self.append(float(weights[0, 0]))

    path = Path()
    history = fold(record=path)
    afterwards = [reason for reason in history.guard_reasons if "the stimuli after it: 1 of 1 stimuli have no fixed" in reason]
    assert history.stopped == "All 4 epochs done."
    assert [reason.split(":")[0] for reason in afterwards] == ["Step 2"] + 2 * ["Step 3"] + 4 * ["Step 8"]
    np.testing.assert_allclose(history.step_length, np.abs(np.diff(path)), rtol=1e-9)
    assert [share < 1 for share in history.shortened[:4]] == [False, True, True, True]
    assert np.isnan(history.abscissa[2]), "it belonged to the longer step"
    assert np.isnan(history.jumps[2])
    assert fold(guard=False).stopped.startswith("Stopped at step 3: ")
    check_same(fold(), history)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_stimulus_without_any_solution_is_left_out(batch_size):
    """The fourth drive has no fixed point even at the weights at the start, and is not in the first batch."""
    network, drives = RateNetwork(1, activation="power-law", seed=0), np.array([[0.4], [0.43], [0.47], [3.0]])
    options = {"rule": "momentum", "learning_rate": 1e-4, "batch_size": batch_size, "epochs": 3, "seed": 0}
    arguments = network, np.array([[0.1]]), drives, SquaredError(np.full((4, 1), 2.0))
    history = train(*arguments, **options)
    assert history.stopped == "All 3 epochs done."
    count = -(-4 // batch_size)
    assert [sum(history.left_out[epoch * count : (epoch + 1) * count]) for epoch in range(3)] == [1, 1, 1]
    sizes = [min(batch_size, 4 - batch_size * (step % count)) for step in range(3 * count)]
    alone = [left == size for left, size in zip(history.left_out, sizes, strict=True)]
    assert [np.isnan(loss) for loss in history.loss] == alone
    assert history.shortened == [0.0 if nothing else 1.0 for nothing in alone], "halving steps would not help"
    assert len(history.guard_reasons) == 3
    assert "stimuli are left out: they have no fixed point" in history.guard_reasons[0]
    assert all(len(values) == 3 * count for values in history.records().values() if values)
    if batch_size == 1:  # an empty batch changes nothing, not even the momentum
        kept = [step for step, nothing in enumerate(alone) if not nothing]
        assert np.all(np.diff([history.step_length[step] for step in kept]) > 0)
    assert train(*arguments, **options, guard=False).stopped.startswith("Stopped at step")


def test_a_guard_may_be_given():
    strict, usual = (run(guard=guard, learning_rate=3.0, rule="dW1") for guard in (StabilityGuard(0.6), True))
    assert max(value for value in strict.abscissa if value == value) < -0.6  # noqa: PLR0124  # NaN where no step was taken
    assert strict.guard_actions > usual.guard_actions


def test_promised_stability_needs_no_guard():
    assert np.all(np.isnan(run(rule=None, learning_rate=None).abscissa))
    assert np.all(np.isnan(train(NETWORK, NETWORK.initial_weights(0.3), DIGITS.stimuli, DIGITS.labels).abscissa))
    assert not np.any(np.isnan(run(rule=None, learning_rate=None, guard=True).abscissa))
