"""The result of a sweep, as one dataset over axes × replicates, and its files."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import nan
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
import xarray as xr

from manifolds.summary import Summarised
from riemannrnn.plots import save_figure, sweep_figure
from riemannrnn.run_folder import write_csv, write_netcdf
from riemannrnn.sweep.cell import EXCLUDED, FAILED, FINISHED, UNFINISHED, Row
from riemannrnn.sweep.grid import Cell, Grid

HISTORY = "history.nc"
"""The file of a run folder with the measurements of each step."""

PACKAGES = ("riemannrnn", "numpy", "scipy")
"""The packages with versions among the attributes of the dataset."""


@dataclass(frozen=True, repr=False)
class SweepResult(Summarised):
    """The rows of all cells, and the folders of their runs.

    Attributes
    ----------
    grid
        The grid.
    folder
        The folder of the sweep.
    cells, keys, rows
        The cells, their keys, and their results: numbers and texts.
    interrupted
        Whether Ctrl-C ended it.
    """

    grid: Grid
    folder: Path
    cells: Sequence[Cell]
    keys: Sequence[str]
    rows: Sequence[Row]
    interrupted: bool = False

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        counts = Counter(row["status"] for row in self.rows)
        return {"cells": len(self.cells)} | {str(status): count for status, count in counts.items()} | {"folder": self.folder}

    def having(self, status: str) -> list[tuple[Cell, Row]]:
        """Return the cells with a status, and their rows."""
        return [(cell, row) for cell, row in zip(self.cells, self.rows, strict=True) if row["status"] == status]

    def as_rows(self) -> list[Row]:
        """Return one row for each cell: its place, its key, and its values; missing values are empty."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        blank = dict.fromkeys(names, "")
        return [
            {
                **{path: _plain(value) for path, value in cell.place.items()},
                "replicate": cell.replicate,
                "key": key,
                **blank,
                **row,
            }
            for cell, key, row in zip(self.cells, self.keys, self.rows, strict=True)
        ]

    def to_dataset(self) -> xr.Dataset:
        """Return the results over axes × replicate, and the measurements of each run over steps.

        Missing numbers are NaN and missing texts are empty. The seeds of replicates are named by the paths of their options.
        """
        axes = {path: _coordinate(values) for path, values in self.grid.axes.items()}
        coordinates = axes | {"replicate": np.arange(self.grid.replicates)}
        places = [self._place(cell) for cell in self.cells]
        shape = tuple(len(each) for each in coordinates.values())
        rows = [row | {"key": key} for row, key in zip(self.rows, self.keys, strict=True)]
        data = {name: (tuple(coordinates), values) for name, values in _arranged(places, rows, shape).items()}
        dataset = xr.Dataset(data, coords=coordinates)
        drawn = [self.grid.seeds(replicate) for replicate in range(self.grid.replicates)]
        seeds = {path: ("replicate", [each[path] for each in drawn]) for path in drawn[0] if path not in axes}
        dataset = dataset.assign(seeds).assign(self._per_step(tuple(coordinates), places, shape))
        return dataset.assign_attrs({name: version(name) for name in PACKAGES} | {"python": python_version()})

    def write(self) -> list[str]:
        """Write sweep.nc, summary.csv and sweep.png; return their names.

        Raises
        ------
        RunFolderError
            If a file cannot be written.
        """
        dataset = self.to_dataset()
        write_netcdf(self.folder / "sweep.nc", dataset)
        write_csv(self.folder / "summary.csv", self.as_rows())
        save_figure(sweep_figure(dataset, tuple(self.grid.axes)), self.folder / "sweep.png")
        return ["sweep.nc", "summary.csv", "sweep.png"]

    def _place(self, cell: Cell) -> tuple[int, ...]:
        return (*(list(values).index(cell.place[path]) for path, values in self.grid.axes.items()), cell.replicate)

    def _per_step(self, dims: tuple[str, ...], places: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the measurements of each run at each step, NaN after its last step."""
        ended = [row["status"] != UNFINISHED for row in self.rows]
        paths = [self.folder / "cells" / key / HISTORY for key in self.keys]
        histories = [_history(path) if there else {} for path, there in zip(paths, ended, strict=True)]
        steps = max((len(each) for history in histories for each in history.values()), default=0)
        found: dict[str, Any] = {}
        for place, history in zip(places, histories, strict=True):
            for name, values in history.items():
                array = found.setdefault(name, np.full((*shape, steps), nan))
                array[place][: len(values)] = values
        return {name: ((*dims, "step"), array) for name, array in found.items()} | {"step": np.arange(1, steps + 1)}


def _history(path: Path) -> Mapping[str, np.ndarray]:
    """Return the lists of a run with one entry for each step; empty if the run has not written them."""
    if not path.is_file():
        return {}
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return {str(name): each.values for name, each in dataset.data_vars.items() if each.dims == ("step",)}


def _arranged(places: Iterable[tuple[int, ...]], rows: Sequence[Row], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return an array over the places for each name in the rows."""
    texts = {name for row in rows for name, value in row.items() if isinstance(value, str)}
    names = dict.fromkeys(name for row in rows for name in row)
    arrays = {name: np.full(shape, "" if name in texts else nan, object if name in texts else float) for name in names}
    arrays["status"] = np.full(shape, EXCLUDED, object)
    for place, row in zip(places, rows, strict=True):
        for name, value in row.items():
            arrays[name][place] = value
    return {name: array.astype(str) if name in texts else array for name, array in arrays.items()}


def _coordinate(values: Sequence[Any]) -> np.ndarray:
    """Return the values of an axis: numbers unchanged, everything else as text."""
    plain = [_plain(value) for value in values]
    return np.array(plain if not any(isinstance(value, str) for value in plain) else [str(value) for value in plain])


def _plain(value: Any) -> int | float | str:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)


STATUSES = (FINISHED, FAILED, UNFINISHED, EXCLUDED)
"""All values of `status`."""
