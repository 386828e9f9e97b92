"""Labelled stimuli: scikit-learn's bundled digits, and MNIST from local IDX files.

Nothing here trusts a file: the header of an IDX file is checked against what is
expected and against what its compressed size can hold before its body is read, and the
body is read in blocks, never further than one byte past the announced size.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import DTypeLike, NDArray

from manifolds.summary import Summarised
from riemannrnn.backend import Namespace, as_array, to_backend
from riemannrnn.idx import DATA_VARIABLE, WHERE, DatasetError, read_idx, write_idx

__all__ = ["DATA_VARIABLE", "Dataset", "DatasetError", "fetch_mnist", "load_digits", "load_mnist", "mnist_folder", "read_idx"]

_PIXELS = (28, 28)
_MNIST_COUNTS = {"train": 60_000, "t10k": 10_000}  # in OpenML's order of rows


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Summarised):
    """Static stimuli with a class label each.

    Parameters
    ----------
    name : str
        What messages and figures call it.
    stimuli : ndarray of float, shape (n_stimuli, n_inputs)
        One stimulus a row, in the dimensionless units of the network's input.
    labels : ndarray of int64, shape (n_stimuli,)
        Class of each stimulus, from 0.
    n_classes : int, optional
        Number of classes; when 0, one more than the largest label. A subset keeps the
        number of the set that it was taken from, whichever labels it happens to hold.

    Raises
    ------
    DatasetError
        If shapes or types differ from the above, a number is not finite, or a label lies outside the classes.
    """

    name: str
    stimuli: NDArray[np.floating[Any]]
    labels: NDArray[np.int64]
    n_classes: int = 0

    def __post_init__(self) -> None:
        """Check shapes, types and labels, and count the classes where that is left to us."""
        for name in ("stimuli", "labels"):
            object.__setattr__(self, name, self._array(name))
        stimuli, labels = self.stimuli, self.labels
        if stimuli.ndim != 2 or not np.issubdtype(stimuli.dtype, np.floating):
            raise DatasetError(
                f"{self.name}: stimuli have shape {stimuli.shape} and type {stimuli.dtype}, "
                "since they must be floats of shape (n_stimuli, n_inputs): reshape or convert them"
            )
        if labels.dtype != np.int64 or labels.shape != stimuli.shape[:1] or labels.shape[0] == 0:
            raise DatasetError(
                f"{self.name}: labels have shape {labels.shape} and type {labels.dtype}, since "
                f"there must be one int64 label for each of {stimuli.shape[0]} stimuli, and at "
                "least one: check that stimuli and labels belong together"
            )
        xp = array_namespace(labels)
        finite = xp.all(xp.isfinite(stimuli), axis=1)
        if not bool(xp.all(finite)):
            raise DatasetError(
                f"{self.name}: stimulus {int(xp.nonzero(~finite)[0][0])} holds NaN or infinity, since every number must "
                "be finite: repair it or leave it out"
            )
        smallest, largest = int(xp.min(labels)), int(xp.max(labels))
        n_classes = self.n_classes or largest + 1
        if smallest < 0 or largest >= n_classes:
            raise DatasetError(
                f"{self.name}: labels run from {smallest} to {largest}, since they must lie in "
                f"0 .. {n_classes - 1}: renumber them, or give n_classes={largest + 1}"
            )
        object.__setattr__(self, "n_classes", n_classes)

    def _array(self, name: str) -> Any:
        """Return the stimuli or the labels as an array; they may be a list or a table."""
        values = getattr(self, name)
        try:
            return as_array(name, values, np.float64 if name == "stimuli" and isinstance(values, list) else None)
        except ValueError as error:
            raise DatasetError(f"{self.name}: {error}") from error

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        stimuli, inputs = self.stimuli.shape
        return {"name": self.name, "stimuli": stimuli, "inputs": inputs, "classes": self.n_classes, "dtype": self.stimuli.dtype}

    def split(self, *sizes: int, seed: int | np.random.Generator) -> tuple[Dataset, ...]:
        """Draw disjoint random subsets of the given sizes.

        Parameters
        ----------
        *sizes : int
            Number of stimuli of each subset; together at most ``n_stimuli``.
        seed : int or numpy.random.Generator
            Source of the permutation; the classes are not balanced.

        Returns
        -------
        tuple of Dataset
            One for each size, in the same order.

        Raises
        ------
        DatasetError
            If a size is below 1 or the sizes exceed the set together.
        """
        n_stimuli = self.labels.shape[0]
        if not sizes or min(sizes) < 1 or sum(sizes) > n_stimuli:
            raise DatasetError(
                f"{self.name}: sizes {sizes} cannot be drawn, since each must be at least 1 and "
                f"their sum at most the {n_stimuli} stimuli there are: ask for fewer"
            )
        order = np.random.default_rng(seed).permutation(n_stimuli)
        pieces = np.split(order, np.cumsum(sizes))[: len(sizes)]
        return tuple(self._take(piece) for piece in pieces)

    def to(self, backend: str | Namespace) -> Dataset:
        """Return the data set with its arrays on a backend, such as ``"cupy"``; they are moved once, here.

        Parameters
        ----------
        backend : str or namespace
            As for `riemannrnn.RateNetwork`.

        Raises
        ------
        riemannrnn.BackendError
            If the backend is not there.
        """
        return replace(self, stimuli=to_backend(self.stimuli, backend), labels=to_backend(self.labels, backend))

    def _take(self, rows: NDArray[np.intp]) -> Dataset:
        """Return some of the stimuli, wherever they are."""
        xp = array_namespace(self.stimuli)
        chosen = xp.asarray(rows, device=device(self.stimuli))
        return replace(self, stimuli=xp.take(self.stimuli, chosen, axis=0), labels=xp.take(self.labels, chosen, axis=0))


def load_digits(dtype: DTypeLike = np.float64) -> Dataset:
    """Return the 1,797 digits of 8 x 8 pixels that come with scikit-learn.

    Parameters
    ----------
    dtype : dtype, optional
        Floating type of the stimuli.

    Returns
    -------
    Dataset
        Stimuli of shape (1797, 64), pixels divided by 16 and so in [0, 1].
    """
    from sklearn import datasets  # noqa: PLC0415  # as long to import as all the rest

    pixels, labels = datasets.load_digits(return_X_y=True)
    return Dataset("digits", (pixels / 16).astype(dtype), labels.astype(np.int64))


def load_mnist(folder: Path | str | None = None, dtype: DTypeLike = np.float32) -> tuple[Dataset, Dataset]:
    """Return MNIST's training and test sets from its four IDX files.

    Parameters
    ----------
    folder : Path or str, optional
        Where the files are; the environment variable RIEMANNRNN_DATA by default.
    dtype : dtype, optional
        Floating type of the stimuli.

    Returns
    -------
    train, test : Dataset
        Stimuli of shape (n_stimuli, 784), pixels divided by 255 and so in [0, 1].

    Raises
    ------
    DatasetError
        If no folder is named, a file is missing or damaged, images are not 28 x 28, labels
        are not 0 to 9, or the number of labels is not that of the images.
    """
    chosen = mnist_folder(folder)
    return _read_mnist(chosen, "train", dtype), _read_mnist(chosen, "t10k", dtype)


def mnist_folder(folder: Path | str | None = None) -> Path:
    """Return the folder in which `load_mnist` looks; raises as it does if none is named."""
    chosen = folder if folder is not None else os.environ.get(DATA_VARIABLE)
    if not chosen:
        raise DatasetError(f"MNIST cannot be found, since no folder is given and {DATA_VARIABLE} is not set: {WHERE}")
    return Path(chosen)


def _read_mnist(folder: Path, part: str, dtype: DTypeLike) -> Dataset:
    """Return the ``train`` or the ``t10k`` part of MNIST."""
    images_path, labels_path = _mnist_paths(folder, part)
    labels = read_idx(labels_path, (None,))
    images = read_idx(images_path, (None, *_PIXELS))
    if len(labels) != len(images):
        raise DatasetError(
            f"{labels_path} holds {len(labels)} labels but {images_path} {len(images)} images, "
            "since they do not belong together: copy or download both again"
        )
    if labels.max() > 9:
        raise DatasetError(
            f"{labels_path} holds the label {labels.max()}, since it is not MNIST's (labels 0 to 9): copy or download it again"
        )
    scale = np.dtype(dtype).type(255)
    stimuli = images.reshape(len(images), -1).astype(dtype) / scale
    return Dataset(f"mnist-{part}", stimuli, labels.astype(np.int64), n_classes=10)


def _mnist_paths(folder: Path, part: str) -> tuple[Path, Path]:
    """Return where the images and the labels of a part are."""
    return folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz"


def fetch_mnist(folder: Path | str) -> None:
    """Download MNIST from OpenML and write the IDX files that `load_mnist` reads.

    Files that exist are left as they are; where all four do, nothing is downloaded.

    Parameters
    ----------
    folder : Path or str
        Where to write; made if need be.

    Raises
    ------
    DatasetError
        If the download fails, or what comes is not MNIST.
    """
    folder = Path(folder)
    if all(path.exists() for part in _MNIST_COUNTS for path in _mnist_paths(folder, part)):
        return
    from sklearn import datasets  # noqa: PLC0415

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be made ({error.strerror}): name another folder") from error
    try:
        bunch = datasets.fetch_openml("mnist_784", version=1, as_frame=False, parser="auto")
    except (OSError, ValueError, HTTPException) as error:  # no answer, a wrong checksum, an answer that breaks off
        raise DatasetError(
            f"MNIST cannot be downloaded ({error}), since OpenML did not answer well: try again, or {WHERE}"
        ) from error
    pixels, labels = np.asarray(bunch.data), np.asarray(bunch.target).astype(np.int64)
    total = sum(_MNIST_COUNTS.values())
    if pixels.shape != (total, math.prod(_PIXELS)) or labels.shape != (total,):
        raise DatasetError(
            f"OpenML sent images {pixels.shape} and labels {labels.shape}, since MNIST should be "
            f"({total}, {math.prod(_PIXELS)}) and ({total},): try again, or {WHERE}"
        )
    start = 0
    for part, count in _MNIST_COUNTS.items():
        images_path, labels_path = _mnist_paths(folder, part)
        rows = slice(start, start + count)
        write_idx(images_path, pixels[rows].reshape(count, *_PIXELS))
        write_idx(labels_path, labels[rows])
        start += count
