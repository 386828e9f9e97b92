"""The data sets: correct files are read, and wrong ones raise an error with a reason."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
import tracemalloc
from http.client import IncompleteRead
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from riemannrnn.data import Dataset, DatasetError, bundled, fetch_mnist, load_digits, load_mnist, read_idx
from riemannrnn.data.idx import write_idx

REPOSITORY = Path(__file__).resolve().parents[1]


def idx_bytes(values: np.ndarray, code: int = 0x08) -> bytes:
    """Return an IDX file's content, uncompressed; written independently of the code under test."""
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, code, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def write(path: Path, content: bytes) -> Path:
    """Write `content` compressed and return the path."""
    path.write_bytes(gzip.compress(content))
    return path


def tiny_mnist(folder: Path, n_train: int = 6, n_test: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Write a small MNIST; return its training images and labels."""
    generator = np.random.default_rng(3)
    parts = {}
    for part, count in (("train", n_train), ("t10k", n_test)):
        images = generator.integers(0, 256, (count, 28, 28))
        labels = generator.integers(0, 10, count)
        write(folder / f"{part}-images-idx3-ubyte.gz", idx_bytes(images))
        write(folder / f"{part}-labels-idx1-ubyte.gz", idx_bytes(labels))
        parts[part] = images, labels
    return parts["train"]


# --- Dataset -----------------------------------------------------------------------------


def test_digits_are_scikit_learns_in_the_unit_interval() -> None:
    digits = load_digits()
    assert digits.stimuli.shape == (1797, 64)
    assert digits.labels.dtype == np.int64
    assert digits.n_classes == 10
    assert digits.stimuli.min() == 0
    assert digits.stimuli.max() == 1
    np.testing.assert_array_equal(digits.stimuli * 16, sklearn.datasets.load_digits().data)
    assert load_digits(np.float32).stimuli.dtype == np.float32


def test_split_is_disjoint_reproducible_and_keeps_pairs_together() -> None:
    labels = np.arange(20) % 4
    whole = Dataset("rows", np.arange(20.0)[:, None], labels.astype(np.int64))
    first, second, third = whole.split(10, 5, 2, seed=1)
    rows = np.concatenate([part.stimuli[:, 0] for part in (first, second, third)]).astype(int)
    assert [len(part.labels) for part in (first, second, third)] == [10, 5, 2]
    assert len(set(rows)) == 17
    np.testing.assert_array_equal(np.concatenate([part.labels for part in (first, second, third)]), labels[rows])
    again = whole.split(10, 5, 2, seed=1)[0]
    np.testing.assert_array_equal(again.stimuli, first.stimuli)
    generated = whole.split(10, seed=np.random.default_rng(1))[0]
    np.testing.assert_array_equal(generated.stimuli, first.stimuli)
    assert not np.array_equal(whole.split(10, seed=2)[0].stimuli, first.stimuli)


def test_a_subset_keeps_the_number_of_classes() -> None:
    whole = Dataset("rows", np.zeros((3, 1)), np.array([0, 1, 2]))
    assert {part.n_classes for part in whole.split(1, 1, 1, seed=0)} == {3}


@pytest.mark.parametrize("sizes", [(), (0, 3), (4, 7), (-1,)])
def test_split_refuses_sizes_that_do_not_fit(sizes: tuple[int, ...]) -> None:
    whole = Dataset("rows", np.zeros((10, 2)), np.zeros(10, np.int64))
    with pytest.raises(DatasetError, match=r"rows: sizes .* number of stimuli, 10; ask for fewer"):
        whole.split(*sizes, seed=0)


@pytest.mark.parametrize(
    ("stimuli", "labels", "n_classes", "reason"),
    [
        (np.zeros(4), np.zeros(4, np.int64), 0, "shape \\(n_stimuli, n_inputs\\)"),
        (np.zeros((4, 2), np.int64), np.zeros(4, np.int64), 0, "type int64"),
        (np.zeros((4, 2)), np.zeros(3, np.int64), 0, "belong together"),
        (np.zeros((4, 2)), np.zeros(4), 0, "int64 label"),
        (np.zeros((0, 2)), np.zeros(0, np.int64), 0, "at least one"),
        (np.zeros((2, 2)), np.array([-1, 1]), 0, "from -1 to 1"),
        (np.array([[0.0], [np.inf]]), np.zeros(2, np.int64), 0, "stimulus 1 holds NaN or infinity"),
        (np.zeros((2, 2)), np.array([0, 5]), 3, "n_classes=6"),
    ],
)
def test_dataset_refuses_what_does_not_fit(stimuli: np.ndarray, labels: np.ndarray, n_classes: int, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        Dataset("mine", stimuli, labels, n_classes)


# --- IDX files ---------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(values=hypothesis_numpy.arrays(np.uint8, hypothesis_numpy.array_shapes(min_dims=1, max_dims=4, max_side=5)))
def test_idx_round_trip(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("idx")
    path = write(folder / "theirs.gz", idx_bytes(values))
    np.testing.assert_array_equal(read_idx(path), values)
    np.testing.assert_array_equal(read_idx(path, values.shape), values)
    write_idx(folder / "ours.gz", values)
    assert gzip.decompress((folder / "ours.gz").read_bytes()) == idx_bytes(values)


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=40), compress=st.booleans())
def test_any_other_bytes_are_refused_or_read_but_never_crash(
    content: bytes, compress: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("noise") / "noise.gz"
    path.write_bytes(gzip.compress(content) if compress else content)
    with contextlib.suppress(DatasetError):
        assert idx_bytes(read_idx(path)) == content


IMAGES = idx_bytes(np.ones((2, 3, 3)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "begins with 0x, but an IDX file"),
        (b"\0\0\x08", "begins with 0x000008, but"),
        (b"P6\x08\x03" + IMAGES[4:], "begins with 0x50360803"),
        (b"\0\0\x0d\x03" + IMAGES[4:], "begins with 0x00000d03, but an IDX file of unsigned bytes"),
        (b"\0\0\x08\x00", "begins with 0x00000800"),
        (b"\0\0\x08\xff" + IMAGES[4:], "begins with 0x000008ff"),
        (IMAGES[:9], "ends after 5 of the 12 bytes of its sizes"),
        (IMAGES[:-1], r"has sizes \(2, 3, 3\), 18 bytes, but holds only 17: it is truncated"),
        (IMAGES[:16], "holds only 0"),
        (IMAGES + b"\0", "holds more: it is truncated or too long"),
        (idx_bytes(np.ones((2, 0, 3))), r"has sizes \(2, 0, 3\), 0 bytes"),
    ],
)
def test_damaged_content_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write(tmp_path / "file.gz", content)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("; copy or download it again")


def test_damaged_compression_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    whole = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, (40, 5, 5))))
    flipped = bytearray(whole)
    flipped[-8] ^= 0xFF  # the checksum
    broken = bytearray(whole)
    broken[10] |= 0b110  # a block type that does not exist
    for content in (IMAGES, whole[:-20], whole[:-4], bytes(flipped), bytes(broken)):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"cannot be decompressed or read .* again"):
            read_idx(path)


def test_missing_file_says_where_to_put_it(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.gz", tmp_path):
        with pytest.raises(DatasetError, match=f"{path} cannot be read: the file does not exist"):
            read_idx(path)
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte.gz cannot be read: the file does not exist") as caught:
        load_mnist(tmp_path)
    for remedy in ("RIEMANNRNN_DATA", "--data", "fetch_mnist", "t10k-labels-idx1-ubyte.gz"):
        assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "values"),
    [((None,), np.ones((2, 28, 28))), ((None, 28, 28), np.ones(9)), ((None, 3), np.ones((2, 4)))],
)
def test_the_wrong_kind_of_file_is_refused(tmp_path: Path, wanted: tuple[int | None, ...], values: np.ndarray) -> None:
    path = write(tmp_path / "file.gz", idx_bytes(values))
    with pytest.raises(DatasetError, match=r"any.* was expected; .*not exchanged"):
        read_idx(path, wanted)


@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 3, (2**31,), (70_000,)])
def test_a_header_that_lies_about_its_size_allocates_nothing(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    header = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    path = write(tmp_path / "file.gz", header + b"\1" * 10)
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="but a file of its length holds 1 to"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.gz", idx_bytes(np.ones(10)) + bytes(2**26))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="holds more"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**22  # compared with 64 MiB


# --- MNIST -------------------------------------------------------------------------------


def test_mnist_from_a_folder_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = tiny_mnist(tmp_path)
    train, test = load_mnist(tmp_path)
    assert (train.stimuli.shape, test.stimuli.shape) == ((6, 784), (4, 784))
    assert train.stimuli.dtype == np.float32
    assert train.n_classes == test.n_classes == 10
    np.testing.assert_allclose(train.stimuli, images.reshape(6, -1) / 255, rtol=1e-6)
    np.testing.assert_array_equal(train.labels, labels)
    monkeypatch.setenv("RIEMANNRNN_DATA", str(tmp_path))
    found, _ = load_mnist(dtype=np.float64)
    assert found.stimuli.dtype == np.float64
    np.testing.assert_allclose(found.stimuli, train.stimuli, rtol=1e-6)


def test_mnist_without_a_folder_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RIEMANNRNN_DATA", raising=False)
    with pytest.raises(DatasetError, match="RIEMANNRNN_DATA is not set: put the four"):
        load_mnist()


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("train-labels-idx1-ubyte.gz", np.ones(5), "5 labels .* 6 images"),
        ("train-labels-idx1-ubyte.gz", np.full(6, 10), "the label 10"),
        ("train-labels-idx1-ubyte.gz", np.ones((6, 28, 28)), "images and labels are not exchanged"),
        ("t10k-images-idx3-ubyte.gz", np.ones((4, 27, 28)), r"\(any, 28, 28\) was expected"),
        ("t10k-images-idx3-ubyte.gz", np.ones(4), "not exchanged"),
    ],
)
def test_mnist_refuses_files_that_are_not_mnist(tmp_path: Path, name: str, values: np.ndarray, reason: str) -> None:
    tiny_mnist(tmp_path)
    write(tmp_path / name, idx_bytes(values))
    with pytest.raises(DatasetError, match=reason) as caught:
        load_mnist(tmp_path)
    assert name in str(caught.value)


def fake_openml(monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, labels: np.ndarray) -> list[tuple[object, ...]]:
    """Let OpenML respond with these data; return the list of calls."""
    calls: list[tuple[object, ...]] = []

    def answer(name: str, *, version: int, as_frame: bool, parser: str) -> SimpleNamespace:
        calls.append((name, version, as_frame, parser))
        return SimpleNamespace(data=pixels, target=labels.astype(str).astype(object))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", answer)
    monkeypatch.setattr(bundled, "_MNIST_COUNTS", {"train": 5, "t10k": 2})
    return calls


def test_fetched_mnist_is_what_load_mnist_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (7, 784)).astype(float)
    labels = np.arange(7)
    calls = fake_openml(monkeypatch, pixels, labels)
    folder = tmp_path / "new" / "mnist"
    fetch_mnist(folder)
    train, test = load_mnist(folder)
    np.testing.assert_allclose(train.stimuli, pixels[:5] / 255, rtol=1e-6)
    np.testing.assert_array_equal(test.labels, labels[5:])
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    )
    fetch_mnist(folder)  # all files exist: no second download
    assert calls == [("mnist_784", 1, False, "auto")]
    kept = folder / "train-labels-idx1-ubyte.gz"
    kept.write_bytes(b"mine")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    fetch_mnist(folder)
    assert kept.read_bytes() == b"mine"
    np.testing.assert_array_equal(read_idx(folder / "t10k-labels-idx1-ubyte.gz"), labels[5:])


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((6, 784)), r"sent images \(6, 784\)"),
        (np.full((7, 784), 0.5), "0.5 to 0.5.* whole numbers"),
    ],
)
def test_fetch_refuses_what_is_not_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, reason: str
) -> None:
    fake_openml(monkeypatch, pixels, np.zeros(len(pixels), int))
    with pytest.raises(DatasetError, match=reason):
        fetch_mnist(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ConnectionRefusedError("no network"), ValueError("md5"), IncompleteRead(b"")])
def test_fetch_without_a_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", refuse)
    with pytest.raises(DatasetError, match=r"MNIST cannot be downloaded .* put the four MNIST files"):
        fetch_mnist(tmp_path)


def test_fetch_checks_the_free_space_before_it_downloads(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match=r"file cannot be made \(File exists\): name another folder"):
        fetch_mnist(tmp_path / "file")


def test_the_real_mnist() -> None:
    named = os.environ.get("RIEMANNRNN_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"MNIST is not at {folder} and RIEMANNRNN_DATA names no folder that exists")
    train, test = load_mnist(folder)
    assert (train.stimuli.shape, test.stimuli.shape) == ((60_000, 784), (10_000, 784))
    assert train.stimuli.dtype == np.float32
    assert train.stimuli.max() == 1
    assert train.stimuli.mean() == pytest.approx(0.1307, abs=1e-4)  # MNIST's well-known mean
    assert list(train.labels[:5]) == [5, 0, 4, 1, 9]
    assert list(test.labels[:5]) == [7, 2, 1, 0, 4]
    assert set(np.bincount(test.labels)) == {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009}
