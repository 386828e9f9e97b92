"""What a row says of held-out stimuli: accuracies, R², lost fixed points; and stacks, numbers and time in a comparison."""

import re
from dataclasses import replace

import numpy as np
import pytest
from test_comparison import RATES, only, tiny_task

from riemannrnn import CrossEntropy, SquaredError
from riemannrnn.analysis import r_squared
from riemannrnn.comparison import compare, contest, scoring
from riemannrnn.comparison.contenders import all_contenders, choose_contenders, suiting
from riemannrnn.cost.task import Examples, Task
from riemannrnn.models import Layer, Stack


def numbers_task(holes=False):
    """Return the task of predicting the first ten pixels of a digit."""
    task = tiny_task()

    def examples(data):
        targets = data.stimuli[:, 20:30].copy()
        if holes:
            targets[::3, 2] = targets[1::4, 5] = np.nan
        return Examples(data.name, data.stimuli, SquaredError(targets))

    return replace(task, **{name: examples(getattr(task, name)) for name in ("training", "validation", "test")})


def stack_task(*units, trained=("recurrent", "input", "bias", "readout")):
    task = tiny_task()
    stack = Stack([Layer(each) for each in units], 64, 10, trained=trained)
    return replace(task, network=stack, weights=stack.flat(stack.initial_parameters(0.5)))


@pytest.mark.parametrize("holes", [False, True])
def test_r_squared_is_the_explained_share_of_the_variance(holes):
    """The observed targets of all outputs count together; of a single output it is the R² of `analysis`."""
    task = numbers_task(holes)
    evaluation = scoring.evaluated(task, task.weights, task.test)
    targets = np.array(task.test.loss.targets)
    errors, spread = targets - evaluation.outputs, targets - np.nanmean(targets, axis=0)
    expected = 1 - np.nansum(errors**2) / np.nansum(spread**2)
    assert scoring.r_squared(evaluation, task.test.loss) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(scoring.accuracy(evaluation, task.test.loss))
    single = SquaredError(targets[:, 5:6], units=[5])
    assert scoring.r_squared(evaluation, single) == pytest.approx(float(r_squared(targets, evaluation.outputs)[5]), rel=1e-9)


def test_numbers_are_compared_by_loss():
    comparison = only(numbers_task(), "left-invariant", "euclidean/additive/descent", budget=30)
    assert comparison.regression
    best, other = comparison.ranking
    assert best.training_loss < other.training_loss
    assert np.isfinite(best.test_r_squared)
    assert re.search(rf"with a test R² of {best.test_r_squared:.3f} in [\d.]+ s\.", comparison.recommendation)
    assert "units" not in comparison.to_dataset()["loss"].attrs
    assert all(np.isnan(point.test_accuracy) for point in best.history)
    assert "test R²" in str(best)
    assert "accuracy" not in str(best)


def test_unlabelled_stimuli_do_not_count_in_the_accuracy():
    task = tiny_task()
    labels = np.where(np.arange(22) % 2 == 0, task.test.labels, -1)
    loss = CrossEntropy(labels)
    evaluation = scoring.evaluated(task, task.weights, task.test)
    right = np.argmax(evaluation.outputs, axis=1) == task.test.labels
    assert scoring.accuracy(evaluation, loss) == np.mean(right[::2])


def test_a_stack_has_rows_on_products_of_manifolds():
    task = stack_task(7, 5)
    comparison = compare(task, budget=8, learning_rates=RATES)
    kept, sentence = suiting(all_contenders(), task.network)
    assert [entry.contender for entry in comparison.entries] == list(kept)
    assert not any(entry.failed for entry in comparison.entries), [entry.stopped for entry in comparison.entries]
    for name in ("dW3", "dW4", "gain", "response", "aggregated", "low-rank"):
        assert name in sentence
    named = {entry.contender.name: task.network.named(entry.weights) for entry in comparison.entries}
    for name in task.network.recurrent:
        symmetric = named["symmetric/geodesic/conjugate-gradient"][name]
        np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-12)
        assert np.all(np.diag(named["hollow/additive/conjugate-gradient"][name]) == 0)
    for entry in comparison.entries:
        assert task.cost(task.training)(entry.weights) == pytest.approx(entry.training_loss, rel=1e-6)
        assert entry.keeps_all


def test_a_stack_is_compared_alike_in_processes():
    task, chosen = stack_task(6, 4), choose_contenders(["monotone/geodesic", "resolvent/additive/descent"])
    here, there = (compare(task, chosen, 6, RATES, workers=workers) for workers in (0, 2))
    for first, second in zip(here.entries, there.entries, strict=True):
        assert first.training_loss == second.training_loss
        assert all(np.array_equal(*pair) for pair in zip(first.weights, second.weights, strict=True))


def test_contenders_that_cannot_train_a_stack_are_failures_with_the_reason():
    (entry,) = only(stack_task(5), "dW3").entries
    assert entry.failed
    assert "made for the recurrent weights of a single layer" in entry.stopped


def test_lost_stimuli_of_two_layers_are_counted_once():
    """With recurrent weights 3 I both layers are unstable at the fixed point 0, and all stimuli are lost."""
    task = stack_task(6, 4, trained=("recurrent",))
    named = {name: 3 * np.eye(len(value)) for name, value in task.network.named(task.weights).items()}
    silent = Examples("zeros", np.zeros((9, 64)), CrossEntropy(np.arange(9)))
    evaluation = scoring.evaluated(task, task.network.flat(named), silent)
    assert evaluation.found.all()
    assert np.all(evaluation.rates == 0)
    assert scoring.stability(evaluation) == (pytest.approx(2.0), 9)


def test_the_seconds_of_a_contender_are_those_of_its_own_work(monkeypatch):
    """Where the process waits for a core, no time of the contender goes by."""
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("the clock on the wall was read"))
    (entry,) = only(tiny_task(), "euclidean/additive/descent").entries
    assert entry.seconds > 0


def test_a_run_at_the_edge_of_stability_ends_where_steps_are_expensive():
    task = Task(*(getattr(tiny_task(), name) for name in ("network", "weights", "training", "validation", "test")), stable=0.01)
    start = choose_contenders(["response"])[0].begin(task)
    score = contest.Scorekeeper(start, 40, lambda share: None, measurements=0, ends_at_edge=True)
    score._observe("gradient", task.weights, 1.0)
    for losses, fall in (((np.inf,), 0.01), ((np.inf, np.inf), 0.2), ((1e9, 1e9), 0.01)):
        for loss in losses:
            score._observe("cost", task.weights, loss)
        score._observe("gradient", task.weights, score.history[-1].loss * (1 - fall))
    score._observe("cost", task.weights, np.inf)
    score._observe("cost", task.weights, np.inf)
    with pytest.raises(contest.EdgeReachedError, match=r"2 longer steps lost fixed points, and .* lowered the loss by 5.0%"):
        score._observe("gradient", task.weights, score.history[-1].loss * 0.95)
