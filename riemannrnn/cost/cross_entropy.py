"""Cross-entropy of labels; some labels may be missing."""

from typing import Any, final

from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.backend import as_array, check_backend
from riemannrnn.cost.loss import Loss, relative_weights

MISSING = -1
"""The label of a stimulus without a label."""


@final
class CrossEntropy(Loss):
    """L(y) = −log softmax(y)_label, in nats.

    The label −1 is missing: the stimulus does not count in the loss, its derivatives and the mean over stimuli. −1 also marks a
    missing class in the codes of pandas and in the semi-supervised estimators of scikit-learn. NaN cannot mark it, because
    labels are integers.

    Parameters
    ----------
    labels
        Index of the right output for each stimulus, integers of shape (batch,): an array, a list or a column of a table.
    weights
        w ≥ 0 for each stimulus, shape (batch,). A weight of 2 counts as two equal rows. Default: all are 1.
    mean_weight
        The mean weight over the data set, 0 for a stimulus without a label, if these stimuli are only a part of it. Default:
        the mean over these stimuli.

    Raises
    ------
    ValueError
        For labels that are not integers of shape (batch,), only the labels −1 and 1, labels that are all missing, or invalid
        weights. For a label that is not the index of an output, or (`BackendError`) outputs of another backend.
    """

    def __init__(self, labels: Array, weights: Any = None, mean_weight: float | None = None) -> None:
        self.labels = as_array("labels", labels)
        xp = array_namespace(self.labels)
        if self.labels.ndim != 1 or not xp.isdtype(self.labels.dtype, "integral"):
            raise ValueError(
                f"the labels have shape {tuple(self.labels.shape)} and dtype {self.labels.dtype}; pass one integer a stimulus, "
                f"and {MISSING} where the label is missing"
            )
        _check_not_signs(self.labels)
        self.relative_weights = relative_weights(self._labelled, weights, mean_weight)

    def summary(self) -> dict[str, object]:
        xp = array_namespace(self.labels)
        known = self.labels[self._labelled]
        facts: dict[str, object] = {"labels": self.labels.shape[0]}
        if known.shape[0]:
            facts |= {"from": int(xp.min(known)), "to": int(xp.max(known))}
        return facts | ({"missing": missing} if (missing := self.labels.shape[0] - known.shape[0]) else {})

    def value(self, outputs: Array) -> Array:
        xp, target = array_namespace(outputs), self._target(outputs)
        outputs = self._labelled_rows(outputs)
        shifted = outputs - xp.max(outputs, axis=1, keepdims=True)
        value = xp.log(xp.sum(xp.exp(shifted), axis=1)) - xp.sum(xp.where(target, shifted, 0.0), axis=1)
        return xp.where(self._labelled, value, 0.0)

    def gradient(self, outputs: Array) -> Array:
        target = array_namespace(outputs).astype(self._target(outputs), outputs.dtype)
        return self._labelled_rows(_softmax(self._labelled_rows(outputs)) - target)

    def hessian(self, outputs: Array, vectors: Array) -> Array:
        probabilities, vectors = _softmax(self._labelled_rows(outputs)), self._labelled_rows(vectors)
        return probabilities * (vectors - array_namespace(outputs).vecdot(probabilities, vectors)[:, None])

    def correct(self, outputs: Array) -> Array:
        """Return whether the largest output is at the label, shape (batch,); False if the label is missing."""
        return array_namespace(outputs).argmax(outputs, axis=1) == self.labels

    def check(self, stimuli: int, width: int) -> None:
        xp = array_namespace(self.labels)
        if self.labels.shape[0] != stimuli:
            raise ValueError(
                f"{self.labels.shape[0]} labels do not fit outputs of shape {(stimuli, width)}; pass one label a stimulus, "
                f"each between 0 and {width - 1}"
            )
        fitting = ~self._labelled | ((self.labels >= 0) & (self.labels < width))
        if not bool(xp.all(fitting)):
            row = int(xp.nonzero(~fitting)[0][0])
            raise ValueError(
                f"label {int(self.labels[row])} of stimulus {row} points to no output: there are {width}; pass labels each "
                f"between 0 and {width - 1}, or {MISSING} for a missing label, or give the network more outputs"
            )

    def take(self, rows: Array) -> "CrossEntropy":
        return self._part(rows, labels=self.labels)

    @property
    def _labelled(self) -> Array:
        xp = array_namespace(self.labels)
        return xp.astype(self.labels, xp.int64) != MISSING  # an unsigned dtype cannot represent −1

    def _labelled_rows(self, rows: Array) -> Array:
        """Return the rows, with zeros where the label is missing."""
        xp, labelled = array_namespace(rows), self._labelled
        return rows if bool(xp.all(labelled)) else xp.where(labelled[:, None], rows, 0.0)

    def _target(self, outputs: Array) -> Array:
        xp = array_namespace(outputs)
        check_backend("labels", self.labels, xp)
        self.check(*outputs.shape)
        labels = xp.astype(self.labels, xp.int64)  # comparisons with labels of eight bits would wrap around at output 255
        return labels[:, None] == xp.arange(outputs.shape[1], dtype=xp.int64, device=device(outputs))[None, :]


def _check_not_signs(labels: Array) -> None:
    """Check that the labels are not −1 and 1 only: these two classes would become one class and missing labels."""
    xp, missing = array_namespace(labels), labels == MISSING
    if bool(xp.any(missing)) and bool(xp.all(missing | (labels == 1))) and not bool(xp.all(missing)):
        raise ValueError(
            f"the labels are {MISSING} and 1 only, but {MISSING} marks a missing label; number the classes from 0, so that two "
            "classes have the labels 0 and 1"
        )


def _softmax(outputs: Array) -> Array:
    xp = array_namespace(outputs)
    weights = xp.exp(outputs - xp.max(outputs, axis=1, keepdims=True))
    return weights / xp.sum(weights, axis=1, keepdims=True)
