"""Mini-batches: all stimuli once an epoch, each epoch in an order of its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, nan

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array, Point
from manifolds.arrays import to_numpy
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.equilibrium.options import OnFailure
from riemannrnn.models.chunks import chunks
from riemannrnn.training.history import accuracy


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
        """Return the rows of `cost` in the order in which the first epoch takes them."""
        return order

    def of(self, step: int, order: Array, on_failure: OnFailure | None = None) -> FixedPointCost:
        """Return the cost of the batch after this many steps, in the order of its epoch."""
        place = self._place(step)
        return self.cost.take(order[place : place + self.size], on_failure=on_failure)

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _place(self, step: int) -> int:
        """Return where the stimuli of a step begin in their order."""
        return step * self.size % (self.per_epoch * self.size)


@dataclass(frozen=True)
class HeldOut:
    """The held-out stimuli, all in memory. Their fixed points are found in chunks.

    Parameters
    ----------
    cost
        Their cost.
    """

    cost: FixedPointCost

    def measure(self, weights: Point) -> tuple[float, float | None]:
        """Return the loss, and the share of right classes; None without classes, or where the loss is infinite."""
        count = int(self.cost.batch.shape[0])
        xp, where, each = array_namespace(self.cost.batch), device(self.cost.batch), chunks(self.cost.model, count)
        if len(each) == 1:
            return measured([(1.0, self.cost)], weights)
        numbers = (xp.arange(rows.start, rows.stop, device=where) for rows in each)
        return measured(((rows.shape[0] / count, self.cost.take(rows)) for rows in numbers), weights)


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
