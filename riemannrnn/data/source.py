"""Sources: rows of numbers in memory or on disk, read a few at a time."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import device

from manifolds import Array
from manifolds.arrays import to_numpy
from manifolds.summary import Summarised
from riemannrnn.backend import namespace_of
from riemannrnn.data.errors import DatasetError

Rows: TypeAlias = Any
"""A slice, or an array of row numbers or of truth values."""

Reader: TypeAlias = Callable[[Rows], Array]
"""Returns rows, in the requested order."""

CHUNK_BYTES = 2**20
"""Bytes of a chunk, unless the chunks on disk are larger."""

_WHOLE, _SAMPLES = 2**24, 64
"""Most bytes of an array in memory with all rows in its fingerprint, and the number of rows in it for larger arrays."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name
        Its name.
    kind
        Its dtype, or "text". Whole numbers are stored as floats if some are missing. Text is stored as the index in `classes`,
        and as NaN if it is missing.
    classes
        The different texts, sorted; empty if there are too many.
    missing
        Number of rows without a value.
    """

    name: str
    kind: str
    classes: tuple[str, ...] = ()
    missing: int = 0

    @property
    def is_text(self) -> bool:
        """Whether the column holds text."""
        return self.kind == "text"


class Source(ABC, Summarised):
    """Rows of numbers.

    Attributes
    ----------
    name : str
        Name in messages: the file, or the type of the object.
    shape : tuple of int
        Number of rows, then the sizes of a row.
    dtype : str
        Name of the dtype of the rows.
    chunk : int
        Number of consecutive rows that are best read together.
    columns : tuple of Column
        The columns of a table; empty for an array, which has no column names.
    dimensions : tuple of str
        Names of the dimensions; empty if they have none.
    fingerprint : str
        A short text that differs if the content differs, and does not depend on its location. For large files and arrays it
        covers samples.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    chunk: int
    columns: tuple[Column, ...]
    dimensions: tuple[str, ...]
    fingerprint: str

    @abstractmethod
    def reader(self) -> AbstractContextManager[Reader]:
        """Return a context for reading rows; it opens and closes files if necessary."""

    def read(self, rows: Rows) -> Array:
        """Return rows as an array of shape (rows, ...), in the requested order.

        Parameters
        ----------
        rows
            A slice, or an array of row numbers or of truth values.

        Raises
        ------
        DatasetError
            If a row does not exist, or the rows cannot be read.
        """
        with self.reader() as read:
            return read(rows)

    def __len__(self) -> int:
        return self.shape[0]

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        sizes = ", ".join(f"{name} {size}" for name, size in zip(self.dimensions, self.shape)) or self.shape
        return {"name": self.name, "shape": sizes, "dtype": self.dtype, "chunk": self.chunk}

    def places(self, rows: Rows) -> range | np.ndarray:
        """Return the numbers of rows, from 0: a range for a slice, an array otherwise.

        Raises
        ------
        DatasetError
            If a row does not exist.
        """
        if isinstance(rows, slice):
            return range(*rows.indices(len(self)))
        found = np.atleast_1d(to_numpy(rows))
        found = np.flatnonzero(found) if found.dtype == bool and found.size == len(self) else found
        if found.size == 0:
            return found.astype(np.int64)
        if found.ndim != 1 or found.dtype.kind not in "iu" or found.min() < -len(self) or found.max() >= len(self):
            raise DatasetError(
                f"{self.name} has {len(self)} rows, but rows {found.min()} to {found.max()} were requested, an array of "
                f"{found.dtype} of shape {found.shape}; pass a list of whole numbers from 0 to {len(self) - 1}"
            )
        return np.asarray(np.where(found < 0, found + len(self), found))


@dataclass(frozen=True, repr=False, eq=False)
class ArraySource(Source):
    """Rows of an array in memory, on its backend.

    Parameters
    ----------
    name, values, columns, dimensions
        The array, and the facts about it.
    """

    name: str
    values: Array
    columns: tuple[Column, ...] = ()
    dimensions: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Sizes of the array."""
        return tuple(int(size) for size in self.values.shape)

    @property
    def dtype(self) -> str:  # type: ignore[override]
        """Dtype of the array."""
        return str(self.values.dtype).rpartition(".")[2]

    @property
    def chunk(self) -> int:  # type: ignore[override]
        """Rows of about a mebibyte."""
        return preferred_chunk(self.shape, np.dtype(self.dtype).itemsize)

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """A digest of all rows, or of a sample from a large array."""
        size = int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize
        rows = np.arange(len(self)) if size <= _WHOLE else np.linspace(0, len(self) - 1, _SAMPLES).astype(np.int64)
        return digest(self.shape, self.dtype, to_numpy(self.read(rows)).tobytes())

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Yield a function that takes rows from the array."""
        yield self._take

    def _take(self, rows: Rows) -> Array:
        places = self.places(rows)
        if isinstance(places, range) and places.step == 1:
            return self.values[places.start : places.stop, ...]
        xp = namespace_of(self.values)
        return xp.take(self.values, xp.asarray(np.asarray(places), device=device(self.values)), axis=0)


def checked_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an array of rows, after a check.

    Raises
    ------
    DatasetError
        If it has no rows, or rows without any number.
    """
    if not shape or 0 in shape:
        raise DatasetError(f"{name} has shape {shape}, which holds no rows; pass an array of at least one row and column")
    return shape


def preferred_chunk(shape: tuple[int, ...], itemsize: int, stored: int = 1) -> int:
    """Return a number of rows of about a mebibyte, a multiple of the rows that are stored together."""
    wanted = max(1, CHUNK_BYTES // max(1, int(np.prod(shape[1:])) * itemsize))
    return min(max(1, shape[0]), -(-wanted // max(1, stored)) * max(1, stored))


def digest(*parts: object) -> str:
    """Return the beginning of the BLAKE2 digest of bytes and plain values."""
    return digest_of(parts)


def digest_of(parts: Iterable[object]) -> str:
    """Return the digest of a sequence of bytes and plain values."""
    made = hashlib.blake2b(digest_size=10)
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        made.update(len(content).to_bytes(8, "little") + content)
    return made.hexdigest()
