"""Streams: batches of a table in random order; only a window of its rows is in memory."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from manifolds import Array
from manifolds.summary import Summarised
from riemannrnn.backend import namespace_of
from riemannrnn.data.choosing import open_table
from riemannrnn.data.errors import DatasetError
from riemannrnn.data.prefetch import prefetched
from riemannrnn.data.source import digest
from riemannrnn.data.table import Pair, Table

WINDOW_BYTES = 2**26
"""Bytes of the stimuli of a window."""


class Position(NamedTuple):
    """A position in a stream; a checkpoint stores nothing else about it."""

    epoch: int = 0
    window: int = 0
    row: int = 0


START = Position()
"""The beginning of a stream."""


class _Window(NamedTuple):
    """The rows of a window as stored, and the order in which they are taken."""

    stimuli: Array
    targets: Array | None
    order: NDArray[np.int64]


class Stream(Summarised):
    """Batches of stimuli and targets, with every row once an epoch; the order depends only on the seed and the epoch.

    The chunks of the table are shuffled. Several chunks, a window, are read at a time, and the rows of a window are shuffled.
    If a window holds all rows, this is a random permutation. Only a few windows need memory, for any number of rows: batches
    are taken from one window, the next window waits, and a third is being read.

    Parameters
    ----------
    table : Table
        Stimuli and targets; or stimuli, as any argument of `open_table`.
    batch_size : int
        Number of rows of a batch; the last batch of an epoch may be smaller.
    seed : int
        Seed of the order.
    window : int, optional
        Number of chunks of a window. Default: as many as fit in 64 MiB of stimuli.
    prefetch : bool
        Whether a thread reads the next window while batches are taken from the current one. The batches are the same.

    Raises
    ------
    DatasetError
        If `batch_size` or `window` is below 1, or the seed is negative.
    """

    def __init__(self, table: Any, batch_size: int, seed: int, *, window: int | None = None, prefetch: bool = True) -> None:
        table = table if isinstance(table, Table) else open_table(table)
        source = table.stimuli.source
        row_bytes = int(np.prod(source.shape[1:])) * np.dtype(source.dtype).itemsize
        chosen = max(1, WINDOW_BYTES // max(1, row_bytes * source.chunk)) if window is None else window
        if batch_size < 1 or chosen < 1 or seed < 0:
            raise DatasetError(
                f"batch_size = {batch_size}, window = {window} and seed = {seed}: pass sizes of 1 or more, and "
                "a seed of 0 or more"
            )
        self.table: Table = table
        self.batch_size, self.seed, self.prefetch = batch_size, seed, prefetch
        self.window = chosen
        self._bounds = table.bounds()

    @property
    def per_epoch(self) -> int:
        """Number of batches of an epoch."""
        return -(-len(self.table) // self.batch_size)

    @property
    def fingerprint(self) -> str:
        """A short text that differs if the rows or their order differ."""
        return digest(self.table.fingerprint, self.seed, self.window, self._bounds.tolist())

    def position_at(self, step: int) -> Position:
        """Return the position of the batch after this many steps."""
        epoch, batch = divmod(step, self.per_epoch)
        row = batch * self.batch_size
        ends = np.cumsum([self._rows_of(chunks) for chunks in self._windows(epoch)])
        window = int(np.searchsorted(ends, row, side="right"))
        return Position(epoch, window, row - int(ends[window - 1] if window else 0))

    def batch_at(self, step: int) -> Pair:
        """Return the batch after this many steps; its window is read only for this batch.

        Raises
        ------
        DatasetError
            As `batches` does.
        """
        position = self.position_at(step)
        with closing(self._batches(self._read_windows(position), position)) as batches:
            return next(batches)

    def batches(self, position: Position = START) -> Generator[Pair, None, None]:
        """Return an endless generator of batches from a position on.

        Close it when it is no longer needed (`contextlib.closing`): this stops the thread and closes the file.

        Parameters
        ----------
        position
            The position of the first batch.

        Yields
        ------
        stimuli : Array, shape (batch, n_inputs)
            As `Table.read` returns them.
        targets : Array or None
            As `Table.read` returns them.

        Raises
        ------
        DatasetError
            If the position does not exist, rows cannot be read, or a stimulus has a missing number or infinity.
        """
        self._check(position)
        place = Position(*position)
        windows = prefetched(lambda: self._read_windows(place)) if self.prefetch else self._read_windows(place)
        return self._batches(windows, place)

    def _check(self, position: Position) -> None:
        epoch, window, row = position
        windows = self._windows(max(0, epoch))
        if epoch < 0 or not 0 <= window < len(windows) or not 0 <= row < self._rows_of(windows[window]):
            raise DatasetError(
                f"{tuple(position)} is not a place in the stream, which has {len(windows)} windows; resume with the data, "
                "window and seed of the beginning"
            )

    def _batches(self, windows: Generator[tuple[bool, _Window], None, None], position: Position) -> Generator[Pair, None, None]:
        """Yield batches from windows, each with a mark for the last of its epoch; a batch may span several windows."""
        parts: list[Pair] = []
        missing, place = self.batch_size, position.row
        with closing(windows):
            for ends_epoch, window in windows:
                while place < len(window.order):
                    rows = window.order[place : place + missing]
                    parts.append(self.table.finish(_taken(window.stimuli, rows), _taken(window.targets, rows)))
                    missing, place = missing - len(rows), place + len(rows)
                    if missing == 0 or (ends_epoch and place == len(window.order)):
                        yield _joined(parts)
                        parts, missing = [], self.batch_size
                place = 0

    def _read_windows(self, position: Position) -> Generator[tuple[bool, _Window], None, None]:
        """Yield the windows from a position on, endlessly."""
        epoch, first = position.epoch, position.window
        with self.table.reader() as read:
            while True:
                windows = self._windows(epoch)
                for number in range(first, len(windows)):
                    rows = self._rows_of(windows[number])
                    order = np.random.default_rng([self.seed, epoch, number + 1]).permutation(rows)
                    yield number == len(windows) - 1, _Window(*self._filled(read, windows[number], rows), order)
                epoch, first = epoch + 1, 0

    def _filled(self, read: Callable[[slice], Pair], chunks: NDArray[np.int64], rows: int) -> Pair:
        """Return the rows of chunks in order. They are read into their final place, so memory is allocated once."""
        filled: list[Array | None] = []
        place = 0
        for chunk in chunks:
            pair = read(slice(int(self._bounds[chunk]), int(self._bounds[chunk + 1])))
            filled = filled or [None if each is None else _empty_like(each, rows) for each in pair]
            for whole, part in zip(filled, pair):
                if whole is not None and part is not None:
                    whole[place : place + part.shape[0], ...] = part
            place += pair[0].shape[0]
        return filled[0], filled[1]

    def _windows(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the chunks of each window of an epoch."""
        order = np.random.default_rng([self.seed, epoch, 0]).permutation(len(self._bounds) - 1)
        return np.split(order, range(self.window, len(order), self.window))

    def _rows_of(self, chunks: NDArray[np.int64]) -> int:
        return int((self._bounds[chunks + 1] - self._bounds[chunks]).sum())

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        sizes = {"batch_size": self.batch_size, "batches an epoch": self.per_epoch, "window": f"{self.window} chunks"}
        return self.table.summary() | sizes


def _taken(rows: Array | None, places: NDArray[np.int64]) -> Array | None:
    if rows is None:
        return None
    xp = namespace_of(rows)
    return xp.take(rows, xp.asarray(places, device=device(rows)), axis=0)


def _empty_like(part: Array, rows: int) -> Array:
    return namespace_of(part).empty((rows, *part.shape[1:]), dtype=part.dtype, device=device(part))


def _joined(pairs: list[Pair]) -> Pair:
    """Return the concatenated rows of several pairs."""
    if len(pairs) == 1:
        return pairs[0]
    stimuli, targets = zip(*pairs)
    xp = namespace_of(stimuli[0])
    return xp.concat(stimuli), None if targets[0] is None else namespace_of(targets[0]).concat(targets)
