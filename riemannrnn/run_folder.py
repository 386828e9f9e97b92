"""Run folders: a new folder for every run, locked by one process at a time, with atomically written files."""

import csv
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

if TYPE_CHECKING:
    import xarray as xr

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the empty file in a folder that the writing run has locked."""

_held = local()


class RunFolderError(OSError):
    """A run folder cannot be created or written."""


class RunInUseError(RunFolderError):
    """Another process or thread writes to the run folder."""


def create_run_folder(parent: Path, name: str) -> Path:
    """Create and return a new folder `name`-DATE-TIME under `parent`, with a number appended if the name exists.

    Raises
    ------
    RunFolderError
        If it cannot be created; the message names the folder, the reason and the remedy.
    """
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for attempt in range(1000):
        folder = parent / (stem if attempt == 0 else f"{stem}-{attempt}")
        try:
            folder.mkdir(parents=True, exist_ok=False)
        except FileExistsError:
            if not parent.is_dir():
                raise RunFolderError(f"{parent} is not a folder; name one with --output") from None
            continue
        except OSError as error:
            raise RunFolderError(
                f"cannot make the run folder {folder}: {error.strerror}; choose another with --output"
            ) from error
        return folder
    raise RunFolderError(f"{parent} holds a thousand runs of this second; choose another folder with --output")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for a process or thread. A thread that holds the lock may enter again.

    The operating system releases the lock when the process ends. On a file system without locks, nothing is locked.

    Raises
    ------
    RunInUseError
        If another process or thread holds the folder.
    RunFolderError
        If the folder cannot be written.
    """
    held: set[Path] = _held.__dict__.setdefault("folders", set())
    place = folder.resolve()
    if fcntl is None or place in held:
        yield
        return
    try:
        file = open(folder / LOCK, "ab")  # noqa: SIM115  # it is closed below
    except OSError as error:
        raise unwritten(folder / LOCK, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunInUseError(
                f"another run writes to {folder} at this moment; wait until it has ended, stop it, or choose another folder"
            ) from None
        except OSError:  # a file system without locks
            pass
        held.add(place)
        try:
            yield
        finally:
            held.discard(place)


def make_folder(folder: Path) -> None:
    """Create a folder inside a run folder, if it does not exist.

    Raises
    ------
    RunFolderError
        If the disk is full, the run folder is read-only, or the run folder was removed.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritten(folder, error) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, and rename it when it is completely on the disk.

    Raises
    ------
    RunFolderError
        If the disk is full, the folder is read-only, or it was removed. An existing file at `path` is then unchanged.
    """
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritten(path, error) from error
    finally:
        with suppress(OSError):  # the first error is more informative
            temporary.unlink()


def unwritten(path: Path, error: Exception) -> RunFolderError:
    """Return the error for a file or folder that cannot be written."""
    if isinstance(error, FileNotFoundError):
        what = "it was deleted or moved;" if path.parent.exists() else f"the folder {path.parent} does not exist; make it, and"
        return RunFolderError(f"cannot write {path}: {what} leave it in place until the run ends")
    reason = (isinstance(error, OSError) and error.strerror) or error
    return RunFolderError(f"cannot write {path}: {reason}; free space, make the folder writable, or choose another")


def _given(value: Any) -> Any:
    """Return nested tables without empty entries and entries that TOML cannot hold."""
    if isinstance(value, Mapping):
        return {key: _given(each) for key, each in value.items() if each is not None and not (type(each) is tuple and not each)}
    return [_given(each) for each in value] if isinstance(value, list | tuple) else value


def write_toml(path: Path, tables: Mapping[str, Mapping[str, object]]) -> None:
    """Write tables of plain values, and of lists and tables of them, as TOML; None and empty lists are left out."""
    text = tomli_w.dumps(_given(tables))
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of equal keys as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))


def write_netcdf(path: Path, dataset: "xr.Dataset") -> None:
    """Write a dataset as NetCDF-4.

    The file is made in memory, because HDF5 crashes the process at exit if the disk is full.
    """
    content = io.BytesIO()
    with _on_no_cluster():
        dataset.to_netcdf(content, engine="h5netcdf")
    write_atomically(path, lambda temporary: temporary.write_bytes(content.getbuffer()))


def _on_no_cluster() -> AbstractContextManager[object]:
    """Return a context without a dask cluster: otherwise xarray would ask the scheduler to lock the file in memory."""
    dask = sys.modules.get("dask")
    return nullcontext() if dask is None else dask.config.set(scheduler="synchronous")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write NumPy arrays by name."""
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # names are keywords there
    write_atomically(path, lambda temporary: temporary.write_bytes(content.getbuffer()))
