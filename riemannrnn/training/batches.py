"""Mini-batches: all stimuli once an epoch, each epoch in an order of its own."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.equilibrium.options import OnFailure


@dataclass
class Batches:
    """The stimuli of each step of a run, in the order of the epoch that it is in.

    Parameters
    ----------
    cost
        The cost of all the stimuli.
    size
        Stimuli of a batch; the last of an epoch holds what is left.
    generator
        Draws the orders.

    Attributes
    ----------
    order
        The order of the epoch that was begun last, shape (stimuli,); None before the first.
    """

    cost: FixedPointCost
    size: int
    generator: np.random.Generator
    order: Array = None

    def next(self, step: int, on_failure: OnFailure | None = None) -> FixedPointCost:
        """Return the cost of the stimuli of a step, after as many others; with an epoch it draws the order."""
        if self._place(step) == 0:
            drive = self.cost.drive
            order = self.generator.permutation(drive.shape[0])
            self.order = array_namespace(drive).asarray(order, device=device(drive))
        return self.of(step, on_failure)

    def of(self, step: int, on_failure: OnFailure | None = None) -> FixedPointCost:
        """Return the cost of the stimuli of a step of the epoch that was begun last."""
        place = self._place(step)
        return self.cost.take(self.order[place : place + self.size], on_failure=on_failure)

    def _place(self, step: int) -> int:
        """Return where the stimuli of a step begin in their order."""
        count: int = self.cost.drive.shape[0]
        return step * self.size % (-(-count // self.size) * self.size)
