"""`riemannrnn train` on files, and `train` on tables: labels and targets keep their form in the file."""

import csv
import re
import tomllib

import numpy as np
import pytest
from data_files import package
from runs import check_same
from test_cli import names, refused, run

from riemannrnn import RateNetwork, load_model, train
from riemannrnn.analysis import read_run
from riemannrnn.analysis.recorded import RecordedRunError
from riemannrnn.data import DatasetError, open_table
from riemannrnn.training.checkpoints import CheckpointError
from riemannrnn.training.run import Run

SPECIES = np.array(["setosa", "lily", "iris"])
GENERATOR = np.random.default_rng(0)
CLASSES = GENERATOR.integers(0, 3, 120)
STIMULI = GENERATOR.standard_normal((3, 4))[CLASSES] * 2 + 0.3 * GENERATOR.standard_normal((120, 4))
SHORT = ("--units", 15, "--epochs", 8, "--seed", 1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    package("pandas")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def write_csv(path, holes=True, index=True, target="species"):
    """Write flowers with names of the rows, string labels, and missing stimuli and labels."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(["id"] if index else []), "length", "width", "height", "depth", target])
        for row, (stimulus, label) in enumerate(zip(STIMULI.tolist(), SPECIES[CLASSES], strict=True)):
            cells = ["" if holes and (row + k) % 17 == 0 else value for k, value in enumerate(stimulus)]
            writer.writerow([*([f"flower {row}"] if index else []), *cells, "" if holes and row % 19 == 5 else label])


def write_hdf5(path, targets):
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("stimuli", data=STIMULI)
        file.create_dataset("responses", data=targets)


def neurons():
    """Return responses of two neurons to the stimuli, in their own units, with missing entries."""
    responses = np.stack([20 + 8 * np.tanh(STIMULI[:, 0]), 300 - 40 * STIMULI[:, 1]], axis=1)
    responses[::5, 0] = responses[2::7, 1] = np.nan
    return responses


def only_run(folder):
    (found,) = folder.glob("train-*")
    return found


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_csv_with_texts_holes_and_an_index_is_learned_and_predicted(tmp_path):
    write_csv(tmp_path / "flowers.csv")
    result = run(
        "train", "--data", tmp_path / "flowers.csv", "--target", "species", "--missing", "mean", *SHORT, "--output", tmp_path
    )
    assert result.exit_code == 0, result.output
    assert "% of held-out stimuli right" in result.stdout
    folder = only_run(tmp_path)
    assert "model.npz" in names(folder)
    written = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    assert written["data"]["file"] == str((tmp_path / "flowers.csv").resolve())
    assert (written["network"]["units"], written["train"]["epochs"]) == (15, 8)
    assert {written[table]["seed"] for table in ("network", "data", "train")} == {1}
    result = run("predict", folder, tmp_path / "flowers.csv", "--output", tmp_path / "predictions.csv")
    assert result.exit_code == 0, result.output
    header, *rows = read(tmp_path / "predictions.csv")
    assert header == ["id", "species"]
    assert [row[0] for row in rows] == [f"flower {row}" for row in range(120)]
    assert np.mean([row[1] for row in rows] == SPECIES[CLASSES]) > 0.9
    with read_run(folder) as path:
        assert path.cost()(path[len(path) - 1]) < path.cost()(path[0])
    model = load_model(folder)
    assert model.inputs == ("length", "width", "height", "depth")
    assert model.predict(STIMULI[:7]).dtype.kind == "U"


def test_responses_of_neurons_with_holes_are_learned_and_predicted_in_their_units(tmp_path):
    write_hdf5(tmp_path / "recording.h5", neurons())
    options = ("--units", 20, "--epochs", 40, "--output", tmp_path)
    result = run("train", "--data", tmp_path / "recording.h5", "--target", "responses", *options)
    assert result.exit_code == 0, result.output
    assert "on held-out stimuli" in result.stdout
    assert "accuracy" not in result.stdout
    folder = only_run(tmp_path)
    result = run("predict", folder / "model.npz", tmp_path / "recording.h5", "--output", tmp_path / "predictions.csv")
    assert result.exit_code == 0, result.output
    header, *rows = read(tmp_path / "predictions.csv")
    assert header == ["row", "target_0", "target_1"]
    predictions, targets = np.array(rows, float)[:, 1:], neurons()
    errors = np.nanmean((predictions - targets) ** 2, axis=0)
    assert (errors < 0.2 * np.nanvar(targets, axis=0)).all()
    np.testing.assert_allclose(load_model(folder).predict(STIMULI), predictions)
    with read_run(folder) as path, pytest.raises(RecordedRunError, match=r"the run learned numbers from recording\.h5"):
        path.cost()


def test_targets_in_a_separate_file_and_numbers_as_classes(tmp_path):
    np.save(tmp_path / "stimuli.npy", STIMULI.astype(np.float32))
    np.save(tmp_path / "answers.npy", 10 * CLASSES + 3)
    (tmp_path / "own.toml").write_text(f"[data]\ntarget_file = '{tmp_path}/answers.npy'\n[network]\ndtype = 'float32'\n")
    options = ("--config", tmp_path / "own.toml", "--output", tmp_path)
    result = run("train", "--data", tmp_path / "stimuli.npy", *options, *SHORT)
    assert result.exit_code == 0, result.output
    predicted = load_model(only_run(tmp_path)).predict(STIMULI.astype(np.float32))
    assert predicted.dtype == np.int64
    assert np.mean(predicted == 10 * CLASSES + 3) > 0.9


def test_a_run_on_a_file_continues_and_other_data_are_refused(tmp_path, monkeypatch):
    write_csv(tmp_path / "flowers.csv", holes=False)
    begun = ("train", "--data", tmp_path / "flowers.csv", "--target", "species", *SHORT, "--output")
    assert run(*begun, tmp_path / "whole").exit_code == 0
    original = Run._take_step

    def pressed(self, *arguments):
        if self.state.step == 7:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_take_step", pressed)
        assert run(*begun, tmp_path / "broken").exit_code == 130
    broken, whole = only_run(tmp_path / "broken"), only_run(tmp_path / "whole")
    content = (tmp_path / "flowers.csv").read_text(encoding="utf-8")
    (tmp_path / "flowers.csv").write_text(content.replace("lily", "iris", 1), encoding="utf-8")
    result = run("train", "--resume", broken)
    assert result.exit_code == 2
    assert "the checkpoint is of another run: data was" in result.stderr
    (tmp_path / "flowers.csv").write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "whole")
    result = run("train", "--resume", broken)
    assert result.exit_code == 0, result.output
    assert (broken / "model.npz").read_bytes() == (whole / "model.npz").read_bytes()


def test_a_file_is_streamed_and_the_run_continues(tmp_path, monkeypatch):
    """The run gives the same bits after Ctrl-C in the second epoch, and its model is as good as after training in memory."""
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 4 * 8 * 20)
    np.savez(tmp_path / "mine.npz", stimuli=STIMULI, labels=CLASSES)
    (tmp_path / "stream.toml").write_text("[data]\nstream = true\n[train]\nbatch_size = 25\nepochs = 20\n")
    begun = ("train", "--data", tmp_path / "mine.npz", "--target", "labels", "--config", tmp_path / "stream.toml", "--output")
    assert run(*begun, tmp_path / "whole").exit_code == 0
    whole = only_run(tmp_path / "whole")
    assert np.mean(load_model(whole).predict(STIMULI) == CLASSES) > 0.9
    original = Run._take_step

    def pressed(self, *arguments):
        if self.state.step == 6:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_take_step", pressed)
        assert run(*begun, tmp_path / "broken").exit_code == 130
    broken = only_run(tmp_path / "broken")
    assert run("train", "--resume", broken).exit_code == 0
    assert (broken / "model.npz").read_bytes() == (whole / "model.npz").read_bytes()


MISTAKES = {
    "a file": (("--data", "flower.csv"), "flower.csv cannot be read: the file does not exist; did you mean"),
    "a column": (("--target", "specie"), "column 'specie' of .*: unknown; did you mean species"),
    "no column": ((), "training needs targets: name their column with --target, or data.target; riemannrnn data check"),
    "holes": (("--target", "species"), "a stimulus has a missing number or infinity in column length.*mean"),
    "missing": (("--missing", "median"), r"data.missing = 'median': unknown; did you mean mean"),
    "text": (("--target", "length", "--missing", "mean"), "column 'species' holds text, but stimuli are numbers"),
    "a rule": (("--rule", "adma"), "train.rule = 'adma': unknown; did you mean adam"),
    "units": (("--units", "0"), "network.units = 0: it has to be 1 or more"),
    "a rate": (("--learning-rate", "-1"), "train.learning_rate = -1.0: it has to be 0 or more"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_invalid_arguments_are_named_and_no_folder_is_made(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "flowers.csv")
    result = run("train", "--data", "flowers.csv", *options)
    assert result.exit_code == 2, result.output
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert re.search(message, result.stderr), result.stderr
    assert names(tmp_path) == ["flowers.csv"]


UNUSABLE = {
    "an infinite target": ("targets", (slice(None, None, 3), 0), np.inf, "a target is infinite; repair it, or write NaN"),
    "no target": ("targets", (slice(None), slice(None)), np.nan, "none of the 96 training rows has a target"),
    "a neuron without targets": ("targets", (slice(None), 1), np.nan, "target '1' is missing in all of the training rows"),
    "an infinite stimulus": ("stimuli", (slice(None, None, 3), 0), np.inf, "a stimulus has a missing number or infinity"),
}


@pytest.mark.parametrize(("name", "place", "value", "message"), UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("row", [None, 0, 1, 2])
def test_rows_that_cannot_be_used_are_named_before_a_run_is_made(tmp_path, monkeypatch, name, place, value, message, row):
    """This holds for any position: the first rows are in the training rows and in the held-out rows."""
    arrays = {"stimuli": STIMULI.copy(), "targets": np.nan_to_num(neurons())}
    arrays[name][place if row is None or np.isnan(value) else (row, 0)] = value
    np.savez(tmp_path / "mine.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    result = run("train", "--data", "mine.npz", "--target", "targets", "--units", 5, "--epochs", 1)
    assert message in refused(result)
    assert names(tmp_path) == ["mine.npz"]


def test_an_invalid_stimulus_of_a_stream_ends_with_a_message(tmp_path, monkeypatch):
    stimuli = STIMULI.copy()
    stimuli[::7, 2] = np.nan
    np.savez(tmp_path / "mine.npz", stimuli=stimuli, labels=CLASSES)
    (tmp_path / "stream.toml").write_text("[data]\nstream = true\nstandardise = false\n")
    options = ("--config", tmp_path / "stream.toml", "--output", tmp_path)
    result = run("train", "--data", tmp_path / "mine.npz", "--target", "labels", *options)
    assert result.exit_code in (1, 2)
    assert "a stimulus has a missing number or infinity in column 2" in result.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("target = 'a'", "data.target = 'a' belongs to a file; name the file with --data, or data.file"),
        ("held_out = 0.5", "data.held_out = 0.5 belongs to a file"),
        ("file = 'a.csv'\ntraining_size = 5", "data.training_size = 5 belongs to bundled data; leave it out, or name no file"),
    ],
)
def test_keys_of_files_and_of_bundled_data_are_not_mixed(tmp_path, text, line):
    (tmp_path / "wrong.toml").write_text(f"[data]\n{text}\n")
    assert refused(run("train", "--config", tmp_path / "wrong.toml", "--output", tmp_path)).startswith(f"Error: {line}")


def test_a_held_out_share_that_leaves_nothing_is_refused(tmp_path):
    np.savez(tmp_path / "mine.npz", stimuli=STIMULI, labels=CLASSES)
    (tmp_path / "all.toml").write_text("[data]\nheld_out = 120\n")
    result = run("train", "--data", tmp_path / "mine.npz", "--target", "labels", "--config", tmp_path / "all.toml")
    assert refused(result).startswith("Error: data.held_out = 120: 120 of 120 rows cannot be held out")


def table(**options):
    return open_table({"stimuli": STIMULI, "species": SPECIES[CLASSES].tolist()}, target="species", **options)


def trained(data, labels=None, **options):
    network = RateNetwork(15, 4, 3, seed=0, dtype=options.pop("dtype", "float64"))
    return train(network, network.initial_weights(), data, labels, batch_size=30, epochs=2, seed=0, **options)


def test_a_table_is_its_stimuli_and_labels():
    whole = table(standardise=True)
    learned, held_out = whole.split(0.25, seed=0)
    (stimuli, labels), (others, answers) = (each.read(slice(0, len(each))) for each in (learned, held_out))
    history = trained(learned, held_out=held_out)
    check_same(history, trained(stimuli, labels, held_out=(others, answers)))
    predicted = history.model.predict(STIMULI)
    assert set(predicted) <= set(SPECIES)
    numbers = trained(stimuli, labels).model.predict(history.model.standardisation(STIMULI))
    np.testing.assert_array_equal(predicted, np.array(whole.classes.names)[numbers])


def test_tables_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the stimuli are a table, which holds its targets; pass no labels beside it"):
        trained(table(), CLASSES)
    with pytest.raises(ValueError, match="the stimuli have no labels; pass labels or a loss, or a table with targets"):
        trained(STIMULI)
    with pytest.raises(DatasetError, match="the table has no targets; name them with target="):
        trained(open_table(STIMULI))
    with pytest.raises(DatasetError, match="has dtype float64 and the network float32; open it with dtype='float32'"):
        trained(table(), dtype="float32")
    other = open_table({"stimuli": STIMULI, "species": ["a"] * 60 + ["b"] * 60}, target="species")
    with pytest.raises(DatasetError, match=r"have 2 classes or targets that are not the 3 outputs .*n_outputs=2"):
        trained(other)
    with pytest.raises(DatasetError, match="the held-out stimuli have 2 classes or targets"):
        trained(table(), held_out=other)
    trained(table(), checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match=r"data was .*, now"):
        trained(table(standardise=True), checkpoints=tmp_path, resume=True)


@pytest.mark.parametrize(("values", "kind"), [([True, False], "b"), ([2, 5], "i"), ([0.5, 1.5], "f"), (["no", "yes"], "U")])
def test_labels_keep_their_type(values, kind):
    answers = np.array(values)[(STIMULI[:, 0] > 0).astype(int)]
    data = open_table(STIMULI, answers, task="classification")
    network = RateNetwork(10, 4, 2, seed=0)
    model = train(network, network.initial_weights(), data, epochs=1, seed=0).model
    predicted = model.predict(STIMULI)
    assert predicted.dtype.kind == kind
    assert set(predicted.tolist()) <= set(values)
