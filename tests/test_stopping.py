"""When and why runs end: criteria, the history as a dataset, and the options of a step."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from runs import DIGITS, NETWORK, N, run
from scipy.optimize import minimize

from manifolds import (
    FixedRank,
    Identity,
    MonotoneManifold,
    PullbackManifold,
    Resolvent,
    ScaledMonotoneManifold,
    SubspaceManifold,
    zero_diagonal,
)
from riemannrnn import CrossEntropy, FixedPointCost, LowRank, RateNetwork, SquaredError, train
from riemannrnn.cost import Task
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.plots.training import plot_watch, training_figure
from riemannrnn.rules import Adam, Descent
from riemannrnn.run_folder import write_netcdf
from riemannrnn.training import StabilityGuard
from riemannrnn.training.history import History
from riemannrnn.training.stopping import Criterion, LossBelow, NoProgress, StepBelow, StepLimit, TimeLimit, Verdict


def history(loss=(), **lists):
    return History(np.eye(2), loss=list(loss), **lists)


@pytest.mark.parametrize(
    ("criterion", "goes_on", "ends", "converged"),
    [
        (LossBelow(1.0), history([0.5, 1.0]), history([2.0, 0.9]), True),
        (LossBelow(1.0), history([0.5, np.nan]), history([np.nan, 0.9]), True),
        (LossBelow(1.0, batches=3), history([0.1, 0.1]), history([9.0, 0.1, 0.1, 2.7]), True),
        (StepBelow(0.1), history(step_length=[0.01, 0.1], shortened=[1.0, 1.0]),
         history(step_length=[0.2, 0.09], shortened=[0.5, 1.0]), True),
        (StepBelow(0.1), history(step_length=[np.nan], shortened=[1.0]), None, True),
        (StepBelow(0.1), history(step_length=[0.01], shortened=[0.5]), history(step_length=[0.01], shortened=[1.0]), True),
        (StepBelow(0.1), history(step_length=[0.0], shortened=[0.0]), history(step_length=[0.0], shortened=[1.0]), True),
        (NoProgress(2), history(test_loss=[3.0, np.nan, 2.0, 1.9]), history(test_loss=[1.9, np.nan, 2.0, np.nan, 1.9]), False),
        (NoProgress(2), history(test_loss=[1.0, 2.0, np.nan]), history(test_loss=[np.inf, np.inf, np.nan, np.inf]), False),
        (NoProgress(2), history([4.0, 1.0, 3.0, 0.9]), history([1.0, 1.0, 2.0, 1.0, 2.0]), False),
        (StepLimit(3), history([1.0] * 2), history([1.0] * 3), False),
        (TimeLimit(1e9), history(), None, False),
        (TimeLimit(0.0), None, history(), False),
    ],
)  # fmt: skip
def test_criteria(criterion, goes_on, ends, converged):
    assert goes_on is None or criterion(goes_on) is None
    if ends is not None:
        verdict = criterion(ends)
        assert verdict.converged is converged
        assert verdict.reason.endswith(".")


@pytest.mark.parametrize("criterion", [LossBelow(9.0), StepBelow(9.0), NoProgress(1), StepLimit(1)])
def test_nothing_ends_before_it_began(criterion):
    assert criterion(history()) is None


@pytest.mark.parametrize(("make", "name"), [(lambda: LossBelow(1.0, 0), "batches"), (lambda: NoProgress(0), "patience")])
def test_criteria_over_nothing(make, name):
    with pytest.raises(ValueError, match=f"{name} = 0 is not positive; choose at least 1"):
        make()


class Says(Criterion):
    def __init__(self, *verdicts):
        self.verdicts = verdicts

    def __call__(self, history):
        reason, converged = self.verdicts[len(history.loss)]
        return Verdict(reason, converged) if reason else None


NOTHING, STUCK, THERE = ("", False), ("Stuck.", False), ("There.", True)


@pytest.mark.parametrize(
    ("a", "b", "either", "both"),
    [
        (NOTHING, NOTHING, None, None),
        (STUCK, NOTHING, Verdict("Stuck.", False), None),
        (NOTHING, THERE, Verdict("There.", True), None),
        (STUCK, THERE, Verdict("Stuck.", False), Verdict("Stuck. There.", True)),
        (STUCK, STUCK, Verdict("Stuck.", False), Verdict("Stuck. Stuck.", False)),
    ],
)
def test_criteria_combine(a, b, either, both):
    assert (Says(a) | Says(b))(history()) == either
    assert (Says(a) & Says(b))(history()) == both
    assert (Says(NOTHING) | (Says(a) & Says(b)))(history()) == both


def test_a_run_stops_by_its_criterion_and_names_it():
    stopped = run(stop=StepLimit(5) | LossBelow(0.0))
    assert (len(stopped.loss), stopped.stopped, stopped.converged) == (5, "All 5 steps done.", False)
    whole, path = run(), []
    run(callback=lambda step, history: path.append(history.weights))
    np.testing.assert_array_equal(stopped.weights, path[5])  # the result after the step, not the point of the last batch
    assert stopped.loss == whole.loss[:5]
    converged = run(stop=LossBelow(100.0) & StepLimit(2))
    assert (len(converged.loss), converged.converged) == (2, True)
    assert converged.stopped == "The loss of the last 1 mini-batches is below 100. All 2 steps done."
    assert not np.isnan(run(stop=StepLimit(3)).test_loss[-1]), "held-out data are evaluated at the end, too"


def test_a_criterion_keeps_no_weights_without_fixed_points():
    network = RateNetwork(N, 64, 10, "power-law", seed=0)
    options = {"learning_rate": 1e3, "guard": False, "batch_size": 100, "held_out": None, "evaluate_every": None}
    for stop, steps in ((None, 2), (StepLimit(1), 1), (LossBelow(1e9), 1)):
        lost = run(network, stop=stop, epochs=steps, **options)
        assert (len(lost.step_length), lost.failed, lost.converged) == (1, True, False)
        assert "100 of 100 stimuli have no fixed point" in lost.stopped
        np.testing.assert_array_equal(lost.weights, network.initial_weights(0.3))
    assert lost.stopped.startswith("Stopped after step 1: ")
    whole = run(network, stop=LossBelow(1e9), **options | {"learning_rate": 1e-3})
    assert (whole.failed, whole.converged, len(whole.loss)) == (False, True, 1)


@pytest.mark.parametrize(("options", "told"), [({"guard": False}, "no guard"), ({"learning_rate": 1e9}, "let no step pass")])
@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_a_panel_without_measurements_says_why(options, told):
    history = run(**{"rule": "dW1"} | options).to_dataset()
    (panel,) = plot_watch(history).texts
    assert told in panel.get_text()


@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_the_history_is_a_dataset(tmp_path):
    for name, each in {
        "free": run(guard=False),
        "quiet": run(),
        "one reason": run(rule="dW2", learning_rate=300.0, stop=StepLimit(1)),
        "more": run(rule="dW2", learning_rate=300.0),
        "interrupted": run(guard=False, stop=StepLimit(3) & LossBelow(9)),
        "empty": history(),
    }.items():
        dataset = each.to_dataset()
        path = tmp_path / f"{name}.nc"
        write_netcdf(path, dataset)
        with xr.open_dataset(path, engine="h5netcdf") as read:
            xr.testing.assert_identical(read.load(), dataset)
        steps = len(each.loss)
        assert dict(dataset.sizes) == {"step": steps}
        np.testing.assert_array_equal(dataset.step, np.arange(1, steps + 1))
        assert dataset.attrs["stopped"] == each.stopped
        assert dataset.attrs["converged"] == int(each.converged)
        assert dataset.attrs["guard_reasons"].split("\n") == (each.guard_reasons or [""])
        for variable in dataset.data_vars:
            np.testing.assert_array_equal(dataset[variable], getattr(each, variable))


def test_units_and_what_was_not_measured():
    dataset = run().to_dataset()
    assert {name: dataset[name].attrs.get("units") for name in ("loss", "test_loss", "abscissa", "accuracy")} == {
        "loss": "nat", "test_loss": "nat", "abscissa": "1/τ", "accuracy": None,
    }  # fmt: skip
    squared = train(NETWORK, NETWORK.initial_weights(0.3), DIGITS.stimuli, SquaredError(np.eye(10)[DIGITS.labels]))
    assert "units" not in squared.to_dataset()["loss"].attrs
    assert "accuracy" not in squared.to_dataset()
    partial = history([1.0, 2.0], iterations=[3], step_length=[]).to_dataset()
    np.testing.assert_array_equal(partial["iterations"], [3, np.nan])
    assert "step_length" not in partial


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", np.ones(8)),
        ("linear", 1 - np.arange(8) / 8),
        ("cosine", (1 + np.cos(np.pi * np.arange(8) / 8)) / 2),
        (lambda done: done**2, (np.arange(8) / 8) ** 2),
    ],
)
def test_schedules(schedule, factors):
    """At a vanishing rate the gradient is constant along each batch, and steps are proportional to the factor."""
    lengths = [run(rule="dW1", learning_rate=1e-9, schedule=each).step_length for each in (schedule, None)]
    np.testing.assert_allclose(lengths[0], factors * lengths[1], rtol=1e-4, atol=1e-16)


def test_an_unknown_schedule():
    with pytest.raises(ValueError, match="schedule = 'cosinus': unknown; did you mean cosine"):
        run(schedule="cosinus")


class Path(list):
    def record(self, step, weights, loss=np.nan):
        self.append((step, weights, loss))


MANIFOLDS = {
    "euclidean": PullbackManifold(Identity(), N),
    "resolvent": PullbackManifold(Resolvent(), N),
    "monotone": MonotoneManifold(N),
}


@pytest.mark.parametrize("name", MANIFOLDS)
@pytest.mark.parametrize("optimizer", [Descent, Adam])
def test_no_step_is_longer_than_the_longest(name, optimizer):
    manifold, path = MANIFOLDS[name], Path()
    capped = run(rule=optimizer(manifold), learning_rate=3.0, longest_step=0.03, record=path, guard=False)
    lengths = [manifold.dist(a[1], b[1]) for a, b in pairwise(path)]
    np.testing.assert_allclose(lengths, 0.03, rtol=1e-6)
    np.testing.assert_allclose(capped.step_length, 0.03)
    first = run(rule=optimizer(manifold), learning_rate=0.01, guard=False).step_length[0]
    for share in (0.9, 1.1):
        barely = run(rule=optimizer(manifold), learning_rate=0.01, longest_step=share * first, guard=False)
        assert barely.step_length[0] == pytest.approx(min(share, 1.0) * first)
    short = run(rule=optimizer(manifold), learning_rate=1e-4, longest_step=0.03, guard=False)
    np.testing.assert_array_equal(short.weights, run(rule=optimizer(manifold), learning_rate=1e-4, guard=False).weights)


class Still(CrossEntropy):
    """A loss with zero slope."""

    def gradient(self, outputs):
        return 0 * outputs

    def take(self, rows):
        return Still(self.labels[rows])


@pytest.mark.parametrize("manifold", [*MANIFOLDS.values(), ScaledMonotoneManifold(N)], ids=[*MANIFOLDS, "scaled-monotone"])
def test_decay_draws_to_the_start_along_the_geodesic(manifold):
    """After steps away from the start, steps without a gradient shrink the distance to it by 1 − ηλ."""
    start = NETWORK.initial_weights(0.3)
    origin, points = manifold.point_at(start), []
    loss = CrossEntropy(DIGITS.labels)

    class ThenStill(Descent):
        def gradient(self, point, evaluation):
            points.append(point)
            scale = 3.0 if len(points) == 1 else 0.0
            return scale * super().gradient(point, evaluation)

    rule = ThenStill(manifold)
    train(NETWORK, start, DIGITS.stimuli, loss, rule, 0.1, epochs=5, decay=2.0, guard=False)
    distances = [manifold.dist(origin, point) for point in points]
    assert distances[0] == pytest.approx(0.0, abs=1e-12)
    assert distances[1] > 0.01
    np.testing.assert_allclose(np.divide(distances[2:], distances[1:-1]), 1 - 0.1 * 2.0, rtol=1e-9)
    for a, b in pairwise(points[1:]):
        assert manifold.dist(a, b) + manifold.dist(b, origin) == pytest.approx(manifold.dist(a, origin), rel=1e-9)


def test_decay_needs_a_manifold():
    with pytest.raises(ValueError, match=r"decay = 0\.1 needs a logarithm, and the rule DeltaW3 has no manifold with one"):
        run(decay=0.1)
    network = RateNetwork(N, 64, 10, seed=0, connectivity=LowRank(2))
    with pytest.raises(ValueError, match=r"rule Descent on the Embedded manifold .* has no manifold with one"):
        run(network, rule=Descent(FixedRank(N, N, 2)), decay=0.1)
    sparse = SubspaceManifold(PullbackManifold(Resolvent(), N), zero_diagonal(N))  # its geodesics leave the subspace
    with pytest.raises(ValueError, match=r"Subspace .* has no manifold with one"):
        run(weights=zero_diagonal(N).project(NETWORK.initial_weights(0.3)), rule=Descent(sparse), decay=0.1)


@pytest.mark.parametrize(("period", "looks"), [(1, range(1, 9)), (3, (3, 6, 8)), (100, (8,)), (None, (4, 8))])
def test_held_out_data_are_measured_at_their_period(period, looks):
    path = Path()
    seen = run(evaluate_every=period, record=path)
    assert [step for step, loss in enumerate(seen.test_loss, 1) if not np.isnan(loss)] == list(looks)
    cost = FixedPointCost(NETWORK, DIGITS.stimuli[:30], CrossEntropy(DIGITS.labels[:30]))
    for step in looks:
        evaluation = cost.at(path[step][1])
        assert seen.test_loss[step - 1] == pytest.approx(evaluation.cost)
        assert seen.test_accuracy[step - 1] == np.mean(np.argmax(evaluation.outputs, axis=1) == DIGITS.labels[:30])
    np.testing.assert_array_equal(seen.weights, run(held_out=None).weights)


def test_held_out_data_without_fixed_points_end_nothing():
    far = 1e3 * np.ones((1, 64)), np.array([0])
    network = RateNetwork(N, 64, 10, "power-law", seed=0)
    seen = run(network, learning_rate=1e-3, held_out=far)
    assert len(seen.loss) == 8
    assert [loss for loss in seen.test_loss if not np.isnan(loss)] == [np.inf] * 4
    assert np.all(np.isnan(seen.test_accuracy))


def test_the_recorder_gets_each_step_and_the_last_point_once():
    path = Path()
    seen = run(record=path)
    assert [step for step, _, _ in path] == list(range(9))
    np.testing.assert_array_equal(path[0][1], NETWORK.initial_weights(0.3))
    np.testing.assert_array_equal(path[8][1], seen.weights)
    assert [loss for _, _, loss in path[:8]] == seen.loss
    assert np.isnan(path[8][2])

    def interrupt(step, history):
        if step == 3:
            raise KeyboardInterrupt

    stopped, interrupted = Path(), Path()
    run(record=stopped, stop=StepLimit(3))
    run(record=interrupted, callback=interrupt)
    assert [[step for step, _, _ in each] for each in (stopped, interrupted)] == [[0, 1, 2, 3], [0, 1, 2]]
    for each in (stopped, interrupted):
        for ours, theirs in zip(each, path, strict=False):
            np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("margin", [0.05, 0.5])
def test_the_nearest_point_is_the_nearest(margin, generator):
    """Compares with a search over W = I − (B Bᵀ + margin I) − K, which are all allowed weights."""
    W, manifold = 1.5 * generator.standard_normal((3, 3)), MonotoneManifold(3)
    nearest = manifold.nearest(W, margin)
    assert np.linalg.eigvalsh(np.eye(3) - (nearest + nearest.T) / 2)[0] == pytest.approx(margin)

    def weights(parameters):
        B, K = parameters.reshape(2, 3, 3)
        return np.eye(3) * (1 - margin) - B @ B.T - (K - K.T)

    found = minimize(lambda each: np.sum((weights(each) - W) ** 2), generator.standard_normal(18), tol=1e-14)
    np.testing.assert_allclose(nearest, weights(found.x), atol=1e-3)
    assert np.linalg.norm(nearest - W) <= found.fun**0.5 + 1e-9
    np.testing.assert_allclose(manifold.nearest(nearest, margin), nearest, atol=1e-12)
    inside = 0.1 * W
    np.testing.assert_array_equal(manifold.nearest(inside), inside)


@pytest.mark.parametrize("guard", [None, StabilityGuard()])
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_manifold_trains(name, guard):
    task = Task(NETWORK, NETWORK.initial_weights(0.3), DIGITS, DIGITS, DIGITS)
    for retraction in CATALOGUE[name].retractions:
        manifold, _, there = CATALOGUE[name].start(task, retraction)
        rule, start, network = Descent(manifold), there.weights, there.network
        seen = train(network, start, DIGITS.stimuli, DIGITS.labels, rule, 0.03, 40, seed=0, guard=guard)
        assert (len(seen.loss), seen.stopped) == (3, "All 1 epochs done.")
        assert seen.loss[0] > 0
        whole = FixedPointCost(network, DIGITS.stimuli, CrossEntropy(DIGITS.labels))
        assert whole(seen.weights) < whole(start)


def test_the_picture_of_a_single_step_shows_it():
    alone, several = run(batch_size=100, epochs=1).to_dataset(), run().to_dataset()
    for history, marked in ((alone, True), (several, False)):
        figure = training_figure(history, "steps")
        for ax in figure.axes[:3]:
            assert (ax.lines[0].get_marker() == "o") is marked
            figure.canvas.draw()
            assert all(float(tick) == int(tick) for tick in ax.get_xticks())
