"""File formats: how the arrays in each are opened, and the table of file name endings."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from riemannrnn.data.errors import DatasetError, require
from riemannrnn.data.frames import Frames, csv_frames, parquet_frames
from riemannrnn.data.idx import read_idx
from riemannrnn.data.sliced import Opener, Stored
from riemannrnn.data.source import digest_of

_SAMPLES, _SAMPLE_BYTES = 64, 2**16
"""Number and size of the pieces of a large file that enter its fingerprint."""


@contextmanager
def no_arrays(path: Path) -> Iterator[dict[str, Stored]]:
    """Yield no arrays: the file holds a table."""
    yield {}


@dataclass(frozen=True)
class Format:
    """A format of files.

    Parameters
    ----------
    title
        Name of a file of the format in messages.
    opener
        Opens the arrays in a file.
    frames
        Reads a file as a table, one part at a time, if the format holds a table and no arrays.
    """

    title: str
    opener: Opener
    frames: Frames | None = None


class Mapped:
    """An array in a file. It is mapped into memory only while a slice is copied, so that read pages do not accumulate."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool) -> None:
        self.path, self.offset, self.shape, self.dtype, self.order = path, offset, shape, dtype, "F" if fortran else "C"

    def __getitem__(self, rows: slice) -> np.ndarray:
        mapped: Any = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)  # type: ignore[call-overload]
        return np.array(mapped[rows])


class Compressed:
    """An array in a compressed member of a ZIP file, which can only be read from its beginning."""

    def __init__(self, path: Path, member: str, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool) -> None:
        self.path, self.member, self.shape, self.dtype, self.fortran = path, member, shape, dtype, fortran

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield all rows in order, this number at a time."""
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            _npy_header(file)
            if self.fortran:
                flat = np.frombuffer(file.read(), self.dtype)
                yield flat.reshape(self.shape, order="F")
                return
            width = self.dtype.itemsize * int(np.prod(self.shape[1:]))
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                yield np.frombuffer(file.read(count * width), self.dtype).reshape(count, *self.shape[1:])


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and dtype from the header of an array file, which precedes the content.

    Raises
    ------
    ValueError
        If the header is invalid, or the array holds Python objects.
    """
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or dtype.names:
        raise ValueError(f"its dtype {dtype} is not one of numbers or texts")
    return shape, fortran, dtype


@contextmanager
def open_npy(path: Path) -> Iterator[dict[str, Stored]]:
    """Yield the array of a .npy file."""
    with open(path, "rb") as file:
        shape, fortran, dtype = _npy_header(file)
        offset = file.tell()
    if path.stat().st_size < offset + int(np.prod(shape)) * dtype.itemsize:
        raise ValueError(f"it ends before its array of shape {shape} and dtype {dtype} does")
    yield {"": Stored(Mapped(path, offset, shape, dtype, fortran))}


@contextmanager
def open_npz(path: Path) -> Iterator[dict[str, Stored]]:
    """Yield the arrays of a .npz file; uncompressed arrays are read by rows."""
    found = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
        for member in archive.infolist():
            with archive.open(member) as file:
                shape, fortran, dtype = _npy_header(file)
                start = file.tell()
            name = member.filename.removesuffix(".npy")
            if member.compress_type != zipfile.ZIP_STORED:
                compressed = Compressed(path, member.filename, shape, dtype, fortran)
                found[name] = Stored(compressed, blocks=compressed.blocks)
                continue
            raw.seek(member.header_offset + 26)  # the lengths of the name and of the extra field in the local header
            lengths = np.frombuffer(raw.read(4), "<u2")
            offset = member.header_offset + 30 + int(lengths.sum()) + start
            found[name] = Stored(Mapped(path, offset, shape, dtype, fortran))
    yield found


@contextmanager
def open_hdf5(path: Path) -> Iterator[dict[str, Stored]]:
    """Yield the datasets of an HDF5 file; datasets in groups are named by their path."""
    h5py = require("h5py", "an HDF5 file")
    found = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim:
            labels = tuple(dimension.label for dimension in item.dims)
            text = h5py.check_string_dtype(item.dtype) is not None
            found[name] = Stored(item.asstr() if text else item, (item.chunks or (1,))[0], labels if all(labels) else ())

    with h5py.File(path, "r") as file:
        file.visititems(note)
        yield found


@contextmanager
def open_netcdf(path: Path) -> Iterator[dict[str, Stored]]:
    """Yield the variables of a NetCDF file."""
    xarray = require("xarray", "a NetCDF file")
    with xarray.open_dataset(path) as dataset:
        yield dataset_arrays(dataset)


@contextmanager
def open_zarr(path: Path) -> Iterator[dict[str, Stored]]:
    """Yield the arrays of a zarr folder; arrays in groups are named by their path."""
    zarr = require("zarr", "a zarr folder")
    node = zarr.open(path, mode="r")
    arrays = {"": node} if isinstance(node, zarr.Array) else dict(_zarr_arrays(node, zarr.Array))
    yield {name: _zarr_stored(each) for name, each in arrays.items() if each.ndim}


def _zarr_arrays(group: Any, kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, member in sorted(group.members()):
        if isinstance(member, kind):
            yield prefix + name, member
        else:
            yield from _zarr_arrays(member, kind, f"{prefix}{name}/")


def _zarr_stored(array: Any) -> Stored:
    named = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None) or ()
    return Stored(array, array.chunks[0], tuple(map(str, named)) if all(named) else ())


def dataset_arrays(dataset: Any) -> dict[str, Stored]:
    """Return the variables of an xarray dataset, except the coordinates of its dimensions."""
    return {
        str(name): data_array(dataset[name]) for name in dataset.variables if name not in dataset.dims and dataset[name].ndim
    }


def data_array(array: Any) -> Stored:
    """Return an array of xarray."""
    chunks = array.chunks[0] if array.chunks else array.encoding.get("chunksizes") or (1,)
    return Stored(array, int(chunks[0]), tuple(map(str, array.dims)), transpose=array.transpose)


@contextmanager
def open_idx(path: Path) -> Iterator[dict[str, Stored]]:
    """Yield the array of an IDX file, which is decompressed as a whole."""
    values = read_idx(path)
    yield {"": Stored(values, blocks=lambda rows: iter([values]))}


FORMATS = {
    ".npy": Format("a NumPy array", open_npy),
    ".npz": Format("a NumPy archive", open_npz),
    ".csv": Format("a CSV file", no_arrays, csv_frames),
    ".csv.gz": Format("a compressed CSV file", no_arrays, csv_frames),
    ".tsv": Format("a CSV file", no_arrays, csv_frames),
    ".parquet": Format("a Parquet file", no_arrays, parquet_frames),
    ".h5": Format("an HDF5 file", open_hdf5),
    ".hdf5": Format("an HDF5 file", open_hdf5),
    ".nc": Format("a NetCDF file", open_netcdf),
    ".zarr": Format("a zarr folder", open_zarr),
    "-ubyte.gz": Format("an IDX file", open_idx),
    "-ubyte": Format("an IDX file", open_idx),
    ".idx.gz": Format("an IDX file", open_idx),
    ".idx": Format("an IDX file", open_idx),
}
"""The formats by the endings of file names."""


def format_of(path: Path) -> Format:
    """Return the format of a file by its name.

    Raises
    ------
    DatasetError
        If the file does not exist, or no format has its ending.
    """
    if not path.exists():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, siblings, 1)
        remedy = f"did you mean {path.with_name(near[0])}?" if near else "check its name and its folder"
        raise DatasetError(f"{path} cannot be read: the file does not exist; {remedy}")
    for ending in sorted(FORMATS, key=len, reverse=True):
        if path.name.lower().endswith(ending):
            return FORMATS[ending]
    raise DatasetError(
        f"{path} has a name that ends in none of {', '.join(FORMATS)}; rename it, convert it, or pass the array that it holds"
    )


def fingerprint(path: Path, whole: bool) -> str:
    """Return a digest of the content of a file, or of the files in a folder; it does not depend on their location.

    Parameters
    ----------
    path
        The file or folder.
    whole
        Whether it covers every byte. Otherwise it covers the length and 64 pieces of a large file.
    """
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    if whole or len(files) <= _SAMPLES:
        chosen = files
    else:
        chosen = [files[place] for place in np.unique(np.linspace(0, len(files) - 1, _SAMPLES).astype(int))]
    sizes = [(str(each.relative_to(path)), each.stat().st_size) for each in files]
    return digest_of(chain([sizes], (piece for each in chosen for piece in _pieces(each, whole))))


def _pieces(path: Path, whole: bool) -> Iterator[bytes]:
    size = path.stat().st_size
    all_of_it = whole or size <= _SAMPLES * _SAMPLE_BYTES
    starts = range(0, size, _SAMPLE_BYTES) if all_of_it else np.linspace(0, size - _SAMPLE_BYTES, _SAMPLES).astype(int)
    with open(path, "rb") as file:
        for start in starts:
            file.seek(int(start))
            yield file.read(_SAMPLE_BYTES)
