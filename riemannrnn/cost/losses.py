"""Losses of the outputs of a network, one number a stimulus, with first and second derivatives."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import autograd.numpy as anp
from array_api_compat import array_namespace, device
from autograd import grad

from manifolds import Array
from manifolds.autograd_chart import vanishing_derivatives
from manifolds.points import all_finite
from manifolds.summary import Summarised
from riemannrnn.backend import as_array, check_backend, check_numpy


class Loss(Summarised, ABC):
    """L(y) of the outputs y of each stimulus; the cost is its mean over stimuli. Outputs have shape (batch, k)."""

    @abstractmethod
    def value(self, outputs: Array) -> Array:
        """Return L for each stimulus, shape (batch,)."""

    @abstractmethod
    def gradient(self, outputs: Array) -> Array:
        """Return ∂L/∂y, shape (batch, k)."""

    @abstractmethod
    def hessian(self, outputs: Array, vectors: Array) -> Array:
        """Return ∇²L v for a vector v a stimulus, shape (batch, k)."""

    @abstractmethod
    def take(self, rows: Array) -> "Loss":
        """Return the loss of some of the stimuli, by their indices."""

    def check(self, stimuli: int, width: int) -> None:
        """Refuse what belongs to another number of stimuli than this, or to outputs of another width, before any is there.

        Raises
        ------
        ValueError
            Naming what does not fit. By default nothing is known, and nothing refused.
        """
        return


@final
class SquaredError(Loss):
    """L(y) = ½ ‖y − t‖².

    Parameters
    ----------
    targets
        t, shape (batch, k): an array, a list or a table. Integers take the dtype of the outputs.

    Raises
    ------
    ValueError
        For outputs of another shape, dtype or (`BackendError`) backend than the targets.
    """

    def __init__(self, targets: Array) -> None:
        self.targets = as_array("targets", targets)

    def summary(self) -> dict[str, object]:
        return {"targets": tuple(self.targets.shape), "dtype": self.targets.dtype}

    def value(self, outputs: Array) -> Array:
        difference = self.gradient(outputs)
        return 0.5 * array_namespace(outputs).vecdot(difference, difference)

    def gradient(self, outputs: Array) -> Array:
        check_backend("targets", self.targets, array_namespace(outputs))
        targets = as_array("targets", self.targets, str(outputs.dtype).rpartition(".")[2])
        if targets.shape != outputs.shape or targets.dtype != outputs.dtype:
            raise ValueError(
                f"the targets have shape {tuple(targets.shape)} and dtype {targets.dtype}, the outputs "
                f"{tuple(outputs.shape)} and {outputs.dtype}; make them equal"
            )
        return outputs - targets

    def hessian(self, outputs: Array, vectors: Array) -> Array:
        return vectors

    def check(self, stimuli: int, width: int) -> None:
        if self.targets.shape != (stimuli, width):
            raise ValueError(
                f"the targets have shape {tuple(self.targets.shape)}, the outputs {(stimuli, width)}; make them equal"
            )
        check_finite("targets", self.targets)

    def take(self, rows: Array) -> "SquaredError":
        return SquaredError(array_namespace(self.targets).take(self.targets, rows, axis=0))


@final
class CrossEntropy(Loss):
    """L(y) = −log softmax(y)_label, in nats.

    Parameters
    ----------
    labels
        Index of the right output for each stimulus, integers of shape (batch,): an array, a list or a column of a table.

    Raises
    ------
    ValueError
        For labels that are not integers of shape (batch,), outputs that a label does not point to, or (`BackendError`) outputs
        of another backend.
    """

    def __init__(self, labels: Array) -> None:
        labels = as_array("labels", labels)
        if labels.ndim != 1 or not array_namespace(labels).isdtype(labels.dtype, "integral"):
            raise ValueError(
                f"the labels have shape {tuple(labels.shape)} and dtype {labels.dtype}; pass one integer a stimulus"
            )
        self.labels = labels

    def summary(self) -> dict[str, object]:
        count, xp = self.labels.shape[0], array_namespace(self.labels)
        return {"labels": count} | ({"from": int(xp.min(self.labels)), "to": int(xp.max(self.labels))} if count else {})

    def value(self, outputs: Array) -> Array:
        xp = array_namespace(outputs)
        shifted = outputs - xp.max(outputs, axis=1, keepdims=True)
        return xp.log(xp.sum(xp.exp(shifted), axis=1)) - xp.sum(xp.where(self._target(outputs), shifted, 0.0), axis=1)

    def gradient(self, outputs: Array) -> Array:
        xp = array_namespace(outputs)
        return _softmax(outputs) - xp.astype(self._target(outputs), outputs.dtype)

    def hessian(self, outputs: Array, vectors: Array) -> Array:
        probabilities = _softmax(outputs)
        return probabilities * (vectors - array_namespace(outputs).vecdot(probabilities, vectors)[:, None])

    def check(self, stimuli: int, width: int) -> None:
        xp = array_namespace(self.labels)
        if self.labels.shape[0] != stimuli:
            raise ValueError(
                f"{self.labels.shape[0]} labels do not fit outputs of shape {(stimuli, width)}; pass one label a stimulus, "
                f"each between 0 and {width - 1}"
            )
        fitting = (self.labels >= 0) & (self.labels < width)
        if not bool(xp.all(fitting)):
            row = int(xp.nonzero(~fitting)[0][0])
            raise ValueError(
                f"label {int(self.labels[row])} of stimulus {row} points to no output: there are {width}; pass labels each "
                f"between 0 and {width - 1}, or give the network more outputs"
            )

    def take(self, rows: Array) -> "CrossEntropy":
        return CrossEntropy(array_namespace(self.labels).take(self.labels, rows, axis=0))

    def _target(self, outputs: Array) -> Array:
        xp = array_namespace(outputs)
        check_backend("labels", self.labels, xp)
        self.check(*outputs.shape)
        labels = xp.astype(self.labels, xp.int64)  # numbers of eight bits would count outputs beyond 255 anew
        return labels[:, None] == xp.arange(outputs.shape[1], dtype=xp.int64, device=device(outputs))[None, :]


@final
class AutogradLoss(Loss):
    """A loss of one's own, differentiated by autograd.

    Parameters
    ----------
    function
        (outputs, targets) ↦ L of shape (batch,), each stimulus on its own, written with `autograd.numpy`.
    targets
        Whatever belongs to the stimuli, first axis batch.

    Raises
    ------
    ValueError
        For a function that does not return one number a stimulus, or (`BackendError`) outputs that are not NumPy's.
    """

    def __init__(self, function: Callable[[Array, Array], Array], targets: Array) -> None:
        self._function = function
        self.targets = as_array("targets", targets)

    def summary(self) -> dict[str, object]:
        return {"function": getattr(self._function, "__name__", type(self._function).__name__), "targets": len(self.targets)}

    def _gradient(self, outputs: Array) -> Array:
        return grad(lambda moved: anp.sum(self._function(moved, self.targets)))(outputs)

    def value(self, outputs: Array) -> Array:
        check_numpy("AutogradLoss", outputs)
        value = self._function(outputs, self.targets)
        if value.shape != outputs.shape[:1]:
            raise ValueError(f"the loss returned shape {tuple(value.shape)}; return one number a stimulus, {outputs.shape[:1]}")
        return value

    def gradient(self, outputs: Array) -> Array:
        check_numpy("AutogradLoss", outputs)
        return self._gradient(outputs).astype(outputs.dtype, copy=False)  # targets may be wider

    def hessian(self, outputs: Array, vectors: Array) -> Array:
        with vanishing_derivatives():
            product = grad(lambda moved: anp.sum(self._gradient(moved) * vectors))(outputs)
        return product.astype(outputs.dtype, copy=False)

    def check(self, stimuli: int, width: int) -> None:
        if len(self.targets) != stimuli:
            raise ValueError(f"{len(self.targets)} targets do not fit {stimuli} stimuli; pass one a stimulus")

    def take(self, rows: Array) -> "AutogradLoss":
        return AutogradLoss(self._function, self.targets[rows])


def resolve_loss(labels: Array | Loss, count: int, width: int) -> Loss:
    """Return the loss of so many stimuli with outputs of that width: cross-entropy for labels.

    Raises
    ------
    ValueError
        For labels or targets that do not fit them.
    """
    labels = labels if isinstance(labels, Loss) else as_array("labels", labels)
    if not isinstance(labels, Loss) and labels.shape != (count,):
        raise ValueError(f"the labels have shape {tuple(labels.shape)}; pass one a stimulus, shape {(count,)}")
    loss = labels if isinstance(labels, Loss) else CrossEntropy(labels)
    loss.check(count, width)
    return loss


def check_finite(name: str, rows: Array) -> None:
    """Refuse an array with NaN or infinity, naming the first row that holds any.

    Raises
    ------
    ValueError
        For the first of those rows.
    """
    if all_finite(rows):
        return
    xp = array_namespace(rows)
    flat = xp.reshape(rows, (rows.shape[0], -1))
    first = int(xp.nonzero(~xp.all(xp.isfinite(flat), axis=1))[0][0])
    raise ValueError(f"row {first} of the {name} holds NaN or infinity; repair it or leave it out")


def _softmax(outputs: Array) -> Array:
    xp = array_namespace(outputs)
    weights = xp.exp(outputs - xp.max(outputs, axis=1, keepdims=True))
    return weights / xp.sum(weights, axis=1, keepdims=True)
