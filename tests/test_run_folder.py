"""Run folders: written files are complete, and existing files are safe."""

import csv
import errno
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from riemannrnn.data.idx import write_idx
from riemannrnn.run_folder import (
    RunFolderError,
    create_run_folder,
    write_atomically,
    write_csv,
    write_netcdf,
    write_toml,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_never_used_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20260102-030405")
    made = [create_run_folder(tmp_path / "deep" / "er", "compare") for _ in range(3)]
    stem = "compare-20260102-030405"
    assert [folder.name for folder in made] == [stem, f"{stem}-1", f"{stem}-2"]
    assert all(folder.is_dir() and not names(folder) for folder in made)


def test_a_file_of_the_same_name_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "now")
    (tmp_path / "compare-now").write_text("mine")
    assert create_run_folder(tmp_path, "compare").name == "compare-now-1"
    assert (tmp_path / "compare-now").read_text() == "mine"


def test_a_thousand_runs_of_one_second(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "now")
    for attempt in range(1000):
        (tmp_path / ("x-now" if attempt == 0 else f"x-now-{attempt}")).mkdir()
    with pytest.raises(RunFolderError, match="holds a thousand runs of this second"):
        create_run_folder(tmp_path, "x")


def test_a_parent_that_is_not_a_folder(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"cannot make the run folder .*file.*: Not a directory; choose another"):
        create_run_folder(file, "compare")
    with pytest.raises(RunFolderError, match="link is not a folder; name one with --output"):
        create_run_folder(link, "compare")
    assert file.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="Permission denied; choose another with --output"):
        create_run_folder(tmp_path, "compare")
    with pytest.raises(RunFolderError, match=r"cannot write .*Permission denied; free space, make the folder"):
        write_csv(tmp_path / "x.csv", [{"a": 1}])


def test_a_missing_folder(tmp_path):
    with pytest.raises(
        RunFolderError, match=r"cannot write .*x\.csv: the folder .*gone does not exist; make it, and leave it in place"
    ):
        write_csv(tmp_path / "gone" / "x.csv", [{"a": 1}])
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunFolderError, match=r"cannot write .*x\.csv: Not a directory"):
        write_csv(tmp_path / "file" / "x.csv", [{"a": 1}])


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(28, "No space left on device"), RunFolderError),
        (OSError("h5py has a sentence of its own"), RunFolderError),
        (ValueError("a mistake"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full disk", "no errno", "mistake", "Ctrl-C"],
)
def test_a_writer_that_stops_half_way_leaves_the_old_file(tmp_path, error, seen):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(seen) as caught:
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["result.txt"]
    if seen is RunFolderError:
        assert (error.strerror or str(error)) in str(caught.value)


def test_a_writer_that_finishes_replaces_the_old_file(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def write(temporary):
        assert temporary.suffix == path.suffix, "writers may choose the format by it"
        temporary.write_text("new")
        assert path.read_text() == "old"

    write_atomically(path, write)
    assert path.read_text() == "new"
    assert names(tmp_path) == ["result.txt"]


def test_toml_round_trip(tmp_path):
    nasty = "".join(map(chr, range(0x21))) + '"quotes" \\back\\slashes\\n \x7f \x80 Größe 漢字 🧠 \'\'\' """ # = [x]'
    tables = {
        "settings": {
            "text": nasty, "empty": "", "yes": True, "no": False, "whole": -3, "large": 10**15, "small": 1e-300, "huge": 1e22,
            "third": 1 / 3, "infinite": -np.inf, "numpy": np.float64(0.1), "list": ["a\n", 'b"'],
            "numbers": (1, 2.5), "none": [],
        },
        "empty": {},
    }  # fmt: skip
    write_toml(tmp_path / "config.toml", {"settings": tables["settings"] | {"left_out": None}, "empty": {}})
    read = tomllib.loads((tmp_path / "config.toml").read_text(encoding="utf-8"))
    tables["settings"]["numbers"] = [1, 2.5]
    assert read == tables
    assert [type(value) for value in read["settings"]["numbers"]] == [int, float]
    write_toml(tmp_path / "nan.toml", {"a": {"b": np.nan}})
    assert np.isnan(tomllib.loads((tmp_path / "nan.toml").read_text())["a"]["b"])


@pytest.mark.parametrize("value", [object(), np.arange(2), [1j]], ids=["object", "array", "complex in a list"])
def test_values_without_a_toml_form_are_refused(tmp_path, value):
    with pytest.raises(TypeError, match="is not TOML serializable"):
        write_toml(tmp_path / "config.toml", {"a": {"b": value}})
    assert names(tmp_path) == []


def test_csv(tmp_path):
    rows = [{"name": 'a,"b"\nc', "value": 0.1 + 0.2}, {"name": "μ", "value": np.nan}]
    write_csv(tmp_path / "rows.csv", rows)
    with open(tmp_path / "rows.csv", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["name"] for row in read] == ['a,"b"\nc', "μ"]
    assert float(read[0]["value"]) == 0.1 + 0.2
    assert read[1]["value"] == "nan"


def test_netcdf(tmp_path):
    dataset = xr.Dataset({"loss": (("contender", "evaluation"), np.array([[1.0, np.nan]]))}, {"contender": ["a/b"]})
    write_netcdf(tmp_path / "history.nc", dataset)
    with xr.open_dataset(tmp_path / "history.nc", engine="h5netcdf") as read:
        xr.testing.assert_identical(read.load(), dataset)


def test_numbers_that_cannot_be_written_are_reported(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunFolderError, match=r"images.gz: No space left on device; free space"):
        write_idx(tmp_path / "images.gz", np.zeros(3, np.uint8))
    assert not list(tmp_path.iterdir())
