"""How well a regression of `riemannrnn train` explains the held-out rows."""

from dataclasses import replace

import numpy as np

from manifolds.arrays import Array, to_numpy
from riemannrnn.analysis.repeats import explained
from riemannrnn.cli.sets import Sets
from riemannrnn.data import Table
from riemannrnn.models import TrainedModel


def explained_sentence(model: TrainedModel, sets: Sets) -> str:
    """Return R² on the held-out rows in a sentence, and with repeats of stimuli the share of the explainable variance.

    A second sentence says how many held-out rows repeat a stimulus of training: the values for new stimuli are then lower.
    Nothing for classes, for rows without a fixed point, or for a stream, whose rows do not fit into memory.
    """
    held_out = sets.held_out
    if not isinstance(held_out, Table) or held_out.classes is not None or sets.data.stream:
        return ""
    stimuli, targets = held_out.read(slice(0, len(held_out)))
    standardised = replace(model, standardisation=None)  # the table has standardised them
    parts = [(to_numpy(part.outputs), to_numpy(part.converged)) for part in standardised.responses(stimuli)]
    outputs, converged = map(np.concatenate, zip(*parts, strict=True))
    if targets is None or not converged.all():
        return ""
    found = explained(to_numpy(stimuli), to_numpy(targets), to_numpy(model.answer.decode(outputs)))
    sentence = found.sentence()
    return f"On held-out rows: {sentence}.{trained_before(to_numpy(stimuli), sets)}" if sentence else ""


def trained_before(stimuli: Array, sets: Sets) -> str:
    """Say in a sentence how many of the held-out stimuli also occur in training; nothing if none does."""
    training = sets.training
    if not isinstance(training, Table):
        return ""
    known = to_numpy(training.read(slice(0, len(training)))[0])
    group = np.unique(np.concatenate([known, stimuli]), axis=0, return_inverse=True)[1].reshape(-1)
    repeated = int(np.isin(group[len(known) :], group[: len(known)]).sum())
    if not repeated:
        return ""
    return (
        f" But {repeated} of {len(stimuli)} held-out rows repeat a stimulus of training. To judge new stimuli, train on a file "
        "without them and pass them to riemannrnn predict."
    )
