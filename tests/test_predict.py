"""`riemannrnn predict`: files of several formats, rows without a fixed point, and errors."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from data_files import package
from test_cli import names, run

from riemannrnn import RateNetwork, TrainedModel
from riemannrnn.data import Standardisation
from riemannrnn.models import Labels, Numbers

STIMULI = np.random.default_rng(0).standard_normal((30, 3))
NETWORK = RateNetwork(8, 3, 2, seed=0)
MODEL = TrainedModel(
    NETWORK, NETWORK.initial_weights(0.3), Labels(np.array(["no", "yes"]), ("answer",)), inputs=("a", "b", "c")
)
FILLING = Standardisation(np.full(3, 0.2), np.full(3, 2.0), np.full(3, 0.5))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model and stimuli."""
    monkeypatch.chdir(tmp_path)
    MODEL.save("model.npz")
    np.save("stimuli.npy", STIMULI)
    return tmp_path


def predict(file, *options, model="model.npz"):
    return run("predict", model, file, "--output", "out.csv", *options)


def rows(path="out.csv"):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_an_array_is_predicted_row_by_row(folder):
    result = predict("stimuli.npy")
    assert result.exit_code == 0, result.output
    assert "Predictions for 30 stimuli: out.csv" in result.stdout
    assert rows() == [["row", "answer"], *([str(row), each] for row, each in enumerate(MODEL.predict(STIMULI)))]


def test_columns_are_found_by_name_in_any_order_among_others(folder):
    table = package("pandas").DataFrame({"c": STIMULI[:, 2], "note": "text", "a": STIMULI[:, 0], "b": STIMULI[:, 1]})
    table.to_csv("stimuli.csv", index=False)
    assert predict("stimuli.csv").exit_code == 0
    assert [row[1] for row in rows()[1:]] == MODEL.predict(STIMULI).tolist()
    table.rename(columns={"a": "x"}).to_csv("renamed.csv", index=False)
    result = predict("renamed.csv")
    assert result.exit_code == 2
    assert "column 'a' of renamed.csv: unknown" in result.stderr
    assert predict("renamed.csv", "--inputs", "x", "--inputs", "b", "--inputs", "c").exit_code == 0
    assert [row[1] for row in rows()[1:]] == MODEL.predict(STIMULI).tolist()


@pytest.mark.parametrize(("keys", "shown"), [(range(100, 130), "100"), ([f"cell {k}" for k in range(30)], "cell 0")])
def test_an_index_is_copied(folder, keys, shown):
    table = package("pandas").DataFrame(dict(zip("abc", STIMULI.T, strict=True)))
    table.insert(0, "cell", list(keys))
    table.to_csv("stimuli.csv", index=False)
    assert predict("stimuli.csv", "--index", "cell").exit_code == 0
    assert rows()[0] == ["cell", "answer"]
    assert rows()[1][0] == shown
    assert [row[0] for row in rows()[1:]] == [str(key) for key in keys]


def test_missing_numbers_are_filled_as_in_training_or_refused(folder):
    holes = STIMULI.copy()
    holes[3, 1] = np.nan
    np.save("holes.npy", holes)
    result = predict("holes.npy")
    assert result.exit_code == 2
    assert "NaN or infinity, and the model has nothing to put in its place" in result.stderr
    filling = replace(MODEL, standardisation=FILLING)
    filling.save("filling.npz")
    assert predict("holes.npy", model="filling.npz").exit_code == 0
    assert [row[1] for row in rows()[1:]] == filling.predict(holes).tolist()


def test_numbers_are_written_so_that_they_are_read_as_the_same_numbers(folder):
    numbers = replace(MODEL, answer=Numbers(np.array([10.0, -4.0]), np.array([3.0, 0.1])), inputs=())
    numbers.save("numbers.npz")
    assert predict("stimuli.npy", model="numbers.npz").exit_code == 0
    assert rows()[0] == ["row", "target_0", "target_1"]
    np.testing.assert_array_equal(np.array(rows()[1:], float)[:, 1:], numbers.predict(STIMULI))


def test_many_rows_are_predicted_a_chunk_at_a_time(folder, monkeypatch):
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 24 * 7)
    seen = []
    original = TrainedModel.responses
    monkeypatch.setattr(TrainedModel, "responses", lambda self, stimuli: seen.append(len(stimuli)) or original(self, stimuli))
    assert predict("stimuli.npy").exit_code == 0
    assert max(seen) < 30
    assert sum(seen) == 30
    assert len(rows()) == 31


def test_rows_without_a_fixed_point_are_left_empty_and_counted(folder):
    network = RateNetwork(8, 3, 2, "power-law", seed=0)
    runaway = TrainedModel(network, 0.2 * np.eye(8), MODEL.answer)
    runaway.save("runaway.npz")
    found = runaway.respond(STIMULI).converged
    assert 0 < found.sum() < 30
    result = predict("stimuli.npy", model="runaway.npz")
    assert result.exit_code == 0
    assert f"Warning: {30 - found.sum()} of 30 stimuli have no fixed point" in result.stderr
    assert [row[1] != "" for row in rows()[1:]] == found.tolist()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nothing", "stimuli.npy"), "nothing cannot be read: No such file or directory"),
        ((".", "none.npy"), "none.npy cannot be read: the file does not exist"),
        (("stimuli.npy", "stimuli.npy"), "stimuli.npy is not a model: it does not end with 'riemannrnn model 1'"),
        (("model.npz", "wide.npy"), "the stimuli have shape (30, 6); this network takes (batch, 3)"),
        (("model.npz", "stimuli.npy", "--output", "no/out.csv"), "--output no/out.csv: the folder "),
        (("model.npz", "several.npz"), "several.npz holds the arrays x, y; name the stimuli with inputs="),
    ],
)
def test_invalid_arguments_are_named_and_no_file_is_written(folder, arguments, line):
    np.save("wide.npy", np.hstack([STIMULI, STIMULI]))
    np.savez("several.npz", x=STIMULI, y=STIMULI)
    result = run("predict", *arguments, *(() if "--output" in arguments else ("--output", "out.csv")))
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"Error: {line}")
    assert names(folder) == ["model.npz", "several.npz", "stimuli.npy", "wide.npy"]
