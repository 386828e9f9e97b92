"""Commands keep their results and report it if their output cannot be written, or their files are deleted during the run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import names, refused
from test_train_command import RESULTS, begin, merged

from riemannrnn.cli import train as command
from riemannrnn.run_folder import write_toml
from riemannrnn.training.run import Run

FULL = Path("/dev/full")
LOST = (
    "Error: cannot write to the standard output: No space left on device; what the command printed is lost and its files are "
    "not: free space, or send the output elsewhere\n"
)
SIZE = ["--units", "6", "--training-size", "12", "--budget", "5", "--radius", "0.2"]
COMPARE = "compare", *SIZE, "--contender", "steepest", "--workers", "0"

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


def started(*arguments, **streams):
    command = [sys.executable, "-m", "riemannrnn", *map(str, arguments)]
    return subprocess.Popen(command, **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | streams))


def commands(parent):
    """Return the arguments for a run of each writing command, with its files."""
    write_toml(parent / "tiny.toml", merged({}))
    return {
        "train": (("train", "--config", parent / "tiny.toml", "--output", parent / "runs"), RESULTS),
        "compare": ((*COMPARE, "--output", parent / "runs"), ["comparison.png", "config.toml", "history.nc", "summary.csv"]),
    }


@pytest.mark.parametrize("name", ["train", "compare"])
def test_a_full_standard_output_loses_no_result(tmp_path, name):
    arguments, files = commands(tmp_path)[name]
    with FULL.open("w") as full, started(*arguments, stdout=full) as process:
        _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, LOST)
    (folder,) = (tmp_path / "runs").iterdir()
    assert names(folder) == files


@pytest.mark.parametrize("name", ["train", "compare"])
def test_a_closed_pipe_changes_nothing(tmp_path, name):
    arguments, files = commands(tmp_path)[name]
    with started(*arguments) as process:
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=120)
    assert (process.returncode, errors) == (0, "")
    (folder,) = (tmp_path / "runs").iterdir()
    assert names(folder) == files


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["train", "--help"], ["compare", "--list"], ["reproduce", "--list"]]
)
def test_every_command_says_that_its_output_is_lost(arguments):
    with FULL.open("w") as full, started(*arguments, stdout=full) as process:
        assert process.communicate(timeout=60)[1] == LOST
    assert process.returncode == 1


def test_errors_that_cannot_be_written_leave_the_status(tmp_path):
    with FULL.open("w") as full, started("train", "--resume", tmp_path, stderr=full) as process:
        process.communicate(timeout=60)
    assert process.returncode == 2


def test_an_encoding_without_a_character_loses_no_output(tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    with started(*COMPARE, "--output", tmp_path, env=environment) as process:
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert "J+?J+H" in output


def test_a_deleted_run_folder_ends_with_a_message(tmp_path, monkeypatch):
    look = Run._look

    def deleted(self):
        if self.state.step == 5:
            shutil.rmtree(self.checkpoints.parent)
        look(self)

    monkeypatch.setattr(Run, "_look", deleted)
    result, _ = begin(tmp_path)
    line = refused(result, status=1)
    assert "does not exist; make it" in line
    assert "--resume" not in line
    assert "Written to" not in result.stdout


def test_a_deleted_file_is_not_reported_as_written(tmp_path, monkeypatch):
    save = command.save_figure

    def deleted(figure, path):
        save(figure, path)
        for name in ("config.toml", "history.nc"):
            (path.parent / name).unlink()

    monkeypatch.setattr(command, "save_figure", deleted)
    result, folder = begin(tmp_path)
    assert f"{folder} does not hold config.toml, history.nc: the folder or a file in it was deleted" in refused(
        result, status=1
    )
    assert "Written to" not in result.stdout
