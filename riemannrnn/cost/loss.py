"""The base class of losses, and the weights of stimuli in the mean over them."""

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, Self

from array_api_compat import array_namespace

from manifolds import Array
from manifolds.summary import Summarised
from riemannrnn.backend import as_array, check_backend


class Loss(Summarised, ABC):
    """L(y) of the outputs y of each stimulus, shape (batch, k). The cost is the weighted mean of L over stimuli.

    A stimulus has a weight w ≥ 0, which is 0 if none of its targets is observed. With m stimuli in the data set and their mean
    weight w̄, the cost is J = (1/m) Σ ωᵢ Lᵢ with the relative weights ωᵢ = wᵢ / w̄. A weight of 2 counts as two equal rows, and
    a stimulus without targets counts as an absent row. In a mini-batch, too, w̄ is the mean over the whole data set. The
    expected cost of a random mini-batch is then the cost of the data set.

    Attributes
    ----------
    relative_weights
        ω, shape (batch,), float64. None if all are 1.
    """

    relative_weights: Array | None = None

    @abstractmethod
    def value(self, outputs: Array) -> Array:
        """Return L for each stimulus, shape (batch,), without its weight. It is 0 for a stimulus without targets."""

    @abstractmethod
    def gradient(self, outputs: Array) -> Array:
        """Return ∂L/∂y, shape (batch, k)."""

    @abstractmethod
    def hessian(self, outputs: Array, vectors: Array) -> Array:
        """Return ∇²L v for one vector v per stimulus, shape (batch, k)."""

    @abstractmethod
    def take(self, rows: Array) -> "Loss":
        """Return the loss of some of the stimuli, by their indices, with the same relative weights."""

    def correct(self, outputs: Array) -> Array | None:
        """Return whether the largest output is the right class, shape (batch,); False if the class is unknown.

        None, the default, means that the loss has no classes and accuracy is not defined.
        """
        return None

    def check(self, stimuli: int, width: int) -> None:
        """Check that the targets match the number of stimuli and the number of outputs.

        Raises
        ------
        ValueError
            Naming what does not match. The default checks nothing.
        """
        return

    def shares(self, found: Array, dtype: Any) -> Array:
        """Return the share of each stimulus in the mean, shape (batch,): the cost is the sum of shares times L.

        If all b stimuli of the batch are found, the share is ωᵢ / b. Otherwise the stimuli that are found also get the weight
        of the others: with weights vᵢ = ωᵢ for stimuli that are found, and vᵢ = 0 for the others, the share is (vᵢ / b) (Σ ω /
        Σ v). For the whole data set this is the weighted mean over the stimuli that are found.

        Parameters
        ----------
        found
            Whether each stimulus is in the mean, shape (batch,).
        dtype
            Dtype of the result.
        """
        xp, weights = array_namespace(found), self.relative_weights
        if weights is None:
            return xp.astype(found, dtype) / max(int(xp.count_nonzero(found)), 1)
        kept = xp.where(found, weights, 0.0)
        rest = float(xp.sum(kept))
        return xp.astype(kept * (float(xp.sum(weights)) / rest / found.shape[0] if rest else 0.0), dtype)

    def lost(self, found: Array) -> Array:
        """Return which stimuli have a weight but are not found, shape (batch,). The cost does not need stimuli of weight 0."""
        return ~found if self.relative_weights is None else ~found & (self.relative_weights > 0)

    def _part(self, rows: Array, **arrays: Array) -> Self:
        """Return a copy with some of the rows of its arrays and of the relative weights."""
        part = copy(self)
        for name, array in arrays.items():
            setattr(part, name, array_namespace(array).take(array, rows, axis=0))
        if self.relative_weights is not None:
            part.relative_weights = array_namespace(self.relative_weights).take(self.relative_weights, rows, axis=0)
        return part


def relative_weights(observed: Array, weights: Any = None, mean_weight: float | None = None) -> Array | None:
    """Return ωᵢ = wᵢ Rᵢ / mean(w R), shape (batch,), or None if all are 1.

    Parameters
    ----------
    observed
        R, the multiplicity of a stimulus: the number of its repeats with an observed target, shape (batch,).
    weights
        w ≥ 0, shape (batch,). None: all are 1.
    mean_weight
        The mean of w R over the data set, if these stimuli are only a part of it. None: these stimuli are the data set.

    Raises
    ------
    ValueError
        For weights that are negative, not finite, all 0, or of another number than the stimuli. For a mean that is not
        positive.
    """
    xp = array_namespace(observed)
    total = xp.astype(observed, xp.float64)
    if weights is not None:
        total = total * _checked(weights, observed)
    if mean_weight is None and total.shape[0]:
        mean_weight = float(xp.mean(total))
        if mean_weight == 0:
            raise ValueError(
                "no stimulus has both an observed target and a weight above zero, so the mean is not defined; pass "
                "targets that are not all missing, and weights that are not all zero"
            )
    if mean_weight is not None and not mean_weight > 0:
        raise ValueError(f"mean_weight = {mean_weight} is not positive; pass the mean weight of the stimuli of the data set")
    relative = total / (mean_weight or 1.0)
    return None if bool(xp.all(relative == 1)) else relative


def observed_entries(targets: Array) -> Array:
    """Return which targets are observed: all except NaN. Integers are always observed."""
    xp = array_namespace(targets)
    return ~xp.isnan(targets) if xp.isdtype(targets.dtype, "real floating") else xp.ones_like(targets, dtype=xp.bool)


def _checked(weights: Any, observed: Array) -> Array:
    xp = array_namespace(observed)
    weights = as_array("weights", weights, "float64", backend=xp)
    check_backend("weights", weights, xp)
    if weights.shape != observed.shape:
        raise ValueError(
            f"the weights have shape {tuple(weights.shape)}, but there are {observed.shape[0]} stimuli; pass one weight for "
            "each stimulus"
        )
    valid = xp.isfinite(weights) & (weights >= 0)
    if not bool(xp.all(valid)):
        row = int(xp.nonzero(~valid)[0][0])
        raise ValueError(
            f"weight {float(weights[row])} of stimulus {row} is negative or not finite; pass weights of 0 or more. "
            "A stimulus of weight 0 is left out"
        )
    return xp.astype(weights, xp.float64)
