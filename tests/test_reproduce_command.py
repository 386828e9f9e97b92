"""`riemannrnn reproduce`: its files, its errors, and how it stops."""

import dataclasses
import os
import signal
import time
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from test_cli import names, refused, run

from riemannrnn.cli import reproduce
from riemannrnn.data import Dataset, load_digits
from riemannrnn.paper import FIGURES, Settings

SMALL = {
    "one-neuron": {"steps": 30},
    "landscape": {"n_units": 10, "n_samples": 5, "segments": 2, "segment_points": 11, "plane_points": 5},
    "linear": {"n_units": 10, "n_samples": 5, "steps": 10},
    "angles": {"n_units": 10, "n_samples": 5, "steps": 10},
    "mnist": {},
}


@pytest.fixture
def small(monkeypatch):
    """Every figure at a reduced size, with digits instead of MNIST."""
    figures = {
        name: dataclasses.replace(figure, reproduce=partial(figure.reproduce, **SMALL[name]))
        for name, figure in FIGURES.items()
    }
    monkeypatch.setattr(reproduce, "FIGURES", figures)
    monkeypatch.setattr(reproduce, "load_mnist", lambda folder: load_digits(np.float32).split(120, 60, seed=0))
    tiny = partial(Settings, n_units=10, batch_size=60, epochs=1, curves=(("dW3", 0.25),))
    monkeypatch.setattr(reproduce, "Settings", tiny)
    return figures


def test_the_list_names_every_figure():
    result = run("reproduce", "--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [*FIGURES, "all"]


def test_all_writes_a_folder_for_each_figure_and_the_claims_of_all(small, tmp_path):
    result = run("reproduce", "all", "--output", tmp_path, "--seeds", "2")
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("reproduce-all-")
    assert names(folder) == sorted([*FIGURES, "config.toml", "paper.md"])
    for name in FIGURES:
        assert names(folder / name) == sorted([f"{name}.png", "data.nc", "verdict.md"])
    paper = (folder / "paper.md").read_text()
    assert all(f"| {name} |" in paper for name in FIGURES)
    config = tomllib.loads((folder / "config.toml").read_text())
    assert config["reproduce"] == {"figures": list(FIGURES), "as_released": False, "seeds": 2}
    with xr.open_dataset(folder / "mnist" / "data.nc", engine="h5netcdf") as data:
        assert data["seed"].values.tolist() == [0, 1]
    assert "holds" in result.stdout


@pytest.mark.parametrize("option", ["--as-released", "--corrected"])
def test_the_mode_of_mnist_is_an_option(small, tmp_path, option):
    result = run("reproduce", "mnist", option, "--output", tmp_path, "--seeds", "1")
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()
    assert names(folder) == ["config.toml", "data.nc", "mnist.png", "verdict.md"]
    assert ("5 τ" in (folder / "verdict.md").read_text()) == (option == "--as-released")


def test_missing_inputs_are_refused_before_any_file_is_made(tmp_path, monkeypatch):
    monkeypatch.delenv("RIEMANNRNN_DATA", raising=False)
    assert "no figure is named; choose one of one-neuron" in refused(run("reproduce"))
    assert "'mnits' is unknown; choose one of one-neuron" in refused(run("reproduce", "mnits"))
    for command in (["all"], ["mnist", "--data", tmp_path / "nowhere"]):
        sentence = refused(run("reproduce", *command, "--output", tmp_path / "runs"))
        assert "RIEMANNRNN_DATA" in sentence
        assert "--download" in sentence
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("options", [["--as-released"], ["--seeds", "2"], ["--data", "here"], ["--download"]])
def test_options_of_mnist_are_not_ignored_by_others(options):
    assert "they are options of mnist and all" in refused(run("reproduce", "linear", *options))


def test_download_fetches_into_the_folder_that_is_named(small, tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(reproduce, "fetch_mnist", fetched.append)
    monkeypatch.setenv("RIEMANNRNN_DATA", "elsewhere")
    for arguments in (["--data", tmp_path / "data"], []):
        assert run("reproduce", "mnist", "--download", *arguments, "--output", tmp_path / "runs", "--seeds", "1").exit_code == 0
    assert fetched == [tmp_path / "data", Path("elsewhere")]


def test_ctrl_c_keeps_the_figures_that_are_finished(small, tmp_path, monkeypatch):
    def interrupted(progress):
        raise KeyboardInterrupt

    monkeypatch.setitem(small, "linear", dataclasses.replace(small["linear"], reproduce=interrupted))
    result = run("reproduce", "all", "--output", tmp_path)
    assert result.exit_code == 130
    assert "Interrupted" in result.stdout
    (folder,) = tmp_path.iterdir()
    assert names(folder / "landscape") == ["data.nc", "landscape.png", "verdict.md"]
    assert "| landscape |" in (folder / "paper.md").read_text()
    assert names(folder / "linear") == []


def test_ctrl_c_ends_running_threads(monkeypatch):
    """3500 steps at full size would take minutes."""
    count = iter(range(10**6))

    def progress(share):
        if next(count) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    began = time.perf_counter()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            FIGURES["linear"].reproduce(progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert next(count) < 200
    assert time.perf_counter() - began < 60  # it hangs for minutes otherwise


def test_ctrl_c_within_a_figure_keeps_it_and_stops(small, tmp_path, monkeypatch):
    compute = small["landscape"].reproduce
    partly = dataclasses.replace(
        small["landscape"], reproduce=lambda progress: dataclasses.replace(compute(), interrupted=True)
    )
    monkeypatch.setitem(small, "landscape", partly)
    assert run("reproduce", "all", "--output", tmp_path).exit_code == 130
    (folder,) = tmp_path.iterdir()
    assert names(folder) == ["config.toml", "landscape", "one-neuron", "paper.md"]


def test_mnist_itself(tmp_path):
    """Runs 26 steps of the fastest curve, which is then close to the authors' curve, within the spread of seeds."""
    where = os.environ.get("RIEMANNRNN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
    if not (Path(where) / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("MNIST is not here: name its folder in RIEMANNRNN_DATA")
    from riemannrnn.data import load_mnist
    from riemannrnn.paper.mnist_experiment import Experiment
    from riemannrnn.paper.recorded import load_recorded

    training, test = load_mnist(where)
    few = [
        Dataset(part.name, part.stimuli[:count], part.labels[:count], 10)
        for part, count in ((training, 26 * 512), (test, 2000))
    ]
    run = Experiment(Settings(seeds=(0,), epochs=1), 0, *few).run("dW3", 0.25)
    recorded = load_recorded("mnist")
    theirs = recorded["rules"]["dW3"]["test_accuracy"][4][recorded["steps"].index(25)]
    assert float(run["accuracy"].sel(part="test", step=25)) == pytest.approx(theirs, abs=0.1)
    assert float(run["final_lost"]) == float(run["final_unstable"]) == 0
