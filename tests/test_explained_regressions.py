"""R², noise ceiling and share of explainable variance of regressions: by the regressor and on the command line."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score
from typer.testing import CliRunner

from riemannrnn import FixedPointRegressor, RateNetwork
from riemannrnn.analysis import explainable_variance_explained, explained, noise_ceiling
from riemannrnn.analysis.repeats import by_stimulus
from riemannrnn.cli import app
from riemannrnn.cli.config import parse_config
from riemannrnn.cli.explained import explained_sentence
from riemannrnn.cli.training_run import prepare
from riemannrnn.models import Numbers, TrainedModel

GENERATOR = np.random.default_rng(0)
STIMULI = GENERATOR.standard_normal((40, 3))
SIGNAL = np.stack([STIMULI[:, 0], STIMULI[:, 1] ** 2], axis=1)


def repeated(most=4):
    """Return rows with each stimulus one to `most` times, in a random order, with noise and missing responses."""
    rows = GENERATOR.permutation(np.repeat(np.arange(40), GENERATOR.integers(1, most + 1, 40)))
    responses = SIGNAL[rows] + 0.5 * GENERATOR.standard_normal((len(rows), 2))
    responses[GENERATOR.random(responses.shape) < 0.1] = np.nan
    return rows, responses


def test_rows_become_repeats():
    group, responses = np.array([1, 0, 1, 2, 1]), np.arange(5.0)[:, None]
    nan = np.nan
    assert_array_equal(by_stimulus(group, responses)[..., 0], [[1, nan, nan], [0, 2, 4], [3, nan, nan]])


def test_without_repeats_it_is_r_squared():
    predictions = SIGNAL + 0.3 * GENERATOR.standard_normal(SIGNAL.shape)
    found = explained(STIMULI, SIGNAL, predictions)
    assert_allclose(found.r_squared, r2_score(SIGNAL, predictions, multioutput="raw_values"))
    assert np.isnan(found.noise_ceiling).all()
    assert np.isnan(found.share).all()
    assert repr(found).startswith("Explained(targets: 2, R²: ")
    assert "ceiling" not in found.sentence()
    assert "means over 2 targets" in found.sentence()
    assert explained(STIMULI, np.ones((40, 1)), SIGNAL[:, :1]).sentence() == ""


def test_repeats_give_the_share_of_the_explainable_variance():
    rows, responses = repeated()
    shuffled = np.unique(STIMULI, axis=0, return_inverse=True)[1].reshape(-1)
    tensor = by_stimulus(shuffled[rows], responses)
    signal = SIGNAL[np.argsort(shuffled)]
    found = explained(STIMULI[rows], responses, SIGNAL[rows])
    assert_allclose(found.noise_ceiling, noise_ceiling(tensor))
    assert_allclose(found.share, explainable_variance_explained(tensor, signal))
    assert found.share == pytest.approx(1, abs=0.15)
    assert (found.r_squared < found.noise_ceiling + 0.1).all()
    assert "noise ceiling" in found.sentence()


def test_the_regressor():
    rows, responses = repeated()
    measured = ~np.isnan(responses).any(axis=1)
    model = FixedPointRegressor(n_units=20, epochs=5, random_state=0).fit(STIMULI[rows][measured], responses[measured])
    found = model.explained(STIMULI[rows], responses)
    assert_allclose(found.r_squared, explained(STIMULI[rows], responses, model.predict(STIMULI[rows])).r_squared)
    assert np.isfinite(found.share).all()
    one = FixedPointRegressor(n_units=5, epochs=1, random_state=0).fit(STIMULI, SIGNAL[:, 0])
    assert one.explained(STIMULI, SIGNAL[:, 0]).r_squared == pytest.approx(one.score(STIMULI, SIGNAL[:, 0]))
    with pytest.raises(ValueError, match=r"y has shape \(40, 2\), but the predictions have \(40,\)"):
        one.explained(STIMULI, SIGNAL)


def test_the_command_line(tmp_path):
    rows, responses = repeated()
    np.savez(tmp_path / "responses.npz", stimuli=STIMULI[rows], responses=responses)
    command = ["train", "--data", str(tmp_path / "responses.npz"), "--target", "responses", "--output", str(tmp_path)]
    result = CliRunner().invoke(app, [*command, "--units", "10", "--epochs", "1"], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    assert "On held-out rows: R² " in result.output
    assert "noise ceiling" in result.output
    assert "means over 2 targets" in result.output


def test_classes_and_lost_stimuli_have_no_r_squared(tmp_path):
    training = prepare(parse_config({"data": {"training_size": 50}}))
    assert explained_sentence(None, training.sets) == ""
    np.savez(tmp_path / "responses.npz", stimuli=STIMULI, responses=SIGNAL)
    training = prepare(parse_config({"data": {"file": str(tmp_path / "responses.npz"), "target": ["responses"]}}))
    network = RateNetwork(10, 3, 2, activation="power-law", seed=0)
    model = TrainedModel(network, np.full((10, 10), 5.0), Numbers())
    assert explained_sentence(model, training.sets) == ""
    sentence = explained_sentence(replace(model, weights=np.zeros((10, 10))), training.sets)
    assert sentence.startswith("On held-out rows: R²")
    assert "repeat" not in sentence
