"""Losses of the outputs of a network, one number for each stimulus, with first and second derivatives."""

from manifolds import Array
from riemannrnn.backend import as_array
from riemannrnn.cost.cross_entropy import CrossEntropy
from riemannrnn.cost.loss import Loss
from riemannrnn.cost.own_loss import AutogradLoss
from riemannrnn.cost.squared_error import SquaredError

__all__ = ["AutogradLoss", "CrossEntropy", "Loss", "SquaredError"]


def resolve_loss(labels: Array | Loss, count: int, width: int) -> Loss:
    """Return the loss for this number of stimuli and of outputs: a given loss, or cross-entropy for labels.

    Raises
    ------
    ValueError
        For labels or targets that do not fit these numbers.
    """
    labels = labels if isinstance(labels, Loss) else as_array("labels", labels)
    if not isinstance(labels, Loss) and labels.shape != (count,):
        raise ValueError(f"the labels have shape {tuple(labels.shape)}; pass one a stimulus, shape {(count,)}")
    loss = labels if isinstance(labels, Loss) else CrossEntropy(labels)
    loss.check(count, width)
    return loss
