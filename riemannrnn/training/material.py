"""The data of a run: arrays or a table become stimuli, a loss, and the meaning of the outputs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifolds import Array
from manifolds.arrays import to_numpy
from riemannrnn.backend import as_array, to_backend
from riemannrnn.cost.cross_entropy import MISSING
from riemannrnn.cost.losses import CrossEntropy, Loss, SquaredError, resolve_loss
from riemannrnn.data import Classes, DatasetError, Standardisation, Table
from riemannrnn.data.standardisation import fitted
from riemannrnn.models import Answer, Labels, Model, Numbers


@dataclass(frozen=True)
class Material:
    """The data on which a network is trained or tested.

    Attributes
    ----------
    stimuli
        Shape (n_stimuli, n_inputs), standardised if this was requested.
    loss
        The loss of all stimuli.
    answer
        The meaning of the outputs.
    standardisation
        The standardisation that was applied to the stimuli.
    inputs
        The names of the columns of the stimuli.
    """

    stimuli: Array
    loss: Loss
    answer: Answer
    standardisation: Standardisation | None = None
    inputs: tuple[str, ...] = ()


def material(
    name: str, network: Model, stimuli: Array | Table, labels: Array | Loss | None, learned: Material | None = None
) -> Material:
    """Return the data on which a network is trained or tested.

    Parameters
    ----------
    name
        Name of the stimuli in messages.
    network
        The network.
    stimuli, labels
        Arrays as `train` takes them, or a table and None.
    learned
        The training data, if these are test data: targets are scaled in the same way.

    Raises
    ------
    ValueError
        For shapes that do not fit, labels together with a table, or a table without targets or with another dtype.
    """
    if isinstance(stimuli, Table):
        if labels is not None:
            raise ValueError(f"the {name} are a table, which holds its targets; pass no labels beside it")
        return _of_table(name, network, stimuli, learned)
    if labels is None:
        raise ValueError(f"the {name} have no labels; pass labels or a loss, or a table with targets")
    stimuli = as_array(name, stimuli, network.dtype, network.namespace)
    loss = resolve_loss(labels, stimuli.shape[0], network.n_outputs)
    known = isinstance(loss, CrossEntropy)
    return Material(stimuli, loss, Labels(np.arange(network.n_outputs)) if known else Numbers())


def answer_of(table: Table) -> Answer:
    """Return the meaning of the outputs of a network that learns a table: its labels, or its targets in their units.

    The scales of numeric targets are computed from the rows of the table, without missing targets.

    Raises
    ------
    DatasetError
        For a table without targets, or a target column without any number.
    """
    if table.targets is None:
        raise DatasetError(f"{table.stimuli.source.name}: the table has no targets; name them with target=")
    if table.classes is not None:
        return _labels(table, table.classes)
    observed = sum(((~np.isnan(block)).sum(axis=0) for block in target_blocks(table)), np.zeros(table.n_outputs))
    if not observed.all():
        empty = table.targets.names[int(np.flatnonzero(observed == 0)[0])]
        name = table.targets.source.name
        raise DatasetError(f"{name}: target {empty!r} is missing in all of the training rows; leave it out of the targets")
    scales = fitted(target_blocks(table), True, True, table.targets.source.name)
    return Numbers(scales.shift, scales.scale, _target_names(table))


def _labels(table: Table, classes: Classes) -> Labels:
    """Return the labels as they are in the source: texts, truth values or numbers."""
    kind = "float64"
    if table.targets is not None:
        columns = table.targets.source.columns
        kind = columns[table.targets.chosen[0] if table.targets.chosen else 0].kind if columns else table.targets.source.dtype
    if kind == "text":
        return Labels(np.array(classes.names), _target_names(table))
    values = np.array(classes.values)
    whole = bool((values == np.round(values)).all())
    return Labels(values.astype(bool if kind == "bool" else np.int64 if whole else np.float64), _target_names(table))


def _target_names(table: Table) -> tuple[str, ...]:
    return table.targets.names if table.targets is not None and table.targets.source.columns else ()


def target_blocks(table: Table) -> Iterator[NDArray[np.float64]]:
    """Yield the targets of all rows as numbers, NaN if missing, one chunk at a time. The stimuli are not read.

    Raises
    ------
    DatasetError
        For an infinite target.
    """
    if table.targets is None:
        return
    alone = replace(table, stimuli=table.targets, targets=None, classes=None)
    with alone.reader() as read:
        for start, stop in pairwise(alone.bounds().tolist()):
            numbers = to_numpy(read(slice(start, stop))[0]).astype(np.float64)
            if np.isinf(numbers).any():
                source = table.targets.source.name
                raise DatasetError(f"{source}: a target is infinite; repair it, or write NaN if it was not observed")
            yield numbers


def identity(width: int) -> Standardisation:
    """Return the standardisation that leaves stimuli with this many inputs unchanged."""
    return Standardisation(np.zeros(width), np.ones(width), np.full(width, np.nan))


def check_table(name: str, network: Model, table: Table, answer: Answer) -> None:
    """Check that a table has the dtype of a network, and the labels or targets that the network's outputs mean.

    Raises
    ------
    DatasetError
        If it does not.
    """
    source = table.stimuli.source.name
    if table.dtype != str(network.dtype):
        raise DatasetError(
            f"{source}: the table has dtype {table.dtype} and the network {network.dtype}; open it with "
            f"dtype={str(network.dtype)!r}"
        )
    if table.n_outputs != network.n_outputs or not _fits(answer, table):
        raise DatasetError(
            f"{source}: the {name} have {table.n_outputs} classes or targets that are not the {network.n_outputs} outputs of "
            f"the network; pass a network with n_outputs={table.n_outputs}, and held-out rows of the same table"
        )


def _of_table(name: str, network: Model, table: Table, learned: Material | None) -> Material:
    answer = answer_of(table) if learned is None else learned.answer
    check_table(name, network, table, answer)
    stimuli, targets = table.read(slice(0, len(table)))
    stimuli, targets = (to_backend(each, network.namespace) for each in (stimuli, loss_targets(answer, targets)))
    loss = CrossEntropy(targets) if isinstance(answer, Labels) else SquaredError(targets)
    loss.check(stimuli.shape[0], network.n_outputs)
    inputs = table.stimuli.names if table.stimuli.source.columns else ()
    return Material(stimuli, loss, answer, table.standardisation, inputs)


def loss_targets(answer: Answer, targets: Any) -> Any:
    """Return the targets of rows of a table for a loss: labels with −1 if they are missing, or scaled numbers."""
    if isinstance(answer, Numbers):
        return answer.encode(targets)
    labels = to_numpy(targets)
    return np.where(np.isnan(labels), MISSING, labels).astype(np.int64) if labels.dtype.kind == "f" else targets


def _fits(answer: Answer, table: Table) -> bool:
    """Tell whether a table has these labels, or numeric targets with these names."""
    if table.classes is not None:
        return isinstance(answer, Labels) and np.array_equal(answer.values, _labels(table, table.classes).values)
    return isinstance(answer, Numbers) and table.targets is not None and answer.names == _target_names(table)
