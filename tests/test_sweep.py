"""Sweeps: a run folder for each cell, one result, the same bits on workers, and no finished cell runs twice."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from threading import Thread

import numpy as np
import pytest
import tomli_w
import xarray as xr
from matplotlib.figure import Figure
from test_cli import names, refused, run
from threadpoolctl import threadpool_info

from riemannrnn.cli.config import read_run
from riemannrnn.plots import save_figure, sweep_figure
from riemannrnn.run_folder import RunFolderError, RunInUseError, locked
from riemannrnn.runtime import parts
from riemannrnn.settings import SettingError
from riemannrnn.sweep import Grid, cell, local_client, runner, sweep

BASE = {
    "network": {"units": 5, "radius": 0.3},
    "data": {"training_size": 40},
    "train": {"rule": "adam", "manifold": "monotone", "batch_size": 20, "epochs": 2, "checkpoint_every": 3, "record": False},
}
GRID = Grid(BASE, {"train.manifold": ["euclidean", "monotone"], "train.learning_rate": [0.01, 0.1]}, replicates=2)
SMALL = Grid(BASE, {"train.learning_rate": [0.01, 0.1]}, replicates=2)
FAILING = Grid(BASE, {"network.radius": [0.3, 9.0]})


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    """Leave out the figures of runs and sweeps in this process, which take longer than the runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("riemannrnn.cli.train.training_figure", lambda *arguments: Figure())
        patch.setattr("riemannrnn.sweep.result.sweep_figure", lambda *arguments: Figure())
        yield


@pytest.fixture(scope="module")
def serial(tmp_path_factory, no_figures):
    """The result of a sweep in this process."""
    return sweep(GRID, output=tmp_path_factory.mktemp("serial"))


@pytest.fixture(scope="module")
def small(tmp_path_factory, no_figures):
    """The result of a smaller sweep in this process."""
    return sweep(SMALL, output=tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def client():
    """A client of two worker processes."""
    with local_client(2) as each:
        yield each


def same(result, reference):
    """Check that two sweeps agree to the bit, except for their times."""
    kept, expected = (each.to_dataset().drop_vars("seconds") for each in (result, reference))
    xr.testing.assert_identical(kept, expected)


def marks(folder):
    """Return values that change if a cell is written again, for each cell that has ended."""
    return {path.parent.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob(f"cells/*/{cell.ROW}")}


def test_every_cell_is_a_row_and_an_ordinary_run(serial):
    assert Counter(row["status"] for row in serial.rows) == {"finished": 8}
    assert names(serial.folder) == [".lock", "cells", "grid.toml", "summary.csv", "sweep.nc", "sweep.png"]
    assert names(serial.folder / "cells") == sorted(serial.keys)
    for each, key, row in zip(serial.cells, serial.keys, serial.rows, strict=True):
        folder = serial.folder / "cells" / key
        assert {"config.toml", "history.nc", "weights.npz", "training.png", "checkpoints"} <= set(names(folder))
        assert read_run(folder).train.manifold == each.place["train.manifold"]
        assert (row["steps"], row["reason"]) == (4, "All 2 epochs done.")
        assert all(isinstance(value, int | float | str) for value in row.values())


def test_the_dataset_holds_what_the_runs_measured(serial):
    with xr.open_dataset(serial.folder / "sweep.nc", engine="h5netcdf") as stored:
        xr.testing.assert_identical(stored.load(), serial.to_dataset())
        assert dict(stored.sizes) == {"train.manifold": 2, "train.learning_rate": 2, "replicate": 2, "step": 4}
        for each, key in zip(serial.cells, serial.keys, strict=True):
            here = stored.sel({**each.place, "replicate": each.replicate})
            with xr.open_dataset(serial.folder / "cells" / key / "history.nc", engine="h5netcdf") as history:
                for name in ("loss", "test_loss", "test_accuracy"):
                    np.testing.assert_array_equal(here[name], history[name])
                    assert here[f"final_{name}"] == history[name][-1]
            assert here["key"] == key
            assert here["network.seed"] == each.tables["network"]["seed"]
        assert stored.attrs["riemannrnn"] == runner.version("riemannrnn")
    with open(serial.folder / "summary.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == serial.keys
    assert [float(row["final_loss"]) for row in rows] == [row["final_loss"] for row in serial.rows]


def test_a_cell_is_the_run_that_the_train_command_makes_of_its_configuration(serial, tmp_path):
    folder = serial.folder / "cells" / serial.keys[0]
    assert run("train", "--config", folder / "config.toml", "--output", tmp_path).exit_code == 0
    (own,) = tmp_path.iterdir()
    with np.load(folder / "weights.npz") as ours, np.load(own / "weights.npz") as theirs:
        np.testing.assert_allclose(ours["weights"], theirs["weights"], rtol=1e-9)


def test_workers_give_the_same_bits(small, client, tmp_path):
    told = []
    same(sweep(SMALL, client, output=tmp_path, progress=told.append), small)
    assert [tally.done for tally in told] == list(range(5))
    assert told[-1].failed == 0
    assert np.isnan(told[0].seconds_left)
    assert told[-1].seconds_left == 0


def test_a_killed_worker_loses_no_finished_cell(small, client, tmp_path):
    killed, before = [], {}

    def kill(tally):
        if tally.done == 1:
            before.update(marks(tmp_path))
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    same(sweep(SMALL, client, output=tmp_path, progress=kill), small)
    assert len(killed) == 1
    assert len(before) >= 1
    assert marks(tmp_path).items() >= before.items()


def test_a_killed_client_loses_no_finished_cell(small, tmp_path):
    (tmp_path / "grid.toml").write_text(tomli_w.dumps(SMALL.as_tables()))
    command = [sys.executable, "-m", "riemannrnn", "sweep", tmp_path / "grid.toml", "--output", tmp_path / "sweep"]
    with subprocess.Popen([*command, "--workers", "0"], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not marks(tmp_path / "sweep"):
            time.sleep(0.01)
        process.kill()
    before = marks(tmp_path / "sweep")
    assert 1 <= len(before) < 4
    same(sweep(SMALL, output=tmp_path / "sweep", resume=True), small)
    assert marks(tmp_path / "sweep").items() >= before.items()


def test_a_cell_has_one_thread(monkeypatch, tmp_path):
    seen = []
    train = cell._train

    def watched(*arguments):
        seen.append((parts(), {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}))
        return train(*arguments)

    monkeypatch.setattr(cell, "_train", watched)
    cell.run_cell(SMALL.cells()[0].tables, str(tmp_path / "cell"))
    assert seen == [(1, {1})]


def test_finished_cells_are_not_run_again_also_in_a_larger_grid(serial, monkeypatch):
    before = marks(serial.folder)
    assert len(before) == 8
    larger = Grid(BASE, {"train.learning_rate": [0.1, 0.01, 0.03], "train.manifold": ["monotone", "euclidean"]}, replicates=2)
    result = sweep(larger, output=serial.folder, resume=True)
    assert {key: mark for key, mark in marks(serial.folder).items() if key in before} == before
    assert len(marks(serial.folder)) == 12
    monkeypatch.setattr(cell, "_run", None)  # no cell is left to run
    same(sweep(GRID, output=serial.folder, resume=True), serial)
    ours, theirs = (each.to_dataset()["final_loss"].to_series() for each in (result, serial))
    assert ours.reorder_levels(theirs.index.names).loc[theirs.index].equals(theirs)


def test_a_failure_is_a_row_that_is_not_run_again_unless_that_is_asked_for(tmp_path, monkeypatch):
    result = sweep(FAILING, output=tmp_path)
    ((failed, row),) = result.having("failed")
    assert failed.place == {"network.radius": 9.0}
    assert row["reason"].startswith("train.manifold = 'monotone': no place to start; smallest eigenvalue of sym(I − W)")
    dataset = result.to_dataset()
    assert dataset["status"].values.ravel().tolist() == ["finished", "failed"]
    before = marks(tmp_path)
    same(sweep(FAILING, output=tmp_path, resume=True), result)
    assert marks(tmp_path) == before
    same(sweep(FAILING, output=tmp_path, resume=True, retry=True), result)
    again = {key for key, mark in marks(tmp_path).items() if mark != before[key]}
    assert again == {key for key, row in zip(result.keys, result.rows, strict=True) if row["status"] == "failed"}


def test_a_fault_of_the_program_is_a_row(tmp_path, monkeypatch):
    def broken(*arguments):
        raise TypeError("a mistake")

    monkeypatch.setattr(cell, "_train", broken)
    assert {row["reason"] for row in sweep(SMALL, output=tmp_path).rows} == {"TypeError: a mistake"}


def test_ctrl_c_keeps_what_had_finished_and_a_checkpoint(tmp_path, monkeypatch, small):
    write = cell.write_history
    before = []

    def interrupted(tally):
        if tally.done == 1:
            raise KeyboardInterrupt

    result = sweep(SMALL, output=tmp_path / "sweep", progress=interrupted)
    assert result.interrupted
    assert [row["status"] for row in result.rows] == ["finished", "unfinished", "unfinished", "unfinished"]
    before.append(marks(tmp_path / "sweep"))

    def cut(*arguments):  # after the training of the second cell
        monkeypatch.setattr(cell, "write_history", write)
        raise KeyboardInterrupt

    monkeypatch.setattr(cell, "write_history", cut)
    assert sweep(SMALL, output=tmp_path / "sweep", resume=True).interrupted
    assert list((tmp_path / "sweep" / "cells" / small.keys[1] / "checkpoints").glob("*.sum"))
    resumed = sweep(SMALL, output=tmp_path / "sweep", resume=True)
    same(resumed, small)
    assert marks(tmp_path / "sweep").items() >= before[0].items()


def test_a_row_that_nobody_received_is_in_the_result(tmp_path, monkeypatch):
    run_one = cell.run_cell

    def lost(*arguments):
        run_one(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_cell", lost)
    result = sweep(SMALL, output=tmp_path)
    assert result.interrupted
    assert [row["status"] for row in result.rows] == ["finished", "unfinished", "unfinished", "unfinished"]
    (tmp_path / "cells" / result.keys[0] / cell.ROW).unlink()  # as if the process had ended just before
    assert "test_loss" not in runner.planned(SMALL, tmp_path, SMALL.cells()).result().to_dataset()


def test_a_full_disk_leaves_a_cell_unfinished(tmp_path, monkeypatch):
    write, calls = cell.write_toml, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise RunFolderError("cannot write cell.toml: No space left on device; free space")
        write(*arguments)

    monkeypatch.setattr(cell, "write_toml", full)
    result = sweep(SMALL, output=tmp_path)
    assert [row["status"] for row in result.rows] == ["finished", "unfinished", "finished", "finished"]
    assert "No space left" in result.rows[1]["reason"]
    assert np.isnan(result.to_dataset()["final_loss"].values[0, 1])
    before = marks(tmp_path)
    assert {row["status"] for row in sweep(SMALL, output=tmp_path, resume=True).rows} == {"finished"}
    assert marks(tmp_path).items() >= before.items()


def test_one_sweep_at_a_time_in_a_folder(tmp_path):
    errors = []

    def second():
        try:
            sweep(SMALL, output=tmp_path)
        except RunInUseError as error:
            errors.append(str(error))

    with locked(tmp_path):
        thread = Thread(target=second)
        thread.start()
        thread.join()
    assert errors == [
        f"another run writes to {tmp_path} at this moment; wait until it has ended, stop it, or choose another folder"
    ]


def test_a_cell_waits_for_the_process_that_trains_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cell, "POLL_SECONDS", 0.01)
    tables, folder = SMALL.cells()[0].tables, tmp_path / "cell"
    folder.mkdir()
    with locked(folder):
        thread = Thread(target=cell.run_cell, args=(tables, str(folder)))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert not (folder / "config.toml").exists()
    thread.join()
    assert cell.finished_row(folder)["status"] == "finished"


def test_folders_that_are_refused(serial, tmp_path, monkeypatch):
    with pytest.raises(SettingError, match="holds a sweep; continue it with --resume, or choose another folder"):
        sweep(GRID, output=serial.folder)
    with pytest.raises(SettingError, match="holds no sweep to continue"):
        sweep(GRID, output=tmp_path / "new", resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="holds other files"):
        sweep(GRID, output=tmp_path)
    monkeypatch.setattr(runner, "version", lambda name: "9.9")
    with pytest.raises(SettingError, match=r"holds a sweep of riemannrnn .*, and this is 9\.9: their results would be mixed"):
        sweep(GRID, output=serial.folder, resume=True)


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    (tmp_path / "grid.toml").write_text("[grid]\n'train.epochs' = [1, 2]")
    line = refused(run("sweep", tmp_path / "grid.toml", "--output", tmp_path / "sweep", "--workers", 2))
    assert line == "Error: dask.distributed is not installed: run pip install 'riemannrnn[sweep]', or pass --workers 0"


def test_the_command(tmp_path):
    (tmp_path / "grid.toml").write_text(tomli_w.dumps(FAILING.as_tables()))
    command = ["sweep", tmp_path / "grid.toml", "--output", tmp_path / "sweep"]
    rehearsed = run(*command, "--dry-run", "--workers", 2)
    assert rehearsed.exit_code == 0, rehearsed.output
    assert "network.radius = 0.3, replicate 0\n" in rehearsed.output
    assert "2 of 2 cells would run." in rehearsed.output
    assert "minutes on 2 workers, by some steps of the first cell." in rehearsed.output
    assert not (tmp_path / "sweep").exists()
    result = run(*command, "--workers", 0)
    assert result.exit_code == 1, result.output
    assert "2 of 2 cells done, 1 failed" in result.output
    assert "Failed: network.radius = 9.0, replicate 0: train.manifold = 'monotone'" in result.output
    assert f"Written to {tmp_path / 'sweep'}: sweep.nc, summary.csv, sweep.png" in result.output
    assert "0 of 2 cells would run." in run(*command, "--dry-run", "--resume").output
    assert "continue it with --resume" in refused(run(*command))
    assert "exclude each other" in refused(run(*command, "--workers", 2, "--scheduler", "tcp://127.0.0.1:1"))
    with locked(tmp_path / "sweep"):
        thread = Thread(target=lambda: lines.append(refused(run(*command, "--workers", 0, "--resume"))))
        lines = []
        thread.start()
        thread.join()
    assert lines[0].startswith("Error: another run writes to ")


def test_the_figure_shows_what_varies(serial, tmp_path):
    dataset = serial.to_dataset()
    figure = sweep_figure(dataset, tuple(GRID.axes))
    save_figure(figure, tmp_path / "sweep.png")  # a layout that does not fit would raise a warning
    for rate, ax in zip((0.01, 0.1), figure.axes, strict=True):
        assert ax.get_title(loc="left") == str(rate)
        thin, thick = ([line for line in ax.lines if line.get_lw() == width] for width in (0.5, 1.5))
        assert len(thin) == 4, "two manifolds and two seeds"
        for number, (line, manifold) in enumerate(zip(thick, ("euclidean", "monotone"), strict=True)):
            runs = dataset["test_loss"].sel({"train.manifold": manifold, "train.learning_rate": rate}).dropna("step")
            np.testing.assert_array_equal(line.get_ydata(), runs.median("replicate"))
            for seed, curve in enumerate(thin[2 * number : 2 * number + 2]):
                np.testing.assert_array_equal(curve.get_ydata(), runs.sel(replicate=seed))
                assert curve.get_color() == line.get_color()
