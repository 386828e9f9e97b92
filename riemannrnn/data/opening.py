"""Opening sources: the only module that turns files and Python objects into rows."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

from riemannrnn.backend import as_array
from riemannrnn.data.cache import Write, converted, damaged, tell, write_rows
from riemannrnn.data.errors import DatasetError
from riemannrnn.data.formats import Format, data_array, dataset_arrays, fingerprint, format_of, open_npy
from riemannrnn.data.frames import Frame, common_dtype, encode, pandas_frame, scan, text_column
from riemannrnn.data.sliced import FileSource, LazySource, Stored, facts, rows_first
from riemannrnn.data.source import ArraySource, Column, Source, checked_shape, digest, digest_of
from riemannrnn.settings import unknown

_ROWS = 2**14
"""Number of rows of an array that are converted at a time."""

Notify = Callable[[str], object]
"""Function that receives a message for the user."""


def open_source(
    what: Any,
    array: str | None = None,
    *,
    rows: str | None = None,
    cache: Path | str | None = None,
    notify: Notify = tell,
) -> Source:
    """Return the rows in a file or an object.

    Parameters
    ----------
    what
        The name of a file: .npy, .npz, .csv, .tsv, .parquet, .h5, .nc, .zarr, or IDX. Or an array, a list, a table or series of
        pandas, an array of dask, an array or dataset of xarray, a mapping of names to arrays, or a source.
    array
        The name of the array, if there are several.
    rows
        The name of the dimension of the rows. Default: the first dimension.
    cache
        The folder for converted files, for files that cannot be read by rows. Its contents may be deleted. Default:
        `riemannrnn` in the user's cache folder.
    notify
        Called with a message when a file is converted. Default: the message is printed on the standard error.

    Returns
    -------
    Source
        The rows; only a few of them have been read.

    Raises
    ------
    DatasetError
        If the file or array does not exist, the format is unknown, a package that reads it is missing, or the file is damaged.
    """
    if isinstance(what, Source):
        return what
    if isinstance(what, str | Path):
        path = Path(what)
        try:
            return _open_file(path, format_of(path), array, rows, cache, notify)
        except (DatasetError, MemoryError):
            raise
        except Exception as error:  # libraries raise different errors for a damaged file
            raise _unreadable(path, error) from error
    arrays = _objects(what)
    name = _chosen(type(what).__name__, arrays, array)
    found, label = arrays[name], name or type(what).__name__
    if isinstance(found, Source):
        return found
    found = rows_first(label, found, rows)
    if _holds_texts(label, found):
        return _table_source(label, {label: text_column(np.asarray(found.values))})
    return LazySource(label, found)


def array_names(what: Any, rows: str | None = None) -> list[str]:
    """Return the names of the arrays in a file or an object; an empty list for a table or a single array.

    Parameters
    ----------
    what
        Any argument of `open_source`.
    rows
        The name of a dimension. Arrays without it are left out, unless no array has it.

    Raises
    ------
    DatasetError
        As `open_source` does.
    """
    if isinstance(what, Source):
        return []
    if not isinstance(what, str | Path):
        return _named(_objects(what), rows)
    path = Path(what)
    try:
        with format_of(path).opener(path) as arrays:
            return _named(arrays, rows)
    except (DatasetError, MemoryError):
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _named(arrays: Mapping[str, Stored | Source], rows: str | None) -> list[str]:
    names = [name for name in arrays if name]
    return [name for name in names if rows in arrays[name].dimensions] or names


def _unreadable(path: Path, error: Exception) -> DatasetError:
    title = format_of(path).title
    return DatasetError(f"{path} cannot be read as {title} ({error}); the file is damaged or of another format: make it again")


def _open_file(path: Path, form: Format, array: str | None, rows: str | None, cache: Any, notify: Notify) -> Source:
    if form.frames is not None:
        frames = form.frames
        key = fingerprint(path, whole=True)
        return _from_cache(path, key, lambda target: _write_table(target, lambda text: frames(path, text)), cache, notify)
    with form.opener(path) as arrays:
        name = _chosen(str(path), arrays, array)
        title = f"array {name!r} of {path}" if name else str(path)
        stored = rows_first(title, arrays[name], rows)
        if _holds_texts(title, stored):
            texts = ("\0".join(str(text) for text in block).encode() for block in _text_blocks(stored))
            key = digest_of(chain([name], texts))
            frames_of = partial(_text_frames, name or path.stem, stored)
            return _from_cache(path, key, lambda target: _write_table(target, frames_of), cache, notify, title)
        if stored.blocks is None:
            found = facts(title, stored)
            mark = digest(fingerprint(path, whole=False), name, rows)
            return FileSource(title, path, form.opener, name, **found, fingerprint=mark, rows=rows)
        key = digest(fingerprint(path, whole=True), name, rows)
        return _from_cache(path, key, lambda target: _write_numbers(target, stored), cache, notify, title)


def _from_cache(path: Path, key: str, write: Write, cache: Any, notify: Notify, title: str | None = None) -> FileSource:
    name = title or str(path)
    place, columns = converted(name, key, write, cache, notify)
    try:
        with open_npy(place) as arrays:
            found = facts(name, arrays[""])
    except (OSError, ValueError) as error:
        raise damaged(place.parent, name, error) from error
    return FileSource(name, place, open_npy, "", **found, fingerprint=key, columns=columns)


def _write_table(target: Path, frames: Callable[[set[str]], Iterator[Frame]]) -> tuple[Column, ...]:
    """Write a table as an array file; return its columns."""
    rows, columns = scan(frames)
    if not columns or not rows:
        raise ValueError("it holds no rows")
    blocks = (encode(frame, columns) for frame in frames({each.name for each in columns if each.is_text}))
    write_rows(target, (rows, len(columns)), common_dtype(columns), blocks)
    return columns


def _write_numbers(target: Path, stored: Stored) -> tuple[Column, ...]:
    """Write an array of numbers as an array file."""
    values = stored.values
    write_rows(target, tuple(values.shape), np.dtype(values.dtype), _blocks(stored))
    return ()


def _text_frames(name: str, stored: Stored, text: set[str]) -> Iterator[Frame]:
    """Yield a list of texts as a table of one column."""
    return ({name: block} for block in _text_blocks(stored))


def _text_blocks(stored: Stored) -> Iterator[np.ndarray]:
    return (text_column(block) for block in _blocks(stored))


def _holds_texts(name: str, stored: Stored) -> bool:
    """Tell whether an array holds texts.

    Raises
    ------
    DatasetError
        If it holds neither real numbers nor a list of texts.
    """
    dtype, shape = np.dtype(stored.values.dtype), tuple(stored.values.shape)
    if dtype.kind in "biuf":
        return False
    if dtype.kind not in "USOTM" or len(shape) != 1:
        raise DatasetError(
            f"{name} has dtype {dtype} and shape {shape}, which is neither real numbers nor a list of texts; convert it to one"
        )
    return True


def _blocks(stored: Stored) -> Iterator[np.ndarray]:
    """Yield all rows of an array in order."""
    if stored.blocks is not None:
        return stored.blocks(_ROWS)
    return (np.asarray(stored.values[start : start + _ROWS]) for start in range(0, stored.values.shape[0], _ROWS))


def _chosen(where: str, arrays: Mapping[str, object], wanted: str | None) -> str:
    """Return the name of the requested array, or of the only one."""
    if wanted is None and len(arrays) == 1:
        return next(iter(arrays))
    if not arrays:
        raise DatasetError(f"{where} holds no arrays; pass one that does")
    if wanted is None:
        raise DatasetError(f"{where} holds several arrays; choose one of {', '.join(arrays)}")
    if wanted not in arrays:
        raise DatasetError(
            str(unknown(f"array {wanted!r} of {where}", wanted, [each for each in arrays if each] or ["(none)"]))
        )
    return wanted


def _objects(what: Any) -> dict[str, Stored | Source]:
    """Return the arrays in a Python object, by name."""
    for base in type(what).__mro__:
        make = OBJECTS.get(f"{base.__module__.partition('.')[0]}.{base.__name__}")
        if make is not None:
            return make(what)
    if isinstance(what, Mapping):
        return {str(name): open_source(value) for name, value in what.items()}
    return {"": _array(what)}


def _array(what: Any) -> Source:
    """Return an array of the array API, or a list, as a source."""
    name = type(what).__name__
    try:
        values = np.asarray(what) if isinstance(what, list | tuple) else what
    except ValueError as error:
        raise DatasetError(f"{name}: {error}; pass rows of one length") from error
    if not is_array_api_obj(values):
        raise DatasetError(
            f"an object of type {name} holds no rows that can be read; pass the name of a file, an array or a table"
        )
    if isinstance(values, np.ndarray) and values.dtype.kind not in "biufc" and not _numbers(values):
        _holds_texts(name, Stored(values))
        return _table_source(name, {"0": text_column(values)})
    try:
        array = as_array("rows", values)
    except ValueError as error:
        raise DatasetError(f"{name}: {error}") from error
    checked_shape(name, tuple(array.shape))
    return ArraySource(name, array)


def _numbers(values: np.ndarray) -> bool:
    """Tell whether an array of objects holds only numbers, and None for missing ones."""
    return values.dtype == object and not any(isinstance(value, str | bytes) for value in values.flat)


def _table_source(name: str, frame: Frame) -> ArraySource:
    rows, columns = scan(lambda text: [frame | {each: text_column(frame[each]) for each in text}])
    if not rows:
        raise DatasetError(f"{name} holds no rows that can be read; pass a table, or a list of numbers or of texts")
    return ArraySource(name, encode(frame, columns), columns)


OBJECTS: dict[str, Callable[[Any], dict[str, Stored | Source]]] = {
    "pandas.DataFrame": lambda what: {"": _table_source("DataFrame", pandas_frame(what))},
    "pandas.Series": lambda what: {"": _table_source("Series", pandas_frame(what.to_frame(what.name or "0")))},
    "xarray.DataArray": lambda what: {str(what.name or ""): data_array(what)},
    "xarray.Dataset": lambda what: dict(dataset_arrays(what)),
    "dask.Array": lambda what: {"": Stored(what, int(max(what.chunks[0])) if what.chunks and what.chunks[0] else 1)},
    "h5py.Dataset": lambda what: {"": Stored(what, (what.chunks or (1,))[0])},
    "zarr.Array": lambda what: {"": Stored(what, what.chunks[0])},
    "riemannrnn.Dataset": lambda what: {name: _array(getattr(what, name)) for name in ("stimuli", "labels")},
}
"""Functions that find the arrays in objects, by package and type name."""
