"""The search for a learning rate, the warning if the loss has not fallen, and the progress of training."""

import io
import sys
import warnings

import numpy as np
import pytest
from pymanopt.manifolds import Euclidean
from runs import DIGITS, NETWORK, N, check_same, run
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from manifolds import PullbackManifold, Resolvent
from riemannrnn import FixedPointClassifier, RateNetwork, SquaredError, Task, train
from riemannrnn.comparison import compare
from riemannrnn.comparison.comparison import Contender
from riemannrnn.data import Dataset
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.rules import Descent, Rule
from riemannrnn.training import LossNotFallenWarning
from riemannrnn.training.stopping import StepLimit

NO_RATE = {"learning_rate": None, "rule": "descent"}
SLOW = ("response",)
"""Manifolds on which a run takes a minute, and which the test of the search does not need."""


class OwnRule(Rule):
    """A user-defined rule, with its own units."""

    def __init__(self, scale):
        self.scale = scale

    def velocity(self, point, evaluation, learning_rate, memory=None):
        return -learning_rate * self.scale * evaluation.gradient, None


class Coarse(PullbackManifold):
    """A user-defined manifold: the metric of another, divided by a constant."""

    scale = 1e6

    def euclidean_to_riemannian_gradient(self, point, gradient):
        return self.scale * super().euclidean_to_riemannian_gradient(point, gradient)


@pytest.mark.parametrize("manifold", [name for name in CATALOGUE if name not in SLOW])
def test_every_manifold_learns_without_a_rate(manifold):
    X, y = load_iris(return_X_y=True)
    model = FixedPointClassifier(30, manifold=manifold, random_state=0, epochs=10)
    X = StandardScaler().fit_transform(X)
    assert model.fit(X, y).score(X, y) > 0.83
    assert model.history_.loss_fell


def test_the_rate_does_not_depend_on_the_scale_of_a_rule_or_a_metric():
    rates = [run(rule=OwnRule(scale), learning_rate=None).learning_rate * scale for scale in (1e-6, 1.0, 1e6)]
    np.testing.assert_allclose(rates, rates[1], rtol=1e-6)
    plain = run(manifold=PullbackManifold(Resolvent(), N), **NO_RATE)
    coarse = run(manifold=Coarse(Resolvent(), N), **NO_RATE)
    np.testing.assert_allclose(coarse.learning_rate * 1e6, plain.learning_rate, rtol=1e-6)
    assert run(rule=Descent(Euclidean(N, N)), learning_rate=None).range_test.trials


def test_the_search_is_recorded_and_counted():
    history = run(**NO_RATE)
    test = history.range_test
    assert history.learning_rate == test.rate < min(test.trials, key=lambda trial: trial.loss).rate
    assert min(trial.loss for trial in test.trials) < test.loss
    assert test.evaluations.cost > len(test.trials) * test.steps
    assert test.evaluations.gradient > len(test.trials)
    assert test.evaluations.iterations > test.evaluations.cost
    dataset = history.to_dataset()
    assert dataset.attrs["learning_rate"] == history.learning_rate
    np.testing.assert_array_equal(dataset["tried_rate"], [trial.rate for trial in test.trials])
    assert len(history.loss) == 8, "the search takes no step of the run"
    check_same(run(**NO_RATE), history)
    given = run(**NO_RATE | {"learning_rate": history.learning_rate, "schedule": "tail"})
    check_same(given, history)
    assert given.range_test is None


def test_a_rate_that_is_found_falls_at_the_end():
    options = NO_RATE | {"epochs": 6}
    found = run(**options)
    given = options | {"learning_rate": found.learning_rate}
    check_same(run(**given, schedule="tail"), found)
    constant = run(**given)
    assert constant.loss[:22] == found.loss[:22]
    assert constant.step_length[-1] > found.step_length[-1]


def test_a_schedule_that_halves_all_steps_doubles_the_rate():
    """The run has to travel as far as at a constant rate."""
    options = NO_RATE | {"epochs": 20, "stop": StepLimit(1)}
    whole, half = (run(**options, schedule=lambda done, factor=factor: factor).range_test for factor in (1.0, 0.5))
    assert [trial.loss for trial in whole.trials] == [trial.loss for trial in half.trials]
    assert half.rate == pytest.approx(2 * whole.rate)


def test_a_resumed_run_uses_the_recorded_rate(tmp_path):
    reference = run(**NO_RATE)

    def interrupt(step, history):
        if step == 5:
            raise KeyboardInterrupt

    assert run(**NO_RATE, checkpoints=tmp_path, callback=interrupt).interrupted
    history = run(**NO_RATE, checkpoints=tmp_path, resume=True)
    check_same(history, reference)
    assert history.range_test == reference.range_test
    assert history.learning_rate == reference.learning_rate


def test_an_interrupted_search_does_no_harm(tmp_path, monkeypatch):
    reference, trials = run(**NO_RATE), []

    class Interrupting(Descent):
        def velocity(self, *arguments):
            trials.append(arguments)
            if len(trials) == 4:
                raise KeyboardInterrupt
            return super().velocity(*arguments)

    manifold = PullbackManifold(Resolvent(), N)
    monkeypatch.setattr(Interrupting, "name", Descent(manifold).name)
    stopped = run(rule=Interrupting(manifold), learning_rate=None, checkpoints=tmp_path)
    assert stopped.stopped == "Interrupted after 0 steps."
    check_same(run(rule=Descent(manifold), learning_rate=None, checkpoints=tmp_path, resume=True), reference)


def test_a_run_that_continues_keeps_its_rate():
    before = run(**NO_RATE)
    after = run(weights=before, **NO_RATE)
    assert after.learning_rate == before.learning_rate
    assert after.range_test is None


def test_a_first_step_of_zero_leaves_nothing_to_choose():
    network = RateNetwork(3, 2, 2, seed=0)
    with pytest.warns(LossNotFallenWarning, match="The training loss has not fallen: it is 0.6931 at the start and 0.6931 at"):
        history = train(network, network.initial_weights(), np.zeros((4, 2)), np.array([0, 1, 0, 1]), "dW1", epochs=2)
    assert history.range_test.trials == ()
    assert history.range_test.reason == "The first step is zero: no rate is better than another."


def test_a_run_without_a_lower_loss_says_so():
    with pytest.warns(LossNotFallenWarning, match=r"The training loss has not fallen: .* Pass another learning_rate"):
        history = run(learning_rate=0.0)
    assert history.stopped.startswith("All 2 epochs done. The training loss has not fallen: it is ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "has not fallen" in run(weights=run(), learning_rate=0.0).stopped
        assert "has not fallen" not in run().stopped
        run(epochs=0)


def test_solvers_and_rules_at_a_gradient_of_zero():
    network = RateNetwork(3, 2, 2, seed=0)
    data = Dataset("zeros", np.zeros((4, 2)), np.array([0, 1, 0, 1]))
    contenders = [
        Contender("resolvent", "geodesic", solver)
        for solver in ("steepest-descent", "conjugate-gradient", "trust-regions", "descent")
    ]
    entries = compare(Task(network, network.initial_weights(), data, data, data), contenders, budget=12).entries
    for entry in entries:
        assert not entry.stopped.startswith("Failed"), entry.stopped
        assert entry.training_loss == pytest.approx(np.log(2))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [(Terminal, None, True), (io.StringIO, None, False), (Terminal, False, False), (io.StringIO, True, True)],
)
def test_progress_is_shown_in_terminals(monkeypatch, capsys, stream, progress, shown):
    monkeypatch.setattr(sys, "stderr", stream())
    history = run(progress=progress)
    assert ("accuracy" in sys.stderr.getvalue()) == shown
    assert capsys.readouterr().out == ""
    check_same(history, run(progress=False))


def test_progress_shows_a_loss_without_labels(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    train(NETWORK, NETWORK.initial_weights(0.3), DIGITS.stimuli, SquaredError(np.ones((100, 10))), progress=True, epochs=2)
    assert "loss" in sys.stderr.getvalue()
    assert "accuracy" not in sys.stderr.getvalue()


def test_an_estimator_warns_as_scikit_learn_does():
    with pytest.warns(ConvergenceWarning, match="The training loss has not fallen"):
        FixedPointClassifier(5, learning_rate=0.0, epochs=1, random_state=0).fit(DIGITS.stimuli, DIGITS.labels)
