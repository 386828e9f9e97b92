"""The runs of the explorer: their recorded paths and histories, which are read again when they grow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
import xarray as xr

from manifolds import Array
from riemannrnn.analysis import RecordedRun, RecordedRunError, read_run
from riemannrnn.analysis.recording import PATH_FILE
from riemannrnn.cost import FixedPointCost

HISTORY = "history.nc"
"""The file of a run folder with the measurements of each step."""

MOST_CELLS = 40
"""Most runs that are read from a folder of runs."""


class NoRunsError(ValueError):
    """No run was given, or a folder contains no run."""


@dataclass(eq=False)
class Loaded:
    """A run in its state when it was read.

    Attributes
    ----------
    name
        Name in the explorer.
    run
        The recorded path.
    history
        The measurements of each step; None if they have not been written yet.
    problems
        Sentences about data that cannot be shown.
    """

    name: str
    run: RecordedRun
    history: xr.Dataset | None
    problems: list[str] = field(default_factory=list)

    def point(self, step: int) -> int:
        """Return the last recorded point at or before a step of learning."""
        return max(int(np.searchsorted(self.run.steps, step, side="right")) - 1, 0)

    def weights(self, step: int) -> Array:
        """Return W at the last recorded point at or before a step, shape (n, n)."""
        return self.run[self.point(step)]

    @cached_property
    def cost(self) -> FixedPointCost | None:
        """The cost on a few training stimuli; None, and a sentence in `problems`, if the data are missing."""
        try:
            return self.run.cost(STIMULI)
        except (RecordedRunError, ValueError, OSError) as error:
            self.problems.append(f"{self.name}: stimuli cannot be shown. {error}")
            return None


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
        self._loaded: dict[str, tuple[object, Loaded]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.folders

    def load(self, name: str) -> Loaded:
        """Return a run in its current state.

        Raises
        ------
        RecordedRunError
            If its path is missing or damaged, or holds fewer than two points.
        """
        folder = self.folders[name]
        stamp = self._stamp(folder)
        before = self._loaded.get(name)
        if before is not None and before[0] == stamp:
            return before[1]
        if before is not None:  # an open file would not show what was written since
            del self._loaded[name]
            before[1].run.close()
            stamp = self._stamp(folder)
        run = read_run(folder)
        loaded = Loaded(name, run, None)
        loaded.history, problem = _history(folder / HISTORY)
        loaded.problems += [problem] if problem else []
        self._loaded[name] = (stamp, loaded)
        return loaded

    def stamps(self) -> object:
        """Return a value that changes when one of the runs grows."""
        return tuple(self._stamp(folder) for folder in self.folders.values())

    def _stamp(self, folder: Path) -> object:
        return tuple(_stamp(folder / file) for file in (PATH_FILE, HISTORY))


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
