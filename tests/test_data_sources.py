"""Sources: every format gives the same rows, is known again by its content, and refuses what is damaged in a sentence."""

import gzip
import pickle
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from riemannrnn.data import FORMATS, DatasetError, Source, array_names, open_source
from riemannrnn.data.formats import Mapped

ROWS, COLUMNS = 700, 5
VALUES = np.random.default_rng(0).integers(0, 200, (ROWS, COLUMNS)).astype(np.float32)
PICKED = np.random.default_rng(1).integers(0, ROWS, 80)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "riemannrnn"


def package(name):
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install 'riemannrnn[data]'")


def npy(path, values):
    np.save(path, values)


def npz(path, values):
    np.savez(path, mine=values)


def compressed(path, values):
    np.savez_compressed(path, mine=values)


def csv(path, values):
    package("pandas").DataFrame(values).to_csv(path, index=False)


def tsv(path, values):
    package("pandas").DataFrame(values, columns=list("abcde")).to_csv(path, sep="\t", index=False)


def parquet(path, values):
    package("pyarrow")
    package("pandas").DataFrame(values, columns=list("abcde")).to_parquet(path)


def hdf5(path, values):
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("group/mine", data=values, chunks=(64, 5), compression="gzip")


def netcdf(path, values):
    import xarray as xr

    xr.Dataset({"mine": (("trial", "unit"), values)}, {"trial": np.arange(len(values))}).to_netcdf(path, engine="h5netcdf")


def zarr(path, values):
    package("zarr").create_array(str(path), data=values, chunks=(128, 5))


def zarr_group(path, values):
    group = package("zarr").open_group(str(path), mode="w")
    group.create_group("deep").create_array("mine", data=values)


def idx(path, values):
    content = b"\0\0\x08\x02" + struct.pack(">2I", *values.shape) + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


FILES = {
    "x.npy": npy, "x.npz": npz, "compressed.npz": compressed, "x.csv": csv, "x.csv.gz": csv, "x.tsv": tsv, "x.parquet": parquet,
    "x.h5": hdf5, "x.hdf5": hdf5, "x.nc": netcdf, "x.zarr": zarr, "group.zarr": zarr_group,
    "x-ubyte.gz": idx, "x-ubyte": idx, "x.idx.gz": idx, "x.idx": idx,
}  # fmt: skip
CONVERTED = {"compressed.npz", "x.csv", "x.csv.gz", "x.tsv", "x.parquet", "x-ubyte.gz", "x-ubyte", "x.idx.gz", "x.idx"}


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


def test_every_ending_is_tried():
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
        with pytest.raises(DatasetError, match=f"has {ROWS} rows, but rows .* were asked for, .* from 0 to {ROWS - 1}"):
            source.read(np.array(wrong))


def test_files_give_their_rows(file):
    check(open_source(file, notify=lambda message: None))


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_give_their_rows(name):
    source = open_source(OBJECTS[name](VALUES))
    check(source)
    assert source.dtype == ("float64" if name == "list" else "float32")


def test_files_are_read_in_chunks_whatever_rows_are_asked_for(tmp_path, monkeypatch):
    """A reader never holds more of a file than a chunk beside the result."""
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


def test_a_source_is_known_again_elsewhere_and_after_a_change_it_is_not(file, tmp_path):
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
def test_arrays_in_memory_are_known_again(make):
    changed = VALUES.copy()
    changed[-1, 0] += 1
    assert open_source(make(VALUES)).fingerprint == open_source(make(VALUES.copy())).fingerprint
    assert open_source(make(changed)).fingerprint != open_source(make(VALUES)).fingerprint


def test_a_source_of_a_file_can_be_sent_to_another_process(file):
    source = open_source(file, notify=lambda message: None)
    copied = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copied.read(PICKED), VALUES[PICKED])
    assert copied.fingerprint == source.fingerprint


def test_what_cannot_be_read_by_rows_is_converted_once(file, cache):
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


TEXTS = ["left", "right", "left", "straight ahead"]


def text_files(folder):
    import h5py

    with h5py.File(folder / "t.h5", "w") as file:
        file["mine"] = TEXTS
    np.save(folder / "t.npy", np.array(TEXTS))
    np.savez_compressed(folder / "t.npz", mine=np.array(TEXTS))
    return [folder / "t.h5", folder / "t.npy", folder / "t.npz", TEXTS, np.array(TEXTS), package("pandas").Series(TEXTS)]


def test_texts_become_numbers_and_keep_their_names(tmp_path):
    for what in text_files(tmp_path):
        source = open_source(what, notify=lambda message: None)
        (column,) = source.columns
        assert column.is_text
        assert column.classes == ("left", "right", "straight ahead")
        np.testing.assert_array_equal(source.read(slice(None))[:, 0], [0, 1, 0, 2])


def test_missing_texts_and_numbers_in_lists():
    assert open_source(["a", None, "b", np.nan]).columns[0].missing == 2
    np.testing.assert_array_equal(open_source(["b", None, "a"]).read(slice(None))[:, 0], [1, np.nan, 0])
    np.testing.assert_array_equal(open_source([[1.0, None]]).read(slice(None)), [[1, np.nan]])


def test_texts_of_a_large_file_are_known_by_themselves(tmp_path):
    """What else the file holds is not hashed, and does not matter."""
    marks = []
    for other in range(2):
        np.savez(tmp_path / "x.npz", names=np.array(TEXTS), other=np.full(3, other))
        marks.append(open_source(tmp_path / "x.npz", "names", notify=lambda message: None).fingerprint)
    assert marks[0] == marks[1]


def csv_text(path, text):
    package("pandas")
    path.write_text(text, encoding="utf-8")
    return open_source(path, cache=path.parent / "cache", notify=lambda message: None)


def test_the_columns_of_a_csv_file(tmp_path):
    source = csv_text(tmp_path / "x.csv", "\ufeffname;n;x;flag;hole\nb;1;1.5;True;\na;;2.5;False;7\n;3;nan;True;\n")
    assert [(each.name, each.kind, each.classes, each.missing) for each in source.columns] == [
        ("name", "text", ("a", "b"), 1), ("n", "int64", (), 1), ("x", "float64", (), 1), ("flag", "bool", (), 0),
        ("hole", "int64", (), 2),
    ]  # fmt: skip
    nan = np.nan
    expected = [[1, 1, 1.5, 1, nan], [0, nan, 2.5, 0, 7], [nan, 3, nan, 1, nan]]
    np.testing.assert_array_equal(source.read(slice(None)), expected)


@pytest.mark.parametrize(
    ("text", "names"),
    [("a,b\n1,2\n", ["a", "b"]), ("1.5,2\n3,4\n", ["0", "1"]), ("0,1\n3,4\n", ["0", "1"]), ("7,7\n3,4\n", ["0", "1"]),
     ("x\n1\n", ["x"]), ('"a,b"\tc\n1\t2\n', ["a,b", "c"])],
)  # fmt: skip
def test_a_first_line_of_names_is_recognised(tmp_path, text, names):
    assert [each.name for each in csv_text(tmp_path / "x.csv", text).columns] == names


def test_a_column_with_numbers_and_later_texts_is_text(tmp_path, monkeypatch):
    monkeypatch.setattr("riemannrnn.data.frames._CELLS", 4)
    source = csv_text(tmp_path / "x.csv", "a,b\n1,2\n2,\n3,4\nx,5\n")
    assert source.columns[0].classes == ("1", "2", "3", "x")
    assert (source.columns[1].kind, source.columns[1].missing) == ("int64", 1)
    np.testing.assert_array_equal(source.read(slice(None)), [[0, 2], [1, np.nan], [2, 4], [3, 5]])


def test_too_many_texts_are_no_classes_and_take_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("riemannrnn.data.frames.MOST_CLASSES", 3)
    source = csv_text(tmp_path / "x.csv", "a,b\np,1\nq,1\nr,1\ns,1\n")
    assert source.columns[0].is_text
    assert source.columns[0].classes == ()


DAMAGED = {
    "x.npy": b"nothing", "x.npz": b"PK\x03\x04", "x.csv": b"", "utf.csv": b"a,b\n\xff\xfe,1\n", "x.parquet": b"PAR1",
    "x.h5": b"HDF", "x.nc": b"CDF", "x-ubyte.gz": b"\x1f\x8b", "ragged.csv": b"a,b\n1,2\n1,2,3,4\n", "head.csv": b"a,b\n",
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused(tmp_path, name):
    for needed in ("pandas", "pyarrow"):
        package(needed)
    (tmp_path / name).write_bytes(DAMAGED[name])
    with pytest.raises(DatasetError, match=name) as caught:
        open_source(tmp_path / name, notify=lambda message: None)
    assert any(remedy in str(caught.value) for remedy in ("again", "write a table"))


def test_truncated_array_files_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-8])
    with pytest.raises(DatasetError, match=r"ends before its array of shape \(700, 5\) and dtype float32 does"):
        open_source(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(content)
    source = open_source(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(content[:-8])
    with pytest.raises(DatasetError, match="ends before its array"):
        source.read(slice(0, 700))


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}, None], object), allow_pickle=True)
    with pytest.raises(DatasetError, match="dtype object is not one of numbers or texts"):
        open_source(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (7, "type int holds no rows"),
        ([], "holds no rows"),
        ([[1, 2], [3]], "shape|inhomogeneous|rows"),
        (np.zeros(()), "holds no rows"),
        (np.zeros((0, 3)), "holds no rows"),
        (np.zeros(3, complex), "no real numbers"),
        (np.ma.masked_array([1.0], [True]), "masked"),
        ([["a", "b"], ["c", "d"]], "neither real numbers nor a list of texts"),
        ({}, "holds no arrays"),
        ({"a": [1.0], "b": [2.0]}, "several arrays; choose one of a, b"),
        ("absent.npy", "does not exist"),
        (__file__, "ends in none of .npy, .npz"),
    ],
)
def test_what_is_no_data_is_refused(what, reason):
    with pytest.raises(DatasetError, match=reason):
        open_source(what)


def test_wrong_names_are_told_the_nearest(tmp_path):
    np.savez(tmp_path / "measured.npz", stimuli=VALUES, responses=VALUES)
    with pytest.raises(DatasetError, match=r"did you mean .*measured\.npz\?"):
        open_source(tmp_path / "mesured.npz")
    with pytest.raises(DatasetError, match=r"array 'response' of .*measured.npz: unknown; did you mean responses\?"):
        open_source(tmp_path / "measured.npz", "response")


@pytest.mark.parametrize(("name", "needed"), [("x.csv", "pandas"), ("x.parquet", "pyarrow"), ("x.zarr", "zarr")])
def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, name, needed):
    package(needed)
    FILES[name](tmp_path / name, VALUES)
    for module in [each for each in sys.modules if each.partition(".")[0] == needed]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DatasetError, match=rf"is read by {needed}, .*; install it: pip install 'riemannrnn\[data\]'"):
        open_source(tmp_path / name, notify=lambda message: None)
