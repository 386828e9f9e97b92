"""The training loop: it is reproducible, reports why it ended, and learns."""

from types import SimpleNamespace

import numpy as np
import pytest
from pymanopt.optimizers import TrustRegions
from runs import fold

from manifolds import Identity, InvalidArrayError, MonotoneManifold, PullbackManifold, Resolvent
from riemannrnn import AutogradLoss, CrossEntropy, FixedPointCost, RateNetwork, SquaredError, train
from riemannrnn.comparison import SameDtypeTrustRegions
from riemannrnn.data import load_digits
from riemannrnn.network import power_law
from riemannrnn.rules import KFAC, Adam, Descent, Momentum
from riemannrnn.rules.rule import Rule
from riemannrnn.training import accuracy
from riemannrnn.training.outcome import HIDDEN, LOST

RULES = ["dW1", "dW2", "dW3", "dW4", "descent", "momentum"]


@pytest.fixture(scope="module")
def digits():
    return load_digits().split(100, seed=0)[0]


@pytest.fixture(scope="module")
def network():
    return RateNetwork(20, 64, 10, seed=0)


def run(network, digits, rule="dW3", **options):
    settings = {"learning_rate": 1.0, "batch_size": 25, "epochs": 2, "seed": 0} | options
    return train(network, network.initial_weights(0.3), digits.stimuli, digits.labels, rule, **settings)


@pytest.mark.parametrize("rule", RULES)
def test_learning_happens(network, digits, rule):
    history = run(network, digits, rule, learning_rate={"dW1": 0.1, "momentum": 0.05}.get(rule, 0.3), epochs=8)
    assert np.mean(history.loss[-4:]) < 0.95 * np.mean(history.loss[:4])
    assert np.mean(history.accuracy[-4:]) > np.mean(history.accuracy[:4])
    assert history.stopped == "All 8 epochs done."


@pytest.mark.parametrize("rule", ["dW3", "adam"])
def test_scalars_of_numpy_keep_single_precision(rule):
    digits, network = load_digits(np.float32), RateNetwork(20, 64, 10, seed=0, dtype=np.float32)
    options = {"learning_rate": np.float64(0.01), "longest_step": np.float64(1), "decay": np.float64(0.01 * (rule == "adam"))}
    history = run(network, digits, rule, batch_size=200, epochs=1, schedule=lambda share: np.exp(-share), **options)
    assert history.stopped == "All 1 epochs done."
    assert history.weights.dtype == np.float32


RESOLVENT = PullbackManifold(Resolvent(), 20)
NUMPY_RULES = {
    "momentum": lambda number: Momentum(RESOLVENT, momentum=number(0.5)),
    "decays": lambda number: Adam(RESOLVENT, decays=(number(0.9), number(0.99))),
    "epsilon": lambda number: Adam(RESOLVENT, epsilon=number(1e-8)),
    "damping": lambda number: KFAC(damping=number(0.1)),
    "decay": lambda number: KFAC(decay=number(0.9)),
}


@pytest.mark.parametrize("name", NUMPY_RULES)
@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_scalars_of_numpy_in_rules_keep_single_precision(name):
    digits, network = (
        load_digits(np.float32),
        RateNetwork(20, 64, 10, power_law(2.0, np.float64(0.1)), seed=0, dtype=np.float32),
    )
    runs = [
        run(network, digits, NUMPY_RULES[name](number), batch_size=600, epochs=1, learning_rate=0.001)
        for number in (float, np.float64)
    ]
    assert all(each.stopped.startswith("All 1 epochs done.") for each in runs)
    assert runs[1].weights.dtype == np.float32
    np.testing.assert_array_equal(*(each.weights for each in runs))


def test_weights_that_are_not_finite_are_refused(network, digits):
    for weights in (np.full((20, 20), np.nan), np.diag([np.inf] * 20)):
        with pytest.raises(ValueError, match="the weights to start from hold NaN or infinity"):
            train(network, weights, digits.stimuli, digits.labels)


def test_trust_regions_in_single_precision():
    """pymanopt's trust regions turn it into float64, as the README says."""
    digits, network = load_digits(np.float32).split(40, seed=0)[0], RateNetwork(10, 64, 10, seed=0, dtype=np.float32)
    start, cost = network.initial_weights(0.3), FixedPointCost(network, digits.stimuli, CrossEntropy(digits.labels))
    problem, options = cost.problem(MonotoneManifold(10, like=start)), {"verbosity": 0, "max_iterations": 4}
    with pytest.raises(InvalidArrayError, match="float64"):
        TrustRegions(**options).run(problem, initial_point=start)
    result = SameDtypeTrustRegions(**options).run(problem, initial_point=start)
    assert result.point.dtype == np.float32
    assert result.cost < cost(start)


BAD = np.array([0.0, np.nan])


def test_manifolds_are_known_by_name(network, digits):
    named = run(network, digits, None, manifold="monotone", learning_rate=0.3)
    made = run(network, digits, None, manifold=MonotoneManifold(20), learning_rate=0.3)
    np.testing.assert_array_equal(named.weights, made.weights)
    momentum = run(network, digits, "momentum", manifold="dale", learning_rate=0.1)
    signs = np.sign(momentum.weights)
    assert (signs == signs[0]).all(), "training starts from weights that obey Dale's law, and keeps their signs"
    factors = run(network, digits, None, manifold="low-rank", learning_rate=0.1)
    assert [part.shape for part in factors.weights] == [(20, 10), (10,), (10, 20)]


MISTAKES = {
    "a negative rate": ({"learning_rate": -1.0}, "learning_rate = -1.0: it has to be 0 or more"),
    "a negative length": ({"longest_step": -1.0}, "longest_step = -1.0: it has to be 0 or more"),
    "a negative decay": ({"decay": -1.0}, "decay = -1.0: it has to be 0 or more"),
    "half an epoch": ({"epochs": 1.5}, "epochs = 1.5: expected a whole number"),
    "epochs": ({"epochs": -1}, "epochs = -1: it has to be 0 or more"),
    "half a stimulus": ({"batch_size": 2.5}, "batch_size = 2.5: expected a whole number"),
    "no period of checkpoints": ({"checkpoint_every": 0}, "checkpoint_every = 0: it has to be 1 or more"),
    "no period": ({"evaluate_every": 0}, "evaluate_every = 0: it has to be 1 or more"),
    "a rule that is made, and a name": ({"rule": KFAC(), "manifold": "resolvent"}, "the rule KFAC is made already"),
    "a rule with a metric of its own, and a name": ({"rule": "kfac", "manifold": "dale"}, "'kfac' has a metric of its own"),
    "an unknown manifold": ({"manifold": "dales"}, "did you mean dale"),
    "two manifolds": (
        {"rule": Descent(PullbackManifold(Identity(), 20)), "manifold": PullbackManifold(Identity(), 20)},
        "the rule Descent on the Identity manifold .* is made already",
    ),
    "a class": ({"rule": Descent}, "rule = <class .*Descent'>: expected a text in quotes or Rule"),
    "ragged lists": ({"stimuli": [[0.0] * 64, [0.0]]}, "the stimuli cannot be read as an array of numbers"),
    "a list of words": ({"labels": ["a"] * 100}, "the labels have dtype <U1, which holds no real numbers; pass numbers"),
    "NaN": (
        {"stimuli": BAD[:, None] + np.zeros((2, 64)), "labels": np.zeros(2, int)},
        "row 1 of the stimuli holds NaN or infinity",
    ),
    "held-out NaN": ({"held_out": (BAD[:, None] + np.zeros((2, 64)), np.zeros(2, int))}, "row 1 of the held-out stimuli"),
    "an infinite target": (
        {"stimuli": np.zeros((2, 64)), "labels": SquaredError(np.where(np.isnan(BAD), np.inf, 0)[:, None] + np.zeros((2, 10)))},
        "row 1 of the targets holds infinity",
    ),
    "too many targets": (
        {"labels": SquaredError(np.zeros((101, 10)))},
        r"shape \(101, 10\), the outputs \(100, 10\)",
    ),
    "too few targets": ({"labels": AutogradLoss(lambda y, t: y[:, 0], np.zeros(9))}, "9 targets do not fit 100 stimuli"),
    "too many labels": ({"labels": CrossEntropy(np.zeros(101, int))}, "101 labels do not fit outputs of shape"),
    "a label too large": ({"labels": np.where(np.arange(100) == 7, 10, 0)}, "label 10 of stimulus 7 points to no output"),
    "a held-out label": (
        {"held_out": (np.zeros((2, 64)), np.array([0, -2]))},
        "label -2 of stimulus 1 points to no output: there are 10",
    ),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_invalid_arguments_are_named_before_the_first_step(network, digits, options, message):
    settings = {"stimuli": digits.stimuli, "labels": digits.labels, "rule": "dW3", "seed": 0} | options
    with pytest.raises(ValueError, match=message):
        train(network, network.initial_weights(0.3), **settings)


def test_a_history_belongs_to_its_rule(network, digits):
    history = run(network, digits, "adam", learning_rate=0.01)
    with pytest.raises(ValueError, match=r"the history is of Adam on the Resolvent manifold .*, this run of DeltaW3; pass"):
        train(network, history, digits.stimuli, digits.labels, "dW3")


def test_a_run_that_lost_its_fixed_points_says_what_to_change(network, digits):
    assert fold(guard=False).stopped.endswith(LOST)
    far = run(network, digits, None, longest_step=np.inf)  # to weights so large that rounding hides the fixed points
    assert far.stopped.endswith(HIDDEN)


def test_a_run_is_reproducible_to_the_bit(network, digits):
    first, again, other = run(network, digits), run(network, digits), run(network, digits, seed=1)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert (first.loss, first.accuracy, first.iterations) == (again.loss, again.accuracy, again.iterations)
    assert first.loss != other.loss
    generator = np.random.default_rng(0)
    assert run(network, digits, seed=generator).loss == first.loss


@pytest.mark.parametrize(("batch_size", "steps"), [(25, 8), (30, 8), (100, 2), (None, 2), (1, 200)])
def test_history_has_an_entry_a_step(network, digits, batch_size, steps):
    seen = []
    history = run(
        network,
        digits,
        batch_size=batch_size,
        learning_rate=1e-3,
        callback=lambda step, history: seen.append((step, len(history.loss))),
    )
    assert len(history.loss) == len(history.accuracy) == len(history.iterations) == steps
    assert seen == [(step, step) for step in range(1, steps + 1)]
    assert all(count > 0 for count in history.iterations)


@pytest.mark.filterwarnings("ignore:The training loss has not fallen")
def test_every_stimulus_is_seen_once_an_epoch(network, digits):
    """With a learning rate of 0 the mean loss of an epoch equals the loss of all stimuli."""
    history = run(network, digits, learning_rate=0.0)
    whole = run(network, digits, learning_rate=0.0, batch_size=None, epochs=1)
    assert np.mean(history.loss[:4]) == pytest.approx(whole.loss[0])
    assert np.mean(history.accuracy[4:]) == pytest.approx(whole.accuracy[0])
    assert history.loss[:4] != history.loss[4:]
    np.testing.assert_array_equal(history.weights, network.initial_weights(0.3))


def test_one_full_batch_is_one_gradient_step(network, digits):
    weights = network.initial_weights(0.3)
    before = weights.copy(), digits.stimuli.copy()
    history = train(network, weights, digits.stimuli, digits.labels, "dW1", 0.5)
    np.testing.assert_array_equal(weights, before[0])
    np.testing.assert_array_equal(digits.stimuli, before[1])
    assert not np.any(history.weights == weights)
    cost = FixedPointCost(network, digits.stimuli, CrossEntropy(digits.labels))
    np.testing.assert_allclose(history.weights, weights - 0.5 * cost.gradient(weights), atol=1e-8)
    assert history.loss == [pytest.approx(cost(weights))]


def test_another_loss_has_no_accuracy(network, digits):
    targets = np.eye(10)[digits.labels]
    history = train(network, network.initial_weights(0.3), digits.stimuli, SquaredError(targets), batch_size=50, seed=0)
    assert len(history.loss) == 2
    assert history.accuracy == []


def test_a_lost_fixed_point_stops_the_run_and_keeps_the_weights(digits):
    network = RateNetwork(20, 64, 10, "power-law", seed=0)
    history = run(network, digits, learning_rate=1e3, guard=False)
    assert history.stopped.startswith(f"Stopped at step {len(history.loss) + 1}: ")
    assert "have no fixed point to the tolerance" in history.stopped
    assert 1 <= len(history.loss) < 8
    fixed_points = network.fixed_points(history.weights, digits.stimuli, on_failure="mask")
    assert np.all(np.isfinite(history.weights))
    assert fixed_points.converged.any()


def test_a_step_over_the_edge_stops_the_run(network, digits):
    history = run(network, digits, "dW2", learning_rate=1e6, guard=False)
    assert history.stopped.startswith(f"Stopped at step {len(history.loss)}: exit time t* = ")
    np.testing.assert_array_equal(history.weights, network.initial_weights(0.3))


def test_ctrl_c_keeps_the_last_result(network, digits):
    kept = []

    def interrupt(step, history):
        kept.append(history.weights)
        if step == 3:
            raise KeyboardInterrupt

    history = run(network, digits, callback=interrupt)
    assert history.stopped == "Interrupted after 3 steps."
    assert len(history.loss) == 3
    np.testing.assert_array_equal(history.weights, kept[-1])
    assert not np.any(history.weights == network.initial_weights(0.3))
    complete = run(network, digits)
    assert complete.loss[:3] == history.loss


@pytest.mark.parametrize(
    ("batch_size", "reason"),
    [(0, ": it has to be 1 or more"), (-1, ": it has to be 1 or more"), (101, " does not fit 100 stimuli; choose 1 to 100")],
)
def test_batch_sizes_that_do_not_fit(network, digits, batch_size, reason):
    with pytest.raises(ValueError, match=f"batch_size = {batch_size}{reason}"):
        run(network, digits, batch_size=batch_size)


def test_a_manifold_of_another_size_is_an_error_not_a_stop(network, digits):
    with pytest.raises(ValueError, match=r"shape \(20, 20\)"):
        run(network, digits, "descent", manifold=PullbackManifold(Identity(), 19))


def test_the_metric_may_be_chosen(network, digits):
    euclidean = run(network, digits, "descent", manifold=PullbackManifold(Identity(), 20))
    np.testing.assert_array_equal(euclidean.weights, run(network, digits, "dW1").weights)
    resolvent = run(network, digits, "descent", manifold=PullbackManifold(Resolvent(), 20))
    np.testing.assert_array_equal(resolvent.weights, run(network, digits, "dW2").weights)


def test_float32_stays_float32(digits):
    network = RateNetwork(20, 64, 10, seed=0, dtype=np.float32)
    stimuli = digits.stimuli.astype(np.float32)
    for rule in RULES:
        history = train(network, network.initial_weights(0.3), stimuli, digits.labels, rule, 0.1, batch_size=50, seed=0)
        assert history.weights.dtype == np.float32
        assert history.stopped == "All 1 epochs done."


def test_accuracy():
    outputs, labels = np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), np.array([1, 0, 0, 0])
    loss = CrossEntropy(labels)
    for included, share in (([1, 1, 1, 1], 0.75), ([1, 1, 0, 0], 1.0), ([0, 0, 1, 1], 0.5), ([1, 1, 0, 1], 1.0)):
        weights = np.array(included, np.float32)[:, None] / np.float32(sum(included))
        assert accuracy(SimpleNamespace(outputs=outputs, included=weights), loss) == share
    assert np.isnan(accuracy(SimpleNamespace(outputs=outputs, included=np.zeros((4, 1))), loss))
    assert accuracy(SimpleNamespace(outputs=outputs, included=np.ones((4, 1))), SquaredError(outputs)) is None


def test_overflowing_steps_stop_the_run_with_a_reason(network, digits):
    class Explode(Rule):
        def velocity(self, point, evaluation, learning_rate, memory=None):
            return np.full_like(evaluation.weights, np.inf), None

    history = run(network, digits, Explode(), guard=False)
    assert "the weights hold NaN or infinity" in history.stopped
    assert np.isfinite(history.weights).all()


@pytest.mark.parametrize("rule", [None, "momentum", "adam", "dW3"])
def test_a_run_continues_the_history_of_another(network, digits, rule):
    """Two epochs of one batch equal one epoch and another: the point and the memory of the rule are carried over."""

    def going_on(start, epochs):
        options = {"learning_rate": 0.02, "schedule": "constant", "tolerance": 1e-10}
        return train(network, start, digits.stimuli, digits.labels, rule, epochs=epochs, seed=0, **options)

    start = network.initial_weights(0.3)
    whole, half = going_on(start, 2), going_on(start, 1)
    other = going_on(half, 1)
    np.testing.assert_allclose(other.weights, whole.weights, rtol=0, atol=1e-8)
    np.testing.assert_allclose([*half.loss, *other.loss], whole.loss, rtol=1e-8)
