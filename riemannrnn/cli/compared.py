"""What `riemannrnn compare` learns: a configuration becomes a network, where it starts, and three splits of the data."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riemannrnn.backend import to_backend
from riemannrnn.cli.config import Config
from riemannrnn.cli.sets import Sets, load_sets
from riemannrnn.cli.training_run import network_of, with_trained
from riemannrnn.cost.losses import CrossEntropy, SquaredError
from riemannrnn.cost.task import Examples, Task
from riemannrnn.data import Dataset, DatasetError, Table, load_digits
from riemannrnn.models import Answer, Numbers, RateNetwork
from riemannrnn.settings import SettingError
from riemannrnn.training.material import answer_of, loss_targets, target_blocks

LEARNED, HELD_OUT = 500, 500
"""Stimuli that are learned by default, and held-out stimuli at most: contenders take every step with all of them."""

VALIDATION, VALIDATION_SHARE = 297, 0.2
"""Stimuli on which learning rates are chosen: this many, or of a few stimuli to learn this share."""

MOST_DIGITS = 1300
"""Digits to learn at most: the others are for validation and held out."""

FEWEST_DIGITS = 10
"""Digits to learn at least."""


@dataclass(frozen=True)
class Compared:
    """A comparison that can begin.

    Attributes
    ----------
    config
        The configuration, with a value for every key of `[network]` and `[data]` that matters.
    task
        The network, where it starts, and the splits.
    title
        A line that says what is compared.
    chosen
        A sentence that says which stimuli of a file are used; empty without a file.
    """

    config: Config
    task: Task
    title: str
    chosen: str = ""


def compared(config: Config, training_size: int | None = None, backend: str = "numpy") -> Compared:
    """Return the comparison of a configuration.

    Parameters
    ----------
    config
        Its tables network and data.
    training_size
        Stimuli to learn. Default: `training_size` in the table data, or 500.
    backend
        Where the arrays are.

    Raises
    ------
    ValueError
        For data that are not there, or values that do not fit each other.
    """
    config = replace(config, network=with_trained(config.network))
    size = training_size or config.data.training_size or LEARNED
    if config.data.file is None and config.data.name == "digits":
        load_sets(config)  # refuses keys that belong to files
        splits: Any = _digits(size, config.data.seed, config.network.dtype, backend)
        config, named, chosen = replace(config, data=replace(config.data, training_size=size)), f"{size} digits", ""
        n_outputs = splits[0].n_classes
    else:
        sets = load_sets(config)
        splits, n_outputs = _split(sets, size, backend), sets.n_outputs
        counts = [len(each.stimuli) for each in splits]
        config, named = replace(config, data=sets.data), f"{counts[0]} rows of {sets.title}"
        chosen = (
            f"{counts[0]} of {sets.count} training rows are learned, learning rates are chosen on {counts[1]} others, and "
            f"{counts[2]} rows are held out."
        )
    table = config.network
    network, weights = network_of(table, splits[0].stimuli.shape[1], n_outputs, backend=backend)
    task = Task(network, weights, *splits)
    units = " and ".join(map(str, network.units))
    kinds = " and ".join(dict.fromkeys(each.name for each in network.activations))
    title = f"{named}, {units} {kinds} units, radius {table.radius:g}, seed {table.seed}"
    return Compared(config, task, title, chosen)


def digits_task(
    units: int, radius: float, activation: str, training_size: int, seed: int, dtype: str, backend: str = "numpy"
) -> Task:
    """Return a task on the digits, split into training, 297 for validation, and 200 to 500 for test."""
    training, validation, test = _digits(training_size, seed, dtype, backend)
    network = RateNetwork(units, training.stimuli.shape[1], training.n_classes, activation, seed, np.dtype(dtype), backend)
    return Task(network, network.initial_weights(radius), training, validation, test)


def _digits(size: int, seed: int, dtype: str, backend: str) -> tuple[Dataset, ...]:
    if not FEWEST_DIGITS <= size <= MOST_DIGITS:
        raise SettingError(
            f"--training-size = {size} is outside {FEWEST_DIGITS} to {MOST_DIGITS}; others are for validation and test"
        )
    return load_digits(np.dtype(dtype)).to(backend).split(size, VALIDATION, min(500, 1500 - size), seed=seed)


def _split(sets: Sets, size: int, backend: str) -> tuple[Examples, Examples, Examples]:
    """Return the stimuli to learn, those on which learning rates are chosen, and those that are held out.

    They are drawn at random from the rows with a target.
    """
    answer = answer_of(sets.training) if isinstance(sets.training, Table) else None
    order, held_out = (_shuffled(each, sets.data.seed) for each in (sets.training, sets.held_out))
    validation = min(VALIDATION, round(VALIDATION_SHARE * len(order))) or 1
    if len(order) < 2:
        raise DatasetError(
            f"{sets.title}: only {len(order)} training row has a target; a comparison needs at least two, one of them to "
            "choose learning rates on"
        )
    kept = min(size, len(order) - validation)
    return (
        _examples(sets.training, order[:kept], answer, backend),
        _examples(sets.training, order[kept : kept + validation], answer, backend),
        _examples(sets.held_out, held_out[:HELD_OUT], answer, backend),
    )


def _shuffled(data: Dataset | Table, seed: int) -> NDArray[np.int64]:
    """Return the numbers of the rows that have a target, in random order."""
    if isinstance(data, Table):
        observed = np.concatenate([(~np.isnan(block)).any(axis=1) for block in target_blocks(data)])
        rows = np.flatnonzero(observed)
    else:
        rows = np.arange(len(data.labels))
    return np.random.default_rng(seed).permutation(rows)


def _examples(data: Dataset | Table, rows: NDArray[np.int64], answer: Answer | None, backend: str) -> Examples:
    """Return rows with their loss: the cross-entropy of labels, and the squared error of targets that are numbers."""
    rows = np.sort(rows)
    if isinstance(data, Table):
        stimuli, targets = data.read(rows)
        targets = targets if answer is None else loss_targets(answer, targets)
        name = data.stimuli.source.name
    else:
        stimuli, targets, name = data.stimuli[rows], data.labels[rows], data.name
    loss = SquaredError if isinstance(answer, Numbers) else CrossEntropy
    return Examples(name, to_backend(stimuli, backend), loss(to_backend(targets, backend)))
