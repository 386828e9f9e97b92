"""State files: nested numbers, texts and arrays in one npz file without pickle, with a checksum over every byte."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import Any
from zipfile import BadZipFile

import numpy as np

from manifolds.arrays import to_numpy
from riemannrnn.run_folder import write_atomically

DIGEST = 64
"""Number of characters of a checksum, the SHA-256 in hexadecimal."""


@dataclass(frozen=True)
class Kind:
    """A kind of state file.

    Parameters
    ----------
    noun
        Name of such a file in messages.
    head
        The line that identifies such a file and the version of its format. The next line is the checksum.
    error
        The error type for a file that is damaged or foreign.
    at_end
        Whether the two lines are at the end of the file, as the comment of a zip file. `numpy.load` can then read the file.
        Otherwise they are at the beginning.
    """

    noun: str
    head: bytes
    error: type[ValueError]
    at_end: bool = False

    @property
    def seal_length(self) -> int:
        """Number of bytes of the head and the checksum."""
        return len(self.head) + DIGEST + 1

    def sealed(self, payload: bytes) -> bytes:
        """Return the content of a file: the npz file with its first line and checksum."""
        if self.at_end:  # the last two bytes of a zip file without a comment are the length of the comment
            payload = payload[:-2] + pack("<H", self.seal_length)
        seal = self.head + hashlib.sha256(payload).hexdigest().encode() + b"\n"
        return payload + seal if self.at_end else seal + payload

    def opened(self, path: Path, content: bytes) -> bytes:
        """Return the npz file in the content of a file.

        Raises
        ------
        ValueError
            An error of the type `error`, for a file of another kind, or if the checksum does not match the content.
        """
        place = max(len(content) - self.seal_length, 0) if self.at_end else 0
        seal, rest = content[place : place + self.seal_length], content[place + self.seal_length :]
        payload = content[:place] if self.at_end else rest
        if not seal.startswith(self.head):
            known = f"{'end' if self.at_end else 'begin'} with {self.head.decode().strip()!r}"
            raise self.error(
                f"{path} is not a {self.noun}: it does not {known}; it is of another kind or version, or incomplete"
            )
        if seal != self.head + hashlib.sha256(payload).hexdigest().encode() + b"\n":
            raise self.error(f"{path} is damaged: its checksum does not match its content")
        return payload


def write_state(path: Path, kind: Kind, state: Mapping[str, Any]) -> None:
    """Write state into a file, replacing an existing file atomically.

    Parameters
    ----------
    path
        The file.
    kind
        Its kind.
    state
        Numbers, strings, None, arrays of numbers, and lists, tuples and dictionaries of them; named tuples come back as tuples.

    Raises
    ------
    TypeError
        For anything else.
    RunFolderError
        If the disk is full or the folder is read-only; an existing file is unchanged.
    """
    arrays: dict[str, Any] = {}
    tree = json.dumps(_pack(state, arrays, kind.noun))
    payload = io.BytesIO()
    np.savez(payload, tree=np.frombuffer(tree.encode(), np.uint8), **arrays)
    content = kind.sealed(payload.getvalue())
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def read_state(path: Path, kind: Kind) -> dict[str, Any]:
    """Return the state in a file.

    Raises
    ------
    ValueError
        An error of the type of the kind, if the file cannot be read, is of another kind, or is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise kind.error(f"{path} cannot be read: {error.strerror}") from error
    payload = kind.opened(path, content)
    try:
        with np.load(io.BytesIO(content if kind.at_end else payload), allow_pickle=False) as arrays:
            state = _unpack(json.loads(bytes(arrays["tree"])), arrays)
    except (BadZipFile, KeyError, ValueError) as error:
        raise kind.error(f"{path} is damaged: {error}") from error
    if not isinstance(state, dict):
        raise kind.error(f"{path} is damaged: it holds no state")
    return state


def _pack(value: Any, arrays: dict[str, Any], noun: str) -> Any:
    """Return a tree for JSON in which names replace arrays, and collect the arrays by name."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _pack(item, arrays, noun) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        items = [_pack(item, arrays, noun) for item in value]
        return items if isinstance(value, list) else {"tuple": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping) or (array := to_numpy(value)).dtype.kind not in "biufc":  # NumPy would pickle objects
        raise TypeError(f"a {type(value).__name__} has no place in a {noun}; keep numbers, text and arrays of numbers")
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
