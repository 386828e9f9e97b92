"""Reading a recorded run: its points one at a time, its network and its training data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final, overload
from zlib import crc32

import h5py
import numpy as np

from manifolds import Array
from manifolds.arrays import to_numpy
from manifolds.summary import Summarised
from riemannrnn.analysis.defaults import MOST_STIMULI
from riemannrnn.analysis.layer_recording import path_file
from riemannrnn.analysis.recording import LOG, PATH_FORMAT, open_path
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.losses import CrossEntropy
from riemannrnn.cost.task import Task
from riemannrnn.data import Dataset, load_digits, load_mnist
from riemannrnn.data.splitting import split_file
from riemannrnn.equilibrium import Automatic, Solver
from riemannrnn.models import RateNetwork
from riemannrnn.training.training import single_residual

STABLE_MANIFOLDS = ("monotone", "scaled-monotone")
"""Names of the manifolds on which every stimulus has one fixed point."""

DAMAGED = "it is damaged or not a recorded path of riemannrnn; name the run folder of a training that recorded one"


class RecordedRunError(ValueError):
    """A run folder holds no recorded path, a damaged path, or a path with a network or data that cannot be rebuilt."""


@final
class RecordedRun(Summarised, Sequence[Array]):
    """The points W of a recorded run, in float64, read from disk one at a time; made by `read_run`.

    Attributes
    ----------
    folder
        The run folder.
    settings
        The tables that were passed to the recorder. `network` holds the arguments of `RateNetwork`. `data` holds `name`
        ("digits" or "mnist"), `training_size` and `seed` of the split (without `training_size`: all stimuli), and `folder` of
        MNIST. Others, such as `training`, are information for the reader.
    steps, losses
        The number of steps at each point, and its recorded loss (NaN: none).
    """

    def __init__(self, folder: Path, file: h5py.File, path: Path) -> None:
        self.folder, self._path = folder, path
        self._file = file
        self.settings: dict[str, Any] = json.loads(file.attrs["run"])
        log = file["log"][:]
        self.steps, self.losses, self._checksums = log["step"], log["loss"], log["checksum"]
        self._weights = file["weights"]

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        steps = f"{int(self.steps[0])} to {int(self.steps[-1])}"
        return {"folder": self.folder, "points": len(self), "steps": steps, "units": self.n_units}

    @property
    def name(self) -> str:
        """Name of the run in tables."""
        return self.folder.resolve().name

    @property
    def n_units(self) -> int:
        """Rows of W, or channels of kernels."""
        return int(self._weights.shape[1])

    @property
    def of_kernels(self) -> bool:
        """Whether the points are the kernels of a convolution, and not a matrix."""
        return len(self._weights.shape) == 5

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[Array]: ...
    def __getitem__(self, index: int | slice) -> Array:
        """Return W at one recorded point, shape (n, n), or its kernels, shape (C, C, k, l).

        Raises
        ------
        RecordedRunError
            If it cannot be read, or differs from what was written.
        """
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        try:
            weights = self._weights[place]
        except OSError as error:
            raise RecordedRunError(f"{self._path}: point {place} cannot be read: {error}") from error
        if crc32(weights.tobytes()) != self._checksums[place]:
            raise RecordedRunError(f"{self._path}: point {place} is damaged (its checksum is wrong); restore a copy")
        return weights.astype(np.float64)

    def cost(self, most: int | None = MOST_STIMULI, data: Dataset | None = None) -> FixedPointCost:
        """Return the cost that was minimised, on the first stimuli of the training set; +∞ without fixed points.

        In float32 the tolerance of fixed points is the default of `train` for large weights.

        Parameters
        ----------
        most
            Most stimuli; None: all.
        data
            The training set, if it is neither the digits nor MNIST.

        Raises
        ------
        RecordedRunError
            If the settings do not determine the network or the data.
        DatasetError
            If MNIST is not found.
        """
        try:
            network = RateNetwork(**self.settings["network"])
            data = training_data(self.settings["data"], network.dtype) if data is None else data
        except (KeyError, TypeError) as error:
            raise RecordedRunError(
                f"{self._path} does not tell its network and data ({type(error).__name__}: {error}); record it "
                "with run={'network': …, 'data': …}, or pass the data"
            ) from error
        if network.n_units != self.n_units:
            raise RecordedRunError(f"{self._path}: W has {self.n_units} rows, its network {network.n_units} units")
        rows = slice(None if most is None else most)
        stimuli, labels = data.stimuli[rows].astype(network.dtype), data.labels[rows]
        residual = single_residual(self.n_units) if network.dtype == np.float32 else None
        # As in training: if the fixed point is guaranteed to be unique, no choice among several is needed.
        solver: str | Solver = Automatic("splitting") if self.manifold in STABLE_MANIFOLDS else "auto"
        return FixedPointCost(network, stimuli, CrossEntropy(labels), solver=solver, tolerance=residual, max_iterations=200)

    def task(self, most: int | None = MOST_STIMULI) -> Task:
        """Return the network, the first W and the first training stimuli, in float64, for metrics that depend on them.

        Raises as `cost` does.
        """
        cost = self.cost(most)
        network = RateNetwork(**{**self.settings["network"], "dtype": "float64"})
        data = training_data(self.settings["data"], network.dtype)
        part = Dataset(data.name, data.stimuli[: len(cost.batch)], data.labels[: len(cost.batch)], data.n_classes)
        return Task(network, self[0], part, part, part)

    @property
    def manifold(self) -> str | None:
        """The name of the run's manifold, if the recorder was given one."""
        name = self.settings.get("training", {}).get("manifold")
        return name if isinstance(name, str) else None

    @property
    def has_cost(self) -> bool:
        """Whether only W was trained, so the settings determine the loss at every point."""
        return "layers" not in self.settings.get("network", {})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_run(folder: Path | str, parameter: str | None = None) -> RecordedRun:
    """Open the recorded path of a run folder; the run may still be in progress, or have crashed.

    Parameters
    ----------
    folder
        The run folder.
    parameter
        The name of the recurrent weights, such as "layers.1.recurrent". Default: the recurrent weights of the lowest layer.

    Raises
    ------
    RecordedRunError
        With a message that says whether the folder or its path is missing, the path is damaged, or has fewer than two points.
    """
    folder = Path(folder)
    path = folder / path_file(parameter)
    if not folder.is_dir():
        raise RecordedRunError(f"{folder} is not a folder; name the run folder of a training that recorded its path")
    if not path.is_file():
        raise RecordedRunError(f"{folder} holds no {path.name}; name the run folder of a training that recorded its path")
    try:
        file = open_path(path)
    except (OSError, RuntimeError) as error:
        raise RecordedRunError(f"{path} cannot be opened ({error}): {DAMAGED}") from error
    try:
        run = RecordedRun(folder, file, path)
        _check(run, file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        file.close()
        raise error if isinstance(error, RecordedRunError) else RecordedRunError(f"{path} cannot be read: {DAMAGED}") from error
    return run


def _check(run: RecordedRun, file: h5py.File) -> None:
    shape, count = file["weights"].shape, len(run)
    well_formed = (
        file.attrs["format"] == PATH_FORMAT
        and file["log"].dtype == LOG
        and file["weights"].dtype == np.float32
        and len(shape) in (3, 5)
        and shape[1] == shape[2] > 0
        and shape[0] >= count
        and isinstance(run.settings, dict)
        and bool(np.all(np.diff(run.steps) > 0))
    )
    if not well_formed:
        raise ValueError("not the form of a path")
    if count < 2:
        raise RecordedRunError(f"{file.filename} holds {count} points, but a path has at least two: let the run continue")


def training_data(settings: Mapping[str, Any], dtype: np.dtype[Any]) -> Dataset:
    """Return the training set that the table `data` of the settings of a run names; of a file, the rows with a label.

    Raises
    ------
    RecordedRunError
        If the run learned numbers.
    DatasetError
        If the data are not found.
    KeyError
        If the settings do not tell the data.
    """
    name, size = settings["name"], settings.get("training_size")
    if settings.get("file"):
        return _rows_of_file(settings, str(dtype))
    if name not in ("digits", "mnist"):
        raise KeyError(f"data {name!r} is neither 'digits' nor 'mnist'")
    data = load_digits(dtype) if name == "digits" else load_mnist(settings.get("folder"), dtype)[0]
    return data if size is None else data.split(size, seed=settings["seed"])[0]


def _rows_of_file(settings: Mapping[str, Any], dtype: str) -> Dataset:
    """Return the rows of a file that a run learned. Rows without a label are left out."""
    table, _ = split_file(settings, dtype)
    if table.classes is None:
        raise RecordedRunError(
            f"the run learned numbers from {settings['name']}, but a recorded run is compared by its cost on classes; pass "
            "a run that learned classes"
        )
    stimuli, targets = table.read(slice(0, len(table)))
    labels = to_numpy(targets)
    known = ~np.isnan(labels)
    return Dataset(settings["name"], stimuli[known], labels[known].astype(np.int64), len(table.classes.names))
