"""The contents of files: texts, the columns of CSV files, and errors for damaged files, wrong names and missing packages."""

import sys

import numpy as np
import pytest
from data_files import FILES, VALUES, package

from riemannrnn.data import DatasetError, open_source


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


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


def test_the_fingerprint_of_texts_depends_only_on_their_array(tmp_path):
    """The rest of the file is not hashed, and does not matter."""
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


def test_too_many_texts_are_not_classes_and_take_no_memory(tmp_path, monkeypatch):
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
def test_invalid_data_are_refused(what, reason):
    with pytest.raises(DatasetError, match=reason):
        open_source(what)


def test_wrong_names_are_refused_with_the_nearest(tmp_path):
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
