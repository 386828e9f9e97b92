"""`riemannrnn train`: its files, how it continues, its errors, and how it stops."""

import errno
import os
import re
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from shlex import split

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread
from test_cli import names, refused, run

from riemannrnn import RateNetwork, train
from riemannrnn.analysis import read_run
from riemannrnn.cli import sets
from riemannrnn.cli import train as command
from riemannrnn.cli.config import PATHS, TABLES, parse_config
from riemannrnn.data import load_digits
from riemannrnn.run_folder import write_toml
from riemannrnn.training.run import Run

TINY = {
    "network": {"units": 6, "radius": 0.3},
    "data": {"training_size": 40},
    "train": {"batch_size": 10, "epochs": 3, "checkpoint_every": 2},
}
"""A configuration with twelve steps."""

RULES = {
    "default": {},
    "guarded": {"rule": "descent", "manifold": "euclidean", "learning_rate": 10.0},
    "momentum": {"rule": "momentum", "manifold": "monotone", "learning_rate": 0.01, "decay": 0.01},
    "per stimulus": {"rule": "dW3", "schedule": "linear"},
}

BUNDLED_PATHS = ("data.name", "data.training_size", "data.seed")
"""The keys of the digits; the other keys of the data are for files."""

RESULTS = ["checkpoints", "config.toml", "history.nc", "model.npz", "path.h5", "training.png", "weights.npz"]


def merged(changes):
    return {table: TINY.get(table, {}) | changes.get(table, {}) for table in TABLES}


def begin(parent, *options, **changes):
    """Run the command on the tiny configuration; return the result and the run folder, or None."""
    parent.mkdir(parents=True, exist_ok=True)
    write_toml(parent / "tiny.toml", merged(changes))
    result = run("train", "--config", parent / "tiny.toml", "--output", parent / "runs", *options)
    return result, next(iter((parent / "runs").glob("train-*")), None)


def results(folder):
    """Return the arrays of the weights, and the history."""
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays, xr.open_dataset(folder / "history.nc") as history:
        return dict(arrays), history.load()


def assert_same_bits(folder, other):
    (arrays, history), (others, reference) = results(folder), results(other)
    assert arrays.keys() == others.keys()
    assert all(array.tobytes() == others[name].tobytes() for name, array in arrays.items())
    xr.testing.assert_identical(history, reference)
    with read_run(folder) as path, read_run(other) as whole:
        np.testing.assert_array_equal(path.steps, whole.steps)
        np.testing.assert_array_equal(path.losses, whole.losses)
        assert all(path[place].tobytes() == whole[place].tobytes() for place in range(len(whole)))


def interrupt(monkeypatch, method, step):
    """Press Ctrl-C when a method of the run is called in a step, counted from 0."""
    original = getattr(Run, method)

    def pressed(self, *arguments):
        if self.state.step == step:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Run, method, pressed)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """One run to its end, and its folder."""
    return begin(tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="module")
def folder(outcome):
    return outcome[1]


def test_a_run_ends_with_its_results(outcome, folder):
    result, _ = outcome
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "All 3 epochs done." in result.stdout
    assert "% of held-out stimuli right" in result.stdout
    assert f"Written to {folder}: config.toml, history.nc, model.npz, weights.npz, training.png, path.h5" in result.stdout
    assert names(folder) == RESULTS
    assert "accuracy" in result.stdout.splitlines()[0]
    assert "always stable" in result.stdout.splitlines()[0]
    pixels = imread(folder / "training.png")
    assert pixels.shape[:2] == (1300, 1800)
    assert pixels[..., :3].std() > 0.02


def test_the_run_equals_train_with_its_defaults(folder):
    digits = load_digits()
    learned, held_out = digits.split(40, 1757, seed=0)
    network = RateNetwork(6, 64, 10, seed=0)
    history = train(
        network,
        network.initial_weights(0.3),
        learned.stimuli,
        learned.labels,
        batch_size=10,
        epochs=3,
        seed=0,
        held_out=(held_out.stimuli, held_out.labels),
    )
    arrays, written = results(folder)
    np.testing.assert_array_equal(arrays["weights"], history.weights)
    np.testing.assert_array_equal(arrays["input_weights"], network.input_weights)
    np.testing.assert_array_equal(arrays["readout"], network.readout)
    assert written["loss"].values.tolist() == history.loss
    assert written["step_length"].values.tolist() == history.step_length
    assert np.flatnonzero(np.isfinite(written["test_accuracy"])).tolist() == [3, 7, 11]


def test_config_holds_every_key_and_gives_the_same_run(folder, tmp_path):
    written = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    assert written.pop("versions") == {"riemannrnn": version("riemannrnn")}
    assert [f"{table}.{key}" for table, keys in written.items() for key in keys] == [
        path
        for path in PATHS
        if path in BUNDLED_PATHS or not path.startswith(("data.", "network.layers", "network.signs", "network.inhibitory"))
    ]
    chosen = {"rule": "adam", "manifold": "scaled-monotone", "learning_rate": 0.05, "schedule": "cosine", "longest_step": 0.35}
    assert written["train"].items() >= (chosen | {"guard": False, "evaluate_every": 4}).items()
    result = run("train", "--config", folder / "config.toml", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert_same_bits(next(tmp_path.iterdir()), folder)


def test_help_shows_an_example_which_runs(tmp_path, monkeypatch):
    result = run("train", "--help")
    (example,) = (line.strip() for line in result.stdout.splitlines() if "Example: " in line)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "read_config", lambda path, given: parse_config(TINY))
    monkeypatch.setattr(sets, "DIGITS", 40)
    assert run(*split(example.removeprefix("Example: riemannrnn "))).exit_code == 0
    assert names(next((tmp_path / "runs").iterdir())) == RESULTS


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """The folder of an uninterrupted run with each rule, made when needed."""

    @cache
    def reference(name):
        result, folder = begin(tmp_path_factory.mktemp("reference"), train=RULES[name])
        assert result.exit_code == 0, result.output
        return folder

    return reference


@pytest.mark.parametrize(
    ("name", "method", "step"),
    [
        *((name, "_take_step", 5) for name in RULES),
        *((name, *where) for name in ("default", "guarded") for where in (("_take_step", 0), ("_look", 1), ("_arrive", 12))),
    ],
)
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, references, name, method, step):
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, method, step)
        stopped, folder = begin(tmp_path, train=RULES[name])
    assert stopped.exit_code == 130, stopped.output
    before = (folder / "config.toml").read_bytes()
    assert f"Continue with riemannrnn train --resume {folder}" in stopped.stdout
    taken, take_step = [], Run._take_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_take_step", lambda self, *rest: (taken.append(self.state.step), take_step(self, *rest)))
        result = run("train", "--resume", folder)
    assert result.exit_code == 0, result.output
    assert taken == list(range({"_take_step": step, "_look": step - 1, "_arrive": step}[method], 12))
    assert_same_bits(folder, references(name))
    assert (folder / "config.toml").read_bytes() == before
    assert names(folder) == RESULTS


def test_the_guard_halves_steps_of_the_run(references):
    """Otherwise the resumed run would show nothing."""
    assert len(results(references("guarded"))[1].attrs["guard_reasons"]) > 2


def test_the_path_agrees_with_the_run_and_can_be_analysed(folder):
    with read_run(folder) as path:
        np.testing.assert_array_equal(path.steps, np.arange(13))
        np.testing.assert_array_equal(path[-1], results(folder)[0]["weights"].astype(np.float32))
        assert path.cost().at(path[0]).cost == pytest.approx(path.losses[0], rel=0.2)  # over all stimuli, not over a batch
    assert run("geodesics", folder, "--stimuli", "5", "--animation", "none").exit_code == 0


def test_a_finished_run_may_be_resumed_and_stays_unchanged(folder, tmp_path):
    before = results(folder)[0]["weights"]
    (folder / "notes.txt").write_text("mine")
    assert run("train", "--resume", folder).exit_code == 0
    np.testing.assert_array_equal(results(folder)[0]["weights"], before)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(folder, tmp_path):
    killed = tmp_path / "killed"
    (killed / "checkpoints").mkdir(parents=True)
    (killed / "config.toml").write_bytes((folder / "config.toml").read_bytes())
    assert run("train", "--resume", killed).exit_code == 0
    assert_same_bits(killed, folder)


def test_a_damaged_checkpoint_is_named_and_the_previous_one_is_used(tmp_path, folder, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, "_take_step", 7)
        _, stopped = begin(tmp_path)
    *_, last = sorted((stopped / "checkpoints").iterdir())
    last.write_bytes(last.read_bytes()[:-1])
    result = run("train", "--resume", stopped)
    assert result.exit_code == 0, result.output
    assert result.stderr == f"Warning: {last} is damaged: its checksum does not match its content; it is skipped\n"
    assert_same_bits(stopped, folder)


def test_a_run_without_an_intact_checkpoint_is_refused(tmp_path, folder):
    _, damaged = begin(tmp_path)
    for path in (damaged / "checkpoints").iterdir():
        path.write_bytes(b"nothing")
    before = (damaged / "weights.npz").read_bytes()
    result = run("train", "--resume", damaged)
    assert result.exit_code == 2
    assert (
        result.stderr.splitlines()[-1]
        == f"Error: {damaged / 'checkpoints'} holds no intact checkpoint; start the run again in an empty folder"
    )
    assert (damaged / "weights.npz").read_bytes() == before


@pytest.mark.parametrize("name", ["checkpoint-00000006", "history", "weights", "training"])
def test_a_full_disk_is_reported_and_loses_nothing(tmp_path, folder, monkeypatch, name):
    replace = os.replace

    def full(source, target):
        if Path(target).name.startswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        result, stopped = begin(tmp_path)
    line = refused(result, status=1)
    assert f"cannot write {stopped}" in line
    assert "No space left on device; free space" in line
    assert line.endswith(f"What was written before is kept; continue with riemannrnn train --resume {stopped}")
    assert len(names(stopped / "checkpoints")) >= 2
    assert run("train", "--resume", stopped).exit_code == 0
    assert_same_bits(stopped, folder)


def test_ctrl_c_while_results_are_written(tmp_path, folder, monkeypatch):
    def pressed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "save_figure", pressed)
        result, stopped = begin(tmp_path)
    assert result.exit_code == 130
    assert f"Interrupted. Continue with riemannrnn train --resume {stopped}" in result.stdout
    assert run("train", "--resume", stopped).exit_code == 0
    assert_same_bits(stopped, folder)


def test_the_keys_are_listed_with_their_meaning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "--list")
    assert result.exit_code == 0, result.output
    for path in PATHS:
        table, key = path.split(".")
        assert f"[{table}]" in result.stdout
        assert re.search(rf"^ *{key} ", result.stdout, re.MULTILINE)
    assert re.search(r"epochs +10 +Passes through", result.stdout)
    assert not names(tmp_path)
