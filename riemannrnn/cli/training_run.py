"""The run of `riemannrnn train`: a configuration with a value for every key, and its task and rule."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from manifolds import ManifoldError, Point
from manifolds.points import several
from riemannrnn.analysis import PathRecorder
from riemannrnn.analysis.layer_recording import LayersRecorder
from riemannrnn.cli.config import Config, NetworkTable, TrainTable
from riemannrnn.cli.layers import layers_of
from riemannrnn.cli.sets import Sets, load_sets
from riemannrnn.cost.problem import for_model
from riemannrnn.cost.task import Task
from riemannrnn.models import PARTS, Layer, Model, RateNetwork, Stack
from riemannrnn.network.pooling import ImageShape
from riemannrnn.rules.rule import Rule
from riemannrnn.run_folder import locked
from riemannrnn.runtime import physical_memory
from riemannrnn.settings import SettingError
from riemannrnn.training.by_name import rule_on
from riemannrnn.training.guard import StabilityGuard
from riemannrnn.training.history import History, Recorder
from riemannrnn.training.options import TrainingOptions
from riemannrnn.training.training import check_decay, train


@dataclass(frozen=True)
class Training:
    """A run that is ready to start: its configuration, with a value for every key, and the objects made from it."""

    config: Config
    sets: Sets
    network: Model
    weights: Point
    rule: Rule
    promised: bool

    @property
    def steps(self) -> int:
        """Number of steps of the run."""
        settings = self.config.train
        return settings.epochs * ceil(self.sets.count / settings.batch_size)

    def run(self, folder: Path, resume: bool, callback: Callable[[int, History], None]) -> History:
        """Train, with checkpoints and the path in the run folder."""
        with locked(folder / "checkpoints"), self._recorder(folder) as recorder:
            return self._train(folder, resume, callback, recorder)

    def _recorder(self, folder: Path) -> AbstractContextManager[Recorder | None]:
        """Return the recorder of the path. It replaces the path of an earlier attempt from the first new step on."""
        network, data = self.config.network, self.config.data
        made = self.network
        arguments = {
            **({"n_units": network.units} if made.one_matrix else {"layers": made.units}),
            "n_inputs": self.sets.n_inputs,
            "n_outputs": made.n_outputs,
            "activation": network.activation,
            "seed": network.seed,
            "dtype": network.dtype,
        }
        tables = {"network": arguments, "data": asdict(data) | {"name": self.sets.title}, "training": asdict(self.config.train)}
        if not self.config.train.record:
            return nullcontext()
        if made.one_matrix:
            return PathRecorder(folder, tables, resume=True)
        return LayersRecorder(folder, tables, made.recurrent, resume=True)

    def _train(
        self, folder: Path, resume: bool, callback: Callable[[int, History], None], recorder: Recorder | None
    ) -> History:
        settings = self.config.train
        guard = StabilityGuard(settings.margin) if settings.guard else False
        return train(
            self.network,
            self.weights,
            **self.sets.arguments(settings.batch_size, int(settings.seed or 0)),
            **settings.part(TrainingOptions) | {"rule": self.rule, "manifold": None, "guard": guard},
            callback=callback,
            record=recorder,
            checkpoints=folder / "checkpoints",
            resume=resume,
            progress=False,
        )


def prepare(config: Config) -> Training:
    """Return the run of a configuration, with the defaults of `train` filled in.

    Raises
    ------
    ValueError
        For missing data, or values that do not fit each other.
    """
    sets = load_sets(config)
    count, network = sets.count, config.network
    config = replace(config, train=replace(config.train, batch_size=_batch_size(config.train.batch_size, count)))
    network = with_trained(network)
    made, weights = network_of(network, sets.n_inputs, sets.n_outputs, sets.image)
    settings = config.train.keeping_signs() if network.signed else config.train
    settings = settings.resolved(not made.one_matrix, made.convolutional)
    settings = replace(settings, evaluate_every=settings.evaluate_every or ceil(count / settings.batch_size))
    config = replace(config, network=network, data=sets.data, train=settings)
    stimuli = sets.stimuli()
    task, rule = _place(config, Task(made, weights, stimuli, stimuli, stimuli))
    try:
        promised = for_model(rule.parameterization, made).promises(made.recurrent)
    except ValueError as error:
        raise SettingError(f"network.activation: {error}") from error
    if config.train.guard is None:
        config = replace(config, train=replace(config.train, guard=not promised))
    matrix = all(not several(made.named(task.weights)[name]) for name in made.recurrent)
    if config.train.record and not matrix:
        raise SettingError(f"train.record = true: {config.train.manifold!r} never forms W, so its path cannot be recorded")
    if config.train.record is None:
        config = replace(config, train=replace(config.train, record=matrix))
    return Training(config, sets, task.network, task.weights, rule, promised)


def _batch_size(size: int, count: int) -> int:
    """Return the batch size; the default is reduced to the number of stimuli."""
    if size > count and size != TrainTable.batch_size:
        raise SettingError(f"train.batch_size = {size}: too large; there are {count} stimuli to learn")
    return min(size, count)


def _several(network: NetworkTable) -> bool:
    """Tell whether more is trained than the recurrent weights of one layer."""
    return len(network.layers) > 1 or network.trained != ("recurrent",)


def with_trained(table: NetworkTable) -> NetworkTable:
    """Return the table with the default of `trained` written out."""
    return replace(table, trained=table.trained or (PARTS if table.layers else ("recurrent",)))


def network_of(
    table: NetworkTable, n_inputs: int, n_outputs: int, image: ImageShape | None = None, backend: str = "numpy"
) -> tuple[Any, Point]:
    """Return the network of a configuration, and its flat parameters at the start.

    Raises
    ------
    SettingError
        For layers beside a number of units, or layers that do not fit each other or this machine.
    """
    if table.layers and table.units != NetworkTable().units:
        raise SettingError(
            f"network.units = {table.units}: the layers have units of their own; leave it out, or write no [[network.layers]]"
        )
    for units in [each.units for each in table.layers if each.channels is None] or [table.units]:
        _check_size(units, table.dtype)
    options: dict[str, Any] = {"activation": table.activation, "seed": table.seed, "dtype": np.dtype(table.dtype)}
    options |= {"backend": backend}
    signs: dict[str, Any] = {"signs": table.signs, "inhibitory": table.inhibitory}
    if table.layers and table.signs:
        raise SettingError("network.signs: units belong to layers; write the signs into [[network.layers]]")
    layers = layers_of(table.layers, image, table.inhibitory)
    try:
        if not table.layers and not _several(table):
            network = RateNetwork(table.units, n_inputs, n_outputs, **options, **signs)
            return network, network.initial_weights(table.radius)
        stack = Stack(layers or [Layer(table.units, **signs)], n_inputs, n_outputs, trained=table.trained or PARTS, **options)
    except ValueError as error:
        raise SettingError(f"network{'.layers' if table.layers else ''}: {error}") from error
    return stack, stack.flat(stack.initial_parameters(table.radius))


def _check_size(units: int, dtype: str) -> None:
    """Check the number of units against the memory: a lack of memory might end the process without an error."""
    needed, memory = units**2 * np.dtype(dtype).itemsize, physical_memory()
    if needed > memory:
        raise SettingError(
            f"network.units = {units}: too large; the recurrent weights alone take {needed / 2**30:.4g} GiB, and "
            f"this machine has {memory / 2**30:.4g} GiB"
        )


def _place(config: Config, task: Task) -> tuple[Task, Rule]:
    """Return the task as it starts on the manifold of the configuration, and the rule."""
    settings, name = config.train, str(config.train.rule)
    try:
        task, rule = rule_on(task, name, settings.manifold)
    except ManifoldError as error:
        raise SettingError(
            f"train.manifold = {settings.manifold!r}: no place to start; {error} Or lower network.radius"
        ) from error
    except ValueError as error:
        raise SettingError(f"train.manifold = {settings.manifold!r}: {error}") from error
    if settings.decay:
        try:
            check_decay(rule, rule.parameterization.point_at(task.weights), settings.decay)
        except ValueError as error:
            raise SettingError(f"train.{error}") from error
    return task, rule
