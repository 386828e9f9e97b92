"""One cell of a sweep: an ordinary training run in an ordinary run folder, identified by its content."""

import hashlib
import json
import time
import tomllib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from manifolds import ManifoldError
from riemannrnn.cli.config import parse_config, write_config
from riemannrnn.cli.train import write_history
from riemannrnn.cli.training_run import prepare
from riemannrnn.equilibrium import FixedPointError
from riemannrnn.run_folder import RunInUseError, locked, make_folder, write_toml
from riemannrnn.runtime import one_core
from riemannrnn.sweep.grid import Cell
from riemannrnn.training.checkpoints import PATTERN
from riemannrnn.training.history import History
from riemannrnn.training.outcome import LossNotFallenWarning

ROW = "cell.toml"
"""The file in a cell's folder with the result of the run; it exists once the run has finished or failed."""

FINISHED, FAILED, UNFINISHED, EXCLUDED = "finished", "failed", "unfinished", "excluded"
"""How a cell ended. A failed cell would fail again; an unfinished cell was cut short."""

FAILURES = (FixedPointError, ManifoldError, ArithmeticError, ValueError, np.linalg.LinAlgError)
"""Errors with a message that is a sufficient reason; for other errors the type is added."""

SHORTAGES = (OSError, MemoryError)
"""Errors that leave a cell unfinished: the next attempt may succeed."""

POLL_SECONDS = 0.5
"""Seconds between two checks of a folder that another process holds."""

TRIAL_SECONDS = 2.0
"""Seconds of steps from which the time of a run is estimated."""

Row = dict[str, int | float | str]


def cell_keys(cells: Sequence[Cell]) -> list[str]:
    """Return the key of each cell: a digest of its configuration, the version, and its data.

    Data that cannot be read have an empty fingerprint. The cell then fails with the reason when it runs.
    """
    completed = [asdict(parse_config(cell.tables)) for cell in cells]
    prints: dict[str, str] = {}
    for cell, configuration in zip(cells, completed, strict=True):
        data = _data_options(configuration)
        if not prints.get(data):
            prints[data] = _data_fingerprint(cell)
    return [_digest([each, version("riemannrnn"), prints[_data_options(each)]]) for each in completed]


def run_cell(tables: Mapping[str, Any], folder: str) -> Row:
    """Train with a configuration, or continue the run in the folder, and return the row of the result.

    A cell with a result is not run again. If another process trains in the folder, the call waits until it has ended. The run
    uses one thread.

    Parameters
    ----------
    tables
        The configuration.
    folder
        The folder of the run; created if it does not exist.

    Returns
    -------
    dict
        Numbers and texts: `status`, `reason`, `seconds`, `steps`, and the last value of every measured quantity.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; a checkpoint is written.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _waiting_for(place), one_core():
            return finished_row(place) or _run(tables, place)
    except SHORTAGES as error:
        return unfinished_row(f"{error or type(error).__name__}")


def finished_row(folder: Path) -> Row | None:
    """Return the row of a cell that finished or failed; None if it has not ended yet."""
    try:
        return dict(tomllib.loads((folder / ROW).read_text(encoding="utf-8"))["cell"])
    except (FileNotFoundError, NotADirectoryError):
        return None


def unfinished_row(reason: str) -> Row:
    """Return the row for a cell that was cut short."""
    return {"status": UNFINISHED, "reason": reason}


def _run(tables: Mapping[str, Any], folder: Path) -> Row:
    started, result = time.perf_counter(), Row()
    try:
        history = _train(tables, folder)
    except SHORTAGES:
        raise
    except Exception as error:  # a program error in one cell must not lose the other cells
        result |= {
            "status": FAILED,
            "reason": str(error) if isinstance(error, FAILURES) else f"{type(error).__name__}: {error}",
        }
    else:
        if history.interrupted:
            raise KeyboardInterrupt
        result |= {"status": FAILED if history.failed else FINISHED, "reason": history.stopped, **_measured(history)}
    result["seconds"] = time.perf_counter() - started
    write_toml(folder / ROW, {"cell": result})
    return result


def _train(tables: Mapping[str, Any], folder: Path) -> History:
    training = prepare(parse_config(tables))
    make_folder(folder / "checkpoints")
    write_config(folder / "config.toml", training.config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LossNotFallenWarning)  # the reason contains it
        history = training.run(folder, any((folder / "checkpoints").glob(PATTERN)), lambda step, history: None)
        if not history.interrupted:
            write_history(history, training, folder)
    return history


def _measured(history: History) -> Row:
    """Return the number of steps, the learning rate, and the last value of each list with one entry for each step."""
    dataset = history.to_dataset()
    found: Row = {"steps": dataset.sizes["step"], "learning_rate": float(history.learning_rate)}
    for name, values in dataset.data_vars.items():
        if values.dims == ("step",) and (measured := values.dropna("step").values).size:
            found[f"final_{name}"] = measured[-1].item()
    return found


@contextmanager
def _waiting_for(folder: Path) -> Iterator[None]:
    """Lock a folder as `locked` does, after waiting for any other process."""
    with ExitStack() as lock:
        while True:
            try:
                lock.enter_context(locked(folder))
                break
            except RunInUseError:
                time.sleep(POLL_SECONDS)
        yield


def _data_options(configuration: Mapping[str, Any]) -> str:
    """Return the options that determine the data, as a text."""
    return json.dumps([configuration["data"], configuration["network"].get("dtype")], sort_keys=True, default=str)


def _data_fingerprint(cell: Cell) -> str:
    try:
        return prepare(parse_config(cell.tables)).sets.fingerprint
    except Exception:
        return ""


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def trial_seconds(tables: Mapping[str, Any]) -> float:
    """Return the estimated seconds of a run, from its first steps on one thread; NaN if they fail."""
    times: list[float] = []

    def watch(step: int, history: History) -> None:
        times.append(time.perf_counter())
        if times[-1] - times[0] > TRIAL_SECONDS:
            raise KeyboardInterrupt

    with TemporaryDirectory() as name, one_core(), warnings.catch_warnings():
        warnings.simplefilter("ignore", LossNotFallenWarning)
        (Path(name) / "checkpoints").mkdir()
        try:
            training = prepare(parse_config(tables))
            training.run(Path(name), False, watch)
        except FAILURES:
            return nan
    return (times[-1] - times[0]) / max(len(times) - 1, 1) * training.steps if len(times) > 1 else nan
