"""Recording W during learning: thinned by the length of the path, written point by point, readable after a crash."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from math import nan
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final
from zlib import crc32

import h5py
import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array, Identity, ManifoldError, PullbackManifold, WeightManifold
from manifolds.arrays import to_numpy
from manifolds.points import all_finite, several
from riemannrnn.cost.cost import Kind
from riemannrnn.run_folder import RunFolderError, unwritten
from riemannrnn.training.history import Recorder

PATH_FILE, PATH_FORMAT = "path.h5", "riemannrnn path 1"
"""Name of the file in a run folder, and the value of its attribute `format`."""

LOG = np.dtype([("step", np.int64), ("loss", np.float64), ("length", np.float64), ("checksum", np.uint32)])
"""The data stored with each recorded W: the step, its loss, the length of the path so far, and the CRC-32 of W."""

STATE = ("points", "calls", "length", "previous", "recorded")
"""The state of a path in a checkpoint: numbers of points and calls, the length, and W at the last call and point."""

BEING_WRITTEN = ("open for write", "unable to lock")
"""Error texts of HDF5 for a file that has a writer, or had one that crashed."""

ROOM = 2**16
"""Bytes reserved beyond each point, for data that HDF5 adds to the file and writes when it closes it."""

RESOLUTION = 0.005
"""A point is recorded when the path has grown by this share of its length since the last recorded point."""


@final
class PathRecorder(Recorder):
    """Writes W during learning to `path.h5` of a run folder: float32, one chunk for each point.

    A point is recorded when the length since the last recorded point is at least `resolution` times the whole length so far.
    The first 1/resolution steps of equal length are therefore all recorded, and then fewer and fewer: T steps make about (1 +
    ln(resolution T)) / resolution points. The last point is recorded when the recorder is closed.

    Parameters
    ----------
    folder
        The run folder.
    run
        Tables from which an analysis can rebuild the network and the data, see `riemannrnn.analysis.recorded`: strings and
        numbers, stored as JSON.
    manifold
        The metric for lengths, at the last recorded point. Default: Euclidean, which is cheapest.
    resolution
        See above; 0 records every point that is passed.
    every
        The period, in calls of `record`; calls in between are ignored.
    resume
        Continue an existing file, if there is one. After `restore` the path is the same as without the interruption. Otherwise
        the first step recorded now replaces this step and all later steps in the file. The length between the last earlier
        point and the first point recorded now is then the length of the chord.
    file
        Name of the file in the folder.

    Raises
    ------
    RunFolderError
        If the file already exists, cannot be written, or cannot be continued.
    ValueError
        For a negative resolution or a period below 1; from `record`, for weights that are not a square matrix or change their
        shape.

    Notes
    -----
    The file is written in HDF5's single-writer mode and flushed point by point, W before the row that counts it. The recorded
    points can therefore be read during learning, and after a crash.

    HDF5 crashes the process at exit if the disk is full. The file is therefore extended before HDF5 writes to it; a full disk
    is then detected before HDF5 starts. If HDF5 fails nevertheless, the file is left unchanged.

    Examples
    --------
    >>> import tempfile
    >>> from riemannrnn.analysis import read_run
    >>> with tempfile.TemporaryDirectory() as name:
    ...     with PathRecorder(Path(name), {}) as recorder:
    ...         for step in range(10):
    ...             recorder.record(step, np.eye(3) * step / 20, loss=1.0)
    ...     with read_run(Path(name)) as run:
    ...         len(run), run.steps[-1], float(run[-1][0, 0])
    (10, np.int64(9), 0.44999998807907104)
    """

    def __init__(
        self,
        folder: Path,
        run: Mapping[str, Any],
        manifold: WeightManifold | None = None,
        *,
        resolution: float = RESOLUTION,
        every: int = 1,
        resume: bool = False,
        file: str = PATH_FILE,
    ) -> None:
        if not resolution >= 0 or every < 1:
            raise ValueError(
                f"resolution = {resolution}, every = {every}: pass a resolution of 0 or more and a period of 1 or more"
            )
        self._manifold, self._resolution, self._every = manifold, resolution, every
        self._path, settings = folder / file, json.dumps(run)
        self._calls, self._observed, self._closed = 0, 0, False
        self._length = self._recorded_length = 0.0
        self._last: tuple[int, Array, float] | None = None  # passed last, and not yet recorded
        self._previous: Array | None = None  # the point up to which the length is known
        self._recorded: Array | None = None
        self._state: Mapping[str, Any] | None = None  # the argument of `restore`
        self._before = self._path if resume and self._path.exists() else None
        self._partial = self._path.with_name(f".{self._path.stem}.partial{self._path.suffix}")
        self._place = self._partial  # renamed when the first point is written
        if self._path.exists() and not self._before:
            raise RunFolderError(f"cannot write {self._path}: it exists already; choose another folder")
        try:
            self._file = h5py.File(self._partial, "w", libver="latest")
        except OSError as error:
            raise unwritten(self._path, error) from error
        try:
            with self._writing(len(settings)):
                self._file.attrs.update({"format": PATH_FORMAT, "run": settings})
        except RunFolderError:
            self._abandon()
            raise

    def record(self, step: int, weights: Array, loss: float = nan) -> None:
        """Write W after this number of steps if it is far enough from the last written one.

        Parameters
        ----------
        step
            Number of steps so far; larger in each call.
        weights
            W, shape (n, n), or kernels, shape (C, C, k, l), of any array namespace; copied. Ignored if it is not finite.
        loss
            The loss at W, if known.
        """
        self._calls += 1
        if several(weights):
            raise ValueError(f"the weights are {len(weights)} factors; form W to record it, or record nothing")
        if not all_finite(weights):  # weights that diverged do not belong to the path
            return
        copy, first = array_namespace(weights).asarray(weights, copy=True), self._previous is None
        if first:
            self._start(step, copy)
        self._last = (step, copy, loss)
        if self._recorded is None or ((self._calls - 1) % self._every == 0 and self._gone_far(copy)):
            self._write()

    def state(self) -> dict[str, Any] | None:
        """Return the state for `restore`: the number of points, the length and W at its two ends.

        Returns
        -------
        dict or None
            Numbers and arrays, which do not change later. Before the first point: the argument of `restore`, or None.
        """
        if self._recorded is None:
            return None if self._state is None else dict(self._state)
        return dict(zip(STATE, (self._log.shape[0], self._calls, self._length, self._previous, self._recorded), strict=True))

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Continue from a state that `state` returned; call it before the first point is recorded."""
        self._state = None if state is None else {name: state[name] for name in STATE}

    def observe(self, kind: Kind, weights: Array, value: float) -> None:
        """Record the points that an optimiser accepts, at which it computes a gradient: `FixedPointCost(observer=…)`."""
        if kind == "gradient":
            self.record(self._observed, weights, value)
            self._observed += 1

    def close(self) -> None:
        """Write the last point, if it was skipped, and close the file.

        Raises
        ------
        RunFolderError
            If the disk is full, or the file was deleted. Points recorded before the disk was full can be read.
        """
        if self._closed:
            return
        try:
            self._write()
            with self._writing():
                self._file.flush()
                size = self._file.id.get_filesize()
        finally:
            if not self._closed:
                self._closed = True
                self._file.close()
                self._partial.unlink(missing_ok=True)  # nothing was recorded; an earlier path stays
        if self._place == self._path:
            try:
                os.truncate(self._path, size)  # cut off the reserved bytes
            except OSError as error:
                raise unwritten(self._path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start(self, step: int, weights: Array) -> None:
        shape, self._previous = tuple(weights.shape), weights
        if weights.ndim not in (2, 4) or shape[0] != shape[1]:
            raise ValueError(f"the weights have shape {shape}; pass one square matrix, or the kernels of a convolution")
        if self._manifold is None:
            self._manifold = PullbackManifold(Identity(), shape)
        with self._writing(0):  # without fill values a chunk is written only once
            self._weights = self._file.create_dataset(
                "weights", (0, *shape), np.float32, maxshape=(None, *shape), chunks=(1, *shape), fillvalue=None
            )
            self._log = self._file.create_dataset("log", (0,), LOG, maxshape=(None,), chunks=(1024,))
            if self._before:
                self._take_over(step, weights)
            self._file.flush()
            self._partial.replace(self._path)
            self._place = self._path
            self._file.swmr_mode = True

    def _take_over(self, step: int, weights: Array) -> None:
        """Copy the points recorded before a step, or before the state to continue from."""
        try:
            with open_path(self._path) as before:
                log = self._kept(before["log"][:], step)
                self._reserve(log.nbytes + log.size * weights.size * np.dtype(np.float32).itemsize)
                self._log.resize(log.shape)
                self._log[:] = log
                self._weights.resize(log.size, axis=0)
                for place in range(log.size):
                    self._weights[place] = before["weights"][place]
        except RunFolderError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise RunFolderError(
                f"cannot continue {self._path}: it is damaged ({error}); move it away to record from step {step} on"
            ) from error
        if log.size:
            self._length = self._recorded_length = float(log["length"][-1])
            xp = array_namespace(weights)
            self._recorded = self._previous = xp.asarray(self._weights[-1], dtype=weights.dtype, device=device(weights))
        if self._state is not None:
            self._calls += self._state["calls"]
            self._length, self._previous, self._recorded = (self._state[name] for name in ("length", "previous", "recorded"))

    def _kept(self, log: Array, step: int) -> Array:
        """Return the rows of the log to continue from.

        Closing a recorder writes its last point. A recorder that was never stopped might not have recorded this point. The
        steps alone therefore do not show which rows to keep.
        """
        if self._state is None:
            return log[log["step"] < step]
        if log.size < self._state["points"]:
            raise ValueError(f"it holds {log.size} points, but {self._state['points']} were recorded at the checkpoint")
        return log[: self._state["points"]]

    def _gone_far(self, weights: Array) -> bool:
        change, self._previous = weights - self._previous, weights
        try:
            self._length += float(self._manifold.norm(self._recorded, change))  # type: ignore[union-attr]
        except ManifoldError:  # the length is not defined at W: nearby points are kept, and the analysis explains why
            return True
        return self._length - self._recorded_length >= self._resolution * self._length

    def _write(self) -> None:
        if self._last is None:
            return
        step, weights, loss = self._last
        self._last, self._recorded, self._recorded_length = None, weights, self._length
        place, matrix = self._log.shape[0], to_numpy(weights).astype(np.float32)
        with self._writing(matrix.nbytes):
            self._weights.resize(place + 1, axis=0)
            self._weights[place] = matrix
            self._weights.flush()
            self._log.resize(place + 1, axis=0)
            self._log[place] = np.array((step, loss, self._length, crc32(matrix.tobytes())), LOG)
            self._log.flush()

    @contextmanager
    def _writing(self, size: int | None = None) -> Iterator[None]:
        """Reserve this many bytes, if any; raise errors of the disk with a clear message."""
        if size is not None:
            self._reserve(size)
        try:
            yield
        except RunFolderError:
            raise
        except (OSError, RuntimeError) as error:  # HDF5 raises the latter if unwritten data remain on closing
            self._abandon()
            reason = re.search("error message = '([^']*)'", str(error))
            raise unwritten(self._path, OSError(reason[1]) if reason else error) from error

    def _abandon(self) -> None:
        """Close the file without writing what HDF5 still holds. HDF5 would try to write it again at exit, and crash."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, self._file.id.get_vfd_handle())
        os.close(nowhere)
        self._closed = True
        with suppress(OSError, RuntimeError):  # some files cannot be truncated
            self._file.close()
        self._partial.unlink(missing_ok=True)

    def _reserve(self, size: int) -> None:
        """Extend the file to this many bytes and `ROOM` more than HDF5 uses; HDF5 cuts off the rest when it closes the file."""
        try:
            with open(self._place, "rb+") as file:
                missing = self._file.id.get_filesize() + size + ROOM - file.seek(0, os.SEEK_END)
                file.write(bytes(max(missing, 0)))
        except OSError as error:
            raise unwritten(self._path, error) from error


def open_path(path: Path) -> h5py.File:
    """Open a recorded path for reading; it may have a writer, or a writer that crashed.

    Single-writer mode is used only for such files: with a damaged file HDF5 would wait for ever for a writer.

    Raises
    ------
    OSError, RuntimeError
        If it is damaged, or cannot be read.
    """
    try:
        return h5py.File(path, "r", libver="latest")
    except OSError as error:
        if not any(reason in str(error) for reason in BEING_WRITTEN):
            raise
    return h5py.File(path, "r", libver="latest", swmr=True)
