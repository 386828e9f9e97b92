"""The cache: files that cannot be read by rows are converted once into arrays that can."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from riemannrnn.data.errors import DatasetError
from riemannrnn.data.source import Column

_ROWS, _COLUMNS = "rows.npy", "columns.json"

Write = Callable[[Path], tuple[Column, ...]]
"""Writes the rows of a file as an array file, and returns the columns, if they have names."""


def cache_folder(folder: Path | str | None = None) -> Path:
    """Return the folder of the cache: `folder` if it is given, otherwise `riemannrnn` in the user's cache folder."""
    if folder is not None:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "riemannrnn"


def tell(message: str) -> None:
    """Print a message on the standard error."""
    print(message, file=sys.stderr, flush=True)


def converted(
    name: str, key: str, write: Write, folder: Path | str | None, notify: Callable[[str], object]
) -> tuple[Path, tuple[Column, ...]]:
    """Return the array file that a file is converted into, and its columns; convert it if necessary.

    Parameters
    ----------
    name
        Name of the file, or of the array in it, in messages.
    key
        Fingerprint of the file's content, which is the name of the result's folder in the cache.
    write
        Writes the array file.
    folder
        The cache.
    notify
        Called with a sentence if the file is converted.

    Raises
    ------
    DatasetError
        If the cache cannot be written, or is damaged.
    """
    cache = cache_folder(folder)
    place = cache / key
    if not place.is_dir():
        notify(f"{name} cannot be read by rows; converting it once into {place}")
        try:
            cache.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
            try:
                columns = write(temporary / _ROWS)
                (temporary / _COLUMNS).write_text(json.dumps([asdict(each) for each in columns]), encoding="utf-8")
                _finish(temporary, place)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            raise DatasetError(
                f"{name} cannot be converted into {cache} ({error.strerror or error}); free space, or name another folder with "
                "cache="
            ) from error
    try:
        known = json.loads((place / _COLUMNS).read_text(encoding="utf-8"))
        return place / _ROWS, tuple(Column(**each | {"classes": tuple(each["classes"])}) for each in known)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(place, name, error) from error


def damaged(place: Path, name: str, error: Exception) -> DatasetError:
    """Return the error for a damaged folder in the cache."""
    return DatasetError(f"{place}, into which {name} was converted, is damaged ({error}); delete it, and it is made again")


def _finish(temporary: Path, place: Path) -> None:
    """Rename a complete folder to its final name, unless another process was faster."""
    with open(temporary / _ROWS, "rb+") as file:
        os.fsync(file.fileno())
    try:
        os.rename(temporary, place)
    except OSError:
        if not place.is_dir():
            raise


def write_rows(path: Path, shape: tuple[int, ...], dtype: np.dtype, blocks: Iterable[np.ndarray]) -> None:
    """Write rows as an array file, block by block."""
    with open(path, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
