"""Mini-batches: each epoch takes all stimuli once, in a new random order."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, nan

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array, Point
from manifolds.arrays import to_numpy
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.equilibrium.options import OnFailure
from riemannrnn.training.history import accuracy

HELD_OUT_BYTES = 2**25
"""Bytes of the rates of the largest layer that are found at a time: fixed points and their solver hold several such arrays."""


@dataclass(frozen=True)
class Batches:
    """The stimuli of each step, in the order of the epoch.

    Parameters
    ----------
    cost
        The cost of all stimuli.
    size
        Stimuli of a batch; the last batch of an epoch holds the rest.
    """

    cost: FixedPointCost
    size: int

    @property
    def count(self) -> int:
        """Number of stimuli."""
        return int(self.cost.batch.shape[0])

    @property
    def per_epoch(self) -> int:
        """Number of batches of an epoch."""
        return -(-self.count // self.size)

    def begins_epoch(self, step: int) -> bool:
        """Tell whether the batch after this many steps is the first of an epoch."""
        return self._place(step) == 0

    def draw(self, generator: np.random.Generator) -> Array:
        """Return a random order of the stimuli, shape (stimuli,)."""
        batch = self.cost.batch
        return array_namespace(batch).asarray(generator.permutation(batch.shape[0]), device=device(batch))

    def first(self, order: Array) -> Array:
        """Return the rows of `cost` in the order of the first epoch."""
        return order

    def of(self, step: int, order: Array, on_failure: OnFailure | None = None) -> FixedPointCost:
        """Return the cost of the batch after this many steps, in the order of its epoch."""
        place = self._place(step)
        return self.cost.take(order[place : place + self.size], on_failure=on_failure)

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _place(self, step: int) -> int:
        """Return the position of the first stimulus of a step in the order of its epoch."""
        return step * self.size % (self.per_epoch * self.size)


@dataclass(frozen=True)
class HeldOut:
    """The held-out stimuli, all in memory. Their fixed points are found in chunks of `HELD_OUT_BYTES` of rates of a layer.

    Parameters
    ----------
    cost
        Their cost.
    """

    cost: FixedPointCost

    def measure(self, weights: Point) -> tuple[float, float | None]:
        """Return the loss, and the share of right classes; None without classes, or if the loss is infinite."""
        count = int(self.cost.batch.shape[0])
        size = max(1, HELD_OUT_BYTES // (max(self.cost.model.units) * self.cost.model.dtype.itemsize))
        if count <= size:
            return measured([(1.0, self.cost)], weights)
        xp, where = array_namespace(self.cost.batch), device(self.cost.batch)
        starts = range(0, count, size)
        chunks = (xp.arange(start, min(start + size, count), device=where) for start in starts)
        return measured(((rows.shape[0] / count, self.cost.take(rows)) for rows in chunks), weights)


def measured(parts: Iterable[tuple[float, FixedPointCost]], weights: Point) -> tuple[float, float | None]:
    """Return the loss of several parts of the stimuli, and the share of right classes of those that count.

    Parameters
    ----------
    parts
        The share of the stimuli that a part is, and its cost.
    weights
        The parameters, flat.

    Returns
    -------
    loss
        Infinite if a stimulus has no fixed point.
    accuracy
        None without classes, or where the loss is infinite; NaN where no stimulus counts.
    """
    total, right, known, classes = 0.0, 0, 0, True
    for share, cost in parts:
        evaluation = cost.at(weights)
        if not evaluation.valid:
            return inf, None
        total += share * evaluation.cost
        counted = int((to_numpy(evaluation.included) > 0).sum())
        found = accuracy(evaluation, cost.loss)
        classes = found is not None
        right, known = right + (round((found or 0.0) * counted) if counted else 0), known + counted
    if not classes:
        return total, None
    return total, right / known if known else nan
