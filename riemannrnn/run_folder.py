"""Run folders: made anew for every run, written atomically, never overwriting another."""

import csv
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import xarray as xr

TOML_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), 0x7F)} | {
    ord("\\"): "\\\\",
    ord('"'): '\\"',
    ord("\n"): "\\n",
}
"""What may not stand in a TOML string as it is: control characters, the backslash and the quote."""


class RunFolderError(OSError):
    """A run folder cannot be made or written to."""


def create_run_folder(parent: Path, name: str) -> Path:
    """Make and return a new folder `name`-DATE-TIME under `parent`, with a number behind it if that exists already.

    Raises
    ------
    RunFolderError
        If it cannot be made, naming the folder, the reason and the remedy.
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


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, and rename it when it is complete and on the disk.

    Raises
    ------
    RunFolderError
        If the disk is full or the folder is read-only; what stood there before is untouched.
    """
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path}: {error.strerror or error}; free space, make the folder writable, or choose another"
        ) from error
    finally:
        with suppress(OSError):  # what went wrong before says more
            temporary.unlink()


def write_toml(path: Path, tables: Mapping[str, Mapping[str, object]]) -> None:
    """Write tables of strings, numbers, truth values and lists of them as TOML; entries that are None are left out."""
    lines: list[str] = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items() if value is not None), ""]
    write_atomically(path, lambda temporary: temporary.write_text("\n".join(lines), encoding="utf-8"))


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of equal keys as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))


def write_netcdf(path: Path, dataset: xr.Dataset) -> None:
    """Write a dataset as NetCDF-4."""
    write_atomically(path, lambda temporary: dataset.to_netcdf(temporary, engine="h5netcdf"))


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, float):
        return repr(float(value))  # NumPy's float64 is a float that shows its type
    if isinstance(value, str):
        return f'"{value.translate(TOML_ESCAPES)}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    raise TypeError(f"{value!r} of type {type(value).__name__} has no TOML form here; pass text, numbers or lists")
