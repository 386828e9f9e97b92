"""`riemannrnn train` with missing parts, errors, and interrupted runs; and options in its configuration."""

import errno
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from test_cli import names, refused, run
from test_data_bundled import tiny_mnist
from test_train_command import RESULTS, begin, results

from riemannrnn.analysis import read_run
from riemannrnn.training.checkpoints import PATTERN
from riemannrnn.training.run import Run


def test_a_path_is_recorded_by_default_if_there_is_one(tmp_path):
    _, folder = begin(tmp_path / "off", train={"epochs": 1, "record": False})
    assert "path.h5" not in names(folder)
    _, folder = begin(tmp_path / "factors", train={"epochs": 1, "manifold": "low-rank"}, network={"units": 12})
    assert "path.h5" not in names(folder)
    assert sorted(results(folder)[0]) == ["input_weights", "readout", "weights_0", "weights_1", "weights_2"]
    wrong, _ = begin(tmp_path / "on", train={"manifold": "low-rank", "record": True}, network={"units": 12})
    assert refused(wrong) == "Error: train.record = true: 'low-rank' never forms W, so its path cannot be recorded"


def test_a_configuration_other_than_the_one_of_the_checkpoint_is_refused(tmp_path):
    _, folder = begin(tmp_path)
    path = folder / "config.toml"
    path.write_text(path.read_text().replace("epochs = 3", "epochs = 4"))
    assert "the checkpoint is of another run: epochs was 3, now 4; resume with" in refused(run("train", "--resume", folder))


def test_a_run_that_ended_before_its_first_checkpoint_continues(tmp_path, monkeypatch):
    """Ctrl-C there leaves a path with the weights at the start, and no checkpoint."""

    def pressed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_take_step", pressed)
        patch.setattr(Run, "_write", lambda *arguments: None)
        result, folder = begin(tmp_path)
    assert result.exit_code == 130
    assert not list((folder / "checkpoints").glob(PATTERN))
    assert "path.h5" in names(folder)
    assert run("train", "--resume", folder).exit_code == 0
    with read_run(folder) as recorded:
        assert recorded.steps[0] == 0
        assert recorded.steps[-1] == 12


@pytest.mark.parametrize("content", [None, "", "[versions]\nriemannrnn = '0'\n", "[compare]\nunits = 3\n"])
def test_a_folder_without_a_run_is_refused_and_unchanged(tmp_path, content):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "weights.npz").write_text("mine")
    if content is not None:
        (tmp_path / "config.toml").write_text(content)
    before = names(tmp_path)
    assert refused(run("train", "--resume", tmp_path)).startswith(f"Error: {tmp_path} is not the folder of a run; ")
    assert names(tmp_path) == before
    assert (tmp_path / "weights.npz").read_text() == "mine"
    assert "is not the folder of a run" in refused(run("train", "--resume", tmp_path / "nowhere"))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def read_only(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", read_only)
        line = refused(run("train", "--output", tmp_path / "runs"))
    assert "cannot make the run folder" in line
    assert line.endswith("Permission denied; choose another with --output")
    assert names(tmp_path) == []


def test_a_run_that_cannot_continue_says_why_and_keeps_its_results(tmp_path):
    lost = {"rule": "dW2", "learning_rate": 1e6, "guard": False}
    result, folder = begin(tmp_path, train=lost)
    assert result.exit_code == 1
    assert "Stopped at step 1: exit time t* = " in result.stdout
    assert "history.nc" not in names(folder)
    lost = {"rule": "dW1", "learning_rate": 1e3, "guard": False}
    result, folder = begin(tmp_path / "later", network={"activation": "power-law"}, train=lost)
    assert result.exit_code == 1
    assert "have no fixed point to the tolerance" in result.stdout
    assert names(folder) == RESULTS


def test_held_out_stimuli_without_a_fixed_point_are_reported(tmp_path, monkeypatch):
    look = Run._look

    def lost(self):
        look(self)
        self.history.test_loss[-1], self.history.test_accuracy[-1] = np.inf, np.nan

    monkeypatch.setattr(Run, "_look", lost)
    result, _ = begin(tmp_path)
    assert result.exit_code == 0, result.output
    assert ", but held-out stimuli without a fixed point." in result.stdout
    assert "right" not in result.stdout


def test_mnist_from_a_folder_or_the_environment(tmp_path, monkeypatch):
    tiny_mnist(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RIEMANNRNN_DATA", ".")
    data = {"name": "mnist", "training_size": 5}
    result, folder = begin(tmp_path / "new", data=data, train={"batch_size": 2, "epochs": 1})
    assert result.exit_code == 0, result.output
    written = tomllib.loads((folder / "config.toml").read_text())["data"]
    assert written == {"name": "mnist", "training_size": 5, "seed": 0, "folder": str(tmp_path)}
    monkeypatch.delenv("RIEMANNRNN_DATA")
    monkeypatch.chdir("/")
    assert run("train", "--resume", folder).exit_code == 0
    line = refused(begin(tmp_path / "nowhere", data={"name": "mnist"})[0])
    assert line.startswith("Error: data.folder: MNIST cannot be found")
    assert len(results(folder)[1]["loss"]) == 3
