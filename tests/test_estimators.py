"""The estimators pass scikit-learn's own checks, and train like `train`."""

import pickle
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from riemannrnn import CrossEntropy, FixedPointClassifier, FixedPointRegressor, RateNetwork, SquaredError, train
from riemannrnn.data import load_digits
from riemannrnn.estimators import base
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.rules.named import RULES

DIGITS = load_digits().split(240, seed=0)[0]
X, Y = DIGITS.stimuli, DIGITS.labels
LINE = np.linspace(-2, 2, 60)[:, None]
CURVE = np.cos(2 * LINE[:, 0])

classifier = partial(FixedPointClassifier, n_units=20, epochs=3, random_state=0)
regressor = partial(FixedPointRegressor, n_units=20, epochs=3, random_state=0)


SMALL = {"n_units": 20, "batch_size": 50, "epochs": 8}


SOLVED = "fixed points are solved to a tolerance above 1e-7, and mini-batches differ where samples are repeated"


SATURATED = "its features have a standard deviation of 20, at which the units saturate; test_class_weights scales them"


def expected(estimator):
    failing = {f"check_sample_weight_equivalence_on_{kind}_data": SOLVED for kind in ("dense", "sparse")}
    return failing | ({"check_class_weight_classifiers": SATURATED} if "class_weight" in estimator.get_params() else {})


@parametrize_with_checks([FixedPointClassifier(**SMALL), FixedPointRegressor(**SMALL)], expected_failed_checks=expected)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_a_pipeline_learns_the_digits():
    model = make_pipeline(StandardScaler(), classifier(n_units=100, epochs=6, learning_rate=0.03))
    assert cross_val_score(model, 16 * X, Y, cv=2).min() > 0.75
    names = np.array([f"digit {label}" for label in Y])
    model.fit(16 * X, names)
    assert model.score(16 * X, names) > 0.95
    assert set(model.classes_) == set(names)
    np.testing.assert_allclose(model.predict_proba(16 * X).sum(axis=1), 1, rtol=1e-12)
    assert (model.classes_[model.predict_proba(16 * X).argmax(axis=1)] == model.predict(16 * X)).all()


def test_a_grid_of_rules_and_metrics():
    grid = [{"rule": ["dW1", "dW3"], "learning_rate": np.array([0.1])}, {"manifold": ["resolvent", "monotone"]}]
    search = GridSearchCV(classifier(epochs=1), grid, cv=2, error_score="raise").fit(X[:60], Y[:60])
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert (search.cv_results_["mean_test_score"] > 0).all()


@pytest.mark.parametrize("manifold", CATALOGUE)
def test_every_manifold(manifold):
    model = classifier(n_units=12, manifold=manifold, epochs=1, batch_size=30).fit(X[:60], Y[:60])
    assert model.history_.stopped == "All 1 epochs done."
    assert model.partial_fit(X[60:90], Y[60:90]).n_iter_ == 2
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule):
    model = classifier(rule=rule, epochs=1).fit(X[:60], Y[:60])
    assert model.partial_fit(X[:60], Y[:60]).n_iter_ == 2
    assert model.loss_curve_[1] < model.loss_curve_[0]


def test_fit_is_train_without_arguments():
    model = classifier(batch_size=80, tolerance=1e-10).fit(X, Y)
    network = model.network_
    stimuli = np.hstack([X, np.full((len(X), 1), 65**0.5)])
    order = np.random.default_rng((model._model.seed, 0))
    history = train(network, network.initial_weights(0.5), stimuli, Y, batch_size=80, epochs=3, seed=order)
    np.testing.assert_array_equal(model.weights_, history.weights)
    np.testing.assert_allclose(model.loss_curve_, np.reshape(history.loss, (3, 3)).mean(axis=1))
    outputs = network.outputs(model.fixed_points(X).rates)
    np.testing.assert_allclose(model.predict_proba(X)[np.arange(240), Y], np.exp(-CrossEntropy(Y).value(outputs)))


def test_the_read_in_and_the_readout_stay_and_the_bias_is_a_drive_of_each_unit():
    model = classifier(bias=0.5).fit(X, Y)
    drive = model.network_.drive(model._model.stimuli(np.zeros((1, 64))))
    np.testing.assert_allclose(drive[0], 0.5 * 65**0.5 * model.network_.input_weights[:, -1])
    made = RateNetwork(20, 65, 10, seed=model._model.seed)
    np.testing.assert_array_equal(model.network_.readout, made.readout)


def test_partial_fit_goes_on_with_its_point_and_its_moments():
    """Compares two epochs of one batch each at a constant rate; the order within a batch does not matter."""
    model = classifier(batch_size=240, tolerance=1e-10)
    model.partial_fit(X, Y, classes=np.arange(10)).partial_fit(X, Y)
    whole = classifier(batch_size=240, tolerance=1e-10, epochs=2, schedule="constant").fit(X, Y)
    np.testing.assert_allclose(model.weights_, whole.weights_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.loss_curve_, whole.loss_curve_, rtol=1e-8)
    assert model.set_params(n_units=5, epochs=9).partial_fit(X, Y).n_iter_ == 3  # it keeps its units, and trains one epoch


def test_partial_fit_keeps_its_rate():
    online, constant = classifier(schedule="cosine"), classifier(schedule="constant", epochs=1)
    np.testing.assert_array_equal(online.partial_fit(X, Y, range(10)).weights_, constant.fit(X, Y).weights_)


def test_partial_fit_takes_classes_that_come_later_and_refuses_others():
    early, late = Y < 5, Y >= 5
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        classifier().partial_fit(X, Y)
    model = classifier().partial_fit(X[early], Y[early], classes=range(10)).partial_fit(X[late], Y[late])
    assert model.predict_proba(X).shape == (240, 10)
    with pytest.raises(ValueError, match=r"classes = \[0, 1\] differ from the classes of the first call"):
        model.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="y holds 10, which is none of the classes"):
        model.partial_fit(X, Y + 1)
    targets = regressor().partial_fit(LINE, CURVE)
    assert targets.target_mean_ == targets.partial_fit(LINE, CURVE + 9).target_mean_ == CURVE.mean()
    with pytest.raises(ValueError, match=r"y has shape \(60, 2\), but targets were of shape \(\)"):
        targets.partial_fit(LINE, np.stack([CURVE, CURVE], axis=1))


def test_the_seed_decides():
    first, second, other = classifier().fit(X, Y), classifier().fit(X, Y), classifier(random_state=1).fit(X, Y)
    np.testing.assert_array_equal(first.weights_, second.weights_)
    assert not np.array_equal(first.weights_, other.weights_)
    np.testing.assert_array_equal(clone(first).fit(X, Y).weights_, first.weights_)
    with pytest.raises(NotFittedError):
        clone(first).fixed_points(X)


def test_a_model_is_what_was_fitted_whatever_its_parameters_say_later():
    model = classifier().fit(X, Y)
    before = model.predict_proba(X)
    np.testing.assert_array_equal(model.set_params(n_units=3, activation="relu", bias=0.0).predict_proba(X), before)


def test_single_precision():
    single, double = classifier().fit(X.astype(np.float32), Y), classifier().fit(X, Y)
    assert single.weights_.dtype == single.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(single.weights_, double.weights_, rtol=0, atol=1e-2)
    assert single.partial_fit(X, Y).weights_.dtype == np.float32  # for later data of any dtype
    assert regressor().fit(LINE.astype(np.float32), CURVE).predict(LINE).dtype == np.float32
    assert single.fixed_points(X).residual.max() < 1e-9


def test_regression_of_several_targets():
    model = regressor(epochs=20).fit(LINE, np.stack([CURVE, LINE[:, 0], np.full(60, 0.1)], axis=1))
    assert model.predict(LINE).shape == (60, 3)
    np.testing.assert_array_equal(model.target_scale_[2], 1)
    assert abs(model.predict(LINE)[:, :2] - np.stack([CURVE, LINE[:, 0]], axis=1)).max() < 0.6
    assert regressor().fit(LINE, CURVE[:, None]).predict(LINE).shape == (60, 1)
    assert regressor().fit(LINE, np.full(60, 0.1, np.float32)).target_scale_ == 1


def test_targets_of_any_size_are_learned_alike():
    model, other = regressor().fit(LINE, CURVE), regressor().fit(LINE, 1000 * CURVE + 5)
    np.testing.assert_allclose(other.predict(LINE), 1000 * model.predict(LINE) + 5, rtol=1e-6)
    standard = (CURVE - CURVE.mean()) / CURVE.std()
    outputs = model.network_.outputs(model.fixed_points(LINE).rates)
    np.testing.assert_allclose(model.predict(LINE), CURVE.mean() + CURVE.std() * outputs[:, 0])
    assert SquaredError(standard[:, None]).value(outputs).mean() < 0.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rule": "adma"}, "rule = 'adma': unknown; did you mean adam"),
        ({"manifold": "rezolvent"}, "manifold = 'rezolvent': unknown; did you mean resolvent"),
        ({"activation": "tahn"}, "activation = 'tahn': unknown; did you mean tanh"),
        ({"activation": None}, "activation = None: expected a text"),
        ({"schedule": "zzz"}, "schedule = 'zzz': unknown; choose one of constant, cosine, linear"),
        ({"n_units": 0}, "n_units = 0: it has to be 1 or more"),
        ({"n_units": 2.5}, "n_units = 2.5: expected a whole number"),
        ({"epochs": True}, "epochs = True: expected a whole number"),
        ({"learning_rate": "1"}, "learning_rate = '1': expected a number"),
        ({"decay": -1}, "decay = -1.0: it has to be 0 or more"),
        ({"radius": np.inf}, "radius = inf: it has to be below inf"),
        ({"radius": 2.0}, "radius = 2.0: too large for the manifold; smallest eigenvalue"),
        ({"radius": 20.0, "rule": "dW1"}, "radius = 20.0: too large for these samples; at the weights to start from"),
        ({"rule": "dW1", "manifold": "resolvent"}, "rule 'dW1' has a metric of its own"),
        ({"rule": "dW3", "decay": 1.0}, "decay = 1.0 needs a logarithm"),
        ({"activation": "power-law"}, "activation 'power-law' has slope"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named_in_fit(options, sentence):
    model = classifier(**options)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        model.fit(X[:60], Y[:60])
    assert str(caught.value).startswith(sentence)
    assert not hasattr(model, "history_")


@pytest.mark.parametrize("kind", [FixedPointClassifier, FixedPointRegressor])
def test_what_is_refused_leaves_a_fitted_model_as_it_was(kind):
    X, y = np.linspace(-1, 1, 40)[:, None], np.arange(40) % 2
    model = kind(n_units=5, epochs=2, random_state=0).fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="epochs = 0"):
        model.set_params(epochs=0).fit(X[:, [0, 0]], 1000.0 * y if kind is FixedPointRegressor else y + 7)
    np.testing.assert_array_equal(model.predict(X), before)
    model.set_params(epochs=2)
    with pytest.raises(ValueError, match="radius = 99.0: too large" if kind is FixedPointRegressor else "one class only"):
        model.set_params(radius=99.0).fit(X[:, [0, 0]], 0 * y)
    np.testing.assert_array_equal(model.predict(X), before)
    fresh = kind(epochs=0)
    with pytest.raises(ValueError, match="epochs = 0"):
        fresh.fit(X, y)
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test_a_fit_that_cannot_begin_leaves_no_model(monkeypatch):
    def refuse(*arguments, **options):
        raise ValueError("on purpose")

    monkeypatch.setattr(base, "train", refuse)
    X, y = np.linspace(-1, 1, 40)[:, None], np.arange(40) % 2
    for model in (FixedPointClassifier(), FixedPointRegressor()):
        with pytest.raises(ValueError, match="on purpose"):
            model.fit(X, y)
        with pytest.raises(NotFittedError):
            model.predict(X)
        assert not {"classes_", "target_mean_"} & set(vars(model))


def test_numbers_of_numpy_are_numbers():
    model = classifier(n_units=np.int64(20), learning_rate=np.float32(0.015), epochs=np.int64(1)).fit(X, Y)
    assert model.learning_rate.dtype == np.float32  # stored unchanged
    assert model.n_iter_ == 1


def test_one_class():
    with pytest.raises(ValueError, match="y holds one class only"):
        classifier().fit(X, np.zeros_like(Y))


def test_a_trained_model_that_other_samples_would_make_unstable_blames_them():
    generator = np.random.default_rng(0)
    X, y = generator.standard_normal((40, 4)), np.arange(40) % 3
    model = FixedPointClassifier(n_units=10, rule="dW1", bias=0.0, learning_rate=0.3, epochs=40, random_state=0).fit(3 * X, y)
    with pytest.raises(
        ValueError, match=r"training cannot continue: .* have no fixed point .*\. Pass samples like those .*fit it again$"
    ):
        model.partial_fit(0.01 * X, y)


def test_an_interrupted_run_is_a_fitted_model(monkeypatch):
    def interrupt(step, history):
        if step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(base, "train", partial(train, callback=interrupt))
    model = classifier()
    with pytest.warns(ConvergenceWarning, match="Interrupted after 3 steps. The weights reached are kept"):
        model.fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.n_iter_ == 1


def test_a_run_that_loses_its_fixed_points_says_so(monkeypatch):
    def stopping(*arguments, **options):
        history = train(*arguments, **options)
        history.failed, history.stopped = True, "Stopped at step 30: no fixed point."
        return history

    monkeypatch.setattr(base, "train", stopping)
    with pytest.warns(ConvergenceWarning, match="Stopped at step 30: no fixed point. The weights .* With features scaled"):
        classifier().fit(X, Y)


def test_samples_without_a_fixed_point_are_named():
    model = classifier(activation="relu", manifold="euclidean", epochs=1).fit(X, Y)
    model.history_.weights = 5 * np.eye(20)  # r = relu(5 r + x) has no solution for x > 0
    with pytest.warns(
        ConvergenceWarning, match=r"of 240 samples have no fixed point; .*The first is sample \d+: (Diverged|Not converged)"
    ):
        model.predict(X)
    assert not model.fixed_points(X).converged.all()


@pytest.mark.parametrize("options", [{"trained": ("recurrent", "input", "bias", "readout")}, {"layers": (20, 10)}], ids=str)
def test_more_than_recurrent_weights_is_trained(options):
    model = classifier(epochs=20, batch_size=20, learning_rate=0.03, **options).fit(X, Y)
    assert model.score(X, Y) > 0.95
    assert set(model.parameters_) > {"layers.0.recurrent", "layers.0.input", "layers.0.bias", "readout"}
    assert bool(model.fixed_points(X).converged.all())
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    assert clone(model).get_params() == model.get_params()
    loss = model.loss_curve_[-1]
    assert model.partial_fit(X, Y).loss_curve_[-1] < 1.2 * loss
    line = regressor(epochs=60, layers=(20, 10), learning_rate=0.03).fit(LINE, CURVE)
    assert line.score(LINE, CURVE) > 0.9


def test_layers_that_are_refused():
    with pytest.raises(ValueError, match=r"layers\[1\] = 0: it has to be 1 or more"):
        classifier(layers=(5, 0)).fit(X, Y)
    with pytest.raises(ValueError, match=r"trained\[0\] = 'weights': unknown"):
        classifier(trained=("weights",)).fit(X, Y)
    with pytest.raises(ValueError, match="single dense layer"):
        classifier(layers=(5, 4), rule="dW3").fit(X, Y)


def test_weights_of_samples_count_as_repeated_samples():
    weights = np.tile([1, 2, 0], len(X) // 3)
    repeated = np.repeat(np.arange(len(X)), weights)
    options = {"epochs": 5, "learning_rate": 0.03}
    options["tolerance"] = 1e-11
    weighted = classifier(**options | {"batch_size": len(X)}).fit(X, Y, sample_weight=weights)
    alone = classifier(**options | {"batch_size": len(repeated)}).fit(X[repeated], Y[repeated])
    np.testing.assert_allclose(weighted.weights_, alone.weights_, atol=1e-8)
    with pytest.raises(ValueError, match="negative"):
        classifier().fit(X, Y, sample_weight=-weights)
    ones = np.ones(len(LINE))
    np.testing.assert_array_equal(
        regressor().fit(LINE, CURVE, sample_weight=ones).weights_, regressor().fit(LINE, CURVE).weights_
    )
