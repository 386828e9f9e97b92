"""Mini-batches: each epoch takes all stimuli once, in a new random order."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.equilibrium.options import OnFailure


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
