"""Checkpoints: everything that a run is made of in one file, with a checksum, written atomically."""

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar, final
from zipfile import BadZipFile

import numpy as np

from manifolds.arrays import to_numpy
from riemannrnn.run_folder import write_atomically

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
    arrays: dict[str, Any] = {}
    tree = json.dumps(_pack(state, arrays))
    payload = io.BytesIO()
    np.savez(payload, tree=np.frombuffer(tree.encode(), np.uint8), **arrays)
    content = payload.getvalue()
    path = folder / PATTERN.replace("*", f"{step:08d}")
    head = FORMAT + hashlib.sha256(content).hexdigest().encode() + b"\n"
    write_atomically(path, lambda temporary: temporary.write_bytes(head + content))
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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    head, _, rest = content.partition(b"\n")
    checksum, _, payload = rest.partition(b"\n")
    if head + b"\n" != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint: it does not begin with {FORMAT.decode().strip()!r}")
    if hashlib.sha256(payload).hexdigest().encode() != checksum:
        raise CheckpointError(f"{path} is damaged: its checksum is not that of its content")
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            state = _unpack(json.loads(bytes(arrays["tree"])), arrays)
    except (BadZipFile, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is damaged: it holds no state")
    return Checkpoint(path, state)


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


def _pack(value: Any, arrays: dict[str, Any]) -> Any:
    """Return a tree for JSON, in which arrays are named, and collect these."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _pack(item, arrays) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        items = [_pack(item, arrays) for item in value]
        return items if isinstance(value, list) else {"tuple": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping) or (array := to_numpy(value)).dtype.kind not in "biufc":  # objects NumPy would pickle
        raise TypeError(f"a {type(value).__name__} has no place in a checkpoint; keep numbers, text and arrays of numbers")
    name = f"array{len(arrays)}"
    arrays[name] = array
    return {"array": name}


def _unpack(tree: Any, arrays: Any) -> Any:
    if isinstance(tree, list):
        return [_unpack(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "tuple" in tree:
        return tuple(_unpack(item, arrays) for item in tree["tuple"])
    return {key: _unpack(item, arrays) for key, item in tree["dict"].items()}
