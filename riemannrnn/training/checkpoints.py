"""Checkpoints: everything that a run is made of in one file, with a checksum, written atomically."""

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
"""What each file begins with; the SHA-256 of all that follows it stands on the next line."""

KEPT = 3
"""So many checkpoints stay in a folder: one that is damaged leaves others."""

PATTERN = "checkpoint-*.npz.sum"

FOREIGN = "another version of riemannrnn wrote it. Resume with that version, or start the run again in an empty folder"
"""Why an entry of a checkpoint that is whole is missing or cannot be read, and what to do."""

Value = TypeVar("Value")


class CheckpointError(ValueError):
    """A checkpoint is damaged, foreign, or not there."""


KIND = Kind("checkpoint", FORMAT, CheckpointError)
"""The kind of file that a checkpoint is."""


@final
class Checkpoint(dict[str, Any]):
    """The entries of a checkpoint, with the file that they come from.

    Parameters
    ----------
    path
        The file.
    entries
        The state.

    Raises
    ------
    CheckpointError
        For an entry that is missing.
    """

    def __init__(self, path: Path, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self.path = path

    def __missing__(self, name: str) -> NoReturn:
        raise CheckpointError(f"{self.path} has no entry {name!r}: {FOREIGN}")

    def read(self, name: str, convert: Callable[[Any], Value]) -> Value:
        """Return what a function makes of an entry.

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
    """Write the state after a step into a new file of a folder, and remove the oldest files but a few.

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
        If the disk is full or the folder is read-only; what stood there before is untouched.
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
        If it cannot be read, or its checksum is not that of its content.
    """
    return Checkpoint(path, read_state(path, KIND))


def last_checkpoint(folder: Path) -> Checkpoint:
    """Return the state of the newest checkpoint of a folder that is whole; each damaged one is named in a warning.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    for path in sorted(folder.glob(PATTERN), reverse=True):
        try:
            return read_checkpoint(path)
        except CheckpointError as error:
            warnings.warn(f"{error}; it is passed over", RuntimeWarning, stacklevel=2)
    raise CheckpointError(f"{folder} holds no checkpoint that is whole; start the run anew")


def recorded_cores(folder: Path) -> int | None:
    """Return on how many cores the run of a folder began; None where no checkpoint can be read, or an old one does not say."""
    for path in sorted(folder.glob(PATTERN), reverse=True):
        with suppress(CheckpointError):
            return read_checkpoint(path).get("cores")
    return None


def refuse_used(folder: Path) -> None:
    """Refuse to begin a run in a folder with the checkpoints of another, from which it might be resumed.

    Raises
    ------
    CheckpointError
        If there is one.
    """
    used = next(folder.glob(PATTERN), None)
    if used is not None:
        raise CheckpointError(f"{folder} holds checkpoints of another run; resume that, or choose an empty folder")


def fingerprint(*arrays: Any) -> str:
    """Return how the SHA-256 of the shapes, dtypes and contents of arrays begins, by which data are known again."""
    digest = hashlib.sha256()
    for each in map(to_numpy, arrays):
        digest.update(f"{each.shape} {each.dtype.str}".encode())
        digest.update(np.ascontiguousarray(each).data)
    return digest.hexdigest()[:12]
