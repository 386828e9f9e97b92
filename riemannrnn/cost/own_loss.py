"""A user-defined loss, differentiated by autograd."""

from collections.abc import Callable
from math import prod
from typing import Any, final

import autograd.numpy as anp
import numpy as np
from autograd import grad

from manifolds import Array
from manifolds.autograd_chart import vanishing_derivatives
from riemannrnn.backend import as_array, check_numpy
from riemannrnn.cost.loss import Loss, observed_entries, relative_weights


@final
class AutogradLoss(Loss):
    """A user-defined loss, differentiated by autograd.

    If all targets of a stimulus are NaN, the stimulus has no target. It is not passed to the function, and it does not count in
    the mean over stimuli. If only some targets of a stimulus are NaN, the function must replace them before it computes with
    them, as in `outputs - anp.where(anp.isnan(targets), outputs, targets)`. In the other order the value is right but the
    gradients are NaN.

    Parameters
    ----------
    function
        (outputs, targets) ↦ L of shape (batch,), independently for each stimulus, written with `autograd.numpy`.
    targets
        Data of the stimuli, with the batch as first axis.
    weights
        w ≥ 0 for each stimulus, shape (batch,). A weight of 2 counts as two equal rows. Default: all are 1.
    mean_weight
        The mean weight over the data set, 0 for a stimulus without targets, if these stimuli are only a part of it. Default:
        the mean over these stimuli.

    Raises
    ------
    ValueError
        For targets without an axis, targets that are all missing, or invalid weights. For a function that does not return one
        number for each stimulus, or returns NaN because of a missing target. (`BackendError`) For outputs that are not NumPy
        arrays.
    """

    def __init__(
        self,
        function: Callable[[Array, Array], Array],
        targets: Array,
        weights: Any = None,
        mean_weight: float | None = None,
    ) -> None:
        self._function = function
        self.targets = as_array("targets", targets)
        if self.targets.ndim == 0:
            raise ValueError("the targets are one number; pass an array with one entry or row for each stimulus")
        self.relative_weights = relative_weights(_with_targets(_missing_numbers(self.targets)), weights, mean_weight)

    def summary(self) -> dict[str, object]:
        return {"function": getattr(self._function, "__name__", type(self._function).__name__), "targets": len(self.targets)}

    def value(self, outputs: Array) -> Array:
        return self._of_observed(self._value, outputs.shape[:1], outputs)

    def gradient(self, outputs: Array) -> Array:
        gradient = self._of_observed(lambda some, targets: self._slope(targets)(some), outputs.shape, outputs)
        return gradient.astype(outputs.dtype, copy=False)  # targets of a wider dtype would widen it

    def hessian(self, outputs: Array, vectors: Array) -> Array:
        def product(some: Array, targets: Array, directions: Array) -> Array:
            slope = self._slope(targets)
            return grad(lambda moved: anp.sum(slope(moved) * directions))(some)

        with vanishing_derivatives():
            return self._of_observed(product, outputs.shape, outputs, vectors).astype(outputs.dtype, copy=False)

    def check(self, stimuli: int, width: int) -> None:
        if len(self.targets) != stimuli:
            raise ValueError(f"{len(self.targets)} targets do not fit {stimuli} stimuli; pass one a stimulus")

    def take(self, rows: Array) -> "AutogradLoss":
        return self._part(rows, targets=self.targets)

    def _value(self, outputs: Array, targets: Array) -> Array:
        value = self._function(outputs, targets)
        if value.shape != outputs.shape[:1]:
            raise ValueError(f"the loss returned shape {tuple(value.shape)}; return one number a stimulus, {outputs.shape[:1]}")
        return value

    def _slope(self, targets: Array) -> Callable[[Array], Array]:
        slope: Callable[[Array], Array] = grad(lambda moved: anp.sum(self._function(moved, targets)))
        return slope

    def _of_observed(self, function: Callable[..., Array], shape: tuple[int, ...], outputs: Array, *more: Array) -> Array:
        """Return the result of a function for the stimuli with targets, and zeros for the other stimuli."""
        check_numpy("AutogradLoss", outputs)
        self.check(*outputs.shape)
        missing = _missing_numbers(self.targets)
        rows = np.flatnonzero(_with_targets(missing))
        if rows.size == shape[0]:
            result = function(outputs, self.targets, *more)
        else:
            result = np.zeros(shape, outputs.dtype)
            if rows.size:
                result[rows] = function(outputs[rows], self.targets[rows], *(each[rows] for each in more))
        _refuse_nan(result, missing.any(axis=1))
        return result


def _missing_numbers(targets: Array) -> Array:
    """Return which numbers of each target are missing, shape (batch, numbers)."""
    return ~observed_entries(targets).reshape(len(targets), prod(targets.shape[1:]))


def _with_targets(missing: Array) -> Array:
    """Return which stimuli have a target, shape (batch,). Targets without any numbers are not missing."""
    return ~missing.all(axis=1) if missing.shape[1] else np.ones(len(missing), bool)


def _refuse_nan(result: Array, partly_missing: Array) -> None:
    """Raise an error if a loss or its derivative is NaN for a stimulus with some missing targets."""
    if not partly_missing.any():
        return
    bad = np.isnan(result).reshape(len(result), -1).any(axis=1) & partly_missing
    if bad.any():
        raise ValueError(
            f"the loss or its derivative is NaN for stimulus {np.flatnonzero(bad)[0]}, whose targets hold NaN; replace the NaN "
            "before the function computes with them, for example by anp.where(anp.isnan(targets), outputs, targets)"
        )
