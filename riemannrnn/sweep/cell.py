"""One cell of a sweep: an ordinary training run in an ordinary run folder, told from all others by its content."""

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
"""The file in the folder of a cell that says how the run ended; it is there once the run is finished or has failed."""

FINISHED, FAILED, UNFINISHED, EXCLUDED = "finished", "failed", "unfinished", "excluded"
"""How a cell ended. One that failed did so by itself, and would again; one that is unfinished was cut short."""

FAILURES = (FixedPointError, ManifoldError, ArithmeticError, ValueError, np.linalg.LinAlgError)
"""Errors whose message is a reason; other errors are named by their type, too."""

SHORTAGES = (OSError, MemoryError)
"""What leaves a cell unfinished: the next attempt may go better."""

POLL_SECONDS = 0.5
"""Seconds between two looks at a folder that another process holds."""

TRIAL_SECONDS = 2.0
"""Seconds of steps from which the seconds of a run are estimated."""

Row = dict[str, int | float | str]


def cell_keys(cells: Sequence[Cell]) -> list[str]:
    """Return the key of each cell: a digest of its configuration, of the version, and of the data that it learns from.

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
    """Train as a configuration says, or go on with what a folder holds, and return the row of the result.

    A cell that has its row is not run again. If another process trains in the folder, this waits until it has ended. The
    run has one thread.

    Parameters
    ----------
    tables
        The configuration.
    folder
        The folder of the run, made if need be.

    Returns
    -------
    dict
        Numbers and texts: `status`, `reason`, `seconds`, `steps`, and the last value of everything that is measured.

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
    """Return the row of a cell that was cut short."""
    return {"status": UNFINISHED, "reason": reason}


def _run(tables: Mapping[str, Any], folder: Path) -> Row:
    started, result = time.perf_counter(), Row()
    try:
        history = _train(tables, folder)
    except SHORTAGES:
        raise
    except Exception as error:  # a fault of the program in one cell must not lose the others
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
        warnings.simplefilter("ignore", LossNotFallenWarning)  # the reason says it
        history = training.run(folder, any((folder / "checkpoints").glob(PATTERN)), lambda step, history: None)
        if not history.interrupted:
            write_history(history, training, folder)
    return history


def _measured(history: History) -> Row:
    """Return the number of steps, the learning rate, and the last value of each list that has an entry a step."""
    dataset = history.to_dataset()
    found: Row = {"steps": dataset.sizes["step"], "learning_rate": float(history.learning_rate)}
    for name, values in dataset.data_vars.items():
        if values.dims == ("step",) and (measured := values.dropna("step").values).size:
            found[f"final_{name}"] = measured[-1].item()
    return found


@contextmanager
def _waiting_for(folder: Path) -> Iterator[None]:
    """Hold a folder as `locked` does, after any other process that holds it."""
    with ExitStack() as lock:
        while True:
            try:
                lock.enter_context(locked(folder))
                break
            except RunInUseError:
                time.sleep(POLL_SECONDS)
        yield


def _data_options(configuration: Mapping[str, Any]) -> str:
    """Return the options on which the data depend, as a text."""
    return json.dumps([configuration["data"], configuration["network"].get("dtype")], sort_keys=True, default=str)


def _data_fingerprint(cell: Cell) -> str:
    try:
        return prepare(parse_config(cell.tables)).sets.fingerprint
    except Exception:
        return ""


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def trial_seconds(tables: Mapping[str, Any]) -> float:
    """Return about how many seconds a run takes, by its first steps on one thread; NaN if it fails there."""
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
