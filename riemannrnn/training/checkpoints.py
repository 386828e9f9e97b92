"""Checkpoints: the whole state of a run in one file, with a checksum, written atomically."""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar, final

import numpy as np

from manifolds.arrays import to_numpy
from riemannrnn.state_file import Kind, read_state, write_state

FORMAT = b"riemannrnn checkpoint 1\n"
"""The first line of each file; the next line is the SHA-256 of the rest."""

KEPT = 3
"""Number of checkpoints that are kept in a folder: if one is damaged, others remain."""

PATTERN = "checkpoint-*.npz.sum"

FOREIGN = "another version of riemannrnn wrote it. Resume with that version, or start the run again in an empty folder"
"""Why an entry of an intact checkpoint is missing or unreadable, and what to do."""

Value = TypeVar("Value")


class CheckpointError(ValueError):
    """A checkpoint is damaged, foreign or missing."""


KIND = Kind("checkpoint", FORMAT, CheckpointError)
"""The file type of checkpoints."""


@final
class Checkpoint(dict[str, Any]):
    """The entries of a checkpoint, with the path of its file.

    Parameters
    ----------
    path
        The file.
    entries
        The state.

    Raises
    ------
    CheckpointError
        For a missing entry.
    """

    def __init__(self, path: Path, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self.path = path

    def __missing__(self, name: str) -> NoReturn:
        raise CheckpointError(f"{self.path} has no entry {name!r}: {FOREIGN}")

    def read(self, name: str, convert: Callable[[Any], Value]) -> Value:
        """Return an entry, converted by a function.

        Raises
        ------
        CheckpointError
            If the entry is missing, or the function raises an error.
        """
        entry = self[name]
        try:
            return convert(entry)
        except KeyError as error:
            raise CheckpointError(f"{self.path} has no entry {f'{name}.{error.args[0]}'!r}: {FOREIGN}") from error
        except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{self.path} has an entry {name!r} that cannot be read ({error}): {FOREIGN}") from error


def write_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write the state after a step into a new file of a folder, and remove old files except the last few.

    Parameters
    ----------
    folder
        An existing folder.
    step
        Number of steps done; part of the name.
    state
        Numbers, strings, None, arrays of numbers, and lists, tuples and dictionaries of them; named tuples come back as tuples.

    Raises
    ------
    TypeError
        For anything else.
    RunFolderError
        If the disk is full or the folder is read-only; the previous file is unchanged.
    """
    path = folder / PATTERN.replace("*", f"{step:08d}")
    write_state(path, KIND, state)
    for old in sorted(folder.glob(PATTERN))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the state in a file.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or its checksum does not match its content.
    """
    return Checkpoint(path, read_state(path, KIND))


def last_checkpoint(folder: Path) -> Checkpoint:
    """Return the state of the newest intact checkpoint of a folder; a warning names each damaged checkpoint.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    for path in sorted(folder.glob(PATTERN), reverse=True):
        try:
            return read_checkpoint(path)
        except CheckpointError as error:
            warnings.warn(f"{error}; it is skipped", RuntimeWarning, stacklevel=2)
    raise CheckpointError(f"{folder} holds no intact checkpoint; start the run again in an empty folder")


def recorded_cores(folder: Path) -> int | None:
    """Return the number of cores at the start of a folder's run; None if no checkpoint can be read or an old one lacks it."""
    for path in sorted(folder.glob(PATTERN), reverse=True):
        with suppress(CheckpointError):
            return read_checkpoint(path).get("cores")
    return None


def refuse_used(folder: Path) -> None:
    """Check that a folder holds no checkpoints of another run, which could be resumed by mistake.

    Raises
    ------
    CheckpointError
        If it holds one.
    """
    used = next(folder.glob(PATTERN), None)
    if used is not None:
        raise CheckpointError(f"{folder} holds checkpoints of another run; resume that, or choose an empty folder")


def fingerprint(*arrays: Any) -> str:
    """Return the beginning of the SHA-256 of the shapes, dtypes and contents of arrays, which identifies the data."""
    digest = hashlib.sha256()
    for each in map(to_numpy, arrays):
        digest.update(f"{each.shape} {each.dtype.str}".encode())
        digest.update(np.ascontiguousarray(each).data)
    return digest.hexdigest()[:12]
