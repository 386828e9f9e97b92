"""Squared error; targets may be missing, repeated, or known for some of the outputs only."""

from typing import Any, final

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from manifolds.arrays import to_numpy
from riemannrnn.backend import as_array, check_backend
from riemannrnn.cost.finite import check_no_infinity
from riemannrnn.cost.loss import Loss, observed_entries, relative_weights


@final
class SquaredError(Loss):
    """L(y) = ½ ‖y − t‖² over the observed targets t.

    A NaN target is missing: it does not count in L or its derivatives. A stimulus without any target does not count in the
    mean over stimuli either. The cost equals the cost of the problem without those targets.

    **Repeats.** Stimuli may have several target vectors each, in different numbers. The targets can be separate rows, with the
    stimulus repeated. Or they can have an axis of repeats, padded with NaN. Then L(y) = (1/R) Σ ½ ‖y − t_r‖² over the R repeats
    with an observed target, and the stimulus has the weight of R rows. Both have the same cost, but the second form solves the
    fixed point of a stimulus only once.

    Parameters
    ----------
    targets
        t, shape (batch, k) or (batch, repeats, k): an array, a list or a table. Integers take the dtype of the outputs.
    weights
        w ≥ 0 for each stimulus, shape (batch,). A weight of 2 counts as two equal rows. Default: all are 1.
    units
        The outputs that the columns of the targets belong to: their indices, or a mask over all outputs. The other outputs
        have no targets. Default: all outputs, in order.
    mean_weight
        The mean of w R over the data set, if these stimuli are only a part of it; R is 1 for a stimulus with targets and 0 for
        a stimulus without targets. Default: the mean over these stimuli.

    Raises
    ------
    ValueError
        For targets of another number of axes, invalid weights or units, or targets that are all missing. For outputs with
        another shape, dtype or (`BackendError`) backend than the targets.
    """

    def __init__(self, targets: Array, weights: Any = None, units: Any = None, mean_weight: float | None = None) -> None:
        self.targets = as_array("targets", targets)
        if self.targets.ndim not in (2, 3):
            raise ValueError(
                f"the targets have shape {tuple(self.targets.shape)}; pass one row for each stimulus, shape (batch, k), or "
                "(batch, repeats, k)"
            )
        self.units: Array | None = None
        self._width: int | None = None
        if units is not None:
            self.units, self._width = _indices(units)
        observed = observed_entries(_by_repeat(self.targets))
        self._complete = units is None and self.targets.ndim == 2 and bool(array_namespace(observed).all(observed))
        self.relative_weights = relative_weights(_repeats(observed), weights, mean_weight)

    def summary(self) -> dict[str, object]:
        facts: dict[str, object] = {"targets": tuple(self.targets.shape), "dtype": self.targets.dtype}
        if missing := int(array_namespace(self.targets).count_nonzero(~observed_entries(self.targets))):
            facts["missing"] = missing
        return facts | ({} if self.units is None else {"units": len(self.units)})

    def value(self, outputs: Array) -> Array:
        xp = array_namespace(outputs)
        if self._complete:
            difference = outputs - self._fitting(outputs)
            return 0.5 * xp.vecdot(difference, difference)
        difference, repeats = self._differences(outputs)
        return 0.5 * xp.sum(xp.vecdot(difference, difference), axis=1) / repeats

    def gradient(self, outputs: Array) -> Array:
        if self._complete:
            return outputs - self._fitting(outputs)
        difference, repeats = self._differences(outputs)
        return array_namespace(outputs).sum(difference, axis=1) / repeats[:, None]

    def hessian(self, outputs: Array, vectors: Array) -> Array:
        if self._complete:
            return vectors
        xp, observed = array_namespace(outputs), observed_entries(self._targets(outputs))
        share = xp.sum(xp.astype(observed, outputs.dtype), axis=1) / _divisor(observed, outputs)[:, None]
        return share * xp.where(share > 0, vectors, 0.0)

    def check(self, stimuli: int, width: int) -> None:
        self._check_shape(stimuli, width)
        check_no_infinity("targets", self.targets)

    def take(self, rows: Array) -> "SquaredError":
        return self._part(rows, targets=self.targets)

    def _differences(self, outputs: Array) -> tuple[Array, Array]:
        """Return y − t, 0 where t is missing, shape (batch, repeats, k), and the numbers of repeats, at least 1."""
        xp, targets = array_namespace(outputs), self._targets(outputs)
        observed = observed_entries(targets)
        difference = outputs[:, None, :] - xp.where(observed, targets, 0.0)
        return xp.where(observed, difference, 0.0), _divisor(observed, outputs)

    def _targets(self, outputs: Array) -> Array:
        """Return the targets of all outputs, NaN for outputs without targets, shape (batch, repeats, k)."""
        targets = _by_repeat(self._fitting(outputs))
        return targets if self.units is None else _spread(targets, self.units, outputs.shape[1])

    def _fitting(self, outputs: Array) -> Array:
        """Return the targets in the dtype of the outputs, after a check of their backend, shape and dtype."""
        check_backend("targets", self.targets, array_namespace(outputs))
        targets = as_array("targets", self.targets, str(outputs.dtype).rpartition(".")[2])
        self._check_shape(*outputs.shape)
        if targets.dtype != outputs.dtype:
            raise ValueError(f"the targets have dtype {targets.dtype}, the outputs {outputs.dtype}; make them equal")
        return targets

    def _check_shape(self, stimuli: int, width: int) -> None:
        shape, columns, chosen = tuple(self.targets.shape), width, ""
        if self.units is not None:
            if self.units.max(initial=-1) >= width or self._width not in (None, width):
                raise ValueError(
                    f"the units of the targets do not fit {width} outputs: the largest is {self.units.max(initial=-1)}, of "
                    f"{self._width or 'any number'}; pass indices below {width}, or a mask with {width} entries"
                )
            columns, chosen = len(self.units), f", of which {len(self.units)} have targets"
        if (shape[0], shape[-1]) != (stimuli, columns):
            raise ValueError(f"the targets have shape {shape}, the outputs {(stimuli, width)}{chosen}; make them equal")


def _indices(units: Any) -> tuple[Array, int | None]:
    """Return the indices of units as a NumPy array, and the number of all units if they are given by a mask."""
    found = to_numpy(as_array("units", units))
    if found.ndim == 1 and found.dtype == bool:
        return np.flatnonzero(found), len(found)
    if found.ndim != 1 or found.dtype.kind not in "iu" or found.min(initial=0) < 0 or len(np.unique(found)) < len(found):
        raise ValueError(
            f"units = {units!r} are not the units of the targets; pass different indices of 0 or more, or a mask over all units"
        )
    return found.astype(np.int64), None


def _spread(targets: Array, units: Array, width: int) -> Array:
    """Return targets of all units from targets of some units, with NaN for the others, shape (batch, repeats, width)."""
    xp = array_namespace(targets)
    source = np.full(width, len(units))
    source[units] = np.arange(len(units))
    missing = xp.full((*targets.shape[:2], 1), xp.nan, dtype=targets.dtype, device=device(targets))
    return xp.take(xp.concat([targets, missing], axis=2), xp.asarray(source, device=device(targets)), axis=2)


def _by_repeat(targets: Array) -> Array:
    """Return targets of shape (batch, repeats, k), with one repeat if they lack the axis of repeats."""
    return targets if targets.ndim == 3 else targets[:, None, :]


def _repeats(observed: Array) -> Array:
    """Return the number of repeats with an observed target, shape (batch,), from shape (batch, repeats, k)."""
    xp = array_namespace(observed)
    return xp.sum(xp.astype(xp.any(observed, axis=2), xp.int64), axis=1)


def _divisor(observed: Array, like: Array) -> Array:
    """Return the number of repeats, or 1 if there is none, in the dtype of an array."""
    xp, repeats = array_namespace(like), _repeats(observed)
    return xp.astype(xp.where(repeats > 0, repeats, 1), like.dtype)
