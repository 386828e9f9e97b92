"""The comparison: a row for every contender, correct counts, reasons instead of crashes, and figures of the results."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from pymanopt.optimizers import SteepestDescent

from manifolds import ManifoldError
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.comparison import contest
from riemannrnn.comparison.comparison import compare
from riemannrnn.comparison.contenders import OPTIMISERS, Contender, all_contenders, choose_contenders
from riemannrnn.cost.task import Task
from riemannrnn.data import load_digits
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.rules.descent import Descent

BUDGET = 7
RATES = (0.3,)
ONE_OF_EACH_KIND = ["resolvent/geodesic/trust", "euclidean/additive/conjugate", "resolvent/geodesic/momentum", "dW4"]


def tiny_task(dtype=np.float64):
    digits = load_digits(dtype)
    training, validation, test = digits.split(30, 21, 22, seed=0)
    network = RateNetwork(8, 64, 10, "tanh", 0, dtype)
    tolerance = 1e-7 if dtype == np.float64 else None
    return Task(network, network.initial_weights(0.5), training, validation, test, tolerance)


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture(scope="module")
def comparison(task):
    return compare(task, budget=BUDGET, learning_rates=RATES)


@pytest.fixture(scope="module")
def failures(task):
    """A comparison in which no fixed point is ever accepted."""
    return compare(replace(task, tolerance=1e-300, max_iterations=2), budget=BUDGET, learning_rates=RATES)


def only(task, *patterns, budget=BUDGET, learning_rates=RATES, **options):
    return compare(task, choose_contenders(list(patterns)), budget, learning_rates, **options)


def test_every_contender_has_a_row(comparison):
    assert [entry.contender for entry in comparison.entries] == list(all_contenders())
    assert len({entry.contender.name for entry in comparison.entries}) == len(comparison.entries)
    assert not comparison.interrupted
    for entry in comparison.entries:
        assert entry.stopped == f"Used its {BUDGET} evaluations."
        assert np.isfinite([entry.training_loss, entry.test_accuracy, entry.seconds, entry.worst_abscissa]).all()
        assert entry.training_loss == entry.history[-1].loss
        assert entry.training_loss < entry.history[0].loss
        assert entry.seconds > 0
        assert entry.iterations > 0
        assert entry.as_row().keys().isdisjoint({"history", "weights"})


def test_the_weights_are_those_that_the_numbers_belong_to(task, comparison, failures):
    for entry in (each for each in comparison.entries if each.contender.manifold != "low-rank"):
        assert task.cost(task.training)(entry.weights) == pytest.approx(entry.training_loss, rel=1e-5), entry.contender.name
    assert all(entry.weights is None for entry in failures.entries if not entry.history)


def test_all_start_from_the_same_point(task, comparison):
    start = FixedPointCost(task.network, task.training.stimuli, CrossEntropy(task.training.labels))(task.weights)
    constrained = {"dale", "sparse", "hollow", "symmetric", "circulant", "low-rank"}
    for entry in comparison.entries:
        if entry.contender.manifold not in constrained:
            assert entry.history[0].loss == pytest.approx(start, rel=1e-7)


def test_the_budget_is_kept_and_the_history_moves_forward(comparison):
    for entry in comparison.entries:
        assert entry.cost_evaluations + entry.gradient_evaluations + entry.hessian_evaluations == BUDGET
        used = [point.evaluations for point in entry.history]
        assert all(before < after for before, after in pairwise(used))
        assert 1 <= used[0] <= used[-1] <= BUDGET
        seconds = [point.seconds for point in entry.history]
        assert seconds == sorted(seconds)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_counts_are_those_of_an_independent_counter(task, monkeypatch, optimiser):
    """Each cost finds the fixed points of the training stimuli once; each gradient or Hessian calls the loss once.

    Accuracies need the fixed points of the test stimuli.
    """
    seen = Counter()
    for owner, name in ((RateNetwork, "respond"), (CrossEntropy, "gradient"), (CrossEntropy, "hessian")):
        method = getattr(owner, name)

        def counted(self, *arguments, name=name, method=method, **options):
            seen[name] += name != "respond" or arguments[1].shape[0] == len(task.training.labels)
            return method(self, *arguments, **options)

        monkeypatch.setattr(owner, name, counted)
    (entry,) = only(task, f"resolvent/geodesic/{optimiser}", budget=14).entries
    counts = (entry.cost_evaluations, entry.gradient_evaluations, entry.hessian_evaluations)
    assert counts == (seen["respond"], seen["gradient"], seen["hessian"])
    assert sum(counts) == 14
    assert (entry.hessian_evaluations > 0) == (optimiser == "trust-regions")


def test_accepted_points_of_the_optimisers_never_lose_ground(comparison):
    for entry in comparison.entries:
        if entry.contender.optimiser in OPTIMISERS:
            losses = [point.loss for point in entry.history]
            assert all(after <= before for before, after in pairwise(losses)), entry.contender.name


def test_a_point_accepted_twice_is_kept_once_with_its_accuracy(task):
    """This happens at the last point of an optimiser that stops before its budget is used."""
    score = contest.Scorekeeper(all_contenders()[0].begin(task), 10, lambda share: None, measurements=1)
    score.cost.gradient(task.weights)
    (first,) = score.history
    score.accept(task.weights, score.cost(task.weights))
    (point,) = score.history
    assert (point.evaluations, point.loss) == (2, first.loss)
    assert point.test_accuracy == first.test_accuracy == contest.accuracy_on_test(task, task.weights)


def test_dataset(comparison):
    dataset = comparison.to_dataset()
    assert dict(dataset.sizes) == {"contender": len(comparison.entries), "evaluation": BUDGET + 1}
    assert list(dataset["contender"].values) == [entry.contender.name for entry in comparison.entries]
    assert dataset["seconds"].attrs["units"] == "s"
    for entry in comparison.entries:
        row = dataset.sel(contender=entry.contender.name)
        parts = [str(row[name].item()) for name in ("manifold", "retraction", "optimiser")]
        assert "/".join(parts) == entry.contender.name == "/".join(map(str, list(entry.as_row().values())[1:4]))
        for evaluation in range(BUDGET + 1):
            reached = [point for point in entry.history if point.evaluations <= evaluation]
            expected = (reached[-1].loss, reached[-1].seconds) if reached else (np.nan, np.nan)
            here = row.sel(evaluation=evaluation)
            np.testing.assert_array_equal((here["loss"], here["seconds"]), expected)
            measured = [point.test_accuracy for point in reached if point.evaluations == evaluation]
            np.testing.assert_array_equal(here["test_accuracy"], measured[0] if measured else np.nan)


def test_a_contender_that_fails_is_a_row_with_its_reason(task, monkeypatch):
    def broken(*arguments, **options):
        raise ManifoldError("broken on purpose", "a test wants so", "Do nothing.")

    monkeypatch.setattr(Descent, "step", broken)
    monkeypatch.setattr(SteepestDescent, "run", broken)
    rule, descent, healthy = only(task, "euclidean/additive/descent", "euclidean/additive/steepest", "dW3").entries
    assert rule.stopped.startswith(
        "Failed: every learning rate of the grid (0.3) fails; give smaller ones. The first: broken on purpose"
    )
    assert descent.stopped.startswith("Failed: broken on purpose")
    assert np.isnan([rule.training_loss, rule.learning_rate]).all()
    assert rule.history == []
    assert [accepted.loss for accepted in descent.history] == [descent.training_loss], "the start"
    assert healthy.stopped == f"Used its {BUDGET} evaluations."


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("resolvant", "geodesic", "descent"), "manifold = 'resolvant': unknown; did you mean resolvent"),
        (("resolvent", "geodesic", "descend"), "optimiser = 'descend': unknown; did you mean descent"),
        (("resolvent", "geodetic", "descent"), "retraction = 'geodetic': unknown; did you mean geodesic"),
        (("resolvent", "additive", "dW3"), "the rules dW3 and dW4, and no others, go with the manifold per-stim"),
        (("per-stimulus", "additive", "momentum"), "the rules dW3 and dW4, and no others"),
    ],
)
def test_a_contender_that_is_none(names, message):
    with pytest.raises(ValueError, match=message):
        Contender(*names)


def test_learning_rates_of_numpy():
    (entry,) = only(tiny_task(np.float32), "euclidean/additive/descent", learning_rates=np.logspace(-2, -1, 2)).entries
    assert entry.stopped == f"Used its {BUDGET} evaluations."
    assert entry.weights.dtype == np.float32


def test_learning_rates_that_are_all_too_large(task):
    (entry,) = only(task, "resolvent/geodesic/descent", learning_rates=(1e9, 1e12)).entries
    assert entry.stopped.startswith(
        "Failed: every learning rate of the grid (1e+09, 1e+12) fails; give smaller ones. The first: "
    )


def test_where_all_fail_there_is_still_a_row_for_each(failures):
    assert len(failures.entries) == len(all_contenders())
    assert all(entry.stopped.startswith("Failed: ") for entry in failures.entries)
    assert np.isnan(failures.to_dataset()["loss"]).all()


def test_ctrl_c_keeps_what_was_finished(task):
    chosen = choose_contenders(["dW", "euclidean/additive/steepest"])

    def progress(contender, share):
        if contender == chosen[2] and share > 0.5:
            raise KeyboardInterrupt

    interrupted = compare(task, chosen, BUDGET, RATES, progress)
    assert interrupted.interrupted
    assert [entry.contender for entry in interrupted.entries] == list(chosen[:2])
    assert interrupted.to_dataset().sizes["contender"] == 2


def test_progress_reaches_one(task):
    shares = []
    only(task, "dW3", progress=lambda contender, share: shares.append(share))
    assert shares[-1] == 1
    assert shares == sorted(shares)


def test_the_same_seed_gives_the_same_comparison():
    runs = [only(tiny_task(), *ONE_OF_EACH_KIND) for _ in range(2)]
    for first, again in zip(*(run.entries for run in runs), strict=True):
        rows = [
            {name: value for name, value in entry.as_row().items() if not name.endswith("seconds")} for entry in (first, again)
        ]
        np.testing.assert_equal(*rows)
        histories = [[(p.evaluations, p.loss, p.test_accuracy) for p in entry.history] for entry in (first, again)]
        np.testing.assert_equal(*histories)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 1}, "budget = 1 is too small"),
        ({"learning_rates": ()}, "learning_rates is empty; give at least one"),
        ({"stable": 1.0}, r"stable = 1.0 is outside \[0, 1\)"),
        ({"max_seconds": 0.0}, "max_seconds = 0.0, inner_iterations = 50: no contender could take a step"),
        ({"inner_iterations": 0}, "inner_iterations = 0: no contender could take a step"),
    ],
)
def test_arguments_that_make_no_sense(task, options, message):
    with pytest.raises(ValueError, match=message):
        compare(task, **options)


def test_patterns_choose_contenders():
    assert choose_contenders([]) == all_contenders()
    assert [each.name for each in choose_contenders(["dW"])] == ["per-stimulus/additive/dW3", "per-stimulus/additive/dW4"]
    with pytest.raises(ValueError, match="no contender's name contains 'adam'; the names are euclidean/additive/descent, "):
        choose_contenders(["dW", "adam"])


@pytest.mark.parametrize("budget", [2, 12])
def test_the_learning_rate_has_the_lowest_validation_loss(task, budget):
    """Both budgets try each rate for one step of gradient descent."""
    grid = (0.1, 0.3, 1.0, 3.0, 10.0)
    training, validation = (
        FixedPointCost(task.network, data.stimuli, CrossEntropy(data.labels)) for data in (task.training, task.validation)
    )
    gradient = training.gradient(task.weights)
    losses = {rate: validation(task.weights - rate * gradient) for rate in grid}
    (entry,) = only(task, "euclidean/additive/descent", budget=budget, learning_rates=grid).entries
    best = min(losses, key=losses.get)
    assert entry.learning_rate == best
    assert best not in (grid[0], grid[-1])


def test_float32_stays_float32(monkeypatch):
    measure, seen = contest.accuracy_on_test, []

    def spy(task, weights):
        seen.append(weights.dtype)
        return measure(task, weights)

    monkeypatch.setattr(contest, "accuracy_on_test", spy)
    entries = only(tiny_task(np.float32), *ONE_OF_EACH_KIND).entries
    assert set(seen) == {np.dtype(np.float32)}
    for entry in entries:
        assert entry.stopped == f"Used its {BUDGET} evaluations.", entry.contender.name


@pytest.mark.parametrize(("name", "budget", "lost"), [("resolvent/geodesic/conjugate", 14, True), ("dW3", 4, False)])
def test_stability_agrees_with_eigenvalues(task, name, budget, lost):
    (entry,) = only(task, name, budget=budget, stable=None).entries
    abscissae = []
    for data in (task.training, task.test):
        fixed_points = task.network.fixed_points(entry.weights, data.stimuli, on_failure="mask")
        for rates, converged in zip(fixed_points.rates, fixed_points.converged, strict=True):
            jacobian = (1 - rates**2)[:, None] * entry.weights - np.eye(8)
            abscissae.append(np.linalg.eigvals(jacobian).real.max() if converged else np.inf)
    stable = np.array(abscissae) < 0
    assert entry.without_stable_fixed_point == np.count_nonzero(~stable)
    assert lost == (not stable.all())
    assert entry.worst_abscissa == pytest.approx(np.max(abscissae, where=np.isfinite(abscissae), initial=-1), abs=1e-4)


def test_an_error_of_the_program_is_not_hidden(task, monkeypatch):
    def broken(*arguments):
        raise TypeError("a mistake")

    monkeypatch.setattr(Descent, "step", broken)
    with pytest.raises(TypeError, match="a mistake"):
        only(task, "euclidean/additive/descent")
    assert not issubclass(TypeError, contest.FAILURES)
    assert issubclass(FixedPointError, contest.FAILURES)
