"""The training and held-out data of `riemannrnn train`: bundled data, or the rows of a file."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from riemannrnn.cli.common import complain
from riemannrnn.cli.config import BUNDLED, Config, DataTable
from riemannrnn.cli.layers import image_of
from riemannrnn.data import Dataset, DatasetError, Stream, Table, array_names, load_digits, load_mnist, mnist_folder
from riemannrnn.data.splitting import split_file
from riemannrnn.network.pooling import ImageShape
from riemannrnn.runtime import physical_memory
from riemannrnn.settings import SettingError
from riemannrnn.training.checkpoints import fingerprint
from riemannrnn.training.material import answer_of, target_blocks

DIGITS = 1000
"""Default number of training digits; the others are held out."""

SEEN = 1000
"""Number of stimuli of a stream that manifolds use."""

SHAPES: dict[str, ImageShape] = {"digits": (8, 8, 1), "mnist": (28, 28, 1)}
"""Height, width and channels of the bundled images."""

HELD_OUT = 0.2
"""Default share of the rows of a file that are held out."""


@dataclass(frozen=True)
class Sets:
    """Training data and held-out data.

    Attributes
    ----------
    training, held_out
        Data sets, or tables.
    data
        The table of the configuration, with a value for every key that matters.
    """

    training: Dataset | Table
    held_out: Dataset | Table
    data: DataTable

    @property
    def count(self) -> int:
        """Number of training stimuli."""
        return len(self.training) if isinstance(self.training, Table) else len(self.training.labels)

    @property
    def n_inputs(self) -> int:
        """Length of a stimulus."""
        return self.training.n_inputs if isinstance(self.training, Table) else int(self.training.stimuli.shape[1])

    @property
    def n_outputs(self) -> int:
        """Number of classes or targets."""
        return self.training.n_outputs if isinstance(self.training, Table) else self.training.n_classes

    @property
    def title(self) -> str:
        """Name of the data in figures."""
        return Path(self.data.file).name if self.data.file else self.data.name

    @property
    def image(self) -> ImageShape | None:
        """Height, width and channels of the stimuli; None if nothing tells them."""
        return image_of(self.data.shape, None if self.data.file else SHAPES[self.data.name], self.n_inputs)

    @property
    def fingerprint(self) -> str:
        """A short text that differs if the data differ."""
        if isinstance(self.training, Dataset) and isinstance(self.held_out, Dataset):
            parts = self.training, self.held_out
            return fingerprint(*(array for part in parts for array in (part.stimuli, part.labels)))
        return f"{self.training.fingerprint} {self.held_out.fingerprint}"  # type: ignore[union-attr]

    def stimuli(self) -> Dataset:
        """Return the training stimuli, for manifolds that depend on them; no manifold uses the labels."""
        if isinstance(self.training, Dataset):
            return self.training
        count = min(self.count, SEEN) if self.data.stream else self.count
        stimuli, _ = replace(self.training, targets=None).read(slice(0, count))
        return Dataset(self.title, stimuli, np.zeros(len(stimuli), np.int64))

    def arguments(self, batch_size: int, seed: int) -> dict[str, Any]:
        """Return the arguments of `train`. The seed determines the order of a stream."""
        if isinstance(self.training, Dataset) and isinstance(self.held_out, Dataset):
            held_out = self.held_out.stimuli, self.held_out.labels
            return {"stimuli": self.training.stimuli, "labels": self.training.labels, "held_out": held_out}
        stimuli = Stream(self.training, batch_size, seed) if self.data.stream else self.training
        return {"stimuli": stimuli, "labels": None, "held_out": self.held_out}


def load_sets(config: Config) -> Sets:
    """Return the data of a configuration.

    Raises
    ------
    DatasetError
        If they cannot be read, or do not fit the configuration.
    SettingError
        For options that exclude each other.
    """
    data = config.data
    if data.file is not None:
        return _of_file(data, config.network.dtype)
    of_files = [each.name for each in fields(data) if each.name not in (*BUNDLED, "seed", "shape")]
    _refuse_others(data, of_files, "a file", "name the file with --data, or data.file")
    return _bundled(data, np.dtype(config.network.dtype))


def _of_file(data: DataTable, dtype: str) -> Sets:
    _refuse_others(data, BUNDLED, "bundled data", "leave it out, or name no file")
    data = replace(
        data,
        file=_absolute(data.file),
        target_file=_absolute(data.target_file),
        missing=data.missing or "refuse",
        standardise=data.standardise is not False,
        held_out=HELD_OUT if data.held_out is None else data.held_out,
    )
    names = array_names(data.file, data.rows)
    if not data.target and data.target_file is None:
        raise SettingError(
            "training needs targets: name their column with --target, or data.target; riemannrnn data check "
            f"{data.file} lists the columns"
        )
    others = [name for name in names if name not in data.target]
    if len(names) > 1 and not data.inputs and len(others) == 1:
        data = replace(data, inputs=(others[0],))
    try:
        training, held_out = split_file(asdict(data), dtype, lambda message: complain("Note", message))
    except DatasetError as error:
        if "held out" not in str(error):
            raise
        raise SettingError(f"data.held_out = {data.held_out:g}: {error}") from error
    if training.classes is not None and len(training.classes.names) < 2:
        raise DatasetError(f"{data.file}: the target holds one class only, {training.classes.names[0]!r}; name another column")
    needed = len(training) * training.n_inputs * np.dtype(dtype).itemsize
    stream = needed > physical_memory() / 4 if data.stream is None else data.stream
    for rows, table in (("training", training), ("held-out", held_out)):
        _check(rows, table, stream)
    answer_of(training)
    return Sets(training, held_out, replace(data, stream=stream))


def _check(rows: str, table: Table, stream: bool) -> None:
    """Check that rows can be used, before a run folder is made. Streamed stimuli are checked when they are read."""
    if not any((~np.isnan(block)).any() for block in target_blocks(table)):
        raise DatasetError(
            f"{table.stimuli.source.name}: none of the {len(table)} {rows} rows has a target; name another target, or change "
            "data.held_out or data.seed"
        )
    if not stream:
        table.read(slice(0, len(table)))


def _refuse_others(data: DataTable, names: Iterable[str], owner: str, remedy: str) -> None:
    """Check that no key belongs to another kind of data."""
    defaults = DataTable()
    for name in names:
        value = getattr(data, name)
        if value != getattr(defaults, name):
            shown = value[0] if isinstance(value, tuple) and len(value) == 1 else value
            raise SettingError(f"data.{name} = {shown!r} belongs to {owner}; {remedy}")


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())  # a run may be continued from another folder


def _bundled(data: DataTable, dtype: np.dtype[Any]) -> Sets:
    """Return the digits or MNIST."""
    if data.name == "mnist":
        try:
            folder = mnist_folder(data.folder).resolve()  # a run may be continued from another folder
            whole, held_out = load_mnist(folder, dtype)
        except DatasetError as error:
            raise DatasetError(f"data.folder: {error}") from error
        size = _size(data.training_size or whole.labels.shape[0], whole.labels.shape[0])
        (training,) = whole.split(size, seed=data.seed)
        return Sets(training, held_out, replace(data, training_size=size, folder=str(folder)))
    if data.folder is not None:
        raise SettingError("data.folder: the digits come with scikit-learn; leave it out, or write data.name = 'mnist'")
    whole = load_digits(dtype)
    size = _size(data.training_size or DIGITS, whole.labels.shape[0] - 1)
    training, held_out = whole.split(size, whole.labels.shape[0] - size, seed=data.seed)
    return Sets(training, held_out, replace(data, training_size=size))


def _size(size: int, most: int) -> int:
    if size > most:
        raise SettingError(f"data.training_size = {size}: too large; the largest is {most}")
    return size
