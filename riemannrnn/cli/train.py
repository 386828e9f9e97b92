"""`riemannrnn train`."""

import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from manifolds.arrays import Array, to_numpy
from manifolds.points import arrays_of
from riemannrnn.analysis.layer_recording import path_file
from riemannrnn.cli.commands import OUTPUT
from riemannrnn.cli.common import INTERRUPTED, UNFINISHED, complain, console, print_written, progress_bars, refuse
from riemannrnn.cli.config import TABLES, read_config, read_run, write_config
from riemannrnn.cli.explained import explained_sentence
from riemannrnn.cli.training_run import Training, prepare
from riemannrnn.data import DatasetError
from riemannrnn.models import MODEL_FILE, Model
from riemannrnn.plots import save_figure, training_figure
from riemannrnn.run_folder import RunFolderError, RunInUseError, create_run_folder, make_folder, write_netcdf, write_npz
from riemannrnn.runtime import divided_into, parts
from riemannrnn.settings import SettingError
from riemannrnn.training.checkpoints import PATTERN, CheckpointError, recorded_cores
from riemannrnn.training.guard import UnstableStartError
from riemannrnn.training.history import History
from riemannrnn.training.outcome import LossNotFallenWarning


def train_command(
    given: dict[str, dict[str, Any]],
    config: Path | None,
    resume: Path | None,
    output: Path,
    list_keys: bool,
) -> None:
    """Train, or continue a run; the options are declared in `riemannrnn.cli.commands`."""
    if list_keys:
        return _print_keys()
    try:
        training, folder = _continued(config, given, resume, output) if resume else _begun(config, given, output)
    except (ValueError, RunFolderError) as error:
        refuse(error)
    try:
        history, written = _train(training, folder)
    except KeyboardInterrupt:  # before the first step, or while results were written
        _go_on("Interrupted.", folder)
    _print_result(history, training, written, folder)
    if history.interrupted:
        _go_on(history.stopped, folder)
    if history.failed:
        raise typer.Exit(UNFINISHED)


def _print_keys() -> None:
    """Print each key with its default and its meaning, one table after the other."""
    for name, record in TABLES.items():
        table = Table("key", "default", "meaning", title=escape(f"[{name}]"), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for each in fields(record):
            default = "" if each.default is None else str(each.default)
            table.add_row(each.name, default, escape(each.metadata["help"].replace("`", "")))
        console.print(table)


def _begun(config: Path | None, given: dict[str, dict[str, Any]], output: Path) -> tuple[Training, Path]:
    """Return a new run and its folder, which can be continued as soon as its configuration is written."""
    training = prepare(read_config(config, given))
    folder = create_run_folder(output, "train")
    make_folder(folder / "checkpoints")
    write_config(folder / "config.toml", training.config)
    return training, folder


def _continued(config: Path | None, given: dict[str, dict[str, Any]], folder: Path, output: Path) -> tuple[Training, Path]:
    if config or output != OUTPUT or any(given.values()):
        raise SettingError("--resume takes no other option; a run continues with its own options, in its own folder")
    with divided_into(recorded_cores(folder / "checkpoints") or parts()):  # the start depends on it too
        return prepare(read_run(folder)), folder


def _train(training: Training, folder: Path) -> tuple[History, list[str]]:
    """Train and write the results; return the history and the names of the files."""
    try:
        with _warnings_as_sentences():
            history = _with_progress(training, folder)
        return history, write_history(history, training, folder)
    except RunInUseError as error:
        refuse(error)
    except RunFolderError as error:
        kept = f". What was written before is kept; continue with {_again(folder)}" if folder.is_dir() else ""
        refuse(RunFolderError(f"{error}{kept}"), UNFINISHED)
    except UnstableStartError as error:
        refuse(SettingError(f"{error}; in {folder / 'config.toml'}: a smaller network.radius, or train.guard = false"))
    except CheckpointError as error:
        refuse(error)
    except DatasetError as error:
        refuse(DatasetError(f"{error}. When it is repaired, begin another run; {folder} holds what was reached"), UNFINISHED)


def _go_on(stopped: str, folder: Path) -> NoReturn:
    """Print how to continue an interrupted run, and exit."""
    console.print(f"{stopped} Continue with {escape(_again(folder))}", soft_wrap=True, highlight=False)
    raise typer.Exit(INTERRUPTED)


def write_history(history: History, training: Training, folder: Path) -> list[str]:
    """Write history.nc, model.npz, weights.npz and training.png into the run folder; write nothing if no step was finished.

    Returns
    -------
    list of str
        The names of the files.
    """
    if not history.test_loss:
        return []
    dataset, network = history.to_dataset(), training.network
    arrays = _arrays(history, network)
    write_netcdf(folder / "history.nc", dataset)
    write_npz(folder / "weights.npz", {name: to_numpy(value) for name, value in arrays.items()})
    replace(history.model, inputs=history.model.inputs or training.config.data.inputs).save(folder / MODEL_FILE)
    settings = training.config.train
    where = f" on {settings.manifold}" if settings.manifold else ""
    units, kinds = " and ".join(map(str, network.units)), dict.fromkeys(each.name for each in network.activations)
    title = f"{training.sets.title}, {units} {' and '.join(kinds)} units, {settings.rule}{where}"
    save_figure(training_figure(dataset, title), folder / "training.png")
    paths = [path_file(name) for name in network.recurrent] if settings.record else []
    return ["history.nc", MODEL_FILE, "weights.npz", "training.png", *paths]


def _arrays(history: History, network: Model) -> dict[str, Array]:
    """Return all parameters by name; if only W is trained, `weights`, `input_weights` and `readout`; factors are numbered."""
    if not network.one_matrix:
        return history.parameters | dict(network.fixed)
    arrays = arrays_of(history.weights)
    named = {"weights": arrays[0]} if len(arrays) == 1 else {f"weights_{k}": factor for k, factor in enumerate(arrays)}
    return named | {"input_weights": network.fixed["layers.0.input"], "readout": network.fixed["readout"]}


def _with_progress(training: Training, folder: Path) -> History:
    with progress_bars() as progress:
        bar = progress.add_task("first step", total=training.steps)

        def show(step: int, history: History) -> None:
            progress.update(bar, completed=step, description=_state(training, history))

        return training.run(folder, any((folder / "checkpoints").glob(PATTERN)), show)


def _state(training: Training, history: History) -> str:
    """Return the state of a run in one line."""
    if training.config.train.guard:
        seen = history.abscissa[-1]
        stability = f"abscissa {seen:+.2f}" if np.isfinite(seen) else "no step taken"
    else:
        stability = "always stable" if training.promised else "no guard"
    accuracy = f"accuracy {100 * history.accuracy[-1]:.0f} %, " if history.accuracy else ""
    return f"loss {history.loss[-1]:.3f}, {accuracy}{stability}"


def _print_result(history: History, training: Training, written: list[str], folder: Path) -> None:
    if not history.interrupted:
        console.print(escape(history.stopped), soft_wrap=True, highlight=False)
    if not written:
        return
    held_out = f", {100 * history.test_accuracy[-1]:.1f} % of held-out stimuli right"
    if not history.accuracy:
        held_out = f", {history.test_loss[-1]:.4f} on held-out stimuli"
    if np.isinf(history.test_loss[-1]):
        held_out = ", but held-out stimuli without a fixed point"
    elif np.isnan(history.test_loss[-1]):  # the run ended between two evaluations
        held_out = ""
    guarded = f", {history.guard_actions} steps shortened by the guard" if training.config.train.guard else ""
    if history.range_test is not None:
        tried = len(history.range_test.trials)
        console.print(f"Learning rate {history.learning_rate:.3g}, found by a range test of {tried} rates.", highlight=False)
    console.print(f"Loss {history.loss[-1]:.4f}{held_out}{guarded}.", highlight=False)
    if sentence := explained_sentence(history.model, training.sets):
        console.print(sentence, highlight=False)
    print_written(folder, written)


@contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    """Print warnings about damaged checkpoints as sentences, without code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=".*it is skipped", category=RuntimeWarning)
        warnings.filterwarnings("ignore", category=LossNotFallenWarning)  # it is part of the printed reason
        warnings.showwarning = lambda message, *rest: complain("Warning", str(message))
        yield


def _again(folder: Path) -> str:
    return f"riemannrnn train --resume {shlex.quote(str(folder))}"
