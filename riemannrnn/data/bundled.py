"""The bundled sets: scikit-learn's digits, and MNIST from local IDX files."""

from __future__ import annotations

import math
import os
from http.client import HTTPException
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from riemannrnn.data.dataset import Dataset
from riemannrnn.data.errors import DatasetError
from riemannrnn.data.idx import read_idx, write_idx

DATA_VARIABLE = "RIEMANNRNN_DATA"
"""The environment variable that names the folder of MNIST."""

_WHERE = (
    "put the four MNIST files (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    "t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz) in one folder and name it with "
    f"the environment variable {DATA_VARIABLE}, with --data, or in a configuration with data.folder; if there is a network, "
    "riemannrnn.data.fetch_mnist(folder) downloads them"
)
_PIXELS = (28, 28)
_MNIST_COUNTS = {"train": 60_000, "t10k": 10_000}  # in OpenML's order of rows


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
        The folder of the files. Default: the environment variable RIEMANNRNN_DATA.
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
        are not 0 to 9, or there are more or fewer labels than images.
    """
    chosen = mnist_folder(folder)
    return _read_mnist(chosen, "train", dtype), _read_mnist(chosen, "t10k", dtype)


def mnist_folder(folder: Path | str | None = None) -> Path:
    """Return the folder of `load_mnist`; raises the same error if none is named."""
    chosen = folder if folder is not None else os.environ.get(DATA_VARIABLE)
    if not chosen:
        raise DatasetError(f"MNIST cannot be found, because no folder is given and {DATA_VARIABLE} is not set: {_WHERE}")
    return Path(chosen)


def _read_mnist(folder: Path, part: str, dtype: DTypeLike) -> Dataset:
    """Return the ``train`` or the ``t10k`` part of MNIST."""
    images_path, labels_path = _mnist_paths(folder, part)
    for path in (images_path, labels_path):
        if not path.is_file():
            raise DatasetError(f"{path} cannot be read: the file does not exist; {_WHERE}")
    labels = read_idx(labels_path, (None,))
    images = read_idx(images_path, (None, *_PIXELS))
    if len(labels) != len(images):
        raise DatasetError(
            f"{labels_path} holds {len(labels)} labels but {images_path} {len(images)} images, "
            "so they do not belong together: copy or download both again"
        )
    if labels.max() > 9:
        raise DatasetError(
            f"{labels_path} holds the label {labels.max()}, but MNIST has labels 0 to 9: copy or download it again"
        )
    scale = np.dtype(dtype).type(255)
    stimuli = images.reshape(len(images), -1).astype(dtype) / scale
    return Dataset(f"mnist-{part}", stimuli, labels.astype(np.int64), n_classes=10)


def _mnist_paths(folder: Path, part: str) -> tuple[Path, Path]:
    """Return the paths of the images and the labels of a part."""
    return folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz"


def fetch_mnist(folder: Path | str) -> None:
    """Download MNIST from OpenML and write the IDX files that `load_mnist` reads.

    Existing files are left unchanged; if all four exist, nothing is downloaded.

    Parameters
    ----------
    folder : Path or str
        The target folder; created if it does not exist.

    Raises
    ------
    DatasetError
        If the download fails, or the data are not MNIST.
    RunFolderError
        If a file cannot be written.
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
            f"MNIST cannot be downloaded ({error}), because OpenML did not respond as expected: try again, or {_WHERE}"
        ) from error
    pixels, labels = np.asarray(bunch.data), np.asarray(bunch.target).astype(np.int64)
    total = sum(_MNIST_COUNTS.values())
    if pixels.shape != (total, math.prod(_PIXELS)) or labels.shape != (total,):
        raise DatasetError(
            f"OpenML sent images {pixels.shape} and labels {labels.shape}, but MNIST should be "
            f"({total}, {math.prod(_PIXELS)}) and ({total},): try again, or {_WHERE}"
        )
    start = 0
    for part, count in _MNIST_COUNTS.items():
        images_path, labels_path = _mnist_paths(folder, part)
        rows = slice(start, start + count)
        write_idx(images_path, pixels[rows].reshape(count, *_PIXELS))
        write_idx(labels_path, labels[rows])
        start += count
