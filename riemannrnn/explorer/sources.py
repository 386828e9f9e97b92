"""The runs of the explorer: their recorded paths and histories, which are read again when they grow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from math import nan
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from manifolds import Array
from riemannrnn.analysis import RecordedRun, RecordedRunError, read_run
from riemannrnn.analysis.layer_recording import path_file
from riemannrnn.analysis.recorded import training_data
from riemannrnn.analysis.recording import PATH_FILE
from riemannrnn.cost import FixedPointCost
from riemannrnn.data.splitting import split_file
from riemannrnn.data.table import Table
from riemannrnn.equilibrium import FixedPoints
from riemannrnn.equilibrium.options import SolverOptions
from riemannrnn.models import RateNetwork, Response
from riemannrnn.models.trained import ModelFileError, load_model
from riemannrnn.training.training import single_residual

Found = TypeVar("Found")

HISTORY = "history.nc"
"""The file of a run folder with the measurements of each step."""

MOST_CELLS, MOST_LAYERS = 40, 100
"""Runs of a folder of runs, and layers of a run, that are taken."""


class NoRunsError(ValueError):
    """No run was given, or a folder contains no run."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of a layer at a step of learning.

    Attributes
    ----------
    fixed_points
        Of some training stimuli.
    loss
        Of the same stimuli; NaN where it is not known.
    """

    fixed_points: FixedPoints
    loss: float = nan


@dataclass(eq=False)
class Loaded:
    """A layer of a run as it was when it was read. A run of one layer has one of these.

    Attributes
    ----------
    name
        What the explorer calls the run.
    run
        The recorded path of the layer.
    history
        What was measured at each step; None where it was not written yet.
    number
        The layer, from 0, the lowest.
    problems
        Sentences about what cannot be shown; all layers of a run have the same.
    layers
        The layers of the run that can be read, this one among them.
    """

    name: str
    run: RecordedRun
    history: xr.Dataset | None
    number: int = 0
    problems: list[str] = field(default_factory=list)
    layers: "list[Loaded]" = field(default_factory=list)

    @property
    def stacked(self) -> bool:
        """Whether more than W of one layer is learned."""
        return not self.run.has_cost

    def point(self, step: int) -> int:
        """Return the last recorded point at or before a step of learning."""
        return max(int(np.searchsorted(self.run.steps, step, side="right")) - 1, 0)

    def weights(self, step: int) -> Array:
        """Return W at the last recorded point at or before a step, shape (n, n)."""
        return self.run[self.point(step)]

    def seen(self, step: int) -> Seen | None:
        """Return what is known of the layer at a step; None, perhaps with a problem noted, where nothing is.

        Of a stack only the recurrent weights are recorded along learning, so that rates are known at its end alone.

        Raises
        ------
        RecordedRunError
            If the recorded point is damaged.
        """
        if self.stacked:
            response = self.layers[0].response if self.point(step) == len(self.run) - 1 else None
            return None if response is None else Seen(response.layers[self.number])
        weights = self.weights(step)
        if self.cost is not None:
            evaluation = self.cost.at(weights.astype(self.cost.model.dtype))
            return Seen(evaluation.fixed_points, evaluation.cost)
        if self.numbers is None:
            return None
        network, batch = self.numbers
        residual = single_residual(network.n_units) if network.dtype == np.float32 else None
        solving = SolverOptions(tolerance=residual, max_iterations=200)
        return Seen(network.respond(weights.astype(network.dtype), batch, solving).fixed_points)

    @cached_property
    def cost(self) -> FixedPointCost | None:
        """The cost on a few training stimuli; None of a stack or of numbers, and, with a problem noted, without the data."""
        if self.stacked or self.numbers is not None:
            return None
        return self._tried(lambda: self.run.cost(STIMULI), "stimuli cannot be shown")

    @cached_property
    def numbers(self) -> tuple[RateNetwork, Array] | None:
        """The network and the stimuli of a run that learned numbers, not classes, from a file; None of another run."""
        return None if self.stacked else self._tried(self._numbers)

    def _numbers(self) -> tuple[RateNetwork, Array] | None:
        data = self.run.settings["data"]
        if not data.get("file") or _table(data, "float64").classes is not None:
            return None
        network = RateNetwork(**self.run.settings["network"])
        return network, network.prepare(self.stimuli(network.dtype))

    @cached_property
    def response(self) -> Response | None:
        """The response of a whole stack at the end of learning; None, with a problem noted, where it is not known."""
        return self._tried(self._response, "rates are known when it has ended, from model.npz and its data")

    def _response(self) -> Response:
        model = load_model(self.run.folder)
        last = model.parameters[f"layers.{self.number}.recurrent"]
        if not np.allclose(last, self.run[-1], rtol=1e-5, atol=1e-5):
            raise ModelFileError("model.npz holds other weights than the end of the recorded path")
        network = model.network
        return network.respond(model.weights, network.prepare(self.stimuli(network.dtype)), model.solving)

    def stimuli(self, dtype: Any) -> Array:
        """Return a few training stimuli; raises as `training_data` does."""
        data = self.run.settings["data"]
        if data.get("file"):
            table = replace(_table(data, str(np.dtype(dtype))), targets=None)
            stimuli, _ = table.read(slice(0, min(len(table), STIMULI)))
        else:
            stimuli = training_data(data, dtype).stimuli[:STIMULI]
        return np.asarray(stimuli, dtype)

    def _tried(self, work: Callable[[], Found], problem: str = "") -> Found | None:
        """Return what is found, or None without the network or the data, and note the problem if one is named."""
        try:
            return work()
        except (RecordedRunError, ValueError, KeyError, TypeError, OSError) as error:
            if problem:
                reason = f"its settings do not tell {error}" if isinstance(error, KeyError) else error
                self.problems.append(f"{self.name}: {problem}. {reason}")
            return None


def _table(data: Mapping[str, Any], dtype: str) -> Table:
    return split_file(data, dtype)[0]


STIMULI = 24
"""Number of training stimuli that are evaluated."""


class Runs:
    """The runs of some folders by name. Only these folders, and the data that a run names, are read.

    Parameters
    ----------
    folders
        Run folders, or folders that contain run folders, such as a sweep.

    Raises
    ------
    NoRunsError
        For a folder that does not exist, or contains no recorded run.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders: dict[str, Path] = {}
        for folder in folders:
            for found in _expanded(folder):
                stem = found.resolve().name
                name = next(
                    each for number in count() if (each := stem if not number else f"{stem}-{number}") not in self.folders
                )
                self.folders[name.replace(",", "-")] = found
        self._loaded: dict[str, tuple[object, dict[int, Loaded | RecordedRunError]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.folders

    def load(self, name: str, layer: int = 0) -> Loaded:
        """Return a layer of a run as it is now; of a run of fewer layers its highest one.

        Raises
        ------
        RecordedRunError
            If the path of the layer is missing or damaged, or holds fewer than two points.
        """
        folder = self.folders[name]
        stamp = self._stamp(folder)
        before, layers = self._loaded.get(name, (None, {}))
        if before != stamp:
            for each in layers.values():  # an open file would be read as it was when it was opened
                if isinstance(each, Loaded):
                    each.run.close()
            self._loaded.pop(name, None)
            stamp, layers = self._stamp(folder), _read(name, folder)
            self._loaded[name] = stamp, layers
        chosen = layers[min(layer, max(layers))]
        if isinstance(chosen, RecordedRunError):
            raise chosen
        return chosen

    def stamps(self) -> object:
        """Return a value that changes when one of the runs grows."""
        return tuple(self._stamp(folder) for folder in self.folders.values())

    def _stamp(self, folder: Path) -> object:
        return tuple(_stamp(path) for path in (*sorted(folder.glob("path*.h5")), folder / HISTORY))


def _read(name: str, folder: Path) -> dict[int, Loaded | RecordedRunError]:
    """Return the layers of a run, or why they cannot be read."""
    history, problem = _history(folder / HISTORY)
    problems, layers = [problem] if problem else [], list[Loaded]()
    found: dict[int, Loaded | RecordedRunError] = {}
    for number in range(MOST_LAYERS):
        parameter = f"layers.{number}.recurrent"
        if number and not (folder / path_file(parameter)).exists():
            break
        try:
            found[number] = Loaded(name, read_run(folder, parameter if number else None), history, number, problems, layers)
        except RecordedRunError as error:
            found[number] = error
    layers += [each for each in found.values() if isinstance(each, Loaded)]
    return found


def _expanded(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise NoRunsError(f"{folder} is not a folder; name the run folder of a training that recorded its path")
    if (folder / PATH_FILE).exists():
        return [folder]
    cells = sorted({path.parent for path in folder.rglob(PATH_FILE)})
    if not cells:
        raise NoRunsError(f"{folder} holds no {PATH_FILE}, nor does a folder in it; name a run that recorded its path")
    return cells[:MOST_CELLS]


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _history(path: Path) -> tuple[xr.Dataset | None, str]:
    """Return a history, and a sentence if it exists but cannot be read."""
    if not path.exists():
        return None, ""
    try:
        with xr.open_dataset(path, engine="h5netcdf") as data:
            return data.load(), ""
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        return None, f"{path} cannot be read ({type(error).__name__}); only the recorded path is shown. Restore a copy."
