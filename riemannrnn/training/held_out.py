"""The loss and the accuracy of stimuli on which a network is tested, found in chunks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf, nan

from array_api_compat import array_namespace, device

from manifolds import Array, Point
from manifolds.arrays import to_numpy
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.cost.losses import Loss
from riemannrnn.models.chunks import chunks


@dataclass(frozen=True)
class HeldOut:
    """Stimuli on which a network is tested, all in memory. Their fixed points are found in chunks.

    Parameters
    ----------
    cost
        Their cost.
    """

    cost: FixedPointCost

    def parts(self) -> Iterator[FixedPointCost]:
        """Yield the cost of each chunk of the stimuli, in order. What it computed is freed when the next is asked for."""
        batch = self.cost.batch
        for rows in chunks(self.cost.model, batch.shape[0]):
            part = self.cost.take(array_namespace(batch).arange(rows.start, rows.stop, device=device(batch)))
            yield part
            part.forget()

    def converged(self, weights: Point) -> Array:
        """Return for each stimulus whether it has a fixed point, shape (stimuli,)."""
        return array_namespace(self.cost.batch).concat([part.at(weights).fixed_points.converged for part in self.parts()])

    def measure(self, weights: Point) -> tuple[float, float | None]:
        """Return the loss, and the share of right classes; None without classes, or where the loss is infinite."""
        count = self.cost.batch.shape[0]
        return measured(((part.batch.shape[0] / count, part) for part in self.parts()), weights)


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


def accuracy(evaluation: Evaluation, loss: Loss) -> float | None:
    """Return the share of stimuli with the right class, of those that count; None for a loss without classes.

    It is NaN where no stimulus counts.
    """
    right = loss.correct(evaluation.outputs)
    if right is None:
        return None
    xp, kept = array_namespace(right), evaluation.included[:, 0] > 0
    return int(xp.count_nonzero(right & kept)) / count if (count := int(xp.count_nonzero(kept))) else nan
