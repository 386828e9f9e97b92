"""Labelled stimuli in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from manifolds.summary import Summarised
from riemannrnn.backend import Namespace, as_array, to_backend
from riemannrnn.data.errors import DatasetError


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Summarised):
    """Static stimuli with one class label each.

    Parameters
    ----------
    name : str
        Name in messages and figures.
    stimuli : ndarray of float, shape (n_stimuli, n_inputs)
        One stimulus in each row, in the dimensionless units of the network's input.
    labels : ndarray of int64, shape (n_stimuli,)
        Class of each stimulus, from 0.
    n_classes : int, optional
        Number of classes. If 0, one more than the largest label. A subset keeps the number of classes of its
        data set, for any labels that it contains.

    Raises
    ------
    DatasetError
        If shapes or types differ from the above, a number is not finite, or a label is not one of the classes.
    """

    name: str
    stimuli: NDArray[np.floating[Any]]
    labels: NDArray[np.int64]
    n_classes: int = 0

    def __post_init__(self) -> None:
        """Check shapes, types and labels, and count the classes if their number is not given."""
        for name in ("stimuli", "labels"):
            object.__setattr__(self, name, self._array(name))
        stimuli, labels = self.stimuli, self.labels
        if stimuli.ndim != 2 or not np.issubdtype(stimuli.dtype, np.floating):
            raise DatasetError(
                f"{self.name}: stimuli have shape {stimuli.shape} and type {stimuli.dtype}, "
                "but they have to be floats of shape (n_stimuli, n_inputs); reshape or convert them"
            )
        if labels.dtype != np.int64 or labels.shape != stimuli.shape[:1] or labels.shape[0] == 0:
            raise DatasetError(
                f"{self.name}: labels have shape {labels.shape} and type {labels.dtype}, but "
                f"there has to be one int64 label for each of {stimuli.shape[0]} stimuli, and at "
                "least one; check that stimuli and labels belong together"
            )
        xp = array_namespace(labels)
        finite = xp.all(xp.isfinite(stimuli), axis=1)
        if not bool(xp.all(finite)):
            raise DatasetError(
                f"{self.name}: stimulus {int(xp.nonzero(~finite)[0][0])} holds NaN or infinity, but every number has to "
                "be finite; repair it or leave it out"
            )
        smallest, largest = int(xp.min(labels)), int(xp.max(labels))
        n_classes = self.n_classes or largest + 1
        if smallest < 0 or largest >= n_classes:
            raise DatasetError(
                f"{self.name}: labels run from {smallest} to {largest}, but they have to lie in "
                f"0 .. {n_classes - 1}; renumber them, or give n_classes={largest + 1}"
            )
        object.__setattr__(self, "n_classes", n_classes)

    def _array(self, name: str) -> Any:
        """Return the stimuli or the labels as an array; they may be a list or a table."""
        values = getattr(self, name)
        try:
            return as_array(name, values, np.float64 if name == "stimuli" and isinstance(values, list) else None)
        except ValueError as error:
            raise DatasetError(f"{self.name}: {error}") from error

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        stimuli, inputs = self.stimuli.shape
        return {"name": self.name, "stimuli": stimuli, "inputs": inputs, "classes": self.n_classes, "dtype": self.stimuli.dtype}

    def split(self, *sizes: int, seed: int | np.random.Generator) -> tuple[Dataset, ...]:
        """Draw disjoint random subsets of the given sizes.

        Parameters
        ----------
        *sizes : int
            Number of stimuli of each subset; together at most ``n_stimuli``.
        seed : int or numpy.random.Generator
            Source of the permutation; the classes are not balanced.

        Returns
        -------
        tuple of Dataset
            One for each size, in the same order.

        Raises
        ------
        DatasetError
            If a size is below 1 or the sizes exceed the set together.
        """
        n_stimuli = self.labels.shape[0]
        if not sizes or min(sizes) < 1 or sum(sizes) > n_stimuli:
            raise DatasetError(
                f"{self.name}: sizes {sizes} cannot be drawn: each has to be at least 1, and "
                f"their sum at most the number of stimuli, {n_stimuli}; ask for fewer"
            )
        order = np.random.default_rng(seed).permutation(n_stimuli)
        pieces = np.split(order, np.cumsum(sizes))[: len(sizes)]
        return tuple(self._take(piece) for piece in pieces)

    def to(self, backend: str | Namespace) -> Dataset:
        """Return the data set with its arrays moved to a backend, such as ``"cupy"``.

        Parameters
        ----------
        backend : str or namespace
            As for `riemannrnn.RateNetwork`.

        Raises
        ------
        riemannrnn.BackendError
            If the backend is not available.
        """
        return replace(self, stimuli=to_backend(self.stimuli, backend), labels=to_backend(self.labels, backend))

    def _take(self, rows: NDArray[np.intp]) -> Dataset:
        """Return some of the stimuli, on their backend."""
        xp = array_namespace(self.stimuli)
        chosen = xp.asarray(rows, device=device(self.stimuli))
        return replace(self, stimuli=xp.take(self.stimuli, chosen, axis=0), labels=xp.take(self.labels, chosen, axis=0))
