"""Standardisation: the shift and the scale of stimuli, and the replacement of missing numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from manifolds import Array
from manifolds.arrays import to_numpy
from manifolds.summary import Summarised
from riemannrnn.backend import namespace_of
from riemannrnn.data.errors import DatasetError


@dataclass(frozen=True, repr=False, eq=False)
class Standardisation(Summarised):
    """The map x ↦ (x − shift) / scale of each input; x is replaced by `fill` if it is NaN.

    Parameters
    ----------
    shift, scale, fill : ndarray of float64, shape (n_inputs,)
        For each input. If `fill` is NaN, a missing number stays NaN.
    """

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    fill: NDArray[np.float64]

    def __call__(self, stimuli: Array) -> Array:
        """Return the mapped stimuli, shape (batch, n_inputs), in their dtype and on their backend."""
        xp = namespace_of(stimuli)

        def like(values: NDArray[np.float64]) -> Array:
            return xp.asarray(values.astype(str(stimuli.dtype).rpartition(".")[2]), device=device(stimuli))

        filled = xp.where(xp.isnan(stimuli), like(self.fill)[None, :], stimuli)
        return (filled - like(self.shift)[None, :]) / like(self.scale)[None, :]

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays by name, for saving with a model."""
        return {"shift": self.shift, "scale": self.scale, "fill": self.fill}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Standardisation":
        """Return the standardisation whose `arrays` method returned these arrays."""
        return cls(*(np.asarray(arrays[name], np.float64) for name in ("shift", "scale", "fill")))

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        scaled, filled = bool((self.scale != 1).any()), bool(np.isfinite(self.fill).any())
        return {"inputs": self.shift.size, "standardises": scaled, "fills missing values": filled}


@dataclass
class Moments:
    """Statistics of each column, accumulated over rows that arrive in blocks.

    Attributes
    ----------
    count, missing, infinite, mean, squares, smallest, largest : ndarray, shape (columns,)
        Number of finite numbers, of NaN and of infinities; mean, sum of squared deviations from the mean, and range of the
        finite numbers.
    """

    count: Any = 0
    missing: Any = 0
    infinite: Any = 0
    mean: Any = 0.0
    squares: Any = 0.0
    smallest: Any = np.inf
    largest: Any = -np.inf

    def add(self, rows: Array) -> None:
        """Add rows, shape (rows, columns): mean and squares of two sets are pooled (Chan, Golub and LeVeque 1983)."""
        values = to_numpy(rows).astype(np.float64)
        there = np.isfinite(values)
        count = there.sum(axis=0)
        safe = np.maximum(count, 1)
        mean = np.where(there, values, 0.0).sum(axis=0) / safe
        squares = (np.where(there, np.where(there, values, 0.0) - mean, 0.0) ** 2).sum(axis=0)
        total = self.count + count
        step = mean - self.mean
        self.squares = self.squares + squares + step**2 * self.count * count / np.maximum(total, 1)
        self.mean = self.mean + step * count / np.maximum(total, 1)
        self.count = total
        self.missing = self.missing + np.isnan(values).sum(axis=0)
        self.infinite = self.infinite + np.isinf(values).sum(axis=0)
        self.smallest = np.minimum(self.smallest, np.where(there, values, np.inf).min(axis=0))
        self.largest = np.maximum(self.largest, np.where(there, values, -np.inf).max(axis=0))

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of each column."""
        return np.asarray(np.sqrt(self.squares / np.maximum(self.count, 1)))


def fitted(blocks: Iterable[Array], standardise: bool, fill: bool, name: str) -> Standardisation:
    """Return the standardisation that gives these rows mean 0 and variance 1; constant columns become 0.

    Parameters
    ----------
    blocks
        All rows, in blocks.
    standardise
        Whether to shift and scale.
    fill
        Whether missing numbers are replaced by the mean of their column.
    name
        Name of the rows in messages.

    Raises
    ------
    DatasetError
        If a column has no number at all.
    """
    moments = Moments()
    for block in blocks:
        moments.add(block)
    if fill and not moments.count.all():
        empty = int(np.flatnonzero(moments.count == 0)[0])
        raise DatasetError(f"{name}: input {empty} has no number in any of the training rows; leave its column out")
    one = np.ones(moments.mean.shape)
    constant = moments.deviation <= 4 * np.finfo(np.float64).eps * np.abs(moments.mean)
    return Standardisation(
        moments.mean if standardise else 0 * one,
        np.where(constant, 1.0, moments.deviation) if standardise else one,
        moments.mean if fill else np.nan * one,
    )
