"""Sources: every format gives the same rows, content is recognised, and damage raises a clear error."""

import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data_files import COLUMNS, CONVERTED, FILES, ROWS, VALUES, compressed, csv, hdf5, npy, npz, package

from riemannrnn.data import FORMATS, DatasetError, Source, array_names, open_source
from riemannrnn.data.formats import Mapped, fingerprint

PICKED = np.random.default_rng(1).integers(0, ROWS, 80)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "riemannrnn"


def dask(values):
    return package("dask.array").from_array(values, chunks=(300, 5))


def data_array(values):
    import xarray as xr

    return xr.DataArray(values, dims=("trial", "unit"))


OBJECTS = {
    "array": lambda values: values,
    "list": lambda values: values.tolist(),
    "array of another library": lambda values: __import__("array_api_strict").asarray(values),
    "frame": lambda values: package("pandas").DataFrame(values),
    "dask": dask,
    "xarray": data_array,
    "transposed": np.asfortranarray,
    "mapping": lambda values: {"mine": values},
    "source": open_source,
}


def test_every_ending_is_tested():
    assert {ending for ending in FORMATS if not any(name.endswith(ending) for name in FILES)} == set()


@pytest.fixture(params=FILES)
def file(request, tmp_path) -> Path:
    path = tmp_path / request.param
    FILES[request.param](path, VALUES)
    return path


def check(source: Source):
    """Check every way to read rows against the array."""
    assert source.shape == (ROWS, COLUMNS) == (len(source), *source.shape[1:])
    assert 1 <= source.chunk <= ROWS
    with source.reader() as read:
        for rows in (slice(3, 40), slice(None), slice(50, 2, -7), slice(9, 3), PICKED, PICKED - ROWS, VALUES[:, 0] > 100, [4]):
            expected = VALUES[rows]
            got = np.from_dlpack(read(rows)) if not isinstance(read(rows), np.ndarray) else read(rows)
            np.testing.assert_array_equal(got, expected)
    for wrong in ([ROWS], [-ROWS - 1], [0.5], np.zeros((2, 2), int)):
        with pytest.raises(DatasetError, match=f"has {ROWS} rows, but rows .* were requested, .* from 0 to {ROWS - 1}"):
            source.read(np.array(wrong))


def test_files_give_their_rows(file):
    check(open_source(file, notify=lambda message: None))


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_give_their_rows(name):
    source = open_source(OBJECTS[name](VALUES))
    check(source)
    assert source.dtype == ("float64" if name == "list" else "float32")


def test_files_are_read_in_chunks_whatever_rows_are_asked_for(tmp_path, monkeypatch):
    """A reader holds at most one chunk of a file besides the result."""
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 2000)
    np.save(tmp_path / "x.npy", VALUES)
    source, longest = open_source(tmp_path / "x.npy"), []
    original = Mapped.__getitem__
    monkeypatch.setattr(
        Mapped, "__getitem__", lambda self, rows: longest.append(rows.stop - rows.start) or original(self, rows)
    )
    np.testing.assert_array_equal(source.read(PICKED), VALUES[PICKED])
    assert source.chunk == 100
    assert len(longest) == 7
    assert max(longest) <= 100


def test_the_chunk_is_a_multiple_of_what_is_stored_together(tmp_path, monkeypatch):
    monkeypatch.setattr("riemannrnn.data.source.CHUNK_BYTES", 2000)
    hdf5(tmp_path / "x.h5", VALUES)
    assert open_source(tmp_path / "x.h5").chunk == 128
    assert open_source(dask(VALUES)).chunk == 300


def test_a_source_is_recognised_in_another_place_but_not_after_a_change(file, tmp_path):
    def mark(path):
        return open_source(path, notify=lambda message: None).fingerprint

    before = mark(file)
    elsewhere = tmp_path / "elsewhere" / f"other{file.name}"
    elsewhere.parent.mkdir()
    (shutil.copytree if file.is_dir() else shutil.copy)(file, elsewhere)
    assert mark(elsewhere) == before
    changed = VALUES.copy()
    changed[ROWS // 2, 1] += 1
    (shutil.rmtree if file.is_dir() else Path.unlink)(file)
    FILES[file.name](file, changed)
    assert mark(file) != before


@pytest.mark.parametrize("make", [np.asarray, dask, data_array])
def test_arrays_in_memory_are_recognised(make):
    changed = VALUES.copy()
    changed[-1, 0] += 1
    assert open_source(make(VALUES)).fingerprint == open_source(make(VALUES.copy())).fingerprint
    assert open_source(make(changed)).fingerprint != open_source(make(VALUES)).fingerprint


def test_a_source_of_a_file_can_be_sent_to_another_process(file):
    source = open_source(file, notify=lambda message: None)
    copied = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copied.read(PICKED), VALUES[PICKED])
    assert copied.fingerprint == source.fingerprint


def test_files_without_row_access_are_converted_once(file, cache):
    told = []
    for _ in range(2):
        open_source(file, notify=told.append)
    assert len(told) == (file.name in CONVERTED)
    assert all(str(file) in message and "converting it once into" in message for message in told)
    assert len(list(cache.glob("*"))) == len(told)


def test_the_message_is_on_the_standard_error(tmp_path, capsys):
    csv(tmp_path / "x.csv", VALUES)
    open_source(tmp_path / "x.csv", cache=tmp_path / "here")
    out, err = capsys.readouterr()
    assert out == ""
    assert "converting it once" in err
    assert [each.name for each in (tmp_path / "here").rglob("*.npy")] == ["rows.npy"]


def test_an_interrupted_conversion_leaves_nothing_and_is_repeated(tmp_path, cache, monkeypatch):
    csv(tmp_path / "x.csv", VALUES)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("riemannrnn.data.opening.write_rows", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_source(tmp_path / "x.csv", notify=lambda message: None)
    assert not list(cache.iterdir())
    check(open_source(tmp_path / "x.csv", notify=lambda message: None))


def test_a_cache_that_another_process_filled_meanwhile_is_used(tmp_path, cache, monkeypatch):
    csv(tmp_path / "x.csv", VALUES)
    open_source(tmp_path / "x.csv", notify=lambda message: None)
    (place,) = cache.iterdir()
    original = Path.is_dir
    asked = []
    monkeypatch.setattr(Path, "is_dir", lambda self: original(self) and (self != place or len(asked) > 0 or asked.append(1)))
    check(open_source(tmp_path / "x.csv", notify=lambda message: None))
    assert asked
    assert [each.name for each in cache.iterdir()] == [place.name]


@pytest.mark.parametrize("name", ["rows.npy", "columns.json"])
def test_a_damaged_cache_is_named(tmp_path, cache, name):
    csv(tmp_path / "x.csv", VALUES)
    open_source(tmp_path / "x.csv", notify=lambda message: None)
    (place,) = cache.iterdir()
    (place / name).write_bytes(b"{")
    with pytest.raises(DatasetError, match=r"into which .*x.csv was converted, is damaged .*; delete it, and it is made again"):
        open_source(tmp_path / "x.csv", notify=lambda message: None)


def test_a_fingerprint_takes_no_memory(tmp_path):
    (tmp_path / "x").write_bytes(bytes(2**25))
    tracemalloc.start()
    try:
        fingerprint(tmp_path / "x", whole=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    csv(tmp_path / "x.csv", VALUES)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match=r"x.csv cannot be converted into .*file \(.*\); free space, or name another folder"):
        open_source(tmp_path / "x.csv", cache=tmp_path / "file", notify=lambda message: None)


@pytest.mark.parametrize("dtype", [">f8", "<i2", "?", "<f4"])
@pytest.mark.parametrize("order", "CF")
def test_array_files_of_every_order_and_dtype(tmp_path, dtype, order):
    values = np.asarray(VALUES.astype(dtype), order=order)
    for name, write in {"x.npy": npy, "x.npz": npz, "c.npz": compressed}.items():
        write(tmp_path / name, values)
        source = open_source(tmp_path / name, notify=lambda message: None)
        np.testing.assert_array_equal(source.read(PICKED), values[PICKED])
        assert source.read(slice(0, 2)).dtype == values.dtype.newbyteorder("=")


def test_dimensions_have_names(tmp_path):
    import xarray as xr

    there = xr.Dataset({"x": (("unit", "trial"), VALUES.T)}, {"kind": ("trial", ["a", "b"] * (ROWS // 2))})
    there.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    for what in (there, tmp_path / "x.nc"):
        source = open_source(what, "x", rows="trial")
        assert source.dimensions == ("trial", "unit")
        check(source)
        assert array_names(what) == ["x", "kind"]
        assert open_source(what, "kind", notify=lambda message: None).columns[0].classes == ("a", "b")
        with pytest.raises(DatasetError, match="dimensions unit, trial, and 'trail' cannot number its rows"):
            open_source(what, "x", rows="trail")
    hdf5(tmp_path / "x.h5", VALUES)
    with pytest.raises(DatasetError, match="dimensions without names, and 'trial'"):
        open_source(tmp_path / "x.h5", rows="trial")
