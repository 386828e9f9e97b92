"""Sources that are read by slices: arrays in files, and arrays that are computed on reading."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from manifolds import Array
from riemannrnn.data.errors import DatasetError
from riemannrnn.data.source import Column, Reader, Rows, Source, checked_shape, digest, preferred_chunk

_REMEDY = "it is damaged or was changed meanwhile: make or copy it again"


@dataclass(frozen=True)
class Stored:
    """An array that is read by slices: stored on disk, or computed on reading.

    Parameters
    ----------
    values
        Object with `shape`, `dtype` and `values[start:stop]`, which NumPy can convert to an array.
    chunk
        Number of rows that are stored together, if known.
    dimensions
        Names of the dimensions, if any.
    blocks
        For an array that is compressed as a whole: yields its rows in order, about this many at a time.
    transpose
        Returns the array with its dimensions in another order, given their names. None: this would need to read the array.
    """

    values: Any
    chunk: int = 1
    dimensions: tuple[str, ...] = ()
    blocks: Callable[[int], Iterator[np.ndarray]] | None = None
    transpose: Callable[..., Any] | None = None


Opener: TypeAlias = Callable[[Path], AbstractContextManager[dict[str, Stored]]]
"""Opens a file, and yields its arrays by name."""


class SlicedSource(Source):
    """Rows of an array that is read by slices; subclasses define how it is opened."""

    @abstractmethod
    def opened(self) -> AbstractContextManager[Any]:
        """Return a context with the array."""

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Yield a function that reads rows, one chunk after the other."""
        with ExitStack() as opened:
            try:
                values = opened.enter_context(self.opened())
            except MemoryError:
                raise
            except Exception as error:  # libraries raise different errors for a damaged file
                raise DatasetError(f"{self.name} cannot be opened ({error}); {_REMEDY}") from error
            yield lambda rows: self._take(values, rows)

    def _take(self, values: Any, rows: Rows) -> Array:
        places = self.places(rows)
        if isinstance(places, range) and places.step == 1:
            return self._slice(values, places.start, max(places.start, places.stop))
        order = np.argsort(places, kind="stable")
        increasing = np.asarray(places)[order]
        taken = np.empty((len(increasing), *self.shape[1:]), self.dtype)
        for part in np.split(np.arange(len(increasing)), np.flatnonzero(np.diff(increasing // self.chunk)) + 1):
            if len(part):
                first, last = int(increasing[part[0]]), int(increasing[part[-1]])
                taken[order[part]] = self._slice(values, first, last + 1)[increasing[part] - first]
        return taken

    def _slice(self, values: Any, start: int, stop: int) -> np.ndarray:
        try:
            return np.asarray(values[start:stop]).astype(self.dtype, copy=False)
        except MemoryError:
            raise
        except Exception as error:
            raise DatasetError(f"{self.name}: rows {start} to {stop - 1} cannot be read ({error}); {_REMEDY}") from error


@dataclass(frozen=True, repr=False, eq=False)
class LazySource(SlicedSource):
    """Rows of an array that is computed or loaded on reading, such as an array of dask or xarray."""

    name: str
    stored: Stored
    columns: tuple[Column, ...] = ()
    shape: tuple[int, ...] = field(init=False)
    dtype: str = field(init=False)
    chunk: int = field(init=False)
    dimensions: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name, value in facts(self.name, self.stored).items():
            object.__setattr__(self, name, value)

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """A digest of the first and the last row."""
        return digest(self.shape, self.dtype, self.read(slice(0, 1)).tobytes(), self.read(slice(len(self) - 1, None)).tobytes())

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Yield the array."""
        yield self.stored.values


@dataclass(frozen=True, repr=False, eq=False)
class FileSource(SlicedSource):
    """Rows of an array in a file. The file is opened only for reading; a source can be sent to another process.

    Parameters
    ----------
    name, path, opener, array
        Name in messages; the file, its opener, and the name of the array in it.
    shape, dtype, chunk, dimensions, columns, fingerprint
        As for every source.
    rows
        Name of the dimension of the rows, if it is not the first.
    """

    name: str
    path: Path
    opener: Opener
    array: str
    shape: tuple[int, ...]
    dtype: str
    chunk: int
    dimensions: tuple[str, ...]
    fingerprint: str
    columns: tuple[Column, ...] = ()
    rows: str | None = None

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Yield the array."""
        with self.opener(self.path) as arrays:
            yield rows_first(self.name, arrays[self.array], self.rows).values


def facts(name: str, stored: Stored) -> dict[str, Any]:
    """Return shape, dtype, chunk and dimensions of an array.

    Raises
    ------
    DatasetError
        If it has no rows.
    """
    try:
        shape = tuple(int(size) for size in stored.values.shape)
    except ValueError:
        raise DatasetError(f"{name} has chunks of unknown size; call compute_chunk_sizes() on the array first") from None
    dtype = np.dtype(stored.values.dtype).newbyteorder("=")
    chunk = preferred_chunk(shape, dtype.itemsize, stored.chunk)
    return {"shape": checked_shape(name, shape), "dtype": dtype.name, "chunk": chunk, "dimensions": stored.dimensions}


def rows_first(name: str, stored: Stored, rows: str | None) -> Stored:
    """Return an array with the rows as its first dimension.

    Raises
    ------
    DatasetError
        If no dimension has this name, or the array cannot be transposed without reading it.
    """
    if rows is None or stored.dimensions[:1] == (rows,):
        return stored
    if rows not in stored.dimensions or stored.transpose is None:
        raise DatasetError(
            f"{name} has the dimensions {', '.join(stored.dimensions) or 'without names'}, and {rows!r} cannot number its "
            "rows; name one of the dimensions, or open the file with xarray and pass that"
        )
    others = tuple(each for each in stored.dimensions if each != rows)
    return Stored(stored.transpose(rows, *others), dimensions=(rows, *others))
