"""`riemannrnn data check`: its output for a file, and its errors."""

import numpy as np
import pytest
from test_cli import refused, run

N = 60


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


@pytest.fixture
def csv(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install 'riemannrnn[data]'")
    generator = np.random.default_rng(0)
    frame = pandas.DataFrame({"length": generator.standard_normal(N), "width": np.arange(N) % 7, "lab": 3})
    frame.loc[[2, 9, 11], "length"] = np.nan
    frame["species"] = ["setosa", "versicolor", "virginica"] * (N // 3)
    frame.loc[5, "species"] = None
    frame.to_csv(tmp_path / "flowers.csv")
    return tmp_path / "flowers.csv"


def test_a_table(csv):
    result = run("data", "check", csv, "--target", "species")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"Note: {csv} cannot be read by rows; converting it once into ")
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert all(word in lines["length"] for word in ("float64", " 60 ", " 3 "))
    assert all(word in lines["width"] for word in ("int64", " 0 ", " 6 "))
    assert "constant" in lines["lab"]
    assert "3 different: setosa, versicolor, virginica" in lines["species"]
    assert "Stimuli: 60 of 3 inputs: length, width, lab, as float64." in result.stdout
    assert "Index: column 'Unnamed: 0' numbers or names the rows, and is left out." in result.stdout
    assert 'Missing in stimuli: 3, in 1 of 3 inputs. They cause an error, unless missing="mean"' in result.stdout
    assert "Constant inputs: lab." in result.stdout
    expected = "Targets: column 'species': classification, 3 classes: setosa (20), versicolor (20), virginica (19)."
    assert expected in result.stdout
    assert "Missing targets: 1 of 60 (1.7%); they count as not observed." in result.stdout


def test_a_regression(csv):
    result = run("data", "check", csv, "--target", "length", "--inputs", "width")
    assert "Targets: column 'length': regression, 1 outputs." in result.stdout
    assert "Missing targets: 3 of 60 (5.0%)" in result.stdout


def test_arrays_by_name(tmp_path):
    import h5py

    stimuli, responses = np.zeros((N, 2, 50)), np.full((N, 5), np.nan)
    stimuli[1:, 0, 0], responses[:30] = np.inf, 1.5
    with h5py.File(tmp_path / "recording.h5", "w") as file:
        file["stimuli"], file["responses"] = stimuli, responses
    result = run("data", "check", tmp_path / "recording.h5")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "float64, 5 a row" in lines["responses"]
    assert "float64, 2 × 50 a row" in lines["stimuli"]
    assert "150" in lines["responses"]
    assert "100 constant columns; 59 infinite" in lines["stimuli"]
    assert "Stimuli and targets: name them with --inputs and --target: responses, stimuli." in result.stdout
    result = run("data", "check", tmp_path / "recording.h5", "--target", "responses")
    assert "Stimuli: 60 of 100 inputs, as float64." in result.stdout
    assert "Infinite in stimuli: 59, in 1 of 100 inputs. They cause an error." in result.stdout
    assert "regression, 5 outputs." in result.stdout
    assert "Missing targets: 150 of 300 (50.0%)" in result.stdout


def test_dimensions(tmp_path):
    import xarray as xr

    there = xr.Dataset({"rate": (("unit", "trial"), np.zeros((4, N))), "side": ("trial", np.arange(N) % 2)})
    there.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    result = run("data", "check", tmp_path / "x.nc", "--rows", "trial", "--target", "side")
    assert "float64, 4 unit a row" in result.stdout
    assert "classification, 2 classes: 0 (30), 1 (30)." in result.stdout
    line = refused(run("data", "check", tmp_path / "x.nc", "--rows", "trail"))
    assert "dimensions unit, trial, and 'trail' cannot number its rows" in line


def test_wide_tables_are_summarised(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install 'riemannrnn[data]'")
    frame = pandas.DataFrame(np.eye(N), columns=[f"pixel {place}" for place in range(N)]).assign(kind=["a", "b"] * 30)
    frame.to_csv(tmp_path / "wide.csv", index=False)
    result = run("data", "check", tmp_path / "wide.csv", "--target", "kind")
    assert "60 columns of numbers" in result.stdout
    assert len(result.stdout.splitlines()) < 12


def test_without_a_target(csv, tmp_path):
    result = run("data", "check", csv)
    assert result.exit_code == 0
    assert "Not usable without options: " in result.stdout
    assert "column 'species' holds text, but stimuli are numbers" in result.stdout
    np.save(tmp_path / "x.npy", np.zeros((N, 3)))
    result = run("data", "check", tmp_path / "x.npy")
    assert "Stimuli: 60 of 3 inputs, as float64." in result.stdout
    assert "Targets: none; name their column with --target." in result.stdout


def test_wrong_names_are_refused_with_near_ones(csv):
    assert "did you mean species?" in refused_after_note(run("data", "check", csv, "--target", "specis"))
    assert "did you mean width?" in refused(run("data", "check", csv, "--index", "with"))
    line = refused(run("data", "check", csv.with_name("flower.csv")))
    assert line.endswith(f"the file does not exist; did you mean {csv}?")
    (csv.parent / "notes.docx").write_text("mine")
    assert "has a name that ends in none of .npy, .npz, .csv" in refused(run("data", "check", csv.parent / "notes.docx"))


def refused_after_note(result):
    note, line = result.stderr.strip().splitlines()
    assert result.exit_code == 2
    assert note.startswith("Note: ")
    return line


def test_a_missing_package_is_refused(csv, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    assert "pip install 'riemannrnn[data]'" in refused_after_note(run("data", "check", csv))


def test_help():
    result = run("data", "--help")
    assert "check" in result.stdout
    assert result.exit_code == 0
