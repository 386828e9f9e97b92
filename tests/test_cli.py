"""The command line: what it writes, its errors, and how it stops."""

import csv
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread
from typer.testing import CliRunner

from riemannrnn import cli
from riemannrnn.comparison.comparison import Comparison, compare
from riemannrnn.comparison.contenders import all_contenders
from riemannrnn.comparison.entry import Entry
from riemannrnn.metrics.catalogue import CATALOGUE
from riemannrnn.run_folder import RunFolderError

SIZE = ["--units", "6", "--training-size", "12", "--budget", "5", "--radius", "0.2"]
TINY = ["compare", *SIZE, "--workers", "0", "--contender", "steepest"]
FILES = ["comparison.png", "config.toml", "history.nc", "summary.csv"]
STEEPEST = [each.name for each in all_contenders() if "steepest" in each.name]


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).invoke(cli.app, [str(each) for each in arguments])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(result, status=2):
    """Return the one sentence of the error with which a command ended."""
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """The result of one comparison, and the named folder."""
    output = tmp_path_factory.mktemp("output")
    return run(*TINY, "--seed", "3", "--dtype", "float32", "--output", output), output


@pytest.fixture
def folder(outcome):
    (folder,) = outcome[1].iterdir()
    return folder


def test_compare_ends_with_a_table(outcome, folder):
    result, _ = outcome
    assert result.exit_code == 0, result.output
    for name in STEEPEST:
        assert name in result.stdout
    assert "5 evaluations for each contender" in result.stdout
    assert "3 of 3 contenders used all 5 evaluations." in result.stdout
    assert f"Written to {folder}: config.toml, history.nc, summary.csv, comparison.png" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_table_breaks_names_before_slashes_only(tmp_path, monkeypatch, width):
    monkeypatch.setattr("riemannrnn.cli.compare.console.width", width)
    name = "scaled-monotone/geodesic/conjugate-gradient"
    result = run(*TINY[:-1], name, "--output", tmp_path)
    assert re.search(r"\n scaled-monotone .*\n /geodesic +\n /conjugate-gradient +\n", result.stdout), result.stdout
    assert max(map(len, result.stdout.splitlines()[:10])) <= width


def test_compare_fills_the_run_folder_and_nothing_else(folder):
    assert names(folder) == FILES
    assert folder.name.startswith("compare-")


def test_config_holds_every_setting(folder):
    config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    network = {"units": 6, "radius": 0.2, "activation": "tanh", "seed": 3, "dtype": "float32", "trained": ["recurrent"]}
    assert network.items() <= config["network"].items()
    assert {"name": "digits", "training_size": 12, "seed": 3}.items() <= config["data"].items()
    assert config["compare"] == {
        "training_size": 12,
        "budget": 5,
        "backend": "numpy",
        "stable": 0.01,
        "max_seconds": 20.0,
        "inner_iterations": 50,
        "contenders": STEEPEST,
    }
    assert config["versions"]["riemannrnn"] == version("riemannrnn")


def test_history_is_contender_by_evaluation(folder):
    with xr.open_dataset(folder / "history.nc", engine="h5netcdf") as history:
        assert dict(history.sizes) == {"contender": 3, "evaluation": 6}
        assert list(history["contender"].values) == STEEPEST
        assert np.isfinite(history["loss"][:, -1]).all()
        assert set(history.data_vars) == {"loss", "seconds", "test_accuracy"}


def test_summary_has_a_row_for_each(folder):
    with open(folder / "summary.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["contender"] for row in rows] == STEEPEST
    for row in rows:
        assert int(row["cost_evaluations"]) + int(row["gradient_evaluations"]) + int(row["hessian_evaluations"]) == 5
        assert 0 < float(row["training_loss"]) < np.inf
        assert 0 <= float(row["test_accuracy"]) <= 1
        assert row["stopped"] == "Used its 5 evaluations."


def test_the_picture_shows_something(folder):
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(folder / "comparison.png")
    assert pixels.shape[1] == 1400  # seven inches, the width of a page, at 200 dots per inch
    assert pixels[..., :3].std() > 0.02


def test_two_runs_never_overwrite_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "now")
    monkeypatch.setattr("riemannrnn.cli.compare.compare", lambda task, contenders, budget, **options: Comparison((), budget))
    for _ in range(2):
        assert run(*TINY, "--output", tmp_path / "new").exit_code == 0
    assert names(tmp_path / "new") == ["compare-now", "compare-now-1"]


def test_list():
    result = run("compare", "--list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-len(all_contenders()) :] == [each.name for each in all_contenders()]
    described = {line.split()[0] for line in lines if line.startswith(" ") and line[1:2].strip()}
    assert described >= set(CATALOGUE)
    only = run("compare", "--list", "--manifold", "gain").stdout.splitlines()
    assert only[-2:] == ["gain/geodesic/conjugate-gradient", "gain/geodesic/trust-regions"]


def test_help_shows_an_example():
    result = run("compare", "--help")
    assert result.exit_code == 0
    assert "Example: riemannrnn compare --contender resolvent --budget 100 --seed 3" in result.stdout
    example = ["compare", "--contender", "resolvent", "--budget", "100", "--seed", "3", "--list"]
    assert run(*example).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activation", "tahn"], "'tahn'"),
        (["--radius", "inf"], "network.radius = inf"),
        (["--manifold", "dales"], "manifold 'dales' is unknown; choose among euclidean, "),
        (["--activation", "tahn"], "tanh"),
        (["--contender", "adam"], "no contender's name contains 'adam'; the names are euclidean/additive/descent, "),
        (["--contender", "[/b]"], "no contender's name contains '[/b]'; the names are"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_ones(tmp_path, arguments, message):
    assert message in refused(run(*TINY, *arguments, "--output", tmp_path / "new"))
    assert names(tmp_path) == []


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    file = tmp_path / "[bold]file"
    file.write_text("mine")
    line = refused(run(*TINY, "--output", file))
    assert f"cannot make the run folder {file}" in line
    assert line.endswith("Not a directory; choose another with --output")
    assert file.read_text() == "mine"


def test_a_disk_that_fills_up_is_said_so(tmp_path, monkeypatch):
    def full(*arguments):
        raise RunFolderError("cannot write config.toml: No space left on device; free space or choose another folder")

    monkeypatch.setattr("riemannrnn.cli.compare.write_toml", full)
    assert "No space left on device" in refused(run(*TINY, "--output", tmp_path))


def test_a_table_is_shown_though_its_files_cannot_be_written(tmp_path, monkeypatch):
    def full(*arguments):
        raise RunFolderError("cannot write history.nc: No space left on device; free space")

    monkeypatch.setattr("riemannrnn.cli.compare.write_netcdf", full)
    result = run(*TINY, "--output", tmp_path)
    assert "No space left on device" in refused(result, status=1)
    assert "evaluations for each contender" in result.stdout


def test_a_comparison_without_a_result_is_no_success(tmp_path, monkeypatch):
    entry = Entry(all_contenders()[0], stopped="Failed: on purpose")
    monkeypatch.setattr(
        "riemannrnn.cli.compare.compare", lambda task, contenders, budget, **options: Comparison((entry,), budget)
    )
    monkeypatch.setattr("riemannrnn.cli.compare.write_comparison", lambda *arguments: [])
    result = run(*TINY, "--output", tmp_path)
    assert result.exit_code == 1
    assert f"Failures\n{entry.contender.name}: on purpose\n" in result.stdout
    assert "No contender can be recommended: none took a step" in result.stdout


def test_ctrl_c_while_a_comparison_is_written(tmp_path, monkeypatch):
    def pressed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("riemannrnn.cli.compare.write_netcdf", pressed)
    result = run(*TINY, "--output", tmp_path)
    assert result.exit_code == 130
    assert "evaluations for each contender" in result.stdout
    assert "Interrupted while results were written" in result.stdout


def test_all_manifolds_may_be_asked_for_among_others():
    alone, among = (run("compare", "--list", *more, "--manifold", "all").stdout for more in ((), ("--manifold", "resolvent")))
    assert sorted(alone.splitlines()) == sorted(among.splitlines())


@pytest.mark.parametrize(
    "option", ["--units=0", "--budget=1", "--training-size=2000", "--seed=-1", "--dtype=int8", "--radius=x"]
)
def test_a_value_out_of_range_is_refused(tmp_path, option):
    result = run("compare", option, "--output", tmp_path)
    assert result.exit_code == 2
    assert option.split("=")[0].lstrip("-") in result.stderr
    assert "Traceback" not in result.output
    assert names(tmp_path) == []


@pytest.mark.parametrize("finished", [0, 1])
def test_ctrl_c_keeps_what_was_finished(tmp_path, monkeypatch, finished):
    def interrupted(task, contenders, budget, progress, **options):
        def press(contender, share):
            progress(contender, share)
            if contender == contenders[finished]:
                raise KeyboardInterrupt

        return compare(task, contenders, budget, progress=press)

    monkeypatch.setattr("riemannrnn.cli.compare.compare", interrupted)
    result = run(*TINY, "--output", tmp_path)
    assert result.exit_code == 130, result.output
    assert f"Interrupted: {finished} of 3 contenders had finished and are kept." in result.stdout
    (folder,) = tmp_path.iterdir()
    kept = FILES if finished else ["config.toml"]
    assert names(folder) == kept
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("Written to "))
    assert sorted(line.rpartition(": ")[2].split(", ")) == kept
    if finished:
        assert len((folder / "summary.csv").read_text(encoding="utf-8").splitlines()) == 1 + finished


def test_no_result_is_lost_to_an_encoding(tmp_path):
    """If the output is a file in code page 1252, ∇ cannot be written."""
    command = [sys.executable, "-m", "riemannrnn", *map(str, TINY), "--output", str(tmp_path)]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert names(folder) == FILES


def test_no_result_is_lost_to_a_table_that_cannot_be_printed(tmp_path, monkeypatch):
    def closed(*arguments):
        raise BrokenPipeError

    monkeypatch.setattr("riemannrnn.cli.compare.table", closed)
    assert run(*TINY, "--output", tmp_path).exit_code == 1
    (folder,) = tmp_path.iterdir()
    assert names(folder) == FILES


def test_module_and_version():
    done = subprocess.run([sys.executable, "-m", "riemannrnn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == version("riemannrnn")
    assert done.stderr == ""


def test_compare_without_cupy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install 'riemannrnn[cuda12]'" in refused(run(*TINY, "--backend", "cupy", "--output", tmp_path))
    assert not names(tmp_path)
