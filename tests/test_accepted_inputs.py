"""Lists, tables and integers are accepted in place of arrays; masked arrays and data without numbers are errors."""

import numpy as np
import pandas as pd
import pytest

from riemannrnn import (
    AutogradLoss,
    CrossEntropy,
    FixedPointClassifier,
    FixedPointCost,
    FixedPointRegressor,
    RateNetwork,
    SquaredError,
    solve_fixed_points,
    train,
)
from riemannrnn.backend import as_array
from riemannrnn.data import Dataset

STIMULI = np.random.default_rng(0).integers(-3, 4, (12, 3))
LABELS = np.arange(12) % 2
TARGETS = np.random.default_rng(1).integers(0, 3, (12, 2))


class Table:
    """The common interface of pandas, polars and other tables."""

    def __init__(self, values):
        self._values = values

    def to_numpy(self):
        return np.array(self._values)


class Convertible(Table):
    to_numpy = None

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype)


del Convertible.to_numpy

FORMS = {
    "list": lambda array: array.tolist(),
    "pandas": lambda array: pd.DataFrame(array) if array.ndim == 2 else pd.Series(array),
    "table": Table,
    "to_numpy of objects": lambda array: Table(array.astype(object)),
}


def network(dtype="float64"):
    return RateNetwork(6, 3, 2, seed=0, dtype=dtype)


def result(stimuli, labels, targets, dtype):
    """Return numbers from everything that takes arrays."""
    net = network(dtype)
    weights = net.initial_weights()
    history = train(net, weights, stimuli, labels, batch_size=4, seed=0, held_out=(stimuli, labels))
    return {
        "drive": net.drive(stimuli),
        "rates": net.fixed_points(weights, stimuli).rates,
        "cross-entropy": FixedPointCost(net, stimuli, CrossEntropy(labels)).gradient(weights),
        "squared error": FixedPointCost(net, stimuli, SquaredError(targets)).gradient(weights),
        "training": history.weights,
        "held out": np.array(history.test_loss, dtype),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_an_array_gives_in_the_dtype_of_the_network(form, dtype):
    make = FORMS[form]
    integers = form != "to_numpy of objects"  # its numbers become float64, which a network in float32 rejects
    if not integers and dtype == "float32":
        with pytest.raises(ValueError, match="the weights are float32, the drive is float64; convert one"):
            result(make(STIMULI), LABELS, TARGETS, dtype)
        return
    labels = make(LABELS) if integers else LABELS
    given = result(make(STIMULI), labels, make(TARGETS), dtype)
    expected = result(STIMULI.astype(dtype), LABELS, TARGETS.astype(dtype), dtype)
    for name, values in given.items():
        assert values.dtype == dtype, name
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_arrays_keep_their_dtype_and_are_not_copied():
    values = np.zeros((2, 3))
    assert as_array("stimuli", values, "float32") is values
    with pytest.raises(ValueError, match="the weights are float32, the drive is float64; convert one"):
        network("float32").fixed_points(network("float32").initial_weights(), values)


@pytest.mark.parametrize("form", ["list", "table", "array"])
def test_the_solver_takes_lists_and_integers(form):
    make = {"list": np.ndarray.tolist, "table": Table, "array": np.asarray}[form]
    found = solve_fixed_points(make(np.array([[0, 0], [0, 0]])), make(np.array([[1, 2]])), "identity")
    np.testing.assert_allclose(found.rates, [[1.0, 2.0]])
    single = solve_fixed_points(np.zeros((2, 2), np.float32), make(np.array([[1, 2]])), initial_rates=make(np.array([[0, 0]])))
    assert single.rates.dtype == np.float32


def test_weights_may_be_lists():
    net, rows = network(), (0.1 * np.eye(6)).tolist()
    np.testing.assert_array_equal(net.fixed_points(rows, STIMULI).rates, net.fixed_points(0.1 * np.eye(6), STIMULI).rates)
    run = [train(net, each, STIMULI, LABELS, "dW1", seed=0).weights for each in (rows, 0.1 * np.eye(6))]
    np.testing.assert_array_equal(*run)


def test_objects_with_only_the_array_protocol_are_accepted():
    np.testing.assert_array_equal(network().drive(Convertible(STIMULI)), network().drive(STIMULI))


@pytest.mark.parametrize("form", ["list", "pandas", "table"])
def test_custom_data_sets_estimators_and_losses(form):
    make = FORMS[form]
    data = Dataset("mine", make(STIMULI / 2), make(LABELS))
    assert data.stimuli.dtype == np.float64
    np.testing.assert_array_equal(data.labels, LABELS)
    loss = AutogradLoss(lambda outputs, targets: ((outputs - targets) ** 2).sum(axis=1), make(TARGETS / 2))
    assert loss.value(np.zeros((12, 2))).shape == (12,)
    if form != "table":  # scikit-learn does not know it
        classifier = FixedPointClassifier(n_units=8, epochs=5, random_state=0).fit(make(STIMULI), make(LABELS))
        assert classifier.predict(make(STIMULI)).shape == (12,)
        regressor = FixedPointRegressor(n_units=8, epochs=5, random_state=0).fit(make(STIMULI), make(TARGETS))
        assert regressor.predict(make(STIMULI)).shape == (12, 2)


MASKED = np.ma.masked_array(STIMULI.astype(float), mask=STIMULI > 2)

REFUSED = {
    "drive": lambda bad: network().drive(bad),
    "cost": lambda bad: FixedPointCost(network(), bad, CrossEntropy(LABELS)),
    "train": lambda bad: train(network(), network().initial_weights(), bad, LABELS),
    "solver": lambda bad: solve_fixed_points(np.zeros((3, 3)), bad),
    "targets": SquaredError,
    "targets of one's own": lambda bad: AutogradLoss(lambda outputs, targets: outputs, bad),
    "data set": lambda bad: Dataset("mine", bad, LABELS),
    "classifier": lambda bad: FixedPointClassifier(n_units=4).fit(bad, LABELS),
    "regressor": lambda bad: FixedPointRegressor(n_units=4).fit(bad, LABELS),
    "prediction": lambda bad: FixedPointClassifier(n_units=4, epochs=5, random_state=0).fit(STIMULI, LABELS).predict(bad),
}


@pytest.mark.parametrize("place", REFUSED)
def test_a_masked_array_is_refused(place):
    with pytest.raises(ValueError, match=r"masked array, and the mask would be ignored; pass \w+\.filled\(number\)"):
        REFUSED[place](MASKED)


def test_masked_labels_are_refused():
    with pytest.raises(ValueError, match="the labels are a masked array"):
        CrossEntropy(np.ma.masked_array(LABELS, mask=LABELS == 1))
    with pytest.raises(ValueError, match="the labels are a masked array"):
        FixedPointClassifier(n_units=4).fit(STIMULI, np.ma.masked_array(LABELS, mask=LABELS == 1))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[1.0, 2.0, 3.0], [1.0]], "the stimuli cannot be read as an array of numbers"),
        (np.array([["a", "b", "c"]]), "the stimuli have dtype <U1, which holds no real numbers"),
        (pd.DataFrame([["a", "b", "c"]]), "the stimuli cannot be read|which holds no real numbers"),
        (np.ones((2, 3)) * 1j, "the stimuli have dtype complex128, which holds no real numbers"),
        (None, r"the stimuli have shape \(\); this network takes"),
        ({"a": 1}, "the stimuli cannot be read as an array of numbers"),
    ],
    ids=["ragged", "words", "words in a table", "complex", "nothing", "dictionary"],
)
def test_inputs_without_numbers_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        network().drive(bad)
