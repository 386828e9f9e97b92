"""`riemannrnn train`."""

import shlex
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
import typer
from rich.markup import escape

from manifolds import ManifoldError, ScaledMonotoneManifold
from manifolds.arrays import to_numpy
from riemannrnn.cli.common import INTERRUPTED, complain, console, progress_bars, refuse
from riemannrnn.cli.config import Config, ConfigError, read_config, read_run, write_config
from riemannrnn.datasets import Dataset, DatasetError, load_digits, load_mnist, mnist_folder
from riemannrnn.learning.checkpoints import PATTERN, CheckpointError
from riemannrnn.learning.cost import as_parameterization
from riemannrnn.learning.geometries import GEOMETRIES
from riemannrnn.learning.guard import StabilityGuard, UnstableStartError
from riemannrnn.learning.history import History
from riemannrnn.learning.optimizers import MetricRule, Rule
from riemannrnn.learning.rules import make_rule
from riemannrnn.learning.task import Task
from riemannrnn.learning.training import GROWTH, defaults, train
from riemannrnn.plots import save_figure, training_figure
from riemannrnn.rate_network import RateNetwork
from riemannrnn.run_folder import RunFolderError, create_run_folder, write_atomically, write_netcdf

OUTPUT = Path("runs")

DIGITS = 1000
"""So many are learned by default; the others are held out."""

STOPPED = 1
"""Exit status of a run that could not be finished."""


@dataclass(frozen=True)
class Training:
    """A run that can begin: its configuration, with a value for every key, and what is made from it."""

    config: Config
    task: Task
    rule: Rule
    promised: bool

    @property
    def steps(self) -> int:
        """How many steps the run has."""
        settings = self.config.train
        return settings.epochs * ceil(len(self.task.training.labels) / settings.batch_size)

    def run(self, folder: Path, resume: bool, callback: Callable[[int, History], None]) -> History:
        """Train, with checkpoints in the run folder."""
        settings, task = self.config.train, self.task
        return train(
            task.network,
            task.weights,
            task.training.stimuli,
            task.training.labels,
            self.rule,
            settings.learning_rate,
            settings.batch_size,
            settings.epochs,
            settings.seed,
            schedule=settings.schedule,
            longest_step=settings.longest_step,
            decay=settings.decay,
            guard=StabilityGuard(settings.margin) if settings.guard else False,
            held_out=(task.test.stimuli, task.test.labels),
            evaluate_every=settings.evaluate_every,
            callback=callback,
            checkpoints=folder / "checkpoints",
            checkpoint_every=settings.checkpoint_every,
            resume=resume,
        )


def train_command(
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with the tables network, data and train; the config.toml of any run shows all keys."),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Run folder to go on with, from its last checkpoint.")] = None,
    output: Annotated[Path, typer.Option(help="Folder in which the run folder is made.")] = OUTPUT,
) -> None:
    """Train a network; without options a hundred units, stable by construction, on scikit-learn's handwritten digits."""
    try:
        training, folder = _continued(config, resume, output) if resume else _begun(config, output)
    except (ValueError, RunFolderError) as error:
        refuse(error)
    try:
        history, written = _train(training, folder)
    except KeyboardInterrupt:  # before the first step, or while results were written
        _go_on("Interrupted.", folder)
    _print_result(history, training, written, folder)
    if history.interrupted:
        _go_on(history.stopped, folder)
    if len(history.test_loss) < training.steps:
        raise typer.Exit(STOPPED)


def _begun(config: Path | None, output: Path) -> tuple[Training, Path]:
    """Return a new run and its folder, which is one to go on with as soon as its configuration is written."""
    training = prepare(read_config(config) if config else Config())
    folder = create_run_folder(output, "train")
    try:
        (folder / "checkpoints").mkdir()
    except OSError as error:
        raise RunFolderError(f"cannot make {folder / 'checkpoints'}: {error.strerror}; choose another with --output") from error
    write_config(folder / "config.toml", training.config)
    return training, folder


def _continued(config: Path | None, folder: Path, output: Path) -> tuple[Training, Path]:
    if config or output != OUTPUT:
        raise ConfigError("--resume takes neither --config nor --output; a run goes on as it began, in its own folder")
    return prepare(read_run(folder)), folder


def _train(training: Training, folder: Path) -> tuple[History, list[str]]:
    """Train and write the results; return the history and the names of the files."""
    try:
        with _warnings_as_sentences():
            history = _with_progress(training, folder)
        return history, write_history(history, training, folder)
    except RunFolderError as error:
        refuse(RunFolderError(f"{error}. What was written before is kept; go on with {_again(folder)}"))
    except UnstableStartError as error:
        refuse(ConfigError(f"{error}; in {folder / 'config.toml'}: a smaller network.radius, or train.guard = false"))
    except CheckpointError as error:
        refuse(error)


def _go_on(stopped: str, folder: Path) -> NoReturn:
    """Say how to go on with an interrupted run, and leave."""
    console.print(f"{stopped} Go on with {escape(_again(folder))}", soft_wrap=True, highlight=False)
    raise typer.Exit(INTERRUPTED)


def prepare(config: Config) -> Training:
    """Return the run of a configuration, with the defaults of `train` written out in it.

    Raises
    ------
    ValueError
        For data that are not there, or values that do not fit each other.
    """
    training, held_out, folder = _load(config)
    count, network = training.labels.shape[0], config.network
    if config.train.batch_size > count:
        raise ConfigError(f"train.batch_size = {config.train.batch_size}: too large; there are {count} stimuli to learn")
    chosen = defaults(config.train.rule, config.train.manifold)
    plain = config.train.rule is None and config.train.manifold is None
    usual = None if str(chosen.rule).startswith("dW") else "scaled-monotone" if plain else "resolvent"
    settings: dict[str, Any] = chosen._asdict() | {"manifold": usual, "evaluate_every": ceil(count / config.train.batch_size)}
    missing = {key: value for key, value in settings.items() if getattr(config.train, key) is None}
    config = replace(
        config, data=replace(config.data, training_size=count, folder=folder), train=replace(config.train, **missing)
    )
    made = RateNetwork(network.units, training.stimuli.shape[1], 10, network.activation, network.seed, np.dtype(network.dtype))
    task, rule = _place(config, Task(made, made.initial_weights(network.radius), training, held_out, held_out))
    try:
        promised = as_parameterization(getattr(rule, "manifold", None), made.activation).stable_by_construction
    except ValueError as error:
        raise ConfigError(f"network.activation: {error}") from error
    if config.train.guard is None:
        config = replace(config, train=replace(config.train, guard=not promised))
    return Training(config, task, rule, promised)


def _load(config: Config) -> tuple[Dataset, Dataset, str | None]:
    """Return what is learned, what is held out, and the folder of the files if there is one."""
    data, dtype = config.data, np.dtype(config.network.dtype)
    if data.name == "mnist":
        try:
            folder = mnist_folder(data.folder).resolve()  # a run may go on from elsewhere
            whole, held_out = load_mnist(folder, dtype)
        except DatasetError as error:
            raise DatasetError(f"data.folder: {error}") from error
        size = _size(data.training_size or whole.labels.shape[0], whole.labels.shape[0])
        (training,) = whole.split(size, seed=data.seed)
        return training, held_out, str(folder)
    if data.folder is not None:
        raise ConfigError("data.folder: the digits come with scikit-learn; leave it out, or write data.name = 'mnist'")
    whole = load_digits(dtype)
    size = _size(data.training_size or DIGITS, whole.labels.shape[0] - 1)
    training, held_out = whole.split(size, whole.labels.shape[0] - size, seed=data.seed)
    return training, held_out, None


def _size(size: int, most: int) -> int:
    if size > most:
        raise ConfigError(f"data.training_size = {size}: too large; the largest is {most}")
    return size


def _place(config: Config, task: Task) -> tuple[Task, Rule]:
    """Return the task as it starts on the manifold of the configuration, and the rule there."""
    settings, units = config.train, config.network.units
    name = str(settings.rule)
    if settings.manifold is None:
        rule = make_rule(name, units)
    else:
        geometry = GEOMETRIES[settings.manifold]
        try:
            manifold, _, task = geometry.start(task, geometry.retractions[0])
            if isinstance(manifold, ScaledMonotoneManifold):
                manifold = ScaledMonotoneManifold(units, GROWTH)  # as `train` has it
            rule = make_rule(name, units, manifold)
        except ManifoldError as error:
            raise ConfigError(
                f"train.manifold = {settings.manifold!r}: no place to start; {error} Or lower network.radius"
            ) from error
        except ValueError as error:
            raise ConfigError(f"train.manifold = {settings.manifold!r}: {error}") from error
        if isinstance(rule, MetricRule):
            rule = replace(rule, retraction=geometry.retractions[0])
    if settings.decay and not isinstance(rule, MetricRule):
        raise ConfigError(f"train.decay = {settings.decay}: rule {name!r} has no manifold; leave it out, or choose 'adam'")
    return task, rule


def write_history(history: History, training: Training, folder: Path) -> list[str]:
    """Write history.nc, weights.npz and training.png into the run folder; nothing where no step was finished.

    Returns
    -------
    list of str
        The names of the files.
    """
    if not history.test_loss:
        return []
    dataset, network = history.to_dataset(), training.task.network
    arrays = {"weights": history.weights, "input_weights": network.input_weights, "readout": network.readout}
    write_netcdf(folder / "history.nc", dataset)
    write_atomically(
        folder / "weights.npz",
        lambda temporary: np.savez(temporary, **{name: to_numpy(value) for name, value in arrays.items()}),
    )
    settings = training.config.train
    where = f" on {settings.manifold}" if settings.manifold else ""
    title = f"{training.config.data.name}, {network.n_units} {network.activation.name} units, {settings.rule}{where}"
    save_figure(training_figure(dataset, title), folder / "training.png")
    return ["history.nc", "weights.npz", "training.png"]


def _with_progress(training: Training, folder: Path) -> History:
    with progress_bars() as progress:
        bar = progress.add_task("first step", total=training.steps)

        def show(step: int, history: History) -> None:
            progress.update(bar, completed=step, description=_state(training, history))

        return training.run(folder, any((folder / "checkpoints").glob(PATTERN)), show)


def _state(training: Training, history: History) -> str:
    """Return where a run stands, in a line."""
    if training.config.train.guard:
        seen = history.abscissa[-1]
        stability = f"abscissa {seen:+.2f}" if np.isfinite(seen) else "no step taken"
    else:
        stability = "always stable" if training.promised else "no guard"
    return f"loss {history.loss[-1]:.3f}, accuracy {100 * history.accuracy[-1]:.0f} %, {stability}"


def _print_result(history: History, training: Training, written: list[str], folder: Path) -> None:
    if not history.interrupted:
        console.print(escape(history.stopped), soft_wrap=True, highlight=False)
    if not written:
        return
    held_out = f", {100 * history.test_accuracy[-1]:.1f} % of held-out stimuli right"
    if np.isinf(history.test_loss[-1]):
        held_out = ", but held-out stimuli without a fixed point"
    elif np.isnan(history.test_loss[-1]):  # it ended between two evaluations
        held_out = ""
    guarded = f", {history.guard_actions} steps shortened by the guard" if training.config.train.guard else ""
    console.print(f"Loss {history.loss[-1]:.4f}{held_out}{guarded}.", highlight=False)
    console.print(f"Written to {escape(str(folder))}: {', '.join(['config.toml', *written])}", soft_wrap=True)


@contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    """Print what is said of damaged checkpoints as a sentence, not as a line of code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=".*the checkpoint before it is used", category=RuntimeWarning)
        warnings.showwarning = lambda message, *rest: complain("Warning", str(message))
        yield


def _again(folder: Path) -> str:
    return f"riemannrnn train --resume {shlex.quote(str(folder))}"
